package models

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// Limits bound how often somebody may guess wrong, per Window, and what may be done successfully; each allowance comes
// back evenly over the Window. What is counted is counted in the database, so all nodes share the limits; what may be
// at a time is each node's own. The zero value of each means its default; see [Default].
type Limits struct {
	Window            time.Duration // in which the whole allowance comes back
	PerAccountAddress int           // wrong passwords for one account from one address
	PerAccount        int           // for one account from addresses where the user has no signed-in device
	PerDevice         int           // for one account from elsewhere, naming a signed-in device of the user
	PerAddress        int           // from one address, passwords and client secrets
	PerClient         int           // wrong secrets for one client from one address

	SignIns     int // right passwords of one user
	Renames     int // of devices, by one user
	Codes       int // authorization codes of one user
	Subscribers int // names of one client; those that are known go on
	Waits       int // for receipts, of one caller at a time
}

// ThrottledError: a limit has been reached; nothing was checked and nothing was done. Answer 429 with Retry-After.
type ThrottledError struct {
	RetryAfter time.Duration
	What       string // there is too much of; empty: failed attempts
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("%s; try again in %s", e.Public(), e.RetryAfter.Round(time.Second))
}

// Public is what a client is told, without the time.
func (e *ThrottledError) Public() string { return "too many " + cmp.Or(e.What, "failed attempts") }

// limit is a kind of things that are counted.
type limit struct {
	name string // in the audit log and for admins
	mark string // in the keys of an account, a hexadecimal digit
	what string // for [ThrottledError]; empty: failed attempts
}

var (
	limitAccountAddress = limit{name: "per_account_address", mark: "a"}
	limitAccount        = limit{name: "per_account", mark: "b"}
	limitDevice         = limit{name: "per_device", mark: "c"}
	limitSignIns        = limit{name: "sign_ins", mark: "d", what: "sign-ins"}
	limitRenames        = limit{name: "renames", mark: "e", what: "renames"}
	limitCodes          = limit{name: "codes", mark: "f", what: "sign-ins of apps"}
	limitAddress        = limit{name: "per_address"}
	limitClient         = limit{name: "per_client"}
)

// guess is one thing that a wrong guess counts against.
type guess struct {
	limit
	key   string // a keyed hash: the table is no list of users
	every time.Duration
}

// allowance is how much of a limit there is in a window.
func (s *Store) allowance(l limit) int {
	all := s.cfg.Limits
	switch l {
	case limitAccountAddress:
		return all.PerAccountAddress
	case limitAccount:
		return all.PerAccount
	case limitDevice:
		return all.PerDevice
	case limitSignIns:
		return all.SignIns
	case limitRenames:
		return all.Renames
	case limitCodes:
		return all.Codes
	case limitClient:
		return all.PerClient
	}
	return all.PerAddress
}

func (s *Store) guess(l limit, names ...string) guess {
	every := s.cfg.Limits.Window / time.Duration(s.allowance(l))
	return guess{limit: l, key: s.limitKey(16, l.name, names...), every: every}
}

// accountGuess is a guess whose key begins with what all those of the account begin with, so that they can be found.
func (s *Store) accountGuess(l limit, account string, names ...string) guess {
	g := s.guess(l, append([]string{account}, names...)...)
	g.key = s.accountPrefix(account) + l.mark + g.key
	return g
}

// accountPrefix is hexadecimal like the rest of a key, so that every collation sorts them alike.
func (s *Store) accountPrefix(account string) string { return s.limitKey(8, "account", account) }

func (s *Store) limitKey(size int, kind string, names ...string) string {
	parts := [][]byte{[]byte(kind)}
	for _, n := range names {
		parts = append(parts, []byte{0}, []byte(n))
	}
	return hex.EncodeToString(mac(s.secret.current().throttle, parts...)[:size])
}

// refusal is a guess that a charge was refused for, and for how long it would be.
type refusal struct {
	guess
	wait time.Duration
}

// refusals is the error of a charge: the longest wait comes first.
type refusals []refusal

func (r refusals) Error() string { return r.throttled().Error() }

func (r refusals) throttled() *ThrottledError {
	return &ThrottledError{RetryAfter: r[0].wait, What: r[0].what}
}

// charge counts one guess against each, all or none: it is taken before the guess is looked at, so that many at once
// cannot pass, and given back by refund when it was right. It is a GCRA in one statement: tat is the theoretical
// arrival time, the moment at which the whole allowance is back. It returns those whose allowance is used up by it, or
// [refusals].
func (s *Store) charge(ctx context.Context, guesses ...guess) (usedUp []guess, err error) {
	slices.SortFunc(guesses, func(a, b guess) int { return cmp.Compare(a.key, b.key) })
	a := args{"window": s.cfg.Limits.Window}
	values := make([]string, len(guesses))
	for i, g := range guesses {
		values[i] = fmt.Sprintf("(%d, CAST(@k%d AS text), CAST(@every%d AS bigint))", i, i, i)
		a[fmt.Sprint("k", i)], a[fmt.Sprint("every", i)] = g.key, g.every
	}
	asked := `WITH asked (i, k, every) AS (VALUES ` + strings.Join(values, ", ") + `)`
	var passed []guess
	err = s.count(ctx, func(tx *gorm.DB) error {
		passed, usedUp = passed[:0], usedUp[:0]
		return s.rows(tx, asked+` INSERT INTO rate_limits (k, tat) SELECT a.k, {now} + a.every FROM asked a
			WHERE NOT EXISTS (
				SELECT 1 FROM asked b JOIN rate_limits r ON r.k = b.k WHERE r.tat + b.every - {now} > @window) ORDER BY a.i
			ON CONFLICT (k) DO UPDATE SET tat = {greatest}(rate_limits.tat, {now}) + excluded.tat - {now}
			WHERE {greatest}(rate_limits.tat, {now}) + excluded.tat - {now} - {now} <= @window RETURNING k, tat - {now}`, a,
			func(scan func(...any) error) error {
				var k string
				var back Micros // until the whole allowance is
				err := scan(&k, &back)
				g := guesses[max(0, slices.IndexFunc(guesses, func(g guess) bool { return g.key == k }))]
				passed = append(passed, g)
				if back.Add(g.every) > Micros(s.cfg.Limits.Window.Microseconds()) {
					usedUp = append(usedUp, g)
				}
				return err
			})
	})
	if err != nil || len(passed) == len(guesses) {
		return usedUp, err
	}
	// Another one took the last of an allowance since the statement began: a refused guess is not a guess.
	if len(passed) > 0 {
		s.refund(ctx, "", passed...)
	}
	refused, err := s.whoRefused(ctx, asked, a, guesses)
	if err != nil {
		return nil, err
	}
	if len(refused) == 0 { // it came back since
		refused = refusals{{guess: guesses[0], wait: time.Second}}
	}
	return nil, refused
}

// whoRefused finds the guesses whose allowance is used up.
func (s *Store) whoRefused(ctx context.Context, asked string, a args, guesses []guess) (refused refusals, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		refused = nil
		return s.rows(tx, asked+` SELECT a.i, r.tat + a.every - @window - {now}
			FROM asked a JOIN rate_limits r ON r.k = a.k WHERE r.tat + a.every - @window > {now}`, a,
			func(scan func(...any) error) error {
				var i int
				var wait Micros
				err := scan(&i, &wait)
				refused = append(refused, refusal{guesses[i], wait.Sub(0) + time.Second})
				return err
			})
	})
	slices.SortFunc(refused, func(a, b refusal) int { return cmp.Compare(b.wait, a.wait) })
	return refused, err
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
