package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// revoke is POST /oauth2/revoke, RFC 7009: "log out this device". What is no token of ours is no error (section 2.2).
func (s *Server) revoke(c *gin.Context) {
	in, err := s.clientOfRequest(c)
	if err == nil {
		err = s.store.WithFreshClient(c.Request.Context(), in, func(client *models.Client) error {
			return s.revokeFor(c, client)
		})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{})
}

// revokeFor revokes the token of the form, or that of the cookie, for a client that has been authenticated.
func (s *Server) revokeFor(c *gin.Context, client *models.Client) error {
	if err := s.holdToOrigin(c, client); err != nil {
		return err
	}
	cookie, wrong := s.tokenOfCookie(c.Request, client)
	token := c.Request.PostForm.Get("token")
	switch {
	case token == "" && wrong != nil:
		return wrong
	case token == "":
		token = cookie
	}
	if token == "" {
		return invalidRequest("token is missing")
	}
	origin := web.Origin(c)
	out, err := s.store.RevokeToken(c.Request.Context(), client, token, models.Actor{
		Entity: models.EntityUser, IP: origin.IP, UserAgent: origin.UserAgent,
	})
	if err != nil || cookie == "" {
		return err
	}
	// Log-out deletes the cookie, whichever token of its device it names.
	device := s.store.DeviceOfRefreshToken(cookie).String()
	if token == cookie || (out != nil && out.Revocation != nil && out.Revocation.Subject == device) {
		forgetRefreshCookie(c, client.ID)
	}
	return nil
}
