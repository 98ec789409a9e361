package models

import (
	"context"
	"database/sql"
	"database/sql/driver"
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
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// dialect holds all that differs between PostgreSQL and SQLite.
type dialect struct {
	postgres bool
	pgConfig *pgx.ConnConfig // for LISTEN, on a connection of its own
	words    *strings.Replacer
	clock    func() time.Time // SQLite's clock is this process's
	last     atomic.Int64     // the newest value that clock gave: it never goes back
	prepared sync.Map         // text as written -> statement
}

// statement is an SQL text with the driver's own placeholders, and the names of its parameters in order.
type statement struct {
	text  string
	names []string
}

// The words that the statements of this package are written in, beside @name for a parameter.
var (
	postgresWords = strings.NewReplacer(
		"{now}", "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
		"{greatest}", "greatest", "{least}", "least", "{lower}", "lower",
		"{lock}", "FOR NO KEY UPDATE", "{lock d}", "FOR NO KEY UPDATE OF d", "{lock free}", "FOR UPDATE SKIP LOCKED", "{horizon}", "r.horizon",
	)
	// SQLite has one writer: a write transaction begins with the lock on everything (_txlock=immediate).
	sqliteWords = strings.NewReplacer(
		"{now}", "@now", "{greatest}", "max", "{least}", "min", "{lower}", sqliteLower, "{lock}", "", "{lock d}", "", "{lock free}", "", "{horizon}", "(SELECT horizon FROM realm)",
	)
	parameter = regexp.MustCompile(`@[a-z_]+[0-9]*`)
)

// sqliteLower lowers every letter; SQLite's own lower knows those of ASCII only.
const sqliteLower = "curfew_lower"

func init() {
	sqlite.MustRegisterDeterministicScalarFunction(sqliteLower, 1, func(_ *sqlite.FunctionContext, in []driver.Value) (driver.Value, error) {
		text, _ := in[0].(string)
		return strings.ToLower(text), nil
	})
}

// args are the named parameters of a statement.
type args map[string]any

// uuidOf is an element of a uuid[]. A list of these is one of the types that pgx can send without having asked what the
// statement takes, which it does not behind pgbouncer (default_query_exec_mode=exec).
func uuidOf(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// bind gives the driver's form of a statement and its parameters in the driver's order.
func (d *dialect) bind(query string, a args) (string, []any) {
	cached, ok := d.prepared.Load(query)
	if !ok {
		cached, _ = d.prepared.LoadOrStore(query, d.prepare(query))
	}
	st := cached.(*statement)
	values := make([]any, len(st.names))
	for i, name := range st.names {
		if name == "now" {
			values[i] = d.micros()
			continue
		}
		v, ok := a[name]
		if !ok {
			panic("models: no value for @" + name + " in: " + query)
		}
		values[i] = v
	}
	return st.text, values
}

func (d *dialect) prepare(query string) *statement {
	st, number := &statement{}, map[string]int{}
	st.text = parameter.ReplaceAllStringFunc(d.words.Replace(query), func(name string) string {
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

// raw runs a statement through GORM, for scanning into structs.
func (s *Store) raw(tx *gorm.DB, query string, a args) *gorm.DB {
	text, values := s.d.bind(query, a)
	return tx.Raw(text, values...)
}

// exec runs a statement that returns no row and says how many rows it touched.
func (s *Store) exec(tx *gorm.DB, query string, a args) (int64, error) {
	text, values := s.d.bind(query, a)
	res, err := tx.Statement.ConnPool.ExecContext(tx.Statement.Context, text, values...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// row runs a statement that returns at most one row; sql.ErrNoRows says that there was none.
func (s *Store) row(tx *gorm.DB, query string, a args, dest ...any) error {
	text, values := s.d.bind(query, a)
	return tx.Statement.ConnPool.QueryRowContext(tx.Statement.Context, text, values...).Scan(dest...)
}

// rows runs a statement and calls fn for each of its rows, with what scans it.
func (s *Store) rows(tx *gorm.DB, query string, a args, fn func(scan func(dest ...any) error) error) error {
	text, values := s.d.bind(query, a)
	rows, err := tx.Statement.ConnPool.QueryContext(tx.Statement.Context, text, values...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// openDatabase understands `sqlite:PATH` and `postgres://…`. It opens no connection yet on PostgreSQL.
func openDatabase(cfg Config) (*dialect, *sql.DB, gorm.Dialector, error) {
	d := &dialect{clock: cfg.Clock}
	if path, ok := strings.CutPrefix(cfg.DatabaseURL, "sqlite:"); ok {
		d.words = sqliteWords
		db, err := openSQLite(path)
		if err != nil {
			return nil, nil, nil, err
		}
		return d, db, &gormlite.Dialector{Conn: db}, nil
	}
	if !strings.HasPrefix(cfg.DatabaseURL, "postgres://") && !strings.HasPrefix(cfg.DatabaseURL, "postgresql://") {
		return nil, nil, nil, invalid("the database URL takes sqlite:PATH or postgres://…")
	}
	d.postgres, d.words = true, postgresWords
	pg, err := pgx.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		return nil, nil, nil, invalid("the database URL: %s", strings.ReplaceAll(err.Error(), cfg.DatabaseURL, "…"))
	}
	if pg.ConnectTimeout == 0 {
		pg.ConnectTimeout = queryTimeout
	}
	d.pgConfig = pg.Copy()
	if cfg.NotifyURL != "" {
		if d.pgConfig, err = pgx.ParseConfig(cfg.NotifyURL); err != nil {
			return nil, nil, nil, invalid("the notify URL: %s", strings.ReplaceAll(err.Error(), cfg.NotifyURL, "…"))
		}
	}
	// Set by a statement and not as start-up parameters, which pgbouncer refuses. A node that freezes inside a transaction
	// must not hold the realm's lock for ever. Compiling our short statements costs PostgreSQL a hundred times what running them does; and what they
	// look up is in memory or on a disk without a head, so a few thousand look-ups are cheaper than reading a whole table.
	db := stdlib.OpenDB(*pg, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET jit = off; SET random_page_cost = 1.1; SET statement_timeout = '30s'; SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '4s'",
			pgx.QueryExecModeSimpleProtocol)
		return err
	}))
	db.SetMaxOpenConns(cfg.MaxConns)
	db.SetMaxIdleConns(cfg.MaxConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return d, db, postgres.New(postgres.Config{Conn: db}), nil
}

func openSQLite(path string) (*sql.DB, error) {
	// Created here so that only the owner can read it; SQLite gives its side files the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the database file: %w", err)
	}
	f.Close()
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range []string{"busy_timeout(4000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)"} {
		q.Add("_pragma", p)
	}
	escaped := strings.NewReplacer("%", "%25", "#", "%23", "?", "%3F").Replace(path)
	db, err := sql.Open(gormlite.DriverName, "file:"+escaped+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	// A new file's journal is changed once; of several programs that start together all but one are refused, at once.
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		lite, busy := errors.AsType[*sqlite.Error](db.Ping())
		if !busy || lite.Code()&0xff != 5 || time.Since(begin) > queryTimeout {
			return db, nil // whatever else it is, the first statement says so
		}
	}
}
