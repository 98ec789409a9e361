package server

import (
	"errors"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// pathUserInfo is where apps learn who has signed in.
const pathUserInfo = "/oauth2/userinfo"

// userInfo is GET and POST /oauth2/userinfo, OpenID Connect Core section 5.3: what the scopes of the access token open,
// as it is now (section 5.4). The token comes in the Authorization header. A member without a value is left out.
func (s *Server) userInfo(c *gin.Context) error {
	caller := web.CallerFrom(c)
	u, err := s.store.GetUser(c.Request.Context(), caller.UserID)
	if errors.Is(err, models.ErrNotFound) { // deleted since the token was looked at
		return models.ErrAccessToken
	}
	if err != nil {
		return err
	}
	answer := struct {
		Subject       string `json:"sub"`
		Username      string `json:"preferred_username,omitempty"`
		Name          string `json:"name,omitempty"`
		Email         string `json:"email,omitempty"`
		EmailVerified *bool  `json:"email_verified,omitempty"`
	}{Subject: u.ID.String()}
	if caller.HasScope(models.ScopeProfile) {
		answer.Username, answer.Name = u.Username, u.Name
	}
	if caller.HasScope(models.ScopeEmail) && u.Email != "" {
		answer.Email, answer.EmailVerified = u.Email, &u.EmailVerified
	}
	return web.OK(c, answer)
}
