package models

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/glebarez/go-sqlite"
	gormlite "github.com/glebarez/sqlite"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// dialect holds all that differs between PostgreSQL and SQLite.
type dialect struct {
	postgres bool
	pgConfig *pgx.ConnConfig // for LISTEN, on a connection of its own
	words    *strings.Replacer
	list     string           // what {in name} becomes, with the name for %s
	clock    func() time.Time // SQLite's clock is this process's
	last     atomic.Int64     // the newest value that clock gave: it never goes back
	prepared sync.Map         // text as written -> statement

	transaction    *sql.TxOptions // of every transaction
	pooled         bool           // the URL says that a pooler may give each transaction another session
	sessionsForget bool           // and those do not know sessionSettings, though they should
}

// statement is an SQL text with the driver's own placeholders, and the names of its parameters in order.
type statement struct {
	text  string
	names []string
}

// clockName is the parameter that {now} becomes on SQLite. No statement may use it itself: PostgreSQL has its own
// clock.
const clockName = "now"

// The words that the statements of this package are written in, beside @name for a parameter and {in name} for a list.
var (
	postgresWords = strings.NewReplacer(
		"{now}", "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
		"{greatest}", "greatest", "{least}", "least", "{lower}", "lower", "{horizon}", "r.horizon",
		"{d resources}", "d.resources",
		"{lock}", "FOR NO KEY UPDATE", "{lock d}", "FOR NO KEY UPDATE OF d", "{lock l}", "FOR NO KEY UPDATE OF l",
		"{skip locked}", "FOR UPDATE SKIP LOCKED",
		"{oldest open}", "pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
		"{a resource is left}", `(d.resources = ''
			OR string_to_array(d.resources, ' ') && string_to_array(c.resources, ' '))`,
	)
	// SQLite has one writer: a write transaction begins with the lock on everything (_txlock=immediate).
	sqliteWords = strings.NewReplacer(
		"{now}", "@"+clockName,
		"{greatest}", "max", "{least}", "min", "{lower}", sqliteLower, "{horizon}", "(SELECT horizon FROM realm)",
		"{d resources}", "resources",
		"{lock}", "", "{lock d}", "", "{lock l}", "", "{skip locked}", "",
		"{oldest open}", "9223372036854775807",
		"{a resource is left}", `(d.resources = '' OR EXISTS (SELECT 1
			FROM json_each('[' || replace(json_quote(d.resources), ' ', '","') || ']') w
			WHERE instr(' ' || c.resources || ' ', ' ' || w.value || ' ') > 0))`,
	)
	listWord    = regexp.MustCompile(`\{in ([a-z_]+)\}`)
	unknownWord = regexp.MustCompile(`\{[a-z ]+\}`)
	parameter   = regexp.MustCompile(`@[a-z_]+[0-9]*`)
)

const (
	postgresList = `= ANY(@%s::uuid[])`
	sqliteList   = `IN (SELECT value FROM json_each(@%s))`
)

// prepare translates a statement. What it does not understand is a fault of the program.
func (d *dialect) prepare(query string) *statement {
	for _, name := range parameter.FindAllString(query, -1) {
		if name == "@"+clockName {
			panic("models: @now is no parameter; write {now}: " + query)
		}
	}
	st, number := &statement{}, map[string]int{}
	text := listWord.ReplaceAllStringFunc(d.words.Replace(query), func(word string) string {
		return fmt.Sprintf(d.list, listWord.FindStringSubmatch(word)[1])
	})
	if unknownWord.MatchString(text) {
		panic("models: an unknown {word} in: " + query)
	}
	st.text = parameter.ReplaceAllStringFunc(text, func(name string) string {
		name = name[1:]
		if !d.postgres {
			st.names = append(st.names, name)
			return "?"
		}
		if number[name] == 0 {
			st.names = append(st.names, name)
			number[name] = len(st.names)
		}
		return fmt.Sprintf("$%d", number[name])
	})
	return st
}

// uuidList is the value of {in name}.
func (d *dialect) uuidList(ids []uuid.UUID) any {
	if d.postgres {
		return column(ids, uuidOf)
	}
	text, _ := json.Marshal(ids) // an array of strings
	return string(text)
}

// micros is SQLite's clock: this process's, in microseconds, made never to go back.
func (d *dialect) micros() int64 {
	now := d.clock().UnixMicro()
	for {
		last := d.last.Load()
		if now <= last {
			return last
		}
		if d.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

// sqliteLower lowers every letter; SQLite's own lower knows those of ASCII only.
const sqliteLower = "curfew_lower"

func init() {
	lower := func(_ *sqlite.FunctionContext, in []driver.Value) (driver.Value, error) {
		text, _ := in[0].(string)
		return strings.ToLower(text), nil
	}
	sqlite.MustRegisterDeterministicScalarFunction(sqliteLower, 1, lower)
}

// openDatabase understands `sqlite:PATH` and `postgres://…`. It opens no connection yet on PostgreSQL.
func openDatabase(cfg Config) (*dialect, *sql.DB, gorm.Dialector, error) {
	if path, ok := strings.CutPrefix(cfg.DatabaseURL, "sqlite:"); ok {
		db, err := openSQLite(path, cfg.MaxConns)
		if err != nil {
			return nil, nil, nil, err
		}
		return &dialect{words: sqliteWords, list: sqliteList, clock: cfg.Clock}, db, &gormlite.Dialector{Conn: db}, nil
	}
	if !strings.HasPrefix(cfg.DatabaseURL, "postgres://") && !strings.HasPrefix(cfg.DatabaseURL, "postgresql://") {
		return nil, nil, nil, invalid("the database URL: must be sqlite:PATH or postgres://…")
	}
	pg, err := parsePostgresURL("database", cfg.DatabaseURL)
	if err != nil {
		return nil, nil, nil, err
	}
	if pg.ConnectTimeout == 0 {
		pg.ConnectTimeout = queryTimeout
	}
	d := &dialect{
		postgres: true, words: postgresWords, list: postgresList, pgConfig: pg.Copy(),
		transaction: &sql.TxOptions{Isolation: sql.LevelReadCommitted},
		pooled:      pg.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement,
	}
	if cfg.NotifyURL != "" {
		if d.pgConfig, err = parsePostgresURL("notify", cfg.NotifyURL); err != nil {
			return nil, nil, nil, err
		}
	}
	db := openPostgres(pg, cfg.MaxConns)
	return d, db, postgres.New(postgres.Config{Conn: db}), nil
}

// parsePostgresURL keeps the URL, which may hold a password, out of the error.
func parsePostgresURL(which, text string) (*pgx.ConnConfig, error) {
	pg, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, invalid("the %s URL: %s", which, strings.ReplaceAll(err.Error(), text, "…"))
	}
	return pg, nil
}

// sessionSettings are set by a statement and not as start-up parameters, which pgbouncer refuses. A node that freezes
// inside a transaction must not hold the realm's lock for ever. Compiling our short statements costs PostgreSQL a
// hundred times what running them does; and what they look up is in memory or on a disk without a head, so a few
// thousand look-ups are cheaper than reading a whole table. The isolation level is that of statements of their own:
// whoever waits for a row must see it as it is then (docs/no-survivor.md); transactions say it themselves.
const sessionSettings = `SET default_transaction_isolation = 'read committed'; SET jit = off;
	SET random_page_cost = 1.1; SET statement_timeout = '30s'; SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '4s'`

// lookAtIsolation finds out what a session's default is before anybody has set another one. If that is not ours, and a
// pooler hands out sessions that never heard of ours, every statement that writes is a transaction that says its level.
func (s *Store) lookAtIsolation(ctx context.Context) error {
	if !s.d.pooled {
		return nil
	}
	var level string
	if err := s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_isolation'`, nil, &level)
	}); err != nil {
		return err
	}
	if s.d.sessionsForget = level != "read committed"; s.d.sessionsForget {
		s.log.Warn("the database's default isolation level costs two round trips a refresh behind a pooler: "+
			"ALTER ROLE … SET default_transaction_isolation = 'read committed'", "default_transaction_isolation", level)
	}
	return nil
}

func openPostgres(pg *pgx.ConnConfig, maxConns int) *sql.DB {
	db := stdlib.OpenDB(*pg, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, sessionSettings, pgx.QueryExecModeSimpleProtocol)
		return err
	}))
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

func openSQLite(path string, maxConns int) (*sql.DB, error) {
	// Created here so that only the owner can read it; SQLite gives its side files the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the database file: %w", err)
	}
	f.Close()
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(4000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)",
	}}
	escaped := strings.NewReplacer("%", "%25", "#", "%23", "?", "%3F").Replace(path)
	db, err := sql.Open(gormlite.DriverName, "file:"+escaped+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	// A new file's journal is changed once; of several programs that start together all but one are refused, at once.
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		lite, busy := errors.AsType[*sqlite.Error](db.Ping())
		if !busy || lite.Code()&0xff != 5 || time.Since(begin) > queryTimeout {
			return db, nil // whatever else it is, the first statement says so
		}
	}
}
