package models

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
)

// Limits bound how often somebody may guess wrong, per Window; each allowance comes back evenly over the Window.
// Guesses are counted in the database, so all nodes share the limits. The zero value means the defaults.
type Limits struct {
	Window            time.Duration // default 15m
	PerAccountAddress int           // wrong passwords for one account from one address; default 10
	PerAccount        int           // for one account from addresses where the user has no device; default 50
	PerAddress        int           // from one address, passwords and client secrets; default 100
	PerClient         int           // wrong secrets for one client from one address; default 30
}

func (l Limits) withDefaults() Limits {
	l.Window = cmp.Or(l.Window, 15*time.Minute)
	l.PerAccountAddress = cmp.Or(l.PerAccountAddress, 10)
	l.PerAccount = cmp.Or(l.PerAccount, 50)
	l.PerAddress = cmp.Or(l.PerAddress, 100)
	l.PerClient = cmp.Or(l.PerClient, 30)
	return l
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
	sum := mac(s.secret.current().throttl, parts...)
	return guess{key: base64.RawURLEncoding.EncodeToString(sum[:16]), every: s.cfg.Limits.Window / time.Duration(allowed)}
}

// AddressPrefix is what one subscriber's addresses have in common: an IPv4 address, or the /64 of an IPv6 one.
func AddressPrefix(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	p, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
	return p.String()
}

// charge counts one guess against each, all or none: it is taken before the guess is looked at, so that many at once
// cannot pass, and given back by refund when it was right. It is a GCRA in one statement: tat is the theoretical
// arrival time, the moment at which the whole allowance is back.
func (s *Store) charge(ctx context.Context, guesses ...guess) error {
	slices.SortFunc(guesses, func(a, b guess) int { return cmp.Compare(a.key, b.key) })
	a := args{"window": s.cfg.Limits.Window.Microseconds()}
	values := make([]string, len(guesses))
	for i, g := range guesses {
		values[i] = fmt.Sprintf("(%d, CAST(@k%d AS text), CAST(@every%d AS bigint))", i, i, i)
		a[fmt.Sprint("k", i)], a[fmt.Sprint("every", i)] = g.key, g.every.Microseconds()
	}
	asked := `WITH asked (i, k, every) AS (VALUES ` + strings.Join(values, ", ") + `)`
	var passed []guess
	err := s.count(ctx, func(tx *gorm.DB) error {
		passed = passed[:0]
		return s.rows(tx, asked+` INSERT INTO rate_limits (k, tat) SELECT a.k, {now} + a.every FROM asked a
			WHERE NOT EXISTS (SELECT 1 FROM asked b JOIN rate_limits r ON r.k = b.k WHERE r.tat + b.every - {now} > @window) ORDER BY a.i
			ON CONFLICT (k) DO UPDATE SET tat = {greatest}(rate_limits.tat, {now}) + excluded.tat - {now}
			WHERE {greatest}(rate_limits.tat, {now}) + excluded.tat - {now} - {now} <= @window RETURNING k`, a,
			func(scan func(...any) error) error {
				var k string
				err := scan(&k)
				passed = append(passed, guesses[max(0, slices.IndexFunc(guesses, func(g guess) bool { return g.key == k }))])
				return err
			})
	})
	if err != nil || len(passed) == len(guesses) {
		return err
	}
	if len(passed) > 0 { // another one took the last of an allowance since the statement began: a refused guess is not a guess
		s.refund(ctx, "", passed...)
	}
	var wait int64
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, asked+` SELECT coalesce(max(r.tat + a.every - @window - {now}), 0) FROM asked a JOIN rate_limits r ON r.k = a.k`, a, &wait)
	})
	if err != nil {
		return err
	}
	return &ThrottledError{RetryAfter: time.Duration(max(0, wait))*time.Microsecond + time.Second}
}

// refund takes a charge back; forget, if not empty, is the key whose count a success clears. It is worth no failure.
func (s *Store) refund(ctx context.Context, forget string, guesses ...guess) {
	slices.SortFunc(guesses, func(a, b guess) int { return cmp.Compare(a.key, b.key) })
	// The rows are locked in the order of charge.
	a := args{}
	var order, amount, keys []string
	for i, g := range guesses {
		every := g.every.Microseconds()
		if g.key == forget {
			every = s.cfg.Limits.Window.Microseconds()
		}
		k := fmt.Sprint("k", i)
		a[k], a[fmt.Sprint("every", i)] = g.key, every
		order, amount, keys = append(order, fmt.Sprintf("WHEN @%s THEN %d", k, i)), append(amount, fmt.Sprintf("WHEN @%s THEN CAST(@every%d AS bigint)", k, i)), append(keys, "@"+k)
	}
	err := s.count(context.WithoutCancel(ctx), func(tx *gorm.DB) error {
		_, err := s.exec(tx, `UPDATE rate_limits SET tat = tat - CASE k `+strings.Join(amount, " ")+` END WHERE k IN (
			SELECT k FROM rate_limits WHERE k IN (`+strings.Join(keys, ", ")+`) ORDER BY CASE k `+strings.Join(order, " ")+` END {lock})`, a)
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
		return s.single(ctx, fn)
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
