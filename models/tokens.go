package models

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"gorm.io/gorm"
)

// What the two tokens are made of. None is stored: an access token is signed, a refresh token is derived.

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
	AuthTime  int64            `json:"auth_time,omitempty"` // seconds: when the password was given
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
	AuthAt       Micros // when the password was given; no refresh moves it
	Nonce        string // of the request that the code came from, OpenID Connect Core section 3.1.2.1
	IDToken      string // with the scope openid
	Claims       *Claims

	RefreshCookie    bool          // the refresh token belongs into a cookie, and into no body
	RefreshExpiresIn time.Duration // how long it may stay unused
}

// grant makes the tokens of a device's present state.
func (s *Store) grant(d *Device, c *Client, scope string, now Micros) (*Grant, error) {
	return s.grantFor(d, c, scope, nil, "", now)
}

// grantFor is that with an access token for some of the device's resources only, and with the nonce of a code.
func (s *Store) grantFor(
	d *Device, c *Client, scope string, resources []string, nonce string, now Micros,
) (*Grant, error) {
	if len(resources) == 0 {
		resources = strings.Fields(d.Resources)
	}
	authAt := d.AuthAt
	if authAt == 0 { // a row older than the column: the password was given at the sign-in
		authAt = d.SignedInAt
	}
	g, err := s.sign(Claims{
		Subject: d.UserID.String(), Audience: resources, AuthTime: authAt.Seconds(),
		ClientID: d.ClientID, Scope: scope, DeviceID: d.ID.String(), RefreshID: d.RefreshID.String(),
	}, c, d.IssuedAt, now, d.ExpiresAt)
	if err != nil {
		return nil, err
	}
	g.AuthAt, g.Nonce = authAt, nonce
	g.DeviceID, g.UserID = d.ID, d.UserID
	if g.Claims.HasScope(ScopeOpenID) {
		// mutant: id-token-is-an-access-token
		if g.IDToken, err = s.idToken(g, nonce, now); err != nil {
			return nil, err
		}
	}
	if c.HasGrant(GrantRefreshToken) {
		g.RefreshToken = s.secret.refreshToken(refreshToken{DeviceID: d.ID, RefreshID: d.RefreshID})
		g.RefreshCookie, g.RefreshExpiresIn = c.RefreshCookie, d.ExpiresAt.Sub(now)
	}
	return g, nil
}

// GrantClient issues a token for a client itself, RFC 6749 section 4.4: no device, no row, sub is the client. Call it
// from [Store.WithClient]: its statement makes sure that the client is still as it was authenticated.
// Without resources, which must be the client's, it is for the server's audience.
func (s *Store) GrantClient(ctx context.Context, c *Client, scope string, resources ...string) (*Grant, error) {
	if err := c.checkResources(resources); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		var issued, now, horizon Micros
		err := s.read(ctx, func(tx *gorm.DB) error {
			return s.row(tx, `SELECT {greatest}({now}, c.valid_from + 1, r.valid_from + 1), {now}, r.horizon
				FROM clients c, realm r WHERE c.id = @client AND c.version = @version`,
				args{"client": c.ID, "version": c.Version}, &issued, &now, &horizon)
		})
		if err != nil {
			return nil, whenNotFound(err, errStaleClient)
		}
		s.keepHorizonAhead(now, horizon)
		if issued <= horizon {
			return s.sign(Claims{Subject: c.ID, ClientID: c.ID, Scope: scope, Audience: resources}, c, issued, now, 0)
		}
		if try == maxRetries {
			return nil, errAgain
		}
		if err := s.pushHorizon(ctx, issued); err != nil {
			return nil, err
		}
	}
}

// sign makes an access token. issued is the issue time, now the clock's value that went into it. Lifetimes round up:
// the token lives at least as long as ExpiresIn says. until, if not 0, is the end of its device, which no token of it
// outlives: a sign-out after that end would find nothing to do.
//
// The audience is the server's where the claims name none. A token for something else opens no door of ours.
func (s *Store) sign(c Claims, client *Client, issued, now, until Micros) (*Grant, error) {
	key := s.keys.Load().signer(now)
	begin, seconds := (now + 999_999).Seconds(), int64((s.accessTTL(client)+time.Second-1)/time.Second)
	if until != 0 {
		seconds = max(0, min(seconds, until.Seconds()-begin))
	}
	if len(c.Audience) == 0 {
		c.Audience = s.cfg.Audience
	}
	if !s.isForUs(c.Audience) {
		c.Scope = lessOurOwn(c.Scope)
	}
	c.Issuer, c.ID = s.cfg.Issuer, uuid.NewString()
	c.IssuedAt, c.ExpiresAt = now.Seconds(), begin+seconds
	// mutant: whole-second-issue-times
	c.IssuedUS = int64(issued)
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
	return &Grant{
		AccessToken: string(text), ExpiresIn: time.Duration(seconds) * time.Second, Scope: c.Scope, Claims: &c,
	}, nil
}

// signer is the newest key that may sign.
func (ks *keySet) signer(now Micros) *SigningKey {
	for _, k := range ks.all {
		if k.ActivatesAt <= now {
			return k
		}
	}
	return ks.all[len(ks.all)-1]
}

func signingMethod(alg string) jwt.SigningMethod {
	switch alg {
	case "ES256":
		return jwt.SigningMethodES256
	case "EdDSA":
		return jwt.SigningMethodEdDSA
	case "RS256":
		return jwt.SigningMethodRS256
	}
	return nil
}

// A refresh token is derived, not stored: version, id of the secret, device, refresh id, and an HMAC over them under a
// key that comes from the server's secret. So the very same token can be made again for a retry; any token that was
// ever issued is recognised, hence its replay too; and neither the database nor the secret alone makes one.
type refreshToken struct {
	DeviceID  uuid.UUID
	RefreshID uuid.UUID
}

// nextRefreshID is random but for its first bytes, which name its token family: all refresh ids of one sign-in, through
// every rotation. The next sign-in on the same GUID begins a new one ([newFamily]), of the same user or, where the row
// was removed in between, of anybody: the older tokens are no thief's any more, and are nothing to whoever has the GUID
// now.
func nextRefreshID(last uuid.UUID) uuid.UUID {
	id := uuid.New()
	copy(id[:familySize], last[:familySize])
	return id
}

// newFamily is the first refresh id of a sign-in, of another family than the last one of the sign-in before.
func newFamily(last uuid.UUID) uuid.UUID {
	for {
		if id := uuid.New(); !sameFamily(id, last) {
			return id
		}
	}
}

// sameFamily tells whether two refresh ids were made in the same sign-in.
func sameFamily(a, b uuid.UUID) bool { return [familySize]byte(a[:]) == [familySize]byte(b[:]) }

const familySize = 4

const (
	refreshTokenPrefix  = "curfew_rt_" // for secret scanners
	refreshTokenVersion = 1
	refreshTokenBody    = 1 + 4 + 16 + 16
	refreshTokenSize    = refreshTokenBody + 32 // a multiple of 3: base64 leaves no spare bits
)

// derivedToken is a kind of such tokens: none is taken for one of another kind.
type derivedToken struct {
	prefix  string
	version byte
	key     func(*subkeys) []byte
}

var (
	refreshTokens = derivedToken{refreshTokenPrefix, refreshTokenVersion, func(sub *subkeys) []byte { return sub.refresh }}
	// browserCookies are what a browser holds of its session: they open our own pages, and are no refresh token.
	browserCookies = derivedToken{"curfew_bs_", 2, func(sub *subkeys) []byte { return sub.browser }}
)

func (k *keyring) refreshToken(t refreshToken) string { return k.derive(refreshTokens, t) }

// parseRefreshToken accepts exactly what refreshToken makes. It needs no database: a string that was never issued
// changes nothing, even when it contains a real device's GUID.
func (k *keyring) parseRefreshToken(s string) (refreshToken, bool) {
	return k.parseDerived(refreshTokens, s)
}

func (k *keyring) derive(kind derivedToken, t refreshToken) string {
	sub := k.current()
	b := make([]byte, 0, refreshTokenSize)
	b = append(b, kind.version)
	b = append(b, sub.id[:]...)
	b = append(b, t.DeviceID[:]...)
	b = append(b, t.RefreshID[:]...)
	b = append(b, mac(kind.key(sub), b)...)
	return kind.prefix + base64.RawURLEncoding.EncodeToString(b)
}

func (k *keyring) parseDerived(kind derivedToken, s string) (t refreshToken, ok bool) {
	s, ok = strings.CutPrefix(s, kind.prefix)
	if !ok || len(s) != base64.RawURLEncoding.EncodedLen(refreshTokenSize) {
		return t, false
	}
	b, err := strictBase64.DecodeString(s)
	if err != nil || len(b) != refreshTokenSize || b[0] != kind.version { // the decoder skips line breaks
		return t, false
	}
	sub := k.byID([4]byte(b[1:5]))
	if sub == nil || !hmac.Equal(b[refreshTokenBody:], mac(kind.key(sub), b[:refreshTokenBody])) {
		return t, false
	}
	return refreshToken{DeviceID: uuid.UUID(b[5:21]), RefreshID: uuid.UUID(b[21:37])}, true
}

// strictBase64 has one text for the same bytes, but for line breaks, which it skips.
var strictBase64 = base64.RawURLEncoding.Strict()
