package models

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"curfew/internal/password"
)

const (
	// queryTimeout bounds every unit of work, so that a frozen database is answered for within 5 s.
	queryTimeout = 4 * time.Second
	// Leeway is how far a checker's clock may be behind the issuer's.
	Leeway = 10 * time.Second
)

// Store is the domain with its database. Its methods are units of work: each either happened, all of it, or did not.
// It is safe for concurrent use.
type Store struct {
	cfg    Config
	log    *slog.Logger
	db     *gorm.DB
	sqldb  *sql.DB
	d      *dialect
	hasher *password.Hasher
	policy *password.Policy
	secret *keyring
	writer chan struct{} // SQLite only: one writer at a time, in the order they came

	// A password check asks the database (asking), counts the attempt there (counting), and is hashed (hashing), each
	// with a bounded number of others. All guesses at one account meet in one row, and those that wait for it must not
	// take every connection.
	asking, hashing *places
	counting        chan struct{}
	underWay        underWay

	keys        atomic.Pointer[keySet]
	unknownKeys unknownKeys
	clients     clientMemory
	origins     knownOrigins
	blocked     blockedSet
	seen        seenDevices
	verified    verifiedTokens

	rotations        batch[rotation, rotated]
	tokenChecks      batch[tokenCheck, tokenState] // PostgreSQL only: SQLite reads without a round trip
	acknowledgements batch[acknowledgement, error]

	pushingHorizon atomic.Bool
	logGrew        signal
	committed      signal // a unit of work of this node, which may have written to the audit log
	acknowledged   signal
	receipts       receiptBoard
	receiptReads   chan struct{} // those who read a whole receipt after a wait
	waits          callers

	subscribersSeen boundedSet[SubscriberID]

	pings, readingOrigins singleflight.Group

	newestSeq atomic.Int64 // a sequence number that is known to be committed

	Stats Stats

	// background is every goroutine that the store has started; stop tells those to end that run until then.
	background sync.WaitGroup
	stop       context.CancelFunc
}

// Stats counts what the store decided, since it was opened.
type Stats struct {
	SignIns, SignInsAgain, Refreshes, Retries, Replays atomic.Int64
	ReceiptReadings                                    atomic.Int64    // of acknowledgements, for all who wait
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
	s.rotations = batch[rotation, rotated]{
		run: s.rotateMany, start: s.background.Go, workers: 4, most: 128,
	}
	s.tokenChecks = batch[tokenCheck, tokenState]{
		run: s.checkDeviceTokens, start: s.background.Go, workers: 4, most: 128,
	}
	// With a thousand resource servers they come a thousand at a time; two statements would wait for each other's rows.
	s.acknowledgements = batch[acknowledgement, error]{
		run: s.writeAcknowledgements, start: s.background.Go, workers: 1, most: 5000,
	}
	s.unknownKeys.headers.most, s.subscribersSeen.most = maxUnknownKeys, maxSubscribersSeen
	if s.hasher, err = password.New(cfg.Hash); err != nil {
		return nil, invalid("%w", err)
	}
	if s.policy, err = newPolicy(cfg); err != nil {
		return nil, err
	}
	s.asking, s.hashing = newPlaces(2*s.hasher.Places(), 1), newPlaces(s.hasher.Places(), s.hasher.AtATime()+1)
	s.counting, s.receiptReads = make(chan struct{}, max(1, cfg.MaxConns/4)), make(chan struct{}, max(1, cfg.MaxConns/4))
	var dialector gorm.Dialector
	if s.d, s.sqldb, dialector, err = openDatabase(cfg); err != nil {
		return nil, err
	}
	if !s.d.postgres {
		s.writer = make(chan struct{}, 1)
	}
	s.db, err = gorm.Open(dialector, &gorm.Config{
		TranslateError:         true,
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		// Values never reach the log: they are hashes, names and addresses.
		Logger: queryLogger{logger.NewSlogLogger(cfg.Logger, logger.Config{
			ParameterizedQueries: true, SlowThreshold: 500 * time.Millisecond, IgnoreRecordNotFoundError: true,
			LogLevel: logger.Error,
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
	if err := s.lookAtIsolation(ctx); err != nil {
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
			args{"ttl": s.cfg.AccessTTL})
		return err
	}); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.initKeys, s.sealWebhooks, s.noteRestored} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if len(s.cfg.Hash.Command) > 0 {
		s.hasher.Outsource(s.cfg.Hash.Command, s.log)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.background.Go(func() { s.maintainKeys(background) })
	s.background.Go(func() { s.maintainRows(background) })
	s.background.Go(func() { s.followLog(background) })
	s.background.Go(func() { s.writeSeenDevices(background) })
	return nil
}

// Close ends the background work, waits for statements that their callers have given up, and closes the database. Call
// it when no method is running any more.
func (s *Store) Close() error {
	s.stop()
	s.background.Wait()
	s.hasher.Close()
	return s.sqldb.Close()
}

// DB is the connection pool, for its statistics.
func (s *Store) DB() *sql.DB { return s.sqldb }

// HashQueue is how many password hashes are being computed or wait for it.
func (s *Store) HashQueue() int { return s.hasher.Queued() }

// Ping asks the database whether it could serve a request that writes. It returns [ErrUnavailable] if not. Those who
// ask at the same time share an answer: strangers may ask, and on SQLite it is a write.
func (s *Store) Ping(ctx context.Context) error {
	_, err, _ := s.pings.Do("", func() (any, error) { return nil, s.ping(context.WithoutCancel(ctx)) })
	return err
}

func (s *Store) ping(ctx context.Context) error {
	if !s.d.postgres {
		// A disk that is full can still be read; and SQLite writes no page that stays the same.
		return s.autocommit(ctx, func(tx *gorm.DB) error {
			_, err := s.exec(tx, `UPDATE realm SET horizon = horizon + 1`, nil)
			return err
		})
	}
	return s.read(ctx, func(tx *gorm.DB) error {
		var standby, nobody bool
		// The devices are asked too: a table that somebody has locked serves nothing.
		if err := s.row(tx, `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
				EXISTS (SELECT 1 FROM devices WHERE id = @none) FROM realm`,
			args{"none": uuid.Nil}, &standby, &nobody); err != nil {
			return err
		}
		if standby {
			return fmt.Errorf("%w: it is a read-only standby", ErrUnavailable)
		}
		return nil
	})
}
