package models

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// IDTokenClaims say to one client who has signed in, and when: OpenID Connect Core section 2. There is nothing in them
// that an access token needs (client_id, rid, iat_us), and another key signs them.
type IDTokenClaims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"` // the client
	ExpiresAt int64  `json:"exp"` // seconds, as of the access token beside it
	IssuedAt  int64  `json:"iat"`
	AuthTime  int64  `json:"auth_time"`       // when the password was given; no refresh moves it
	Nonce     string `json:"nonce,omitempty"` // of the authorization request; none after a refresh
	AtHash    string `json:"at_hash"`         // section 3.1.3.6
	SessionID string `json:"sid"`             // the device, as back-channel logout names it
}

// idTokenType tells ID tokens from access tokens and logout tokens, RFC 8725 section 3.11.
const idTokenType = "JWT"

// idToken is the one beside the access token of a grant.
func (s *Store) idToken(g *Grant, nonce string, now Micros) (string, error) {
	return s.SignIdentity(idTokenType, &IDTokenClaims{
		Issuer: g.Claims.Issuer, Subject: g.Claims.Subject, Audience: g.Claims.ClientID,
		ExpiresAt: g.Claims.ExpiresAt, IssuedAt: g.Claims.IssuedAt, AuthTime: g.Claims.AuthTime,
		Nonce: nonce, AtHash: accessTokenHash(g.AccessToken), SessionID: g.Claims.DeviceID,
	}, now)
}

// accessTokenHash is the left half of the hash that RS256 has.
func accessTokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return b64(sum[:len(sum)/2])
}

// ParseIDToken reads an ID token that comes back as a hint. It must be one of ours, signed by a key that is still
// published; that it has expired does not matter (OpenID Connect Core section 3.1.2.1, RP-Initiated Logout section 2).
// It tells what was true once: whether the device is signed in, the database says. It returns [ErrIDToken].
func (s *Store) ParseIDToken(raw string) (*IDTokenClaims, error) {
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || len(raw) > maxTokenSize || strings.ContainsAny(raw, "\r\n") {
		return nil, ErrIDToken
	}
	for _, key := range s.keys.Load().identity {
		// What we have signed begins with such a header, to the letter. So no header is ever trusted.
		if expected, err := key.identityHeader(idTokenType); err != nil || expected != header {
			continue
		}
		text, errPayload := strictBase64.DecodeString(payload)
		sig, errSignature := strictBase64.DecodeString(signature)
		if errPayload != nil || errSignature != nil {
			return nil, ErrIDToken
		}
		if err := signingMethod(key.Alg).Verify(header+"."+payload, sig, key.public); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrIDToken, err)
		}
		claims := &IDTokenClaims{}
		if err := json.Unmarshal(text, claims); err != nil || claims.Issuer != s.cfg.Issuer || claims.SessionID == "" {
			return nil, ErrIDToken
		}
		return claims, nil
	}
	return nil, ErrIDToken
}

// DeviceOfIDToken is the device of an ID token; [ErrNotFound] if it is gone, or somebody else's by now.
func (s *Store) DeviceOfIDToken(ctx context.Context, claims *IDTokenClaims) (*Device, error) {
	id, errID := uuid.Parse(claims.SessionID)
	user, errUser := uuid.Parse(claims.Subject)
	if errID != nil || errUser != nil {
		return nil, ErrNotFound
	}
	d := &Device{}
	err := s.read(ctx, func(tx *gorm.DB) error {
		return tx.Where("id = ? AND user_id = ? AND client_id = ?", id, user, claims.Audience).Take(d).Error
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// SignOutApp is a log-out that an app has begun and proven by an ID token: it signs out the app's device, and the
// browser session that the device came through, if there is one, with its children. The cookie must prove that session;
// without one the device alone is signed out. It returns nil if there was nothing to end, and [ErrBrowserSession] if
// the device came through another session than the cookie's by now.
func (s *Store) SignOutApp(ctx context.Context, in BrowserCookie, device *Device) (*SignOut, error) {
	cookie, ok := s.secret.parseDerived(browserCookies, in.Value)
	if in.Value != "" && (!ok || !builtIn(in.ClientID)) {
		return nil, ErrBrowserSession
	}
	from := in.Origin.clean()
	return s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		var ends []*Device
		if ok { // the parent first, in the order of all who lock both
			parent := &Device{}
			if err := s.lockDevice(tx, cookie.DeviceID, parent); err != nil {
				return nil, whenNotFound(err, ErrBrowserSession)
			}
			if parent.ClientID != in.ClientID || !sameFamily(parent.RefreshID, cookie.RefreshID) {
				return nil, ErrBrowserSession
			}
			ends = append(ends, parent)
		}
		own := &Device{}
		err := s.lockDevice(tx, device.ID, own)
		switch {
		case errors.Is(dbError(err), ErrNotFound),
			err == nil && (own.UserID != device.UserID || own.ClientID != device.ClientID):
			// It is gone, and what it came through ends all the same.
		case err != nil:
			return nil, err
		case ok && own.ParentID != ends[0].ID:
			return nil, ErrBrowserSession
		default:
			ends = append(ends, own)
		}
		by := Actor{Entity: EntityUser, ID: device.UserID.String(), IP: from.IP, UserAgent: from.UserAgent}
		out := &SignOut{}
		err = s.revokeDevices(tx, out, ends, ReasonSignedOut, by, nil)
		return out, err
	})
}
