package models

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// Migrate brings the schema up to date, each step in a transaction of its own, and says which versions it applied.
// Several programs may call it at once: on PostgreSQL one of them works and the others wait. Then it gives every user
// the key of today's rules for names.
func Migrate(ctx context.Context, cfg Config) (applied []int64, err error) {
	s, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	defer s.sqldb.Close()
	p, err := s.migrations()
	if err != nil {
		return nil, err
	}
	// SQLite has no lock from goose's look at the version to its step: of two programs the second fails at a step that
	// the first has just done, without a trace, and has to look again. It cannot happen more often than there are
	// steps.
	for range len(p.ListSources()) + 1 {
		var results []*goose.MigrationResult
		results, err = p.Up(ctx)
		if partial, ok := errors.AsType[*goose.PartialError](err); ok {
			results = partial.Applied
		}
		for _, r := range results {
			applied = append(applied, r.Source.Version)
		}
		if err == nil || s.d.postgres {
			break
		}
	}
	if err == nil {
		err = s.renewUsernameKeys(ctx)
	}
	return applied, dbError(err)
}

func (s *Store) migrations() (*goose.Provider, error) {
	dialect, folder := goose.DialectSQLite3, "migrations/sqlite"
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if s.d.postgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
		if err != nil {
			return nil, err
		}
		dialect, folder = goose.DialectPostgres, "migrations/postgres"
		options = append(options, goose.WithSessionLocker(locker))
	}
	sub, err := fs.Sub(migrations, folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, s.sqldb, sub, options...)
}

// checkSchema accepts this program's schema and the next one: while nodes are upgraded one after the other, the old
// ones go on beside the new schema (docs/operations.md, rolling upgrade).
func (s *Store) checkSchema(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if err := s.sqldb.PingContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	p, err := s.migrations()
	if err != nil {
		return err
	}
	sources := p.ListSources()
	want := sources[len(sources)-1].Version
	// Not the provider's own question: it would create its table.
	var have int64
	if err := s.sqldb.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version`).
		Scan(&have); err != nil {
		if err = dbError(err); unavailable(err) {
			return err
		}
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if ok && pg.Code == "42P01" || strings.Contains(err.Error(), "no such table") {
			return fmt.Errorf("%w: it has no tables yet; run `curfew migrate`", ErrSchema)
		}
		return fmt.Errorf("the version of the database schema cannot be read: %w", err)
	}
	if have < want {
		return fmt.Errorf("%w: it is at version %d, this program needs %d; run `curfew migrate`", ErrSchema, have, want)
	}
	return nil
}
