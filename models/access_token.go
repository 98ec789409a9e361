package models

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/sync/singleflight"
	"gorm.io/gorm"
)

// Claims are an access token's, RFC 9068 section 2.2, and our three: device_id, rid, iat_us.
type Claims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.ClaimStrings `json:"aud"`
	ExpiresAt int64            `json:"exp"` // seconds
	IssuedAt  int64            `json:"iat"` // seconds
	ID        string           `json:"jti"`
	ClientID  string           `json:"client_id"`
	Scope     string           `json:"scope,omitempty"`
	DeviceID  string           `json:"device_id,omitempty"` // none in a client's own token
	RefreshID string           `json:"rid,omitempty"`       // the refresh id of the same answer
	IssuedUS  int64            `json:"iat_us"`              // the issue time, microseconds
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
// Lifetimes round up: the token lives at least as long as ExpiresIn says. until, if not 0, is the end of its device, which no
// token of it outlives: a sign-out after that end would find nothing to do.
func (s *Store) sign(c Claims, issued, now, until int64) (*Grant, error) {
	key := s.keys.Load().signer(now)
	begin, seconds := (now+999_999)/1e6, int64((s.cfg.AccessTTL+time.Second-1)/time.Second)
	if until != 0 {
		seconds = max(0, min(seconds, until/1e6-begin))
	}
	c.Issuer, c.Audience, c.ID = s.cfg.Issuer, s.cfg.Audience, uuid.NewString()
	c.IssuedAt, c.ExpiresAt = now/1e6, begin+seconds
	c.IssuedUS = issued
	payload, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("the claims of an access token: %w", err)
	}
	text := make([]byte, 0, len(key.header)+2*len(payload)) // the signature fits in too, unless it is RSA's
	text = append(append(text, key.header...), '.')
	text = base64.RawURLEncoding.AppendEncode(text, payload)
	signature, err := signingMethod(key.Alg).Sign(string(text), key.private)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", key.KID, err)
	}
	text = base64.RawURLEncoding.AppendEncode(append(text, '.'), signature)
	g := &Grant{AccessToken: string(text), ExpiresIn: time.Duration(seconds) * time.Second, Scope: c.Scope, Claims: &c}
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
			return s.sign(Claims{Subject: c.ID, ClientID: c.ID, Scope: scope}, issued, now, 0)
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
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.ContainsAny(raw, "\r\n") { // the decoder skips line breaks: two strings for one token
		return nil, fmt.Errorf("%w: not a JWS", ErrAccessToken)
	}
	// What we have signed begins with the header of one of our keys, to the letter. So no header is ever trusted.
	key := s.keys.Load().byHeader[header]
	if key == nil && looksLikeOurs(header) && !s.keyReading.isNobodys(header) {
		if err := s.newerKeys(ctx); err != nil {
			return nil, err
		}
		if key = s.keys.Load().byHeader[header]; key == nil {
			s.keyReading.remember(header)
		}
	}
	if key == nil {
		return nil, fmt.Errorf("%w: unknown key", ErrAccessToken)
	}
	name := verifiedKey(key, raw)
	claims := s.verified.get(name)
	if claims == nil {
		text, errPayload := strictBase64.DecodeString(payload)
		sig, errSignature := strictBase64.DecodeString(signature)
		if errPayload != nil || errSignature != nil {
			return nil, fmt.Errorf("%w: not base64url", ErrAccessToken)
		}
		if err := signingMethod(key.Alg).Verify(raw[:len(header)+1+len(payload)], sig, key.public); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAccessToken, err)
		}
		claims = &Claims{}
		if err := json.Unmarshal(text, claims); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAccessToken, err)
		}
		s.verified.add(name, claims)
	}
	switch {
	case claims.Issuer != s.cfg.Issuer:
		return nil, fmt.Errorf("%w: issuer", ErrAccessToken)
	case !slices.ContainsFunc(claims.Audience, func(a string) bool { return slices.Contains(s.cfg.Audience, a) }):
		return nil, fmt.Errorf("%w: audience", ErrAccessToken)
	case claims.ExpiresAt == 0 || claims.IssuedAt == 0 || claims.IssuedUS == 0 || claims.Subject == "" || claims.ClientID == "":
		return nil, fmt.Errorf("%w: a required claim is missing", ErrAccessToken)
	}
	return claims, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

// looksLikeOurs tells whether another node may have written a header, with a key that this one has not read yet.
func looksLikeOurs(header string) bool {
	if len(header) > maxHeader {
		return false
	}
	text, err := strictBase64.DecodeString(header)
	var h struct{ Typ, Alg, Kid string }
	return err == nil && json.Unmarshal(text, &h) == nil && h.Typ == tokenType && h.Kid != "" && signingMethod(h.Alg) != nil
}

const (
	tokenType = "at+jwt" // RFC 9068 section 2.1
	// keysRest is how long the key table is left alone after a reading, whatever strangers send.
	keysRest = time.Second
	// keyReaders is how many tokens wait for a reading at most.
	keyReaders = 200
	maxHeader  = 256
	maxNobodys = 1000
)

// keyReading is the reading of the key table that tokens of unknown keys wait for. It remembers which headers are of no key: a
// key is in the table before it signs, and never comes back once it is out. So the tokens of one that was withdrawn wait once.
type keyReading struct {
	singleflight.Group
	waiting atomic.Int64

	mu      sync.Mutex
	nobodys map[string]struct{}
}

func (r *keyReading) isNobodys(header string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.nobodys[header]
	return ok
}

// remember is told of a header that a reading after its first use has not found. When it is full it starts anew.
func (r *keyReading) remember(header string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nobodys == nil || len(r.nobodys) == maxNobodys {
		r.nobodys = map[string]struct{}{}
	}
	r.nobodys[strings.Clone(header)] = struct{}{}
}

// newerKeys returns when the key table has been read since the call: with a key that another node has just made, a token is
// neither refused nor taken for garbage. All who wait share a reading.
func (s *Store) newerKeys(ctx context.Context) error {
	if s.keyReading.waiting.Add(1) > keyReaders {
		s.keyReading.waiting.Add(-1)
		return fmt.Errorf("%w: too many tokens wait for their key", ErrUnavailable)
	}
	defer s.keyReading.waiting.Add(-1)
	for asked := time.Now(); ; {
		loaded := s.keys.Load().loaded
		if loaded.After(asked) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-time.After(time.Until(loaded.Add(keysRest))):
		}
		if _, err, _ := s.keyReading.Do("", func() (any, error) { return nil, s.loadKeys(context.WithoutCancel(ctx)) }); err != nil {
			return dbError(err)
		}
	}
}

// AccessToken is a checked access token with what the database says of it. Its claims are shared: they are only read.
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
		check.rid, errR = uuid.Parse(claims.RefreshID)
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
	case state.now >= claims.ExpiresAt*1e6:
		return nil, fmt.Errorf("%w: expired", ErrAccessToken)
	case claims.IssuedAt*1e6 > state.now+Leeway.Microseconds():
		return nil, fmt.Errorf("%w: issued in the future", ErrAccessToken)
	}
	if t.DeviceID != uuid.Nil {
		s.seen.mark(t.DeviceID, state.lastSeen, state.now)
	}
	return t, nil
}

// tokenCheck is an access token about which the database is asked.
type tokenCheck struct {
	*Claims
	device, user, rid uuid.UUID
	asks              *Client // must still be as it was authenticated; without an id if nobody asks
}

// tokenState is what the database says.
type tokenState struct {
	found, alive  bool
	current       bool // the client that asks is as it was
	now, lastSeen int64
	username      string
	admin         bool
}

// The one rule for many tokens at a time on PostgreSQL, and for one.
const (
	tokensAsked = `unnest(@devices::uuid[], @users::uuid[], @rids::uuid[], @clients::text[], @issues::bigint[], @asks::text[], @versions::bigint[])
		WITH ORDINALITY AS a (device, owner, rid, client, issued, asks, version, n)`
	tokenAsked = `(SELECT @device AS device, @user AS owner, @rid AS rid, @client AS client, @issued AS issued, @asks AS asks, @version AS version, 1 AS n) a`

	tokenAlive = `SELECT a.n, a.issued > {greatest}(d.valid_from, u.valid_from, c.valid_from, r.valid_from) AND u.disabled_at = 0
			AND (d.refresh_id = a.rid OR (d.previous_refresh_id = a.rid AND {now} < d.rotated_at + @reuse)),
			a.asks = '' OR EXISTS (SELECT 1 FROM clients k WHERE k.id = a.asks AND k.version = a.version), {now}, d.last_seen_at, u.username, u.admin
		FROM devices d, users u, clients c, realm r, `
	tokenJoin = ` WHERE d.id = a.device AND d.user_id = a.owner AND d.client_id = a.client AND u.id = d.user_id AND c.id = d.client_id`
)

func (s *Store) checkDeviceToken(ctx context.Context, check tokenCheck) (st tokenState, err error) {
	if s.d.postgres {
		return s.checked.ask(ctx, check)
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.rows(tx, tokenAlive+tokenAsked+tokenJoin, args{
			"device": check.device, "user": check.user, "rid": check.rid, "client": check.ClientID, "issued": check.IssuedUS,
			"asks": check.asks.ID, "version": check.asks.Version, "reuse": s.cfg.ReuseInterval.Microseconds(),
		}, func(scan func(...any) error) (err error) {
			_, st, err = scanTokenState(scan)
			return err
		})
	})
	return st, err
}

// checkDeviceTokens is that for many, on PostgreSQL.
func (s *Store) checkDeviceTokens(ctx context.Context, checks []tokenCheck) ([]tokenState, error) {
	n := len(checks)
	devices, users, rids := make([]pgtype.UUID, n), make([]pgtype.UUID, n), make([]pgtype.UUID, n)
	clients, issues, asks, versions := make([]string, n), make([]int64, n), make([]string, n), make([]int64, n)
	for i, t := range checks {
		devices[i], users[i], rids[i] = uuidOf(t.device), uuidOf(t.user), uuidOf(t.rid)
		clients[i], issues[i] = t.ClientID, t.IssuedUS
		asks[i], versions[i] = t.asks.ID, t.asks.Version
	}
	states := make([]tokenState, n)
	return states, s.read(ctx, func(tx *gorm.DB) error {
		return s.rows(tx, tokenAlive+tokensAsked+tokenJoin, args{
			"devices": devices, "users": users, "rids": rids, "clients": clients, "issues": issues, "asks": asks, "versions": versions,
			"reuse": s.cfg.ReuseInterval.Microseconds(),
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
	err = scan(&i, &st.alive, &st.current, &st.now, &st.lastSeen, &st.username, &st.admin)
	return i, st, err
}

// checkClientToken is the one rule for a client's own token.
func (s *Store) checkClientToken(ctx context.Context, check tokenCheck) (st tokenState, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT @issued > {greatest}(c.valid_from, r.valid_from),
				CAST(@asks AS text) = '' OR EXISTS (SELECT 1 FROM clients k WHERE k.id = @asks AND k.version = @version), {now}
			FROM clients c, realm r WHERE c.id = @client`,
			args{"client": check.ClientID, "issued": check.IssuedUS, "asks": check.asks.ID, "version": check.asks.Version},
			&st.alive, &st.current, &st.now)
	})
	st.found = err == nil
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return st, err
}
