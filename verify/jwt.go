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
	"strings"
	"time"
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

// header is what is read of a JOSE header.
type header struct{ typ, alg, kid string }

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

func decodeObject(part string) (object, error) {
	b, err := decode(part)
	if err != nil {
		return nil, err
	}
	return parseObject(b)
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

// parseHeader reads a header. Whatever is critical is not known here, RFC 7515 section 4.1.11.
func parseHeader(head string) (*header, error) {
	o, err := decodeObject(head)
	if err != nil {
		return nil, err
	}
	f := fields{object: o}
	h := &header{f.text("typ"), f.text("alg"), f.text("kid")}
	if f.wrong || f.get("crit") != nil {
		return nil, ErrMalformed
	}
	return h, nil
}

// isAccessToken: RFC 9068 section 4. Nothing but ASCII becomes one of these letters in another case.
func (h *header) isAccessToken() bool {
	return strings.EqualFold(h.typ, "at+jwt") || strings.EqualFold(h.typ, "application/at+jwt")
}

// maxDate is the last second of the year 9999, so that microseconds stay far from the end of 64 bits.
const maxDate = 253402300799

// parseClaims reads the claims of a token whose signature was right, RFC 9068 section 2.2.
func parseClaims(o object) (*Claims, error) {
	f := &fields{object: o}
	date := func(name string) int64 {
		x := f.number(name)
		if !(x >= 0 && x <= maxDate) {
			f.wrong = true
			return 0
		}
		return int64(x * 1e6)
	}
	c := &Claims{
		Issuer: f.name("iss"), Subject: f.name("sub"), ClientID: f.name("client_id"), ID: f.name("jti"),
		RefreshID: f.text("rid"), Scope: f.text("scope"), IssuedMicros: f.integer("iat_us"),
		expires: date("exp"), issued: date("iat"),
	}
	c.IssuedAt, c.ExpiresAt = time.UnixMicro(c.issued).UTC(), time.UnixMicro(c.expires).UTC()
	c.DeviceID, _ = optional(f, "device_id", f.name)
	if notBefore, there := optional(f, "nbf", date); there {
		c.issued = max(c.issued, notBefore)
	}
	var ok bool
	if c.Audience, ok = parseAudience(f.get("aud")); !ok || f.wrong || c.IssuedMicros <= 0 {
		return nil, ErrClaims
	}
	c.clientKey = levelClient + " " + c.ClientID
	c.device, c.deviceIsUUID = parseUUID(c.DeviceID)
	c.user, c.userIsUUID = parseUUID(c.Subject)
	return c, nil
}

// parseAudience reads a string or several, RFC 7519 section 4.1.3.
func parseAudience(value []byte) (all []string, ok bool) {
	if value == nil {
		return nil, false
	}
	switch value[0] {
	case '"':
		return []string{unquote(value)}, true
	case '[':
		var some []*string // null is none
		if json.Unmarshal(value, &some) != nil {
			return nil, false
		}
		for _, one := range some {
			if one == nil {
				return nil, false
			}
			all = append(all, *one)
		}
	}
	return all, len(all) > 0
}

// checkSignature checks signed, the first two parts with their dot.
func checkSignature(key crypto.PublicKey, signed string, sig []byte) error {
	ok := false
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256([]byte(signed))
		if len(sig) == 64 {
			var buf [72]byte
			ok = ecdsa.VerifyASN1(key, sum[:], asn1Signature(buf[:0], sig))
		}
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, []byte(signed), sig)
	case *rsa.PublicKey:
		sum := sha256.Sum256([]byte(signed))
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
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
