package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-oauth2/oauth2/v4"
	oautherrors "github.com/go-oauth2/oauth2/v4/errors"
	oauthmodels "github.com/go-oauth2/oauth2/v4/models"
	oauthserver "github.com/go-oauth2/oauth2/v4/server"
	"github.com/google/uuid"

	"curfew/models"
)

// newOAuth is the library's server as we use it: it takes token requests apart and calls our manager. The client has been
// authenticated before (client_auth.go), because the library would look at the password first.
func newOAuth(store *models.Store) *oauthserver.Server {
	m := &manager{store: store}
	s := oauthserver.NewServer(&oauthserver.Config{
		TokenType:         "Bearer",
		AllowedGrantTypes: []oauth2.GrantType{oauth2.PasswordCredentials, oauth2.Refreshing, oauth2.ClientCredentials},
	}, m)
	s.SetClientInfoHandler(func(r *http.Request) (string, string, error) { return tokenRequestFrom(r.Context()).client.ID, "", nil })
	s.SetPasswordAuthorizationHandler(m.password)
	return s
}

// tokenInfo is a grant in the library's words.
type tokenInfo struct {
	*oauthmodels.Token
	deviceID uuid.UUID
}

func newTokenInfo(g *models.Grant, err error) (oauth2.TokenInfo, error) {
	if err != nil {
		return nil, err
	}
	return &tokenInfo{
		Token: &oauthmodels.Token{
			ClientID: g.Claims.ClientID, UserID: g.Claims.Subject, Scope: g.Scope,
			Access: g.AccessToken, AccessExpiresIn: g.ExpiresIn, Refresh: g.RefreshToken,
		},
		deviceID: g.DeviceID,
	}, nil
}

// manager is our oauth2.Manager: each of its methods is one call of the store. The shipped one rotates in several steps,
// lets concurrent refreshes all succeed, and authenticates no client on refresh.
type manager struct{ store *models.Store }

var _ oauth2.Manager = (*manager)(nil)

// password is the library's hook for the password grant, RFC 6749 section 4.3.
func (m *manager) password(ctx context.Context, _, username, password string) (string, error) {
	st := tokenRequestFrom(ctx)
	u, err := m.store.AuthenticateUser(ctx, models.PasswordAttempt{
		Username: username, Password: password, IP: st.origin.IP, DeviceID: st.deviceID,
	})
	if err != nil {
		return "", err
	}
	st.user = u
	return u.ID.String(), nil
}

// GenerateAccessToken serves the grants password and client_credentials.
func (m *manager) GenerateAccessToken(ctx context.Context, gt oauth2.GrantType, _ *oauth2.TokenGenerateRequest) (oauth2.TokenInfo, error) {
	st := tokenRequestFrom(ctx)
	if gt == oauth2.ClientCredentials {
		return newTokenInfo(m.store.GrantClient(ctx, st.client, st.scope))
	}
	return newTokenInfo(m.store.SignIn(ctx, models.SignIn{
		User: st.user, Client: st.client, Scope: st.scope, DeviceID: st.deviceID, Name: st.name, Origin: st.origin,
	}))
}

// RefreshAccessToken serves the grant refresh_token.
func (m *manager) RefreshAccessToken(ctx context.Context, r *oauth2.TokenGenerateRequest) (oauth2.TokenInfo, error) {
	if r.Refresh == "" {
		return nil, oautherrors.ErrInvalidRequest
	}
	st := tokenRequestFrom(ctx)
	return newTokenInfo(m.store.RefreshDevice(ctx, models.Refresh{Token: r.Refresh, Client: st.client, Scope: r.Scope, Origin: st.origin}))
}

// What is left of the interface belongs to endpoints of the library that we do not have.
var errNotHere = errors.New("the library's own endpoints are not in use")

// GetClient is not in use: the client is authenticated before.
func (m *manager) GetClient(context.Context, string) (oauth2.ClientInfo, error) {
	return nil, errNotHere
}

// GenerateAuthToken is not in use: there is no authorization endpoint.
func (m *manager) GenerateAuthToken(context.Context, oauth2.ResponseType, *oauth2.TokenGenerateRequest) (oauth2.TokenInfo, error) {
	return nil, oautherrors.ErrUnsupportedResponseType
}

// RemoveAccessToken is not in use: see revoke.go.
func (m *manager) RemoveAccessToken(context.Context, string) error { return errNotHere }

// RemoveRefreshToken is not in use: see revoke.go.
func (m *manager) RemoveRefreshToken(context.Context, string) error { return errNotHere }

// LoadAccessToken is not in use: see introspect.go.
func (m *manager) LoadAccessToken(context.Context, string) (oauth2.TokenInfo, error) {
	return nil, errNotHere
}

// LoadRefreshToken is not in use: see introspect.go.
func (m *manager) LoadRefreshToken(context.Context, string) (oauth2.TokenInfo, error) {
	return nil, errNotHere
}
