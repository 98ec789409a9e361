package models

import (
	"context"
	"errors"
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

	Resources []string // narrow this access token, RFC 8707 section 2.2; none for all that the device has
}

// RefreshDevice rotates the device's refresh id and issues the next pair of tokens: one conditional UPDATE, in
// autocommit, shared with those who refresh at the same moment. RFC 6749 section 6, RFC 9700 section 4.14.2.
//
// The immediate predecessor is a retry for a while ([Store.decideRetryOrReplay]): a client whose answer was lost, or
// two of its threads. Any other genuine token of this sign-in that is not the current one is a replay: it signs the
// device out, and the error is [ErrRefreshTokenReused]. A scope that the device or, by now, the client has not is
// [ErrScope], a resource [ErrTarget]. Everything else is [ErrRefreshTokenInvalid] and changes nothing, a token from
// before the newest sign-in too.
func (s *Store) RefreshDevice(ctx context.Context, in Refresh) (*Grant, error) {
	token, ok := s.secret.parseRefreshToken(in.Token)
	if !ok {
		return nil, ErrRefreshTokenInvalid
	}
	if !in.Client.HasGrant(GrantRefreshToken) {
		return nil, ErrRefreshTokenInvalid
	}
	request := rotation{
		refreshToken: token, next: nextRefreshID(token.RefreshID),
		client: in.Client, scope: in.Scope, resources: in.Resources, origin: in.Origin.clean(),
	}
	covered, err := s.covered(ctx, request)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		r, err := rotated{}, error(nil)
		if covered {
			r, err = s.rotations.do(ctx, request)
		}
		if err == nil && r.device == nil {
			r, err = s.decideRetryOrReplay(ctx, request)
		}
		switch {
		case err == nil:
			if r.retry {
				s.Stats.Retries.Add(1)
			} else {
				s.Stats.Refreshes.Add(1)
			}
			s.keepHorizonAhead(r.now, r.horizon)
			resources, err := request.audience(r.device)
			if err != nil {
				return nil, err
			}
			return s.grantFor(r.device, in.Client, narrowed(r.device.Scope, in), resources, "", r.now)
		case !errors.Is(err, errHorizonBehind) && !errors.Is(err, errRowReleased):
			return nil, err
		case try == maxRetries:
			return nil, errAgain
		case errors.Is(err, errRowReleased):
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

	resources []string // likewise
}

// audience is what was asked for, or else all that the device has, less what the client has lost since. A device that
// was signed in for resources which are all lost gets no token for something else instead: [ErrTarget].
func (q *rotation) audience(d *Device) ([]string, error) {
	if len(q.resources) > 0 || d.Resources == "" {
		return q.resources, nil
	}
	if left := common(d.Resources, q.client.Resources); left != "" {
		return strings.Fields(left), nil
	}
	return nil, ErrTarget
}

// rotated is what became of it. No device: its row is not as the rule wants it, or somebody holds it.
type rotated struct {
	device       *Device
	now, horizon Micros // the clock of the statement, and the horizon that it read
	retry        bool   // the predecessor was presented
}

// rotate is the whole of an ordinary refresh. The WHERE clause is the one rule and the compare-and-swap in one; the
// issue time is the statement's start, so before its snapshot, and not above the horizon of that snapshot.
const rotate = ` UPDATE devices AS d SET
		refresh_id = q.next_id, previous_refresh_id = d.refresh_id, rotated_at = {now},
		issued_at = {greatest}({now}, d.issued_at), expires_at = {least}({now} + ` + refreshTTL + `, ` + deviceEnd + `),
		last_seen_at = {now}, ip = q.ip, user_agent = q.agent
	FROM requested q, users u, clients c, realm r
	WHERE d.id = q.device AND` + ruleJoin + `
		-- mutant: rotation-read-then-write
		AND d.refresh_id = q.presented_id
		-- mutant: refresh-without-a-look-at-the-client
		AND d.client_id = q.client
		-- mutant: refresh-without-a-look-at-the-client
		AND c.version = q.version
		-- mutant: refresh-ignores-the-horizon
		AND {now} <= r.horizon
		-- A token that is refused must not be used up: its client would come again with it, and look like a thief.
		AND {a resource is left}
		AND ` + aliveDevice + ` AND ` + withinLifetimes + `
	RETURNING refresh_id, user_id, scope, issued_at, expires_at, signed_in_at, auth_at, {d resources}, {now}, {horizon}`

// On PostgreSQL many are requested at a time. A row that somebody holds is left out, so no refresh waits for what is
// going on with another device, and two statements with the same devices cannot wait for each other.
const (
	requestedMany = `WITH requested AS MATERIALIZED (
		SELECT v.* FROM unnest(@devices::uuid[], @presented_ids::uuid[], @next_ids::uuid[],
				@clients::text[], @versions::bigint[], @ips::text[], @agents::text[])
			AS v (device, presented_id, next_id, client, version, ip, agent)
		JOIN devices d ON d.id = v.device AND d.refresh_id = v.presented_id
		-- mutant: rotation-read-then-write
		FOR NO KEY UPDATE OF d SKIP LOCKED
		)`
	requestedOne = `WITH requested (device, presented_id, next_id, client, version, ip, agent) AS (
		VALUES (@device, @presented_id, @next_id, @client, @version, @ip, @agent))`
)

// rotateMany runs them as one unit of work.
func (s *Store) rotateMany(ctx context.Context, requested []rotation) (done []rotated, err error) {
	run := s.autocommit
	if !s.d.postgres && len(requested) > 1 {
		run = s.write // one commit
	}
	err = run(ctx, func(tx *gorm.DB) (err error) {
		done, err = s.rotateAll(tx, requested)
		return err
	})
	return done, err
}

// rotateAll rotates each device whose row is as the rule wants it.
func (s *Store) rotateAll(tx *gorm.DB, requested []rotation) ([]rotated, error) {
	done := make([]rotated, len(requested))
	if !s.d.postgres {
		for i, q := range requested {
			err := s.rows(tx, requestedOne+rotate, s.lifetimes(args{
				"device": q.DeviceID, "presented_id": q.RefreshID, "next_id": q.next, "client": q.client.ID,
				"version": q.client.Version, "ip": q.origin.IP, "agent": q.origin.UserAgent,
			}), func(scan func(...any) error) error { return scanRotated(requested[i:i+1], done[i:i+1], scan) })
			if err != nil {
				return nil, err
			}
		}
		return done, nil
	}
	err := s.rows(tx, requestedMany+rotate, s.lifetimes(args{
		"devices":       column(requested, func(q rotation) pgtype.UUID { return uuidOf(q.DeviceID) }),
		"presented_ids": column(requested, func(q rotation) pgtype.UUID { return uuidOf(q.RefreshID) }),
		"next_ids":      column(requested, func(q rotation) pgtype.UUID { return uuidOf(q.next) }),
		"clients":       column(requested, func(q rotation) string { return q.client.ID }),
		"versions":      column(requested, func(q rotation) int64 { return q.client.Version }),
		"ips":           column(requested, func(q rotation) string { return q.origin.IP }),
		"agents":        column(requested, func(q rotation) string { return q.origin.UserAgent }),
	}), func(scan func(...any) error) error { return scanRotated(requested, done, scan) })
	return done, err
}

func scanRotated(requested []rotation, done []rotated, scan func(...any) error) error {
	d, r := &Device{}, rotated{}
	if err := scan(&d.RefreshID, &d.UserID, &d.Scope, &d.IssuedAt, &d.ExpiresAt, &d.SignedInAt, &d.AuthAt, &d.Resources,
		&r.now, &r.horizon); err != nil {
		return err
	}
	i := slices.IndexFunc(requested, func(q rotation) bool { return q.next == d.RefreshID })
	d.ID, d.ClientID, r.device = requested[i].DeviceID, requested[i].client.ID, d
	done[i] = r
	return nil
}

// covered tells whether the client and the device have the scope and the resources that are asked for: the device's
// cannot change under the same refresh id, and the statement looks at the client's version. If they do not,
// [Store.decideRetryOrReplay] says so, and only to whom the token belongs and whose token is good.
func (s *Store) covered(ctx context.Context, q rotation) (bool, error) {
	if q.scope == "" && len(q.resources) == 0 {
		return true, nil
	}
	var d Device
	err := s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT scope, resources FROM devices WHERE id = @id`, args{"id": q.DeviceID},
			&d.Scope, &d.Resources)
	})
	if errors.Is(err, ErrNotFound) {
		return false, ErrRefreshTokenInvalid
	}
	return err == nil && q.narrows(&d) == nil, err
}

// narrows returns [ErrScope] or [ErrTarget] if more is asked for than the device and, by now, the client have.
func (q *rotation) narrows(d *Device) error {
	switch {
	case !covers(d.Scope, q.scope), !covers(q.client.Scopes, q.scope):
		return ErrScope
	case !coversAll(strings.Fields(d.Resources), q.resources), q.client.checkResources(q.resources) != nil:
		return ErrTarget
	}
	_, err := q.audience(d)
	return err
}

// covers tells whether asked, which may be empty, has nothing that scope has not.
func covers(scope, asked string) bool {
	has := strings.Fields(scope)
	missing := func(sc string) bool { return !slices.Contains(has, sc) }
	return asked == "" || !slices.ContainsFunc(strings.Split(asked, " "), missing)
}

// narrowed is the device's scope, less what was not asked for and what the client has lost since.
func narrowed(scope string, in Refresh) string {
	scope = common(scope, in.Client.Scopes)
	if in.Scope == "" {
		return scope
	}
	return common(scope, in.Scope)
}
