package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxToken bounds what is looked at.
const maxToken = 8 << 10

// The levels of a revocation.
const (
	levelDevice   = "device"
	levelUser     = "user"
	levelClient   = "client"
	levelEveryone = "everyone"
)

// Claims are what an access token says, RFC 9068 section 2.2 and Curfew's own. They are shared between calls: do not
// change them.
type Claims struct {
	Issuer       string
	Subject      string // the user's id; of a client's own token the client's
	Audience     []string
	ClientID     string
	DeviceID     string // none in a client's own token
	RefreshID    string
	Scope        string // separated by spaces
	ID           string // jti
	IssuedAt     time.Time
	ExpiresAt    time.Time
	IssuedMicros int64 // the issue time: an ordering stamp in microseconds since 1970

	device, user             uuid
	deviceIsUUID, userIsUUID bool
	clientKey                string // of the index
	expires                  int64  // microseconds
	issued                   int64  // microseconds
}

// HasScope tells whether the token carries a scope.
func (c *Claims) HasScope(scope string) bool {
	for rest := c.Scope; rest != ""; {
		var one string
		if one, rest, _ = strings.Cut(rest, " "); one == scope {
			return true
		}
	}
	return false
}

// claimsJSON is the token's body.
type claimsJSON struct {
	Iss      string   `json:"iss"`
	Sub      string   `json:"sub"`
	Aud      audience `json:"aud"`
	Exp      *float64 `json:"exp"`
	Nbf      *float64 `json:"nbf"`
	Iat      *float64 `json:"iat"`
	Jti      string   `json:"jti"`
	ClientID string   `json:"client_id"`
	Scope    string   `json:"scope"`
	DeviceID string   `json:"device_id"`
	RID      string   `json:"rid"`
	IatUS    *int64   `json:"iat_us"`
}

// audience is a string or several, RFC 7519 section 4.1.3.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var one string
		if err := json.Unmarshal(b, &one); err != nil {
			return err
		}
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// header is a JOSE header that has been looked at.
type header struct {
	Typ  string           `json:"typ"`
	Alg  string           `json:"alg"`
	Kid  string           `json:"kid"`
	Crit *json.RawMessage `json:"crit"`
}

var strict = base64.RawURLEncoding.Strict()

// decode is base64url in its one form: no padding, no line breaks, no spare bits.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, ErrMalformed
	}
	b, err := strict.DecodeString(s)
	if err != nil {
		return nil, ErrMalformed
	}
	return b, nil
}

// split cuts a token in its three parts.
func split(token string) (head, body, sig string, err error) {
	if len(token) > maxToken {
		return "", "", "", fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxToken)
	}
	head, rest, ok := strings.Cut(token, ".")
	body, sig, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(sig, ".") {
		return "", "", "", ErrMalformed
	}
	return head, body, sig, nil
}

// parseHeader accepts the header of an access token, RFC 9068 section 4: its type, an algorithm that signs, a key id, and
// nothing critical.
func parseHeader(head string) (*header, error) {
	b, err := decode(head)
	if err != nil {
		return nil, err
	}
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, ErrMalformed
	}
	typ := strings.ToLower(h.Typ)
	switch {
	case typ != "at+jwt" && typ != "application/at+jwt", h.Crit != nil:
		return nil, ErrType
	case h.Kid == "" || !slices.Contains([]string{"ES256", "EdDSA", "RS256"}, h.Alg):
		return nil, ErrUnknownKey
	}
	return &h, nil
}

// parseClaims reads a body whose signature was right.
func parseClaims(body string) (*Claims, error) {
	b, err := decode(body)
	if err != nil {
		return nil, err
	}
	var j claimsJSON
	if !utf8.Valid(b) || json.Unmarshal(b, &j) != nil {
		return nil, ErrMalformed
	}
	if j.Iss == "" || j.Sub == "" || len(j.Aud) == 0 || j.Exp == nil || j.Iat == nil || j.Jti == "" || j.ClientID == "" || j.IatUS == nil || *j.IatUS <= 0 {
		return nil, ErrClaims
	}
	c := &Claims{
		Issuer: j.Iss, Subject: j.Sub, Audience: j.Aud, ClientID: j.ClientID, DeviceID: j.DeviceID, RefreshID: j.RID, Scope: j.Scope, ID: j.Jti,
		IssuedMicros: *j.IatUS, clientKey: levelClient + " " + j.ClientID, expires: int64(*j.Exp * 1e6), issued: int64(*j.Iat * 1e6),
	}
	if j.Nbf != nil {
		c.issued = max(c.issued, int64(*j.Nbf*1e6))
	}
	c.IssuedAt, c.ExpiresAt = time.UnixMicro(int64(*j.Iat*1e6)).UTC(), time.UnixMicro(c.expires).UTC()
	c.device, c.deviceIsUUID = parseUUID(j.DeviceID)
	c.user, c.userIsUUID = parseUUID(j.Sub)
	return c, nil
}

// checkSignature checks signed, the first two parts with their dot.
func checkSignature(key crypto.PublicKey, signed, sig string) error {
	raw, err := decode(sig)
	if err != nil {
		return err
	}
	ok := false
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256([]byte(signed))
		if len(raw) == 64 {
			var buf [72]byte
			ok = ecdsa.VerifyASN1(key, sum[:], asn1Signature(buf[:0], raw))
		}
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, []byte(signed), raw)
	case *rsa.PublicKey:
		sum := sha256.Sum256([]byte(signed))
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw) == nil
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// asn1Signature writes the two halves of a JWS signature (RFC 7518 section 3.4) as the ASN.1 that the library takes.
func asn1Signature(b, raw []byte) []byte {
	integer := func(b, n []byte) []byte {
		for len(n) > 1 && n[0] == 0 {
			n = n[1:]
		}
		if n[0] >= 0x80 {
			b = append(b, 2, byte(len(n)+1), 0)
		} else {
			b = append(b, 2, byte(len(n)))
		}
		return append(b, n...)
	}
	b = append(b, 0x30, 0)
	b = integer(integer(b, raw[:32]), raw[32:])
	b[1] = byte(len(b) - 2)
	return b
}
