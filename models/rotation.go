package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
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
	errCleared = errors.New("what was in the way of the rotation is gone") // decide again
)

// RefreshDevice rotates the device's refresh id and issues the next pair of tokens: one conditional UPDATE, in
// autocommit, shared with those who refresh at the same moment. RFC 6749 section 6, RFC 9700 section 4.14.2.
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
	wanted := rotation{refreshToken: tok, next: nextRefreshID(tok.RefreshID), client: in.Client, scope: in.Scope, origin: in.Origin.clean()}
	covered, err := s.covered(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		r, err := rotated{}, error(nil)
		if covered {
			r, err = s.rotations.ask(ctx, wanted)
		}
		if err == nil && r.device == nil {
			r, err = s.judge(ctx, wanted)
		}
		switch {
		case err == nil:
			if r.device.RefreshID == wanted.next {
				s.Stats.Refreshes.Add(1)
			} else {
				s.Stats.Retries.Add(1)
			}
			s.ahead(r.now, r.horizon)
			return s.grant(r.device, in.Client, narrowed(r.device.Scope, in), r.now)
		case !errors.Is(err, errHorizon) && !errors.Is(err, errCleared):
			return nil, err
		case try == 3:
			return nil, errAgain
		case errors.Is(err, errCleared):
			continue
		}
		if err := s.pushHorizon(ctx, r.now); err != nil {
			return nil, err
		}
	}
}

// rotation is a refresh that waits for its statement.
type rotation struct {
	refreshToken
	next   uuid.UUID // the refresh id that takes the place of the token's
	client *Client
	scope  string // what is asked for; empty for all that the device has
	origin Origin
}

// rotated is what became of it. No device: its row is not as the rule wants it, or somebody holds it.
type rotated struct {
	device       *Device
	now, horizon int64 // the clock of the statement, and the horizon that it read
}

// rotate is the whole of an ordinary refresh. The WHERE clause is the one rule and the compare-and-swap in one; the issue
// time is the statement's start, so before its snapshot, and not above the horizon of that snapshot.
const rotate = ` UPDATE devices AS d SET
		refresh_id = w.next, previous_refresh_id = d.refresh_id, rotated_at = {now}, issued_at = {greatest}({now}, d.issued_at),
		expires_at = {least}({now} + @ttl, d.ends_at), last_seen_at = {now}, ip = w.ip, user_agent = w.agent
	FROM wanted w, users u, clients c, realm r
	WHERE d.id = w.device AND d.refresh_id = w.token AND d.client_id = w.client AND u.id = d.user_id AND c.id = d.client_id
		AND c.version = w.version AND {now} <= r.horizon AND ` + aliveDevice + `
	RETURNING refresh_id, user_id, scope, issued_at, expires_at, {now}, {horizon}`

// On PostgreSQL many are wanted at a time. A row that somebody holds is left out, so no refresh waits for what is going on
// with another device, and two statements with the same devices cannot wait for each other.
const (
	wantedMany = `WITH wanted AS MATERIALIZED (
		SELECT v.* FROM unnest(@devices::uuid[], @tokens::uuid[], @nexts::uuid[], @clients::text[], @versions::bigint[], @ips::text[], @agents::text[])
			AS v (device, token, next, client, version, ip, agent)
		JOIN devices d ON d.id = v.device AND d.refresh_id = v.token FOR NO KEY UPDATE OF d SKIP LOCKED)`
	wantedOne = `WITH wanted (device, token, next, client, version, ip, agent) AS (
		VALUES (@device, @token, @next, @client, @version, @ip, @agent))`
)

// rotateMany runs them as one unit of work.
func (s *Store) rotateMany(ctx context.Context, wanted []rotation) (done []rotated, err error) {
	run := s.single
	if !s.d.postgres && len(wanted) > 1 {
		run = s.write // one commit
	}
	err = run(ctx, func(tx *gorm.DB) (err error) {
		done, err = s.rotateAll(tx, wanted)
		return err
	})
	return done, err
}

// rotateAll rotates each device whose row is as the rule wants it.
func (s *Store) rotateAll(tx *gorm.DB, wanted []rotation) ([]rotated, error) {
	done := make([]rotated, len(wanted))
	if !s.d.postgres {
		for i, w := range wanted {
			if err := s.rows(tx, wantedOne+rotate, args{
				"device": w.DeviceID, "token": w.RefreshID, "next": w.next, "client": w.client.ID, "version": w.client.Version,
				"ip": w.origin.IP, "agent": w.origin.UserAgent, "ttl": s.cfg.RefreshTTL.Microseconds(),
			}, func(scan func(...any) error) error { return rotatedRow(wanted[i:i+1], done[i:i+1], scan) }); err != nil {
				return nil, err
			}
		}
		return done, nil
	}
	n := len(wanted)
	devices, tokens, nexts := make([]pgtype.UUID, n), make([]pgtype.UUID, n), make([]pgtype.UUID, n)
	clients, versions, ips, agents := make([]string, n), make([]int64, n), make([]string, n), make([]string, n)
	for i, w := range wanted {
		devices[i], tokens[i], nexts[i] = uuidOf(w.DeviceID), uuidOf(w.RefreshID), uuidOf(w.next)
		clients[i], versions[i], ips[i], agents[i] = w.client.ID, w.client.Version, w.origin.IP, w.origin.UserAgent
	}
	err := s.rows(tx, wantedMany+rotate, args{
		"devices": devices, "tokens": tokens, "nexts": nexts, "clients": clients, "versions": versions, "ips": ips, "agents": agents,
		"ttl": s.cfg.RefreshTTL.Microseconds(),
	}, func(scan func(...any) error) error { return rotatedRow(wanted, done, scan) })
	return done, err
}

func rotatedRow(wanted []rotation, done []rotated, scan func(...any) error) error {
	d, r := &Device{}, rotated{}
	if err := scan(&d.RefreshID, &d.UserID, &d.Scope, &d.IssuedAt, &d.ExpiresAt, &r.now, &r.horizon); err != nil {
		return err
	}
	i := slices.IndexFunc(wanted, func(w rotation) bool { return w.next == d.RefreshID })
	d.ID, d.ClientID, r.device = wanted[i].DeviceID, wanted[i].client.ID, d
	done[i] = r
	return nil
}

// judge decides about a genuine token for which rotate found no row, or one that somebody held. It locks the device's row, so
// what it decides on stays as it is until its commit, and a revocation of the device comes before it or after it.
func (s *Store) judge(ctx context.Context, tok rotation) (r rotated, err error) {
	var verdict error // set where the transaction must commit and the caller must fail all the same
	_, err = s.change(ctx, func(tx *gorm.DB) (*SignOut, error) {
		d := &Device{}
		r, verdict = rotated{device: d}, nil
		if err := s.raw(tx, `SELECT * FROM devices WHERE id = @id {lock}`, args{"id": tok.DeviceID}).Take(d).Error; err != nil {
			if errors.Is(dbError(err), ErrNotFound) {
				return nil, ErrRefreshTokenInvalid
			}
			return nil, err
		}
		if err := s.isCurrent(tx, tok.client); err != nil {
			return nil, err
		}
		// A statement of its own: what it reads is newer than the lock.
		var alive bool
		err := s.row(tx, `SELECT `+aliveDevice+`, r.horizon, {now} FROM devices d, users u, clients c, realm r
			WHERE d.id = @id AND u.id = d.user_id AND c.id = d.client_id`, args{"id": d.ID}, &alive, &r.horizon, &r.now)
		switch {
		case errors.Is(err, sql.ErrNoRows): // its user or client is gone
			return nil, ErrRefreshTokenInvalid
		case err != nil:
			return nil, err
		case !alive:
			return nil, ErrRefreshTokenInvalid
		}
		within := r.now < int64(d.RotatedAt)+s.cfg.ReuseInterval.Microseconds()
		issued := max(Micros(r.now), d.IssuedAt)
		current, retry := tok.RefreshID == d.RefreshID, within && tok.RefreshID == d.PreviousRefreshID
		switch {
		case !ofOneRow(tok.RefreshID, d.RefreshID):
			return nil, ErrRefreshTokenInvalid
		case (current || retry) && d.ClientID != tok.client.ID:
			return nil, ErrRefreshTokenInvalid
		case (current || retry) && !covers(d.Scope, tok.scope):
			return nil, ErrScope
		case (current || retry) && int64(issued) > r.horizon:
			return nil, errHorizon
		case current:
			// Somebody held the row a moment ago, and has changed nothing that matters.
			done, err := s.rotateAll(tx, []rotation{tok})
			if err != nil {
				return nil, err
			}
			if done[0].device == nil {
				return nil, errCleared
			}
			r = done[0]
			return nil, nil
		case within && d.PreviousRefreshID == uuid.Nil:
			// The app signed in again a moment ago, and another of its threads still has a token from before.
			return nil, ErrRefreshTokenInvalid
		case retry:
			// The issue time goes into the row, as every one does: a revocation of the device must rise above it.
			d.IssuedAt = issued
			_, err := s.exec(tx, `UPDATE devices SET issued_at = @issued, last_seen_at = @now_read, ip = @ip, user_agent = @agent WHERE id = @id`,
				args{"issued": int64(issued), "now_read": r.now, "ip": tok.origin.IP, "agent": tok.origin.UserAgent, "id": d.ID})
			return nil, err
		}
		if ctx.Err() != nil {
			// The client has hung up: this request was held up on its way, or on a node that froze, and the client has gone on
			// with another one since. It is no theft: nobody gets an answer.
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		verdict = ErrRefreshTokenReused
		out := &SignOut{}
		return out, s.revokeDevices(tx, out, []*Device{d}, ReasonReuse, Actor{Entity: EntityPolicy, IP: tok.origin.IP, UserAgent: tok.origin.UserAgent},
			detail{"owner_ip": d.IP, "owner_user_agent": d.UserAgent, "replay_ip": tok.origin.IP, "replay_user_agent": tok.origin.UserAgent, "replay_client_id": tok.client.ID})
	})
	if err == nil && verdict != nil {
		s.Stats.Replays.Add(1)
		err = verdict
	}
	return r, err
}

// covered tells whether the device has the scope that is asked for. It cannot change under the same refresh id. If it does not,
// it is judge that says so, and only to whom the token belongs and whose token is good.
func (s *Store) covered(ctx context.Context, w rotation) (bool, error) {
	if w.scope == "" {
		return true, nil
	}
	var has string
	err := s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT scope FROM devices WHERE id = @id`, args{"id": w.DeviceID}, &has)
	})
	if errors.Is(err, ErrNotFound) {
		return false, ErrRefreshTokenInvalid
	}
	return err == nil && covers(has, w.scope), err
}

// covers tells whether asked, which may be empty, has nothing that scope has not.
func covers(scope, asked string) bool {
	has := strings.Fields(scope)
	return asked == "" || !slices.ContainsFunc(strings.Split(asked, " "), func(sc string) bool { return !slices.Contains(has, sc) })
}

// narrowed is the device's scope, less what was not asked for and what the client has lost since.
func narrowed(scope string, in Refresh) string {
	allowed, asked := strings.Fields(in.Client.Scopes), strings.Fields(in.Scope)
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(sc string) bool {
		return !slices.Contains(allowed, sc) || (len(asked) > 0 && !slices.Contains(asked, sc))
	}), " ")
}
