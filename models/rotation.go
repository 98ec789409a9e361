package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Refresh is a refresh grant whose client has been authenticated.
type Refresh struct {
	Token  string
	Client *Client
	Scope  string // narrows this access token; empty for all that the device has
	Origin Origin
}

var (
	errHorizon = errors.New("the issue horizon is behind")
	errCleared = errors.New("what was in the way of the rotation is gone") // somebody else pushed the horizon: rotate again
)

// RefreshDevice rotates the device's refresh id and issues the next pair of tokens: one conditional UPDATE, in
// autocommit. RFC 6749 section 6, RFC 9700 section 4.14.2.
//
// Within the reuse interval the immediate predecessor gets the very same successor again: a client whose answer was lost,
// or two of its threads. Any other genuine token that is not the current one is a replay: it signs the device out, and the
// error is [ErrRefreshTokenReused]. Everything else is [ErrRefreshTokenInvalid] and changes nothing.
func (s *Store) RefreshDevice(ctx context.Context, in Refresh) (*Grant, error) {
	tok, ok := s.secret.parseRefreshToken(in.Token)
	if !ok {
		return nil, ErrRefreshTokenInvalid
	}
	if !in.Client.HasGrant(GrantRefreshToken) {
		return nil, ErrRefreshTokenInvalid
	}
	in.Origin = in.Origin.clean()
	if in.Scope != "" {
		if err := s.checkNarrower(ctx, tok, in.Scope); err != nil {
			return nil, err
		}
	}
	for try := 0; ; try++ {
		d, now, err := s.rotate(ctx, tok, in)
		if errors.Is(err, ErrNotFound) {
			d, now, err = s.judge(ctx, tok, in)
		}
		switch {
		case err == nil:
			return s.grant(d, in.Client, narrowed(d.Scope, in), now)
		case !errors.Is(err, errHorizon) && !errors.Is(err, errCleared):
			return nil, err
		case try == 3:
			return nil, errAgain
		case errors.Is(err, errCleared):
			continue
		}
		if err := s.pushHorizon(ctx, now); err != nil {
			return nil, err
		}
	}
}

// rotate is the whole of an ordinary refresh. The WHERE clause is the one rule and the compare-and-swap in one; the issue
// time is the statement's start, so before its snapshot, and not above the horizon of that snapshot.
func (s *Store) rotate(ctx context.Context, tok refreshToken, in Refresh) (*Device, int64, error) {
	d := &Device{ID: tok.DeviceID, ClientID: in.Client.ID, RefreshID: uuid.New()}
	var now, horizon int64
	err := s.single(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `UPDATE devices AS d SET
				refresh_id = @next, previous_refresh_id = d.refresh_id, rotated_at = {now}, issued_at = {greatest}({now}, d.issued_at),
				expires_at = {least}({now} + @ttl, d.ends_at), last_seen_at = {now}, ip = @ip, user_agent = @agent
			FROM users u, clients c, realm r
			WHERE d.id = @device AND d.refresh_id = @current AND d.client_id = @client AND u.id = d.user_id AND c.id = d.client_id
				AND c.version = @version AND {now} <= r.horizon AND `+aliveDevice+`
			RETURNING user_id, scope, issued_at, expires_at, {now}, {horizon}`, args{
			"next": d.RefreshID, "ttl": s.cfg.RefreshTTL.Microseconds(), "ip": in.Origin.IP, "agent": in.Origin.UserAgent,
			"device": tok.DeviceID, "current": tok.RefreshID, "client": in.Client.ID, "version": in.Client.Version,
		}, &d.UserID, &d.Scope, &d.IssuedAt, &d.ExpiresAt, &now, &horizon)
	})
	if err != nil {
		return nil, 0, err
	}
	s.Stats.Refreshes.Add(1)
	s.ahead(now, horizon)
	return d, now, nil
}

// judge decides about a genuine token for which rotate found no row. It locks the device's row, so what it decides on
// stays as it is until its commit, and a revocation of the device comes before it or after it.
func (s *Store) judge(ctx context.Context, tok refreshToken, in Refresh) (d *Device, now int64, err error) {
	var verdict error // set where the transaction must commit and the caller must fail all the same
	_, err = s.change(ctx, func(tx *gorm.DB) (*SignOut, error) {
		d, verdict = &Device{}, nil
		if err := s.raw(tx, `SELECT * FROM devices WHERE id = @id {lock}`, args{"id": tok.DeviceID}).Take(d).Error; err != nil {
			if errors.Is(dbError(err), ErrNotFound) {
				return nil, ErrRefreshTokenInvalid
			}
			return nil, err
		}
		if err := s.isCurrent(tx, in.Client); err != nil {
			return nil, err
		}
		// A statement of its own: what it reads is newer than the lock.
		var alive bool
		var horizon int64
		err := s.row(tx, `SELECT `+aliveDevice+`, r.horizon, {now} FROM devices d, users u, clients c, realm r
			WHERE d.id = @id AND u.id = d.user_id AND c.id = d.client_id`, args{"id": d.ID}, &alive, &horizon, &now)
		switch {
		case errors.Is(err, sql.ErrNoRows): // its user or client is gone
			return nil, ErrRefreshTokenInvalid
		case err != nil:
			return nil, err
		case !alive:
			return nil, ErrRefreshTokenInvalid
		}
		within := now < int64(d.RotatedAt)+s.cfg.ReuseInterval.Microseconds()
		issued := max(Micros(now), d.IssuedAt)
		switch {
		case tok.RefreshID == d.RefreshID && d.ClientID != in.Client.ID:
			return nil, ErrRefreshTokenInvalid
		case tok.RefreshID == d.RefreshID && int64(issued) > horizon:
			return nil, errHorizon
		case tok.RefreshID == d.RefreshID:
			return nil, errCleared
		case within && d.PreviousRefreshID == uuid.Nil:
			// The app signed in again a moment ago, and another of its threads still has a token from before.
			return nil, ErrRefreshTokenInvalid
		case within && tok.RefreshID == d.PreviousRefreshID && d.ClientID != in.Client.ID:
			return nil, ErrRefreshTokenInvalid
		case within && tok.RefreshID == d.PreviousRefreshID && int64(issued) > horizon:
			return nil, errHorizon
		case within && tok.RefreshID == d.PreviousRefreshID:
			// The issue time goes into the row, as every one does: a revocation of the device must rise above it.
			d.IssuedAt = issued
			_, err := s.exec(tx, `UPDATE devices SET issued_at = @issued, last_seen_at = @now_read, ip = @ip, user_agent = @agent WHERE id = @id`,
				args{"issued": int64(issued), "now_read": now, "ip": in.Origin.IP, "agent": in.Origin.UserAgent, "id": d.ID})
			return nil, err
		}
		if ctx.Err() != nil {
			// The client has hung up: this request was held up on its way, or on a node that froze, and the client has gone on
			// with another one since. It is no theft: nobody gets an answer.
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		verdict = ErrRefreshTokenReused
		out := &SignOut{}
		return out, s.revokeDevices(tx, out, []*Device{d}, ReasonReuse, Actor{Entity: EntityPolicy, IP: in.Origin.IP, UserAgent: in.Origin.UserAgent},
			detail{"owner_ip": d.IP, "owner_user_agent": d.UserAgent, "replay_ip": in.Origin.IP, "replay_user_agent": in.Origin.UserAgent, "replay_client_id": in.Client.ID})
	})
	if err != nil {
		return nil, now, err
	}
	if verdict != nil {
		s.Stats.Replays.Add(1)
		return nil, 0, verdict
	}
	s.Stats.Retries.Add(1)
	return d, now, nil
}

// checkNarrower refuses a scope that the device does not have. What it reads cannot change under the same refresh id.
func (s *Store) checkNarrower(ctx context.Context, tok refreshToken, scope string) error {
	var has string
	err := s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT scope FROM devices WHERE id = @id`, args{"id": tok.DeviceID}, &has)
	})
	if errors.Is(err, ErrNotFound) {
		return ErrRefreshTokenInvalid
	}
	if err != nil {
		return err
	}
	for _, sc := range strings.Split(scope, " ") {
		if !slices.Contains(strings.Fields(has), sc) {
			return ErrScope
		}
	}
	return nil
}

// narrowed is the device's scope, less what was not asked for and what the client has lost since.
func narrowed(scope string, in Refresh) string {
	allowed, asked := strings.Fields(in.Client.Scopes), strings.Fields(in.Scope)
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(sc string) bool {
		return !slices.Contains(allowed, sc) || (len(asked) > 0 && !slices.Contains(asked, sc))
	}), " ")
}
