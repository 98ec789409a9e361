package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// revoke is POST /oauth2/revoke, RFC 7009: "log out this device". What is no token of ours is no error (section 2.2).
func (s *Server) revoke(c *gin.Context) {
	in, err := clientCredentials(c)
	if err == nil {
		err = s.store.WithFreshClient(c.Request.Context(), in, func(client *models.Client) error {
			token := c.Request.PostForm.Get("token")
			if token == "" {
				return invalidRequest("token is missing")
			}
			origin := web.Origin(c)
			_, err := s.store.RevokeToken(c.Request.Context(), client, token, models.Actor{
				Entity: models.EntityUser, IP: origin.IP, UserAgent: origin.UserAgent,
			})
			return err
		})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{})
}
