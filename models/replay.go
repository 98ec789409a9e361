package models

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

var (
	errHorizonBehind = errors.New("the issue horizon is behind")
	errRowReleased   = errors.New("whoever held the device's row has let it go") // try again
)

// decideRetryOrReplay decides about a genuine token for which rotate found no row, or one that somebody held. It locks
// the device's row, so what it decides on stays as it is until its commit, and a revocation of the device comes before
// it or after it.
func (s *Store) decideRetryOrReplay(ctx context.Context, q rotation) (r rotated, err error) {
	_, err = s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		d := &Device{}
		r = rotated{device: d}
		if err := s.lockDevice(tx, q.DeviceID, d); err != nil {
			return nil, whenNotFound(err, ErrRefreshTokenInvalid)
		}
		if err := s.isCurrent(tx, q.client); err != nil {
			return nil, err
		}
		// A statement of its own: what it reads is newer than the lock.
		var alive bool
		err := s.row(tx, `SELECT `+aliveDevice+`, r.horizon, {now} FROM devices d, users u, clients c, realm r
			WHERE d.id = @id AND`+ruleJoin, args{"id": d.ID}, &alive, &r.horizon, &r.now)
		switch {
		case err != nil: // its user or client may be gone
			return nil, whenNotFound(err, ErrRefreshTokenInvalid)
		case !alive, !sameFamily(q.RefreshID, d.RefreshID):
			return nil, ErrRefreshTokenInvalid
		}
		// mutant: reuse-unbounded-in-time
		within := r.now < d.RotatedAt.Add(s.cfg.ReuseInterval)
		switch {
		case q.RefreshID == d.RefreshID:
			return nil, s.rotateReleased(tx, q, &r)
		case within && d.PreviousRefreshID == uuid.Nil:
			// The app signed in again a moment ago, and another of its threads still has a token from before.
			return nil, ErrRefreshTokenInvalid
		// mutant: reuse-unbounded-in-generations
		case within && q.RefreshID == d.PreviousRefreshID:
			return nil, s.answerAgain(tx, q, &r)
		case ctx.Err() != nil:
			// The client has hung up: this request was held up on its way, or on a node that froze, and the client has
			// gone on with another one since. It is no theft: nobody gets an answer.
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		out := &SignOut{}
		if err := s.revokeDevices(tx, out, []*Device{d}, ReasonReuse, replayedBy(q), replayDetail(q, d)); err != nil {
			return nil, err
		}
		// mutant: replay-revokes-in-a-transaction-that-rolls-back
		return out, commitAndFail(ErrRefreshTokenReused)
	})
	if errors.Is(err, ErrRefreshTokenReused) {
		s.Stats.Replays.Add(1)
	}
	return r, err
}

func replayedBy(q rotation) Actor {
	return Actor{Entity: EntityPolicy, IP: q.origin.IP, UserAgent: q.origin.UserAgent}
}

func replayDetail(q rotation, d *Device) detail {
	return detail{
		"owner_ip": d.IP, "owner_user_agent": d.UserAgent,
		"replay_ip": q.origin.IP, "replay_user_agent": q.origin.UserAgent, "replay_client_id": q.client.ID,
	}
}

// mayAnswer is what a token that is good must meet too, current or a retry. Only whoever may use it is told of the
// scope.
func (r *rotated) mayAnswer(q rotation) error {
	switch {
	case r.device.ClientID != q.client.ID:
		return ErrRefreshTokenInvalid
	case !covers(r.device.Scope, q.scope):
		return ErrScope
	case max(r.now, r.device.IssuedAt) > r.horizon:
		return errHorizonBehind
	}
	return nil
}

// rotateReleased is for the current token: somebody held the row a moment ago, and has changed nothing that matters.
func (s *Store) rotateReleased(tx *gorm.DB, q rotation, r *rotated) error {
	if err := r.mayAnswer(q); err != nil {
		return err
	}
	done, err := s.rotateAll(tx, []rotation{q})
	if err != nil {
		return err
	}
	if done[0].device == nil {
		return errRowReleased
	}
	*r = done[0]
	return nil
}

// answerAgain gives a retry the successor that is there. The issue time goes into the row, as every one does: a
// revocation of the device must rise above it.
func (s *Store) answerAgain(tx *gorm.DB, q rotation, r *rotated) error {
	if err := r.mayAnswer(q); err != nil {
		return err
	}
	r.device.IssuedAt = max(r.now, r.device.IssuedAt)
	_, err := s.exec(tx, `UPDATE devices SET issued_at = @issued, last_seen_at = @seen, ip = @ip, user_agent = @agent
		WHERE id = @id`, args{
		"issued": r.device.IssuedAt, "seen": r.now, "ip": q.origin.IP, "agent": q.origin.UserAgent, "id": r.device.ID,
	})
	return err
}
