package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"gorm.io/gorm"
)

// maxTokenSize bounds what is looked at.
const maxTokenSize = 8 << 10

// parseAccessToken checks everything that needs no database: form, key, signature, issuer. Whether it has expired is
// the caller's question, and whether what it is for is us.
func (s *Store) parseAccessToken(ctx context.Context, raw string) (*Claims, error) {
	if len(raw) > maxTokenSize {
		return nil, fmt.Errorf("%w: too long", ErrAccessToken)
	}
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.ContainsAny(raw, "\r\n") { // the decoder skips line breaks: two strings for one token
		return nil, fmt.Errorf("%w: not a JWS", ErrAccessToken)
	}
	// What we have signed begins with the header of one of our keys, to the letter. So no header is ever trusted.
	key := s.keys.Load().byHeader[header]
	if key == nil && looksLikeOurs(header) && !s.unknownKeys.headers.has(header) {
		if err := s.newerKeys(ctx); err != nil {
			return nil, err
		}
		if key = s.keys.Load().byHeader[header]; key == nil {
			s.unknownKeys.headers.add(strings.Clone(header))
		}
	}
	if key == nil {
		return nil, fmt.Errorf("%w: unknown key", ErrAccessToken)
	}
	name := verifiedKey(key, raw)
	claims := s.verified.get(name)
	if claims == nil {
		var err error
		if claims, err = verify(key, raw[:len(header)+1+len(payload)], payload, signature); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAccessToken, err)
		}
		s.verified.add(name, claims)
	}
	switch {
	case claims.Issuer != s.cfg.Issuer:
		return nil, fmt.Errorf("%w: issuer", ErrAccessToken)
	case len(claims.Audience) == 0:
		return nil, fmt.Errorf("%w: audience", ErrAccessToken)
	case claims.ExpiresAt == 0, claims.IssuedAt == 0, claims.IssuedUS == 0, claims.Subject == "", claims.ClientID == "":
		return nil, fmt.Errorf("%w: a required claim is missing", ErrAccessToken)
	}
	return claims, nil
}

// verify checks the signature and reads the claims.
func verify(key *SigningKey, signed, payload, signature string) (*Claims, error) {
	text, errPayload := strictBase64.DecodeString(payload)
	sig, errSignature := strictBase64.DecodeString(signature)
	if errPayload != nil || errSignature != nil {
		return nil, errors.New("not base64url")
	}
	if err := signingMethod(key.Alg).Verify(signed, sig, key.public); err != nil {
		return nil, err
	}
	claims := &Claims{}
	return claims, json.Unmarshal(text, claims)
}

// AccessToken is a checked access token with what the database says of it. Its claims are shared: they are only read.
type AccessToken struct {
	*Claims
	UserID   uuid.UUID // uuid.Nil for a client's own token
	DeviceID uuid.UUID
	Username string
	Admin    bool // the user is an admin, now
}

// narrow takes out of the scope what the client and the user have lost since the token was issued.
func (t *AccessToken) narrow(state tokenState) {
	scope := common(t.Scope, state.scopes)
	if t.DeviceID != uuid.Nil && !t.Admin {
		scope = without(scope, ScopeAdmin)
	}
	if scope != t.Scope {
		claims := *t.Claims
		claims.Scope = scope
		t.Claims = &claims
	}
}

// CheckAccessToken is the one rule, asked of the database: the issue time is above the valid_from of device, user,
// client and everyone, the token has not expired, the user is not disabled, and the token has not retired. Its scope is
// what is left of it: what the client has lost since opens nothing any more. It returns [ErrAccessToken] for every
// reason, and [ErrUnavailable] if the database cannot be asked.
func (s *Store) CheckAccessToken(ctx context.Context, raw string) (*AccessToken, error) {
	return s.checkAccessToken(ctx, raw, nil)
}

// checkAccessToken also makes sure, in the same statement, that the client that asks is still as it was authenticated.
func (s *Store) checkAccessToken(ctx context.Context, raw string, asks *Client) (*AccessToken, error) {
	claims, err := s.parseAccessToken(ctx, raw)
	if err != nil {
		return nil, err
	}
	if asks == nil && !s.isForUs(claims.Audience) {
		return nil, fmt.Errorf("%w: audience", ErrAccessToken)
	}
	t := &AccessToken{Claims: claims}
	check := tokenCheck{Claims: claims, asks: asks}
	if asks == nil {
		check.asks = &Client{}
	}
	var state tokenState
	if claims.DeviceID == "" {
		state, err = s.checkClientToken(ctx, check)
	} else {
		var errD, errR, errU error
		check.device, errD = uuid.Parse(claims.DeviceID)
		check.refreshID, errR = uuid.Parse(claims.RefreshID)
		check.user, errU = uuid.Parse(claims.Subject)
		if errD != nil || errR != nil || errU != nil {
			return nil, fmt.Errorf("%w: an id is not a UUID", ErrAccessToken)
		}
		state, err = s.checkDeviceToken(ctx, check)
		t.DeviceID, t.UserID, t.Username, t.Admin = check.device, check.user, state.username, state.admin
	}
	switch {
	case err != nil:
		return nil, err
	case !state.found:
		return nil, fmt.Errorf("%w: its device, user or client is gone", ErrAccessToken)
	case !state.current:
		return nil, errStaleClient
	case !state.alive:
		return nil, fmt.Errorf("%w: signed out or retired", ErrAccessToken)
	case state.now.Seconds() >= claims.ExpiresAt:
		return nil, fmt.Errorf("%w: expired", ErrAccessToken)
	case Micros(claims.IssuedAt*1e6) > state.now.Add(Leeway):
		return nil, fmt.Errorf("%w: issued in the future", ErrAccessToken)
	}
	t.narrow(state)
	if t.DeviceID != uuid.Nil {
		s.seen.mark(t.DeviceID, state.lastSeen, state.now)
	}
	return t, nil
}

// tokenCheck is an access token about which the database is asked.
type tokenCheck struct {
	*Claims
	device, user, refreshID uuid.UUID
	asks                    *Client // must still be as it was authenticated; without an id if nobody asks
}

// tokenState is what the database says.
type tokenState struct {
	found, alive  bool
	current       bool // the client that asks is as it was
	now, lastSeen Micros
	username      string
	admin         bool
	scopes        string // of the token's client
}

// The one rule for many tokens at a time on PostgreSQL, and for one.
const (
	tokensAsked = `unnest(@devices::uuid[], @users::uuid[], @refresh_ids::uuid[], @clients::text[], @issues::bigint[],
			@asks::text[], @versions::bigint[])
		WITH ORDINALITY AS a (device, owner, refresh_id, client, issued, asks, version, n)`
	tokenAsked = `(SELECT @device AS device, @user AS owner, @refresh_id AS refresh_id, @client AS client, @issued AS issued,
			@asks AS asks, @version AS version, 1 AS n) a`

	// mutant: strict-check-forgets-the-client
	tokenAlive = `SELECT a.n, a.issued > ` + deviceValidFrom + ` AND u.disabled_at = 0
			AND (d.refresh_id = a.refresh_id OR (d.previous_refresh_id = a.refresh_id AND {now} < d.rotated_at + @reuse)),
			a.asks = '' OR EXISTS (SELECT 1 FROM clients k WHERE k.id = a.asks AND k.version = a.version),
			{now}, d.last_seen_at, u.username, u.admin, c.scopes
		FROM devices d, users u, clients c, realm r, `
	tokenJoin = ` WHERE d.id = a.device AND d.user_id = a.owner AND d.client_id = a.client AND` + ruleJoin
)

func (s *Store) checkDeviceToken(ctx context.Context, check tokenCheck) (st tokenState, err error) {
	if s.d.postgres {
		return s.tokenChecks.do(ctx, check)
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.rows(tx, tokenAlive+tokenAsked+tokenJoin, args{
			"device": check.device, "user": check.user, "refresh_id": check.refreshID, "client": check.ClientID,
			"issued": check.IssuedUS, "asks": check.asks.ID, "version": check.asks.Version, "reuse": s.cfg.ReuseInterval,
		}, func(scan func(...any) error) (err error) {
			_, st, err = scanTokenState(scan)
			return err
		})
	})
	return st, err
}

// checkDeviceTokens is that for many, on PostgreSQL.
func (s *Store) checkDeviceTokens(ctx context.Context, checks []tokenCheck) ([]tokenState, error) {
	states := make([]tokenState, len(checks))
	return states, s.read(ctx, func(tx *gorm.DB) error {
		return s.rows(tx, tokenAlive+tokensAsked+tokenJoin, args{
			"devices":     column(checks, func(t tokenCheck) pgtype.UUID { return uuidOf(t.device) }),
			"users":       column(checks, func(t tokenCheck) pgtype.UUID { return uuidOf(t.user) }),
			"refresh_ids": column(checks, func(t tokenCheck) pgtype.UUID { return uuidOf(t.refreshID) }),
			"clients":     column(checks, func(t tokenCheck) string { return t.ClientID }),
			"issues":      column(checks, func(t tokenCheck) int64 { return t.IssuedUS }),
			"asks":        column(checks, func(t tokenCheck) string { return t.asks.ID }),
			"versions":    column(checks, func(t tokenCheck) int64 { return t.asks.Version }),
			"reuse":       s.cfg.ReuseInterval,
		}, func(scan func(...any) error) error {
			i, st, err := scanTokenState(scan)
			if err == nil {
				states[i-1] = st
			}
			return err
		})
	})
}

func scanTokenState(scan func(...any) error) (i int, st tokenState, err error) {
	st.found = true
	err = scan(&i, &st.alive, &st.current, &st.now, &st.lastSeen, &st.username, &st.admin, &st.scopes)
	return i, st, err
}

// checkClientToken is the one rule for a client's own token.
func (s *Store) checkClientToken(ctx context.Context, check tokenCheck) (st tokenState, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT @issued > `+clientValidFrom+`,
				CAST(@asks AS text) = '' OR EXISTS (SELECT 1 FROM clients k WHERE k.id = @asks AND k.version = @version),
				{now}, c.scopes
			FROM clients c, realm r WHERE c.id = @client`, args{
			"client": check.ClientID, "issued": check.IssuedUS, "asks": check.asks.ID, "version": check.asks.Version,
		}, &st.alive, &st.current, &st.now, &st.scopes)
	})
	st.found = err == nil
	return st, whenNotFound(err, nil)
}
