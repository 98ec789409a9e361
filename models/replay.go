package models

import (
	"context"
	"errors"
	"fmt"
	"time"

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
//
// A token of another sign-in or of another client is nobody's here: it changes nothing. Of this one, the predecessor of
// the current token is a retry, for as long as nobody has used its successor:
//
//   - within the reuse interval, from where the successor was made for, or at once: the very same successor;
//   - within the interval from elsewhere, or later within the client's window for a lost answer: a fresh successor, and
//     the one before is dead. Of two who hold one chain, the second one is found out when it uses what it has;
//
// and everything else is a replay.
func (s *Store) decideRetryOrReplay(ctx context.Context, q rotation) (r rotated, err error) {
	_, err = s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		var p presented
		if err := s.lockPresented(tx, q, &p); err != nil {
			r = p.rotated
			return nil, err
		}
		r = p.rotated
		d := p.device
		// mutant: reuse-unbounded-in-time
		within := p.age < s.cfg.ReuseInterval
		// mutant: predecessor-always-gets-the-same-successor
		same := (q.origin.IP != "" && q.origin == (Origin{d.IP, d.UserAgent})) || p.age < raceWindow
		// mutant: reuse-unbounded-in-generations
		retry := q.RefreshID == d.PreviousRefreshID
		switch {
		case q.RefreshID == d.RefreshID:
			return nil, s.rotateReleased(tx, q, &r)
		case retry && within && same:
			return nil, s.answerRetry(tx, q, &r, d.RefreshID)
		case retry && (within || p.age < p.lostAnswer):
			return nil, s.answerRetry(tx, q, &r, q.next)
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

// presented is a token of this sign-in with the row it is judged by.
type presented struct {
	rotated
	age        time.Duration // since the predecessor was rotated away
	lostAnswer time.Duration // the client's window
}

// lockPresented locks the row and finds out whether it could answer at all.
func (s *Store) lockPresented(tx *gorm.DB, q rotation, p *presented) error {
	d := &Device{}
	p.device = d
	if err := s.lockDevice(tx, q.DeviceID, d); err != nil {
		return whenNotFound(err, ErrRefreshTokenInvalid)
	}
	if err := s.isCurrent(tx, q.client); err != nil {
		return err
	}
	// A statement of its own: what it reads is newer than the lock.
	var alive bool
	var window int64
	err := s.row(tx, `SELECT `+aliveDevice+` AND `+withinLifetimes+`, `+deviceExpiry+`, `+lostAnswer+`, r.horizon, {now}
		FROM devices d, users u, clients c, realm r WHERE d.id = @id AND`+ruleJoin,
		s.lifetimes(args{"id": d.ID}), &alive, &d.ExpiresAt, &window, &p.horizon, &p.now)
	switch {
	case err != nil: // its user or client may be gone
		return whenNotFound(err, ErrRefreshTokenInvalid)
	case !alive, !sameFamily(q.RefreshID, d.RefreshID), d.ClientID != q.client.ID:
		return ErrRefreshTokenInvalid
	}
	p.age, p.lostAnswer = p.now.Sub(d.RotatedAt), time.Duration(window)*time.Microsecond
	return nil
}

func replayedBy(q rotation) Actor {
	return Actor{Entity: EntityPolicy, IP: q.origin.IP, UserAgent: q.origin.UserAgent}
}

func replayDetail(q rotation, d *Device) detail {
	return detail{
		"owner_ip": d.IP, "owner_user_agent": d.UserAgent,
		"replay_ip": q.origin.IP, "replay_user_agent": q.origin.UserAgent,
	}
}

// mayAnswer is what a token that is good must meet too, current or a retry. Only whoever may use it is told of the
// scope.
func (r *rotated) mayAnswer(q rotation) error {
	if err := q.narrows(r.device); err != nil {
		return err
	}
	if max(r.now, r.device.IssuedAt) > r.horizon {
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

// answerRetry gives a retry the successor that is there, or a fresh one, which takes its place and is for whoever
// asked. Neither begins the interval anew. The issue time goes into the row, as every one does: a revocation of the
// device must rise above it.
func (s *Store) answerRetry(tx *gorm.DB, q rotation, r *rotated, successor uuid.UUID) error {
	if err := r.mayAnswer(q); err != nil {
		return err
	}
	d, was := r.device, Origin{IP: r.device.IP, UserAgent: r.device.UserAgent}
	d.IssuedAt, r.retry = max(r.now, d.IssuedAt), true
	fresh := successor != d.RefreshID
	if fresh {
		d.RefreshID, d.IP, d.UserAgent = successor, q.origin.IP, q.origin.UserAgent
	}
	if _, err := s.exec(tx, `UPDATE devices SET refresh_id = @successor, issued_at = @issued, last_seen_at = @seen,
			ip = @ip, user_agent = @agent WHERE id = @id`, args{
		"successor": d.RefreshID, "issued": d.IssuedAt, "seen": r.now, "ip": d.IP, "agent": d.UserAgent, "id": d.ID,
	}); err != nil {
		return err
	}
	if q.origin == was {
		return nil
	}
	return s.auditRetry(tx, q, r, was, fresh)
}

// auditRetry tells of a retry from elsewhere, unless it has said little else of the device of late: whoever retries in
// a loop does not fill the log.
func (s *Store) auditRetry(tx *gorm.DB, q rotation, r *rotated, was Origin, fresh bool) error {
	var said int
	if err := s.row(tx, `SELECT count(*) FROM (SELECT type, at FROM audit_events WHERE device_id = @device
			ORDER BY id DESC LIMIT @most) e WHERE type = @type AND at > @since`,
		args{
			"device": r.device.ID.String(), "type": AuditRetried, "since": r.now.Add(-retriesWindow), "most": retriesTold,
		}, &said); err != nil || said == retriesTold {
		return err
	}
	by := Actor{Entity: EntityUser, ID: r.device.UserID.String(), IP: q.origin.IP, UserAgent: q.origin.UserAgent}
	return s.audit(tx, AuditEvent{
		At: r.now, Type: AuditRetried, UserID: r.device.UserID.String(), ClientID: r.device.ClientID,
		DeviceID: r.device.ID.String(), Detail: detail{
			"owner_ip": was.IP, "owner_user_agent": was.UserAgent,
			"retry_ip": q.origin.IP, "retry_user_agent": q.origin.UserAgent, "fresh_successor": fresh,
		},
	}, by)
}

// So many retries of a device are told of in a window.
const (
	retriesTold   = 10
	retriesWindow = 15 * time.Minute
)
