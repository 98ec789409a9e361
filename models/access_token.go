package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Claims are an access token's, RFC 9068 section 2.2, and our three: device_id, rid, iat_us.
type Claims struct {
	jwt.RegisteredClaims
	ClientID  string `json:"client_id"`
	Scope     string `json:"scope,omitempty"`
	DeviceID  string `json:"device_id,omitempty"` // none in a client's own token
	RefreshID string `json:"rid,omitempty"`       // the refresh id of the same answer
	IssuedUS  int64  `json:"iat_us"`              // the issue time, microseconds
}

func init() {
	jwt.MarshalSingleStringAsArray = false // one audience is a string, as most readers expect
}

// HasScope tells whether the token carries one scope.
func (c *Claims) HasScope(scope string) bool { return slices.Contains(strings.Fields(c.Scope), scope) }

// Grant is what a token request is answered with.
type Grant struct {
	AccessToken  string
	ExpiresIn    time.Duration // whole seconds; the token lives at least that long
	RefreshToken string        // none for a client's own token, and for a client without the grant
	Scope        string
	DeviceID     uuid.UUID // uuid.Nil for a client's own token
	UserID       uuid.UUID
	Claims       *Claims
}

// sign makes an access token. issued is the issue time, now the clock's value that went into it.
// Lifetimes round up: the token lives at least as long as ExpiresIn says. until, if not 0, is the end of its device.
func (s *Store) sign(c Claims, issued, now, until int64) (*Grant, error) {
	key := s.keys.Load().signer(now)
	ttl := s.cfg.AccessTTL
	if until != 0 {
		ttl = min(ttl, time.Duration(until-now)*time.Microsecond)
	}
	seconds := int64((ttl + time.Second - 1) / time.Second)
	c.RegisteredClaims = jwt.RegisteredClaims{
		Issuer: s.cfg.Issuer, Subject: c.Subject, Audience: s.cfg.Audience, ID: uuid.NewString(),
		IssuedAt:  jwt.NewNumericDate(time.UnixMicro(now)),
		ExpiresAt: jwt.NewNumericDate(time.UnixMicro(now + 999_999).Add(time.Duration(seconds) * time.Second)),
	}
	c.IssuedUS = issued
	method := signingMethod(key.Alg)
	token := &jwt.Token{Header: map[string]any{"typ": "at+jwt", "alg": key.Alg, "kid": key.KID}, Claims: &c, Method: method}
	raw, err := token.SignedString(key.private)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", key.KID, err)
	}
	g := &Grant{AccessToken: raw, ExpiresIn: time.Duration(seconds) * time.Second, Scope: c.Scope, Claims: &c}
	if c.DeviceID != "" {
		g.DeviceID, g.UserID = uuid.MustParse(c.DeviceID), uuid.MustParse(c.Subject)
	}
	return g, nil
}

// GrantClient issues a token for a client itself, RFC 6749 section 4.4: no device, no row, sub is the client. Call it from
// [Store.WithClient]: its statement makes sure that the client is still as it was authenticated.
func (s *Store) GrantClient(ctx context.Context, c *Client, scope string) (*Grant, error) {
	for try := 0; ; try++ {
		var issued, now, horizon int64
		err := s.read(ctx, func(tx *gorm.DB) error {
			return s.row(tx, `SELECT {greatest}({now}, c.valid_from + 1, r.valid_from + 1), {now}, r.horizon
				FROM clients c, realm r WHERE c.id = @client AND c.version = @version`,
				args{"client": c.ID, "version": c.Version}, &issued, &now, &horizon)
		})
		if errors.Is(err, ErrNotFound) {
			return nil, errStaleClient
		}
		if err != nil {
			return nil, err
		}
		s.ahead(now, horizon)
		if issued <= horizon {
			return s.sign(Claims{RegisteredClaims: jwt.RegisteredClaims{Subject: c.ID}, ClientID: c.ID, Scope: scope}, issued, now, 0)
		}
		if try == 3 {
			return nil, errAgain
		}
		if err := s.pushHorizon(ctx, issued); err != nil {
			return nil, err
		}
	}
}

// maxTokenSize bounds what is looked at.
const maxTokenSize = 8 << 10

// parseAccessToken checks everything that needs no database: form, key, signature, issuer, audience. Whether it has
// expired is the caller's question.
func (s *Store) parseAccessToken(ctx context.Context, raw string) (*Claims, error) {
	if len(raw) > maxTokenSize {
		return nil, fmt.Errorf("%w: too long", ErrAccessToken)
	}
	var claims Claims
	// The audience is checked below against any of ours.
	parser := jwt.NewParser(jwt.WithStrictDecoding())
	keyOf := func(t *jwt.Token) (*SigningKey, error) {
		typ, _ := t.Header["typ"].(string)
		if typ = strings.TrimPrefix(strings.ToLower(typ), "application/"); typ != "at+jwt" || t.Header["crit"] != nil {
			return nil, errors.New("not an access token's header")
		}
		kid, _ := t.Header["kid"].(string)
		key := s.keys.Load().byKID[kid]
		if key == nil && s.keyMayBeNew(ctx) {
			key = s.keys.Load().byKID[kid]
		}
		if key == nil || key.Alg != t.Method.Alg() {
			return nil, errors.New("unknown key")
		}
		return key, nil
	}
	token, parts, err := parser.ParseUnverified(raw, &claims)
	if err == nil {
		var key *SigningKey
		if key, err = keyOf(token); err == nil {
			if name := verifiedKey(key, raw); !s.verified.has(name) {
				if err = token.Method.Verify(raw[:len(parts[0])+1+len(parts[1])], token.Signature, key.public); err == nil {
					s.verified.add(name)
				}
			}
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrAccessToken, err)
	case strings.ContainsAny(raw, "\r\n"): // the decoder skips line breaks: two strings for one token
		return nil, fmt.Errorf("%w: line break", ErrAccessToken)
	case claims.Issuer != s.cfg.Issuer:
		return nil, fmt.Errorf("%w: issuer", ErrAccessToken)
	case !slices.ContainsFunc(claims.Audience, func(a string) bool { return slices.Contains(s.cfg.Audience, a) }):
		return nil, fmt.Errorf("%w: audience", ErrAccessToken)
	case claims.ExpiresAt == nil || claims.IssuedAt == nil || claims.IssuedUS == 0 || claims.Subject == "" || claims.ClientID == "":
		return nil, fmt.Errorf("%w: a required claim is missing", ErrAccessToken)
	}
	return &claims, nil
}

// keyMayBeNew reads the key table again for an unknown key id, at most once a second: another node may have made one.
func (s *Store) keyMayBeNew(ctx context.Context) bool {
	if time.Since(s.keys.Load().loaded) < time.Second {
		return false
	}
	return s.loadKeys(ctx) == nil
}

// AccessToken is a checked access token with what the database says of it.
type AccessToken struct {
	*Claims
	UserID   uuid.UUID // uuid.Nil for a client's own token
	DeviceID uuid.UUID
	Username string
	Admin    bool // the user is an admin, now
}

// CheckAccessToken is the one rule, asked of the database: the issue time is above the valid_from of device, user, client
// and everyone, the token has not expired, the user is not disabled, and the token has not retired. It returns
// [ErrAccessToken] for every reason, and [ErrUnavailable] if the database cannot be asked.
func (s *Store) CheckAccessToken(ctx context.Context, raw string) (*AccessToken, error) {
	return s.checkAccessToken(ctx, raw, nil)
}

// checkAccessToken also makes sure, in the same statement, that the client that asks is still as it was authenticated.
func (s *Store) checkAccessToken(ctx context.Context, raw string, asks *Client) (*AccessToken, error) {
	claims, err := s.parseAccessToken(ctx, raw)
	if err != nil {
		return nil, err
	}
	t := &AccessToken{Claims: claims}
	var alive bool
	var now, lastSeen int64
	a := args{"client": claims.ClientID, "issued": claims.IssuedUS, "asks": "", "version": int64(0)}
	asked := `true`
	if asks != nil {
		a["asks"], a["version"] = asks.ID, asks.Version
		asked = `EXISTS (SELECT 1 FROM clients a WHERE a.id = @asks AND a.version = @version)`
	}
	current := true
	if claims.DeviceID == "" {
		err = s.read(ctx, func(tx *gorm.DB) error {
			return s.row(tx, `SELECT @issued > {greatest}(c.valid_from, r.valid_from), {now}, `+asked+`
				FROM clients c, realm r WHERE c.id = @client`, a, &alive, &now, &current)
		})
	} else {
		device, errD := uuid.Parse(claims.DeviceID)
		rid, errR := uuid.Parse(claims.RefreshID)
		user, errU := uuid.Parse(claims.Subject)
		if errD != nil || errR != nil || errU != nil {
			return nil, fmt.Errorf("%w: an id is not a UUID", ErrAccessToken)
		}
		t.DeviceID, t.UserID = device, user
		a["device"], a["user"], a["rid"], a["reuse"] = device, user, rid, s.cfg.ReuseInterval.Microseconds()
		err = s.read(ctx, func(tx *gorm.DB) error {
			return s.row(tx, `SELECT @issued > {greatest}(d.valid_from, u.valid_from, c.valid_from, r.valid_from) AND u.disabled_at = 0
				AND (d.refresh_id = @rid OR (d.previous_refresh_id = @rid AND {now} < d.rotated_at + @reuse)),
				{now}, u.username, u.admin, d.last_seen_at, `+asked+`
				FROM devices d, users u, clients c, realm r
				WHERE d.id = @device AND d.user_id = @user AND d.client_id = @client AND u.id = d.user_id AND c.id = d.client_id`,
				a, &alive, &now, &t.Username, &t.Admin, &lastSeen, &current)
		})
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("%w: its device, user or client is gone", ErrAccessToken)
	case err != nil:
		return nil, err
	case !current:
		return nil, errStaleClient
	case !alive:
		return nil, fmt.Errorf("%w: signed out or retired", ErrAccessToken)
	case now >= claims.ExpiresAt.UnixMicro():
		return nil, fmt.Errorf("%w: expired", ErrAccessToken)
	case claims.IssuedAt.UnixMicro() > now+Leeway.Microseconds():
		return nil, fmt.Errorf("%w: issued in the future", ErrAccessToken)
	}
	if t.DeviceID != uuid.Nil {
		s.seen.mark(t.DeviceID, lastSeen, now)
	}
	return t, nil
}
