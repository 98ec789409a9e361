package models

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// ErrOtherClient: the token was issued to another client, RFC 7009 section 2.1.
var ErrOtherClient = fmt.Errorf("%w: it was issued to another client", ErrRefreshTokenInvalid)

// RevokeToken signs out the device of a token, RFC 7009. A refresh token of any age will do, because a log-out must win
// its race with a refresh; an access token also when it has expired, but not one that a sign-out ended already: the
// device may have signed in again since. Call it from [Store.WithClient]. It returns nil for what is no token of ours,
// [ErrTokenType] for a token that has no device, and [ErrOtherClient].
func (s *Store) RevokeToken(ctx context.Context, c *Client, token string, by Actor) (*SignOut, error) {
	t, err := s.parseDeviceToken(ctx, c, token)
	if err != nil || t == nil {
		return nil, err
	}
	return s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		if err := s.isCurrent(tx, c); err != nil {
			return nil, err
		}
		// Locked first: the device must not sign in again between the look at the token and the sign-out.
		var d Device
		switch err := s.lockDevice(tx, t.device, &d); {
		case err != nil:
			return nil, whenNotFound(err, nil)
		case !t.isOf(&d):
			return nil, nil
		case d.ClientID != c.ID:
			return nil, ErrOtherClient
		}
		if t.issued != 0 {
			var alive bool
			err := s.row(tx, `SELECT @issued > `+deviceValidFrom+` FROM devices d, users u, clients c, realm r
				WHERE d.id = @device AND`+ruleJoin, args{"issued": t.issued, "device": t.device}, &alive)
			if err != nil || !alive {
				return nil, whenNotFound(err, nil)
			}
		}
		by := by
		by.ID = d.UserID.String()
		out, err := s.revokeIn(tx, OneDevice(t.device), ReasonSignedOut, by)
		return out, whenNotFound(err, nil) // its user or client is gone
	})
}

// deviceToken is what a token says of its device: a refresh token its refresh id, an access token its user and issue
// time.
type deviceToken struct {
	device, refreshID, user uuid.UUID
	issued                  Micros // 0: a refresh token
}

// isOf tells whether the device still is the token's: its GUID may be somebody else's now.
func (t *deviceToken) isOf(d *Device) bool {
	if t.issued == 0 {
		return sameFamily(t.refreshID, d.RefreshID)
	}
	return t.user == d.UserID
}

// parseDeviceToken returns nil for what is no token of ours.
func (s *Store) parseDeviceToken(ctx context.Context, c *Client, token string) (*deviceToken, error) {
	if t, ok := s.secret.parseRefreshToken(token); ok {
		return &deviceToken{device: t.DeviceID, refreshID: t.RefreshID}, nil
	}
	claims, err := s.parseAccessToken(ctx, token)
	switch {
	case errors.Is(err, ErrAccessToken):
		return nil, nil
	case err != nil:
		return nil, err
	case claims.ClientID != c.ID:
		return nil, ErrOtherClient
	case claims.DeviceID == "":
		return nil, ErrTokenType
	}
	device, err := uuid.Parse(claims.DeviceID)
	user, errUser := uuid.Parse(claims.Subject)
	if err != nil || errUser != nil {
		return nil, nil
	}
	return &deviceToken{device: device, user: user, issued: Micros(claims.IssuedUS)}, nil
}

// ClientOfToken is the client that an access token was issued to, alive or not. It returns [ErrAccessToken] for what is
// none of ours.
func (s *Store) ClientOfToken(ctx context.Context, raw string) (string, error) {
	claims, err := s.parseAccessToken(ctx, raw)
	if err != nil {
		return "", err
	}
	return claims.ClientID, nil
}

// DeviceOfRefreshToken is the device that a refresh token was issued to, alive or not; uuid.Nil for what is none of
// ours.
func (s *Store) DeviceOfRefreshToken(token string) uuid.UUID {
	t, _ := s.secret.parseRefreshToken(token)
	return t.DeviceID
}
