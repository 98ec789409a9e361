package models

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// The issue horizon orders tokens and revocations without making either wait for the other; docs/no-survivor.md has the
// proof.
//
// No token is issued with an issue time above the horizon that its statement read. A revocation of a user, a client or
// everyone locks the realm's row, takes the horizon as its valid_from, and pushes the horizon above it, all in one
// commit. So whoever read the state before that commit issued at or below the horizon it replaced, hence at or below
// valid_from, and whoever reads the state after it issues above. No clock decides: it may stop or step back.

// horizonLead is how far ahead of the clock the issue horizon is set.
const horizonLead = time.Second

// keepHorizonAhead is told each issue's clock and the horizon that it read. It pushes the horizon in the background
// while tokens are being issued, so that a refresh need not.
func (s *Store) keepHorizonAhead(now, horizon Micros) {
	if horizon.Sub(now) > horizonLead/2 || !s.pushingHorizon.CompareAndSwap(false, true) {
		return
	}
	s.background.Go(func() {
		defer s.pushingHorizon.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.pushHorizon(ctx, 0); err != nil {
			s.log.Warn("the issue horizon could not be pushed ahead; the next sign-in or refresh will do it", "error", err)
		}
	})
}

// pushHorizon moves the horizon to at least issue, and to the lead before the clock.
func (s *Store) pushHorizon(ctx context.Context, issue Micros) error {
	return s.autocommit(ctx, func(tx *gorm.DB) error { return s.pushHorizonIn(tx, issue) })
}

func (s *Store) pushHorizonIn(tx *gorm.DB, issue Micros) error {
	_, err := s.exec(tx, `UPDATE realm SET horizon = {greatest}(horizon, @issue, {now} + @lead)`,
		args{"issue": issue, "lead": horizonLead})
	return err
}

// lockedRealm is what a revocation gets from the realm while it holds the row: until the commit nobody else appends to
// the log, and nobody moves the horizon.
type lockedRealm struct {
	ValidFrom Micros // at or above every issue time so far, below every later one of a state that sees this commit
	LastSeq   int64  // the last of the sequence numbers that were taken
	Now       Micros
	ExpiresAt Micros // when the last token that ValidFrom ends has expired
}

// lockRealm locks the realm's row and takes n sequence numbers. It must be the last lock of its transaction. The last
// number is the clock's microsecond, or later: so a database that lost its end, restored or promoted, gives no number a
// second time, and who follows the log takes no new event for an old one.
func (s *Store) lockRealm(tx *gorm.DB, n int) (r lockedRealm, err error) {
	var horizon Micros
	var longestTTL int64
	// mutant: events-without-order
	err = s.row(tx, `UPDATE realm SET
			last_seq = {greatest}(last_seq + @n, CASE WHEN @n > 0 THEN {now} ELSE 0 END),
			horizon = {greatest}(horizon + 1, {now} + @lead)
		-- mutant: valid-from-is-the-clock-before-its-commit
		RETURNING horizon, last_seq, longest_access_ttl, {now}`,
		args{"n": n, "lead": horizonLead}, &horizon, &r.LastSeq, &longestTTL, &r.Now)
	if err != nil {
		return r, fmt.Errorf("the realm's row: %w", err)
	}
	r.ValidFrom = horizon - 1
	roundingUp := 2 * time.Second // of the issue and of the expiry
	r.ExpiresAt = (r.ValidFrom + Micros(longestTTL)).Add(Leeway + roundingUp)
	return r, nil
}
