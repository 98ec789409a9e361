package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"gorm.io/gorm"
)

// How statements run: alone ([Store.read], [Store.autocommit]) or as a unit of work ([Store.write]), with named
// parameters.

// read runs statements outside a transaction: each sees the state of its own start.
func (s *Store) read(ctx context.Context, fn func(tx *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return dbError(again(func() error { return s.withCurrentPlans(ctx, fn) }))
}

// autocommit runs one statement that writes; fn may run again. Like write it goes on when the caller has hung up.
func (s *Store) autocommit(ctx context.Context, fn func(tx *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	unlock, err := s.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	run := fn
	if s.d.sessionsForget {
		run = func(tx *gorm.DB) error { return tx.Transaction(fn, s.d.transaction) }
	}
	return dbError(again(func() error { return s.withCurrentPlans(ctx, run) }))
}

// again runs fn once more when it lost a race. A statement of its own does so only under another isolation level than
// ours, where it is refused what it should wait for and look at again.
func again(fn func() error) (err error) {
	for range maxRetries + 1 {
		if err = fn(); !lostRace(err) {
			break
		}
	}
	return err
}

// write runs fn in a transaction and commits unless fn fails; see [commitAndFail]. A caller that hangs up does not stop
// it half way: the answer is lost then, the work is not. fn may run again when the transaction lost a race.
//
// Inside, rows are locked in this order: code, user, client, devices, realm. The realm comes last: it is everybody's.
func (s *Store) write(ctx context.Context, fn func(tx *gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	unlock, err := s.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for try := 0; ; try++ {
		var failed *committedError
		err := s.withCurrentPlans(ctx, func(tx *gorm.DB) error {
			return tx.Transaction(func(tx *gorm.DB) error {
				err := fn(tx)
				if failed, _ = errors.AsType[*committedError](err); failed != nil {
					return nil
				}
				return err
			}, s.d.transaction)
		})
		if err == nil {
			s.committed.wake()
		}
		switch {
		case err == nil && failed != nil:
			return failed
		case !lostRace(err) && !errors.Is(err, errAgain), try == maxRetries:
			return dbError(err)
		}
	}
}

// maxRetries is how often work that others overtook begins anew.
const maxRetries = 3

// errAgain, returned from a write, asks for another try with the newest state.
var errAgain = fmt.Errorf("%w: another request was faster each time", ErrUnavailable)

// commitAndFail, returned from a write, commits what was written and fails all the same: a replay signs the device out,
// and whoever sent it is refused.
func commitAndFail(err error) error { return &committedError{err} }

type committedError struct{ error }

func (e *committedError) Unwrap() error { return e.error }

// withCurrentPlans runs fn again for as long as its prepared statements are of an older schema.
func (s *Store) withCurrentPlans(ctx context.Context, fn func(tx *gorm.DB) error) (err error) {
	for range maxStalePlans {
		if err = fn(s.db.WithContext(ctx)); !stalePlan(err) {
			break
		}
	}
	return err
}

// lockWriter takes SQLite's one place for writers, in the order they came; on PostgreSQL there is nothing to take.
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

// args are the named parameters of a statement. A time.Duration goes in as microseconds; a []uuid.UUID is for {in …}.
type args map[string]any

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

// now is the database's clock.
func (s *Store) now(tx *gorm.DB) (now Micros, err error) {
	return now, s.row(tx, `SELECT {now} FROM realm`, nil, &now)
}

// bind gives the driver's form of a statement and its parameters in the driver's order.
func (d *dialect) bind(query string, a args) (string, []any) {
	cached, ok := d.prepared.Load(query)
	if !ok {
		cached, _ = d.prepared.LoadOrStore(query, d.prepare(query))
	}
	st := cached.(*statement)
	values := make([]any, len(st.names))
	for i, name := range st.names {
		if name == clockName {
			values[i] = d.micros()
			continue
		}
		v, ok := a[name]
		if !ok {
			panic("models: no value for @" + name + " in: " + query)
		}
		switch v := v.(type) {
		case Micros:
			values[i] = int64(v)
		case time.Duration:
			values[i] = v.Microseconds()
		case []uuid.UUID:
			values[i] = d.uuidList(v)
		default:
			values[i] = v
		}
	}
	return st.text, values
}

// column is one value of each element: an array for the statements that many requests share.
func column[T, V any](list []T, value func(T) V) []V {
	values := make([]V, len(list))
	for i, element := range list {
		values[i] = value(element)
	}
	return values
}

// uuidOf is an element of a uuid[]. A list of these is one of the types that pgx can send without having asked what the
// statement takes, which it does not behind pgbouncer (default_query_exec_mode=exec).
func uuidOf(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }
