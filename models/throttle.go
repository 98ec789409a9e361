package models

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
)

// Limits bound how often somebody may guess wrong, per Window; each allowance comes back evenly over the Window.
// Guesses are counted in the database, so all nodes share the limits. The zero value of each means its default; see
// [Default].
type Limits struct {
	Window            time.Duration // in which the whole allowance comes back
	PerAccountAddress int           // wrong passwords for one account from one address
	PerAccount        int           // for one account from addresses where the user has no device
	PerAddress        int           // from one address, passwords and client secrets
	PerClient         int           // wrong secrets for one client from one address
}

// ThrottledError: too many wrong guesses; nothing was checked. Answer 429 with Retry-After.
type ThrottledError struct{ RetryAfter time.Duration }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed attempts; try again in %s", e.RetryAfter.Round(time.Second))
}

// guess is one thing that a wrong guess counts against.
type guess struct {
	key   string // a keyed hash: the table is no list of users
	every time.Duration
}

func (s *Store) guess(allowed int, kind string, names ...string) guess {
	parts := [][]byte{[]byte(kind)}
	for _, n := range names {
		parts = append(parts, []byte{0}, []byte(n))
	}
	sum := mac(s.secret.current().throttle, parts...)
	return guess{
		key: base64.RawURLEncoding.EncodeToString(sum[:16]), every: s.cfg.Limits.Window / time.Duration(allowed),
	}
}

// charge counts one guess against each, all or none: it is taken before the guess is looked at, so that many at once
// cannot pass, and given back by refund when it was right. It is a GCRA in one statement: tat is the theoretical
// arrival time, the moment at which the whole allowance is back.
func (s *Store) charge(ctx context.Context, guesses ...guess) error {
	slices.SortFunc(guesses, func(a, b guess) int { return cmp.Compare(a.key, b.key) })
	a := args{"window": s.cfg.Limits.Window}
	values := make([]string, len(guesses))
	for i, g := range guesses {
		values[i] = fmt.Sprintf("(%d, CAST(@k%d AS text), CAST(@every%d AS bigint))", i, i, i)
		a[fmt.Sprint("k", i)], a[fmt.Sprint("every", i)] = g.key, g.every
	}
	asked := `WITH asked (i, k, every) AS (VALUES ` + strings.Join(values, ", ") + `)`
	var passed []guess
	err := s.count(ctx, func(tx *gorm.DB) error {
		passed = passed[:0]
		return s.rows(tx, asked+` INSERT INTO rate_limits (k, tat) SELECT a.k, {now} + a.every FROM asked a
			WHERE NOT EXISTS (
				SELECT 1 FROM asked b JOIN rate_limits r ON r.k = b.k WHERE r.tat + b.every - {now} > @window) ORDER BY a.i
			ON CONFLICT (k) DO UPDATE SET tat = {greatest}(rate_limits.tat, {now}) + excluded.tat - {now}
			WHERE {greatest}(rate_limits.tat, {now}) + excluded.tat - {now} - {now} <= @window RETURNING k`, a,
			func(scan func(...any) error) error {
				var k string
				err := scan(&k)
				i := slices.IndexFunc(guesses, func(g guess) bool { return g.key == k })
				passed = append(passed, guesses[max(0, i)])
				return err
			})
	})
	if err != nil || len(passed) == len(guesses) {
		return err
	}
	// Another one took the last of an allowance since the statement began: a refused guess is not a guess.
	if len(passed) > 0 {
		s.refund(ctx, "", passed...)
	}
	var wait int64
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, asked+` SELECT coalesce(max(r.tat + a.every - @window - {now}), 0)
			FROM asked a JOIN rate_limits r ON r.k = a.k`, a, &wait)
	})
	if err != nil {
		return err
	}
	return &ThrottledError{RetryAfter: time.Duration(max(0, wait))*time.Microsecond + time.Second}
}

// refund takes a charge back; forget, if not empty, is the key whose count a success clears. It is worth no failure.
func (s *Store) refund(ctx context.Context, forget string, guesses ...guess) {
	slices.SortFunc(guesses, func(a, b guess) int { return cmp.Compare(a.key, b.key) })
	a := args{}
	values := make([]string, len(guesses))
	for i, g := range guesses {
		every := g.every
		if g.key == forget {
			every = s.cfg.Limits.Window
		}
		values[i] = fmt.Sprintf("(%d, CAST(@k%d AS text), CAST(@every%d AS bigint))", i, i, i)
		a[fmt.Sprint("k", i)], a[fmt.Sprint("every", i)] = g.key, every
	}
	// The rows are locked in the order of charge.
	err := s.count(context.WithoutCancel(ctx), func(tx *gorm.DB) error {
		_, err := s.exec(tx, `WITH back (i, k, every) AS (VALUES `+strings.Join(values, ", ")+`)
			UPDATE rate_limits SET tat = tat - (SELECT b.every FROM back b WHERE b.k = rate_limits.k)
			WHERE k IN (SELECT l.k FROM rate_limits l JOIN back b ON b.k = l.k ORDER BY b.i {lock l})`, a)
		return err
	})
	if err != nil {
		s.log.Warn("a guess that does not count could not be taken off the limits", "error", err)
	}
}

// count runs one statement that counts guesses, after waiting for a place among those who do.
func (s *Store) count(ctx context.Context, fn func(tx *gorm.DB) error) error {
	waiting, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	select {
	case s.counting <- struct{}{}:
		defer func() { <-s.counting }()
		return s.autocommit(ctx, fn)
	case <-waiting.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, waiting.Err())
	}
}

// blockedSet remembers on this node who has used up the allowance for client secrets, so that a right guess is not
// let through either. Bounded: when it is full it starts anew, and the database says again who is out.
type blockedSet struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (b *blockedSet) any() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.until) > 0
}

func (b *blockedSet) remaining(key string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.until[key])
}

func (b *blockedSet) block(key string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until == nil || len(b.until) > 10_000 {
		b.until = map[string]time.Time{}
	}
	b.until[key] = time.Now().Add(d)
}
