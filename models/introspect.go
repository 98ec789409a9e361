package models

import (
	"context"
	"errors"

	"gorm.io/gorm"
)

// Introspection is what RFC 7662 section 2.2 answers of a living token.
type Introspection struct {
	TokenType string // Bearer, or refresh_token
	ClientID  string
	UserID    string // sub; of a client's own token the client
	Username  string // none for a client's own token
	DeviceID  string // none for a client's own token
	Scope     string
	IssuedAt  int64 // seconds
	ExpiresAt int64 // seconds
	Audience  []string
	Issuer    string
	ID        string // jti of an access token
}

// Introspect says what a token is worth now; nil is a token that is worth nothing. It is one statement. It returns
// [ErrMayNotIntrospect] to a client that may not ask. Call it from [Store.WithClient].
func (s *Store) Introspect(ctx context.Context, asks *Client, token string) (*Introspection, error) {
	if !asks.Introspect || asks.Public {
		return nil, ErrMayNotIntrospect
	}
	if tok, ok := s.secret.parseRefreshToken(token); ok {
		return s.introspectRefreshToken(ctx, asks, tok)
	}
	t, err := s.checkAccessToken(ctx, token, asks)
	if errors.Is(err, ErrAccessToken) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Introspection{
		TokenType: "Bearer", ClientID: t.ClientID, UserID: t.Subject, Username: t.Username, DeviceID: t.Claims.DeviceID,
		Scope: t.Scope, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt, Audience: t.Audience, Issuer: t.Issuer, ID: t.ID,
	}, nil
}

func (s *Store) introspectRefreshToken(ctx context.Context, asks *Client, tok refreshToken) (*Introspection, error) {
	i := &Introspection{TokenType: "refresh_token", DeviceID: tok.DeviceID.String(), Issuer: s.cfg.Issuer}
	var alive, current bool
	var rotated, expires Micros
	var scopes string
	err := s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT d.refresh_id = @refresh AND `+aliveDevice+` AND `+withinLifetimes+`,
				EXISTS (SELECT 1 FROM clients a WHERE a.id = @asks AND a.version = @version),
				d.client_id, CAST(d.user_id AS text), u.username, d.scope, c.scopes, d.rotated_at, `+deviceExpiry+`
			FROM devices d, users u, clients c, realm r WHERE d.id = @device AND`+ruleJoin,
			s.lifetimes(args{"refresh": tok.RefreshID, "device": tok.DeviceID, "asks": asks.ID, "version": asks.Version}),
			&alive, &current, &i.ClientID, &i.UserID, &i.Username, &i.Scope, &scopes, &rotated, &expires)
	})
	switch {
	case err != nil:
		return nil, whenNotFound(err, nil)
	case !current:
		return nil, errStaleClient
	case !alive:
		return nil, nil
	}
	i.Scope = common(i.Scope, scopes)
	i.IssuedAt, i.ExpiresAt = rotated.Seconds(), expires.Seconds()
	return i, nil
}
