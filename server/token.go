package server

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-oauth2/oauth2/v4"
	"github.com/google/uuid"

	"curfew/internal/web"
	"curfew/models"
)

// tokenRequest is what the steps of one token request hand on; it travels in the context, because the library's hooks
// have no other way.
type tokenRequest struct {
	client   *models.Client // authenticated
	user     *models.User   // whose password was right
	deviceID uuid.UUID
	name     string
	scope    string // granted, but for admin
	origin   models.Origin
}

type tokenRequestKey struct{}

func tokenRequestFrom(ctx context.Context) *tokenRequest {
	return ctx.Value(tokenRequestKey{}).(*tokenRequest)
}

// token is POST /oauth2/token: first the client, then whether it may use the grant, then the grant.
func (s *Server) token(c *gin.Context) {
	var info oauth2.TokenInfo
	in, err := clientCredentials(c)
	if err == nil {
		authenticated := s.store.WithClient
		if c.Request.PostForm.Get("grant_type") == models.GrantPassword {
			authenticated = s.store.WithFreshClient // as it is now: a secret that was changed opens no way to the passwords
		}
		err = authenticated(c.Request.Context(), in, func(client *models.Client) (err error) {
			info, err = s.grant(c, client)
			return err
		})
	}
	if err != nil {
		e := s.fail(c, err)
		s.metrics.TokenError(grantLabel(c), e.code, e.reason)
		return
	}
	noStore(c)
	granted := info.(*tokenInfo)
	answer := tokenAnswer{
		AccessToken: granted.Access, TokenType: s.oauth.Config.TokenType, ExpiresIn: int64(granted.AccessExpiresIn / time.Second),
		RefreshToken: granted.Refresh, Scope: granted.Scope,
	}
	if granted.deviceID != uuid.Nil {
		answer.DeviceID = granted.deviceID.String()
	}
	c.JSON(http.StatusOK, answer)
}

// tokenAnswer is RFC 6749 section 5.1, and the device that the tokens are bound to.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	DeviceID     string `json:"device_id,omitempty"`
}

func (s *Server) grant(c *gin.Context, client *models.Client) (oauth2.TokenInfo, error) {
	form := c.Request.PostForm
	grant := form.Get("grant_type")
	switch {
	case grant == "":
		return nil, invalidRequest("grant_type is missing")
	case !s.oauth.CheckGrantType(oauth2.GrantType(grant)):
		return nil, errUnsupportedGrant
	case !client.HasGrant(grant):
		return nil, errUnauthorizedClient
	}
	st := &tokenRequest{client: client, origin: web.Origin(c)}
	if text := form.Get("device_id"); text != "" && grant == models.GrantPassword {
		id, ok := web.ParseUUID(text)
		if !ok {
			return nil, invalidRequest("device_id takes a UUID in its canonical form")
		}
		st.deviceID = id
	}
	// Whatever may be wrong is said before a password is looked at: it tells nothing of it.
	var err error
	if grant != models.GrantRefreshToken { // whose scope is the device's
		if st.scope, err = models.GrantedScope(client, form.Get("scope")); err != nil {
			return nil, err
		}
	}
	if grant == models.GrantPassword {
		if st.name, err = models.CleanName(cmp.Or(strings.TrimSpace(form.Get("device_name")), web.Platform(c.Request.UserAgent()))); err != nil {
			return nil, err
		}
	}
	ctx := context.WithValue(c.Request.Context(), tokenRequestKey{}, st)
	gt, request, err := s.oauth.ValidationTokenRequest(c.Request.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	return s.oauth.GetAccessToken(ctx, gt, request)
}

// grantLabel is the grant as a metric's label.
func grantLabel(c *gin.Context) string {
	switch grant := c.Request.PostForm.Get("grant_type"); grant {
	case models.GrantPassword, models.GrantRefreshToken, models.GrantClientCredentials:
		return grant
	}
	return "other"
}
