package models

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

const (
	// queryTimeout bounds every unit of work, so that a frozen database is answered for within 5 s.
	queryTimeout = 4 * time.Second
	// horizonLead is how far ahead of the clock the issue horizon is set; see horizon.go.
	horizonLead = time.Second
	// Leeway is how far a checker's clock may be behind the issuer's.
	Leeway = 10 * time.Second
)

// Config says how a [Store] works. The zero value of each field means its default.
type Config struct {
	DatabaseURL string // sqlite:PATH or postgres://…; required
	NotifyURL   string // where to LISTEN when DatabaseURL leads through a pooler that cannot; default DatabaseURL
	MaxConns    int    // open connections at most; default 4 per CPU, at least 16

	Issuer   string   // iss of every token; required
	Audience []string // aud of every token; default the issuer

	Secrets [][]byte // 32 bytes or more each; the first derives and encrypts, the others are still understood; required

	AccessTTL         time.Duration // default 5m
	RefreshTTL        time.Duration // how long a device may stay unused; default 720h
	DeviceMaxAge      time.Duration // fixed at sign-in, no refresh extends it; default none
	ReuseInterval     time.Duration // default 0: every reuse is theft
	MaxDevicesPerUser int           // default 100; the longest unseen is signed out
	SigningAlg        string        // ES256 (default), EdDSA, RS256
	KeyRotation       time.Duration // age at which a signing key gets a successor; default 2160h
	RevokedRetention  time.Duration // how long ended devices and revocations are kept; default 720h
	AuditRetention    time.Duration // how long the audit log is kept; default 2160h

	Hash   HashConfig
	Limits Limits

	Logger *slog.Logger     // default: discard
	Clock  func() time.Time // SQLite's clock; default time.Now
}

func (c Config) withDefaults() (Config, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.AccessTTL, 5*time.Minute)
	def(&c.RefreshTTL, 720*time.Hour)
	def(&c.KeyRotation, 2160*time.Hour)
	def(&c.RevokedRetention, 720*time.Hour)
	def(&c.AuditRetention, 2160*time.Hour)
	c.MaxConns = cmp.Or(c.MaxConns, max(16, 4*runtime.NumCPU()))
	c.MaxDevicesPerUser = cmp.Or(c.MaxDevicesPerUser, 100)
	c.SigningAlg = cmp.Or(c.SigningAlg, "ES256")
	c.Limits = c.Limits.withDefaults()
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Audience) == 0 {
		c.Audience = []string{c.Issuer}
	}
	if c.AccessTTL > c.RefreshTTL {
		return c, invalid("the access lifetime %s is longer than the refresh lifetime %s", c.AccessTTL, c.RefreshTTL)
	}
	return c, nil
}

// Store is the domain with its database. Its methods are units of work: each either happened, all of it, or did not.
// It is safe for concurrent use.
type Store struct {
	cfg    Config
	log    *slog.Logger
	db     *gorm.DB
	sqldb  *sql.DB
	d      *dialect
	hasher *hasher
	secret *keyring
	writer chan struct{} // SQLite only: one writer at a time, in the order they came

	// checks are the places of password checks, what they ask of the database included: who comes when all are taken is told so
	// before anything is done. counting are those of them that may count guesses at a time: all guesses at one account
	// meet in one row, and those that wait for it must not take every connection.
	checks, counting chan struct{}

	keys       atomic.Pointer[keySet]
	keyReading keyReading
	clients    clientCache
	blocked    blockedSet
	seen       seenBatch

	verified verifiedTokens

	rotations gather[rotation, rotated]
	checked   gather[tokenCheck, tokenState] // PostgreSQL only: SQLite reads without a round trip

	horizon horizonKeeper
	feed    feedHub // woken when the log has grown
	acked   feedHub // woken when acknowledgements have come
	acks    ackBatch

	pings singleflight.Group

	newestSeq atomic.Int64 // a sequence number that is known to be committed

	Stats Stats

	stop context.CancelFunc // ends the background work
	done sync.WaitGroup
}

// Stats counts what the store decided, since it was opened.
type Stats struct {
	SignIns, SignInsAgain, Refreshes, Retries, Replays atomic.Int64
	Revocations                                        [4]atomic.Int64 // by level, in the order of [Levels]
}

// Open connects to a database that [Migrate] has brought up to date. It makes the first signing key, and starts the
// background work: clean-up, key rotation, following the log. Close ends it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// GORM's Scan logs through a recorder that knows nothing of ParameterizedQueries.
func init() {
	logger.RecorderParamsFilter = func(_ context.Context, sql string, _ ...any) (string, []any) { return sql, nil }
}

// connect opens the database and nothing more.
func connect(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, log: cfg.Logger, stop: func() {}}
	s.rotations.run, s.checked.run = s.rotateMany, s.checkDeviceTokens
	if s.hasher, err = newHasher(cfg.Hash); err != nil {
		return nil, err
	}
	s.checks, s.counting = make(chan struct{}, s.hasher.places), make(chan struct{}, max(1, cfg.MaxConns/4))
	var dialector gorm.Dialector
	if s.d, s.sqldb, dialector, err = openDatabase(cfg); err != nil {
		return nil, err
	}
	if !s.d.postgres {
		s.writer = make(chan struct{}, 1)
		s.sqldb.SetMaxOpenConns(cfg.MaxConns)
		s.sqldb.SetMaxIdleConns(cfg.MaxConns)
	}
	s.db, err = gorm.Open(dialector, &gorm.Config{
		TranslateError:         true,
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		// Values never reach the log: they are hashes, names and addresses.
		Logger: queryLogger{logger.NewSlogLogger(cfg.Logger, logger.Config{
			ParameterizedQueries: true, SlowThreshold: 500 * time.Millisecond, IgnoreRecordNotFoundError: true, LogLevel: logger.Error,
		})},
	})
	if err != nil {
		s.sqldb.Close()
		return nil, dbError(err)
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	var err error
	if s.secret, err = newKeyring(s.cfg.Secrets); err != nil {
		return err
	}
	// The longest lifetime ever configured: an event matters until the last token that it ends has expired, also one
	// that was issued before the lifetime was made shorter.
	if err := s.write(ctx, func(tx *gorm.DB) error {
		_, err := s.exec(tx, `UPDATE realm SET longest_access_ttl = {greatest}(longest_access_ttl, @ttl)`,
			args{"ttl": s.cfg.AccessTTL.Microseconds()})
		return err
	}); err != nil {
		return err
	}
	if err := s.initKeys(ctx); err != nil {
		return err
	}
	if len(s.cfg.Hash.Command) > 0 {
		s.hasher.outsource(s.cfg.Hash.Command, s.log)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(func() { s.maintainKeys(background) })
	s.done.Go(func() { s.maintainRows(background) })
	s.done.Go(func() { s.followLog(background) })
	s.done.Go(func() { s.flushSeen(background) })
	return nil
}

// Close ends the background work and closes the database. Call it when no method is running any more.
func (s *Store) Close() error {
	s.stop()
	s.done.Wait()
	s.hasher.close()
	return s.sqldb.Close()
}

// DB is the connection pool, for its statistics.
func (s *Store) DB() *sql.DB { return s.sqldb }

// HashQueue is how many password hashes are being computed or wait for it.
func (s *Store) HashQueue() int { return s.hasher.queued() }

// Ping asks the database whether it could serve a request that writes. It returns [ErrUnavailable] if not. Those who ask at
// the same time share an answer: strangers may ask, and on SQLite it is a write.
func (s *Store) Ping(ctx context.Context) error {
	_, err, _ := s.pings.Do("", func() (any, error) { return nil, s.ping(context.WithoutCancel(ctx)) })
	return err
}

func (s *Store) ping(ctx context.Context) error {
	if !s.d.postgres {
		return s.single(ctx, func(tx *gorm.DB) error { // a disk that is full can still be read; and SQLite writes no page that stays the same
			_, err := s.exec(tx, `UPDATE realm SET horizon = horizon + 1`, nil)
			return err
		})
	}
	return s.read(ctx, func(tx *gorm.DB) error {
		var standby, nobody bool
		// The devices are asked too: a table that somebody has locked serves nothing.
		if err := s.row(tx, `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
				EXISTS (SELECT 1 FROM devices WHERE id = @none) FROM realm`, args{"none": uuid.Nil}, &standby, &nobody); err != nil {
			return err
		}
		if standby {
			return fmt.Errorf("%w: it is a read-only standby", ErrUnavailable)
		}
		return nil
	})
}

// read runs statements outside a transaction: each sees the state of its own start.
func (s *Store) read(ctx context.Context, fn func(tx *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return dbError(s.upToDate(ctx, fn))
}

// upToDate runs fn again for as long as its statements are outdated.
func (s *Store) upToDate(ctx context.Context, fn func(tx *gorm.DB) error) (err error) {
	for range outdatedTries {
		if err = fn(s.db.WithContext(ctx)); !outdated(err) {
			break
		}
	}
	return err
}

// single runs one statement that writes, in autocommit. Like write it goes on when the caller has hung up.
func (s *Store) single(ctx context.Context, fn func(tx *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	unlock, err := s.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return dbError(s.upToDate(ctx, fn))
}

// write runs fn in a transaction and commits unless fn fails. A caller that hangs up does not stop it half way: the
// answer is lost then, the work is not. fn may run again when the transaction lost a race.
//
// Inside, rows are locked in this order: user, client, devices, realm. The realm comes last: it is everybody's.
func (s *Store) write(ctx context.Context, fn func(tx *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	unlock, err := s.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for try := 0; ; try++ {
		err := s.upToDate(ctx, func(tx *gorm.DB) error { return tx.Transaction(fn) })
		if !(raced(err) || errors.Is(err, errAgain)) || try == 3 {
			return dbError(err)
		}
	}
}

// errAgain, returned from a write, asks for another try with the newest state.
var errAgain = fmt.Errorf("%w: another request was faster each time", ErrUnavailable)

func (s *Store) lockWriter(ctx context.Context) (unlock func(), err error) {
	if s.writer == nil {
		return func() {}, nil
	}
	select {
	case s.writer <- struct{}{}:
		return func() { <-s.writer }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}
