package server

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-oauth2/oauth2/v4"
	oauthserver "github.com/go-oauth2/oauth2/v4/server"
	"github.com/google/uuid"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// grant is a way to tokens: a row of the table below.
type grant struct {
	name string // the grant_type

	// fresh says that the client is authenticated from the database before anything of the grant is looked at: a secret
	// that was changed opens no way to passwords. Else the client may come from memory, and the statement of issue
	// makes sure that it is still the same.
	fresh bool

	// needs are the parameters that must be there.
	needs []string

	// refuses says what this node knows of why the request would be refused, before anything is asked; nil: nothing.
	refuses func(*models.Store, *gin.Context) error

	// check says what is wrong with the parameters, before any secret of a user is looked at: that tells nothing of it.
	check func(*tokenRequest) error

	// issue is the one call of the store.
	issue func(context.Context, *tokenRequest, *oauth2.TokenGenerateRequest) (*models.Grant, error)
}

// grants are the grants of the token endpoint. What registering a client with one of them asks for is in
// [models.GrantTypes].
var grants = []grant{
	{
		name: models.GrantPassword, fresh: true, refuses: refusesSignIn, needs: []string{"username", "password"},
		check: checkSignIn, issue: issueSignIn,
	},
	{name: models.GrantAuthorizationCode, needs: []string{"code"}, check: checkCode, issue: issueForCode},
	{name: models.GrantRefreshToken, check: checkRefresh, issue: issueRefresh},
	{name: models.GrantClientCredentials, check: checkScope, issue: issueClientToken},
}

// findGrant returns nil for a grant_type that there is not.
func findGrant(name string) *grant {
	i := slices.IndexFunc(grants, func(g grant) bool { return g.name == name })
	if i < 0 {
		return nil
	}
	return &grants[i]
}

// token is POST /oauth2/token, RFC 6749 section 3.2: first the client, then whether it may use the grant, then the
// grant.
func (s *Server) token(c *gin.Context) {
	var issued *models.Grant
	in, err := s.clientOfRequest(c)
	g := findGrant(c.Request.PostForm.Get("grant_type"))
	if err == nil && g != nil && g.refuses != nil {
		err = g.refuses(s.store, c)
	}
	if err == nil {
		authenticated := s.store.WithClient
		if g != nil && g.fresh {
			authenticated = s.store.WithFreshClient
		}
		err = authenticated(c.Request.Context(), in, func(client *models.Client) (err error) {
			issued, err = s.issueTokens(c, g, client)
			return err
		})
	}
	if err != nil {
		e := s.fail(c, err)
		s.metrics.TokenError(grantLabel(g), e.code, e.reason)
		if g != nil && g.name == models.GrantPassword {
			s.metrics.SignInRefused(err)
		}
		return
	}
	c.JSON(http.StatusOK, deliver(c, issued))
}

// grantLabel is the grant as a metric's label.
func grantLabel(g *grant) string {
	if g == nil {
		return "other"
	}
	return g.name
}

// issueTokens is what is done for a client that has been authenticated. It may be called twice: see
// [models.Store.WithClient].
func (s *Server) issueTokens(c *gin.Context, g *grant, client *models.Client) (*models.Grant, error) {
	if err := s.holdToOrigin(c, client); err != nil {
		return nil, err
	}
	switch {
	case c.Request.PostForm.Get("grant_type") == "":
		return nil, invalidRequest("grant_type is missing")
	case g == nil:
		return nil, errUnsupportedGrant
	case !client.HasGrant(g.name):
		return nil, errUnauthorizedClient
	}
	for _, name := range g.needs {
		if !c.Request.PostForm.Has(name) {
			return nil, invalidRequest(name + " is missing")
		}
	}
	t := &tokenRequest{
		store: s.store, grant: g, client: client, form: c.Request.PostForm, origin: web.Origin(c),
		limitIP: web.LimitIP(c), cookie: func() (string, error) { return s.tokenOfCookie(c.Request, client) },
	}
	t.readResources()
	if err := g.check(t); err != nil {
		return nil, err
	}
	return t.run(c.Request)
}

// tokenRequest is one token request of an authenticated client. It is go-oauth2's manager for this request: what the
// library reads from the form comes to its methods, and what the store issues stays here.
type tokenRequest struct {
	oauth2.Manager // nil: its other methods belong to endpoints of the library that are not in use

	store   *models.Store
	grant   *grant
	client  *models.Client
	form    url.Values
	origin  models.Origin
	limitIP string
	cookie  func() (string, error) // the refresh token that came in a cookie; empty without one

	refreshToken string
	resources    []string     // what the access token is to be for; none for the server's audience
	scope        string       // granted, but for admin; a refresh has its device's
	deviceID     uuid.UUID    // what the app says it is
	name         string       // of a new device
	user         *models.User // whose password was right

	redirectURI string // of a code

	issued *models.Grant
}

// run lets go-oauth2 take the request apart and call the manager. Its own manager is not used: it rotates in several
// steps, lets concurrent refreshes all succeed, and authenticates no client on refresh.
func (t *tokenRequest) run(r *http.Request) (*models.Grant, error) {
	lib := oauthserver.Server{
		Config: oauthConfig, Manager: t,
		ClientInfoHandler:            func(*http.Request) (string, string, error) { return t.client.ID, "", nil },
		PasswordAuthorizationHandler: t.authenticateUser,
		RefreshTokenResolveHandler:   func(*http.Request) (string, error) { return t.refreshToken, nil },
	}
	grantType, request, err := lib.ValidationTokenRequest(r)
	if err != nil {
		return nil, err
	}
	_, err = lib.GetAccessToken(r.Context(), grantType, request)
	return t.issued, err
}

// oauthConfig tells go-oauth2 which grants there are.
var oauthConfig = newOAuthConfig()

func newOAuthConfig() *oauthserver.Config {
	cfg := &oauthserver.Config{TokenType: "Bearer"}
	for _, name := range models.GrantNames() {
		cfg.AllowedGrantTypes = append(cfg.AllowedGrantTypes, oauth2.GrantType(name))
	}
	return cfg
}

// GenerateAccessToken implements [oauth2.Manager] for every grant but refresh_token.
func (t *tokenRequest) GenerateAccessToken(
	ctx context.Context, _ oauth2.GrantType, r *oauth2.TokenGenerateRequest,
) (_ oauth2.TokenInfo, err error) {
	t.issued, err = t.grant.issue(ctx, t, r)
	return nil, err
}

// RefreshAccessToken implements [oauth2.Manager].
func (t *tokenRequest) RefreshAccessToken(
	ctx context.Context, r *oauth2.TokenGenerateRequest,
) (_ oauth2.TokenInfo, err error) {
	t.issued, err = t.grant.issue(ctx, t, r)
	return nil, err
}

// authenticateUser is go-oauth2's hook for the password grant.
func (t *tokenRequest) authenticateUser(ctx context.Context, _, username, password string) (string, error) {
	u, err := t.store.AuthenticateUser(ctx, models.PasswordAttempt{
		Username: username, Password: password, IP: t.limitIP, ByProxy: t.origin.IP == "", DeviceID: t.deviceID,
		Agent: t.origin.UserAgent,
	})
	if err != nil {
		return "", err
	}
	t.user = u
	return u.ID.String(), nil
}

// readResources finds what the access token is to be for, RFC 8707 section 2. Whether it may be is said before a
// password is looked at; of a code and of a refresh token the store says so.
func (t *tokenRequest) readResources() {
	for _, uri := range t.form["resource"] {
		if !slices.Contains(t.resources, uri) {
			t.resources = append(t.resources, uri)
		}
	}
}

// refusesSignIn keeps those who are over a limit from costing anything: not even their client is looked up.
func refusesSignIn(store *models.Store, c *gin.Context) error {
	return store.RefusesAttempt(models.PasswordAttempt{
		Username: c.Request.PostForm.Get("username"), IP: web.LimitIP(c),
	})
}

// checkScope finds what the client gets of what it asks for.
func checkScope(t *tokenRequest) (err error) {
	if slices.ContainsFunc(t.resources, func(uri string) bool { return !t.client.HasResource(uri) }) {
		return errInvalidTarget
	}
	t.scope, err = models.GrantedScope(t.client, t.form.Get("scope"))
	return err
}

// checkSignIn also finds which device it is.
func checkSignIn(t *tokenRequest) error {
	if err := t.readDevice(); err != nil {
		return err
	}
	return checkScope(t)
}

// readDevice finds which device it is, and what it is called if it is new.
func (t *tokenRequest) readDevice() (err error) {
	if text := t.form.Get("device_id"); text != "" {
		id, ok := view.ParseUUID(text)
		if !ok {
			return invalidRequest("device_id must be a UUID in its canonical form")
		}
		t.deviceID = id
	}
	t.name = deviceName(t.form.Get("device_name"), t.origin.UserAgent)
	return nil
}

// deviceName is what a new device is called: what the app or its user says, or what a person would call it.
func deviceName(given, userAgent string) string {
	return cmp.Or(models.DeviceName(given), view.Platform(userAgent))
}

// checkRefresh finds the token: in the form, or in the cookie.
func checkRefresh(t *tokenRequest) (err error) {
	if t.refreshToken = t.form.Get("refresh_token"); t.refreshToken == "" {
		t.refreshToken, err = t.cookie()
	}
	if err == nil && t.refreshToken == "" {
		err = invalidRequest("refresh_token is missing")
	}
	return err
}

// issueSignIn is the grant password, RFC 6749 section 4.3: a device signs in.
func issueSignIn(ctx context.Context, t *tokenRequest, _ *oauth2.TokenGenerateRequest) (*models.Grant, error) {
	return t.store.SignIn(ctx, models.SignIn{
		User: t.user, Client: t.client, Scope: t.scope, DeviceID: t.deviceID, Name: t.name, Origin: t.origin,
		Resources: t.resources,
	})
}

// issueRefresh is the grant refresh_token, RFC 6749 section 6.
func issueRefresh(ctx context.Context, t *tokenRequest, r *oauth2.TokenGenerateRequest) (*models.Grant, error) {
	return t.store.RefreshDevice(ctx, models.Refresh{
		Token: r.Refresh, Client: t.client, Scope: r.Scope, Origin: t.origin, Resources: t.resources,
	})
}

// issueClientToken is the grant client_credentials, RFC 6749 section 4.4: a token for the client itself.
func issueClientToken(ctx context.Context, t *tokenRequest, _ *oauth2.TokenGenerateRequest) (*models.Grant, error) {
	return t.store.GrantClient(ctx, t.client, t.scope, t.resources...)
}

// tokenAnswer is RFC 6749 section 5.1, and the device that the tokens are bound to.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"` // also when nothing is left of it
	DeviceID     string `json:"device_id,omitempty"`
	IDToken      string `json:"id_token,omitempty"` // with the scope openid, OpenID Connect Core sections 3.1.3.3, 12.2
}

func newTokenAnswer(g *models.Grant) tokenAnswer {
	a := tokenAnswer{
		AccessToken: g.AccessToken, TokenType: oauthConfig.TokenType, ExpiresIn: int64(g.ExpiresIn / time.Second),
		RefreshToken: g.RefreshToken, Scope: g.Scope, IDToken: g.IDToken,
	}
	if g.DeviceID != uuid.Nil {
		a.DeviceID = g.DeviceID.String()
	}
	return a
}
