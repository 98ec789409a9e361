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
// device may have signed in again since. Call it from [Store.WithClient]. It returns nil for what is no token of ours, [ErrTokenType] for a token that
// has no device, and [ErrOtherClient].
func (s *Store) RevokeToken(ctx context.Context, c *Client, token string, by Actor) (*SignOut, error) {
	var device uuid.UUID
	var refresh, user uuid.UUID // of a refresh token, or of an access token
	var issued int64
	if tok, ok := s.secret.parseRefreshToken(token); ok {
		device, refresh = tok.DeviceID, tok.RefreshID
	} else {
		claims, err := s.parseAccessToken(ctx, token)
		if errors.Is(err, ErrAccessToken) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if claims.ClientID != c.ID {
			return nil, ErrOtherClient
		}
		if claims.DeviceID == "" {
			return nil, ErrTokenType
		}
		var errUser error
		device, err = uuid.Parse(claims.DeviceID)
		user, errUser = uuid.Parse(claims.Subject)
		if err != nil || errUser != nil {
			return nil, nil
		}
		issued = claims.IssuedUS
	}
	return s.change(ctx, func(tx *gorm.DB) (*SignOut, error) {
		if err := s.isCurrent(tx, c); err != nil {
			return nil, err
		}
		// Locked first: the device must not sign in again between the look at the token and the sign-out.
		var d Device
		err := s.raw(tx, `SELECT * FROM devices WHERE id = @id {lock}`, args{"id": device}).Take(&d).Error
		switch {
		case errors.Is(dbError(err), ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, err
		case issued == 0 && !ofOneRow(refresh, d.RefreshID), issued != 0 && user != d.UserID: // the GUID is somebody else's now
			return nil, nil
		case d.ClientID != c.ID:
			return nil, ErrOtherClient
		}
		if issued != 0 {
			var alive bool
			err := s.row(tx, `SELECT @issued > {greatest}(d.valid_from, u.valid_from, c.valid_from, r.valid_from)
				FROM devices d, users u, clients c, realm r WHERE d.id = @device AND u.id = d.user_id AND c.id = d.client_id`,
				args{"issued": issued, "device": device}, &alive)
			if errors.Is(dbError(err), ErrNotFound) || (err == nil && !alive) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
		}
		by := by
		by.ID = d.UserID.String()
		out, err := s.revokeIn(tx, Target{Level: LevelDevice, Filter: DeviceFilter{ID: device}}, ReasonSignedOut, by)
		if errors.Is(err, ErrNotFound) { // its user or client is gone
			return nil, nil
		}
		return out, err
	})
}
