package models

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// CodeExchange is an authorization code grant whose client has been authenticated, RFC 6749 section 4.1.3.
type CodeExchange struct {
	Client      *Client
	Code        string
	RedirectURI string   // may be missing where the code has a challenge
	Verifier    string   // RFC 7636
	Resources   []string // narrow the access token, RFC 8707 section 2.2; none for all that the code has
	DeviceID    uuid.UUID
	Name        string
	Origin      Origin
}

// ExchangeCode spends a code: it makes the code's one device, or signs the same device in again as [Store.SignIn] does,
// with the code's browser session as its parent. Call it from [Store.WithClient].
//
// A presentation that does not fit (another client, a wrong verifier or redirect URI) spends nothing, and neither does
// one that comes too late or after a sign-out of the code's user, client, browser session or of everyone:
// [ErrCodeInvalid]. One that fits and comes after the code was spent signs out the device that the code made:
// [ErrCodeReused], RFC 9700 section 2.1.1; unless that device has been signed in anew since. [ErrTarget] spends
// nothing.
func (s *Store) ExchangeCode(ctx context.Context, in CodeExchange) (*Grant, error) {
	if !looksLikeCode(in.Code) || !in.Client.HasGrant(GrantAuthorizationCode) {
		return nil, ErrCodeInvalid
	}
	in.Origin = in.Origin.clean()
	var w *signingIn
	var code *Code
	_, err := s.writeSignOut(ctx, func(tx *gorm.DB) (_ *SignOut, err error) {
		code = &Code{}
		if err := s.lockCode(tx, in, code); err != nil {
			return nil, err
		}
		if code.UsedAt != 0 {
			if ctx.Err() != nil { // the client has hung up: a request that was held up on its way is no theft
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
			}
			return s.replayCode(tx, in, code)
		}
		if w, err = s.spendCode(tx, in, code); err != nil {
			return nil, err
		}
		return &w.out, nil
	})
	if err != nil {
		return nil, err
	}
	s.countSignIn(w)
	return s.grantFor(w.device, in.Client, w.device.Scope, in.Resources, code.Nonce, w.now)
}

// lockCode loads the code and keeps it from being spent by somebody else until the commit. What it looks at is whether
// the presentation fits.
func (s *Store) lockCode(tx *gorm.DB, in CodeExchange, code *Code) error {
	// mutant: code-spent-by-read-then-write
	if err := s.raw(tx, `SELECT * FROM codes WHERE hash = @hash {lock}`, args{"hash": hashCode(in.Code)}).
		Take(code).Error; err != nil {
		return whenNotFound(err, ErrCodeInvalid)
	}
	if err := s.isCurrent(tx, in.Client); err != nil {
		return err
	}
	switch {
	// mutant: code-of-another-client
	case code.ClientID != in.Client.ID:
		return ErrCodeInvalid
	// mutant: code-without-its-verifier
	case !code.fits(in.Verifier):
		return ErrCodeInvalid
	case in.RedirectURI != code.RedirectURI && (in.RedirectURI != "" || code.Challenge == ""):
		return ErrCodeInvalid
	}
	return nil
}

// fits compares the verifier with the challenge. A verifier where there was no challenge is an attempt to go without
// one, RFC 9700 section 4.8.2.
func (c *Code) fits(verifier string) bool {
	if c.Challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	return pkceVerifier.MatchString(verifier) && subtle.ConstantTimeCompare([]byte(challenge), []byte(c.Challenge)) == 1
}

// spendCode is the first presentation. It locks the code, the user, the browser session, the device.
func (s *Store) spendCode(tx *gorm.DB, in CodeExchange, code *Code) (*signingIn, error) {
	resources := strings.Fields(common(code.Resources, in.Client.Resources))
	switch {
	case code.Resources == "": // the request left it open
		if err := in.Client.checkResources(in.Resources); err != nil {
			return nil, err
		}
		resources = in.Resources
	case len(resources) == 0, !coversAll(resources, in.Resources): // the client may have lost some since
		return nil, ErrTarget
	}
	// mutant: code-spent-by-read-then-write
	n, err := s.exec(tx, `UPDATE codes SET used_at = {now} WHERE hash = @hash AND used_at = 0 AND expires_at > {now}`,
		args{"hash": code.Hash})
	if err != nil || n != 1 {
		return nil, orInvalidCode(err)
	}
	u, err := s.lockUser(tx, code.UserID)
	if err != nil {
		return nil, whenNotFound(err, ErrCodeInvalid)
	}
	parent := &Device{}
	if err := s.lockDevice(tx, code.ParentID, parent); err != nil {
		return nil, whenNotFound(err, ErrCodeInvalid)
	}
	w := newSigningIn(SignIn{
		User: u, Client: in.Client, Scope: common(code.Scope, in.Client.Scopes), DeviceID: in.DeviceID, Name: in.Name,
		Origin: in.Origin, Resources: resources,
	})
	w.parent, w.authAt = code.ParentID, code.AuthAt
	if isShared(parent, s.cfg.DeviceMaxAge) {
		w.until = parent.EndsAt
	}
	if err := s.findDevice(tx, w); err != nil {
		return nil, err
	}
	if err := s.issue(tx, w); err != nil {
		return nil, err
	}
	// After the last reading that decided about the issue time: a sign-out between that and this one ends the code, and
	// one that comes later the new device.
	if err := s.isAlive(tx, code); err != nil {
		return nil, err
	}
	if _, err := s.exec(tx, `UPDATE codes SET device_id = @device, used_at = @signed_in WHERE hash = @hash`, args{
		"device": w.device.ID, "signed_in": w.device.SignedInAt, "hash": code.Hash,
	}); err != nil {
		return nil, err
	}
	return w, s.auditSignIn(tx, w)
}

func orInvalidCode(err error) error {
	if err == nil {
		return ErrCodeInvalid
	}
	return err
}

// isAlive is the one rule for a code. Its session's row is locked, so a sign-out of that comes before it or after it.
func (s *Store) isAlive(tx *gorm.DB, code *Code) error {
	var alive bool
	// The device is the browser session, and the client that of the code.
	// mutant: code-ignores-the-end-of-its-session
	err := s.row(tx, `SELECT @issued > `+deviceValidFrom+` AND u.disabled_at = 0
		FROM devices d, users u, clients c, realm r
		WHERE d.id = @parent AND d.user_id = @user AND u.id = d.user_id AND c.id = @client`, args{
		"issued": code.IssuedAt, "parent": code.ParentID, "user": code.UserID, "client": code.ClientID,
	}, &alive)
	if err == nil && !alive {
		return ErrCodeInvalid
	}
	return whenNotFound(err, ErrCodeInvalid)
}

// replayCode signs out the device that the code made, if it is still the same sign-in.
func (s *Store) replayCode(tx *gorm.DB, in CodeExchange, code *Code) (*SignOut, error) {
	d := &Device{}
	if err := s.lockDevice(tx, code.DeviceID, d); err != nil {
		return nil, whenNotFound(err, ErrCodeReused)
	}
	if d.SignedInAt != code.UsedAt {
		return nil, ErrCodeReused
	}
	// Asked before the realm is locked, which everybody waits for: who repeats this holds up nobody.
	var out bool
	if err := s.row(tx, `SELECT NOT (`+notSignedOut+`) FROM devices d, users u, clients c, realm r
		WHERE d.id = @id AND`+ruleJoin, args{"id": d.ID}, &out); err != nil || out {
		return nil, cmp.Or(whenNotFound(err, nil), ErrCodeReused)
	}
	by := Actor{Entity: EntityPolicy, IP: in.Origin.IP, UserAgent: in.Origin.UserAgent}
	signOut := &SignOut{}
	if err := s.revokeDevices(tx, signOut, []*Device{d}, ReasonCodeReuse, by, detail{
		"owner_ip": d.IP, "owner_user_agent": d.UserAgent,
		"replay_ip": in.Origin.IP, "replay_user_agent": in.Origin.UserAgent,
	}); err != nil {
		return nil, err
	}
	// mutant: replayed-code-leaves-its-device
	return signOut, commitAndFail(ErrCodeReused)
}
