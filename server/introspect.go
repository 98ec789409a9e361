package server

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"curfew/models"
)

// introspect is POST /oauth2/introspect, RFC 7662: what a token is worth now, read from the database.
func (s *Server) introspect(c *gin.Context) {
	var found *models.Introspection
	in, err := clientCredentials(c)
	if err == nil {
		err = s.store.WithClient(c.Request.Context(), in, func(client *models.Client) (err error) {
			token := c.Request.PostForm.Get("token")
			found, err = s.store.Introspect(c.Request.Context(), client, token)
			switch {
			case err != nil:
				return err
			case token == "":
				return invalidRequest("token is missing")
			case found == nil:
				return errInactive
			}
			return nil
		})
	}
	switch {
	case errors.Is(err, errInactive): // nothing more is said of it, section 2.2
		noStore(c)
		c.JSON(http.StatusOK, struct {
			Active bool `json:"active"`
		}{false})
		return
	case err != nil:
		s.fail(c, err)
		return
	}
	noStore(c)
	answer := introspection{
		Active: true, TokenType: found.TokenType, ClientID: found.ClientID, Sub: found.UserID, Username: found.Username,
		DeviceID: found.DeviceID, Scope: found.Scope, Iat: found.IssuedAt, Exp: found.ExpiresAt, Iss: found.Issuer, Jti: found.ID,
	}
	switch len(found.Audience) {
	case 0:
	case 1:
		answer.Aud = found.Audience[0]
	default:
		answer.Aud = found.Audience
	}
	c.JSON(http.StatusOK, answer)
}

// errInactive: garbage is found out without a statement, so nothing has made sure of the client yet.
var errInactive = errors.New("the token is not active")

type introspection struct {
	Active    bool   `json:"active"`
	TokenType string `json:"token_type"`
	ClientID  string `json:"client_id"`
	Sub       string `json:"sub"`
	Username  string `json:"username,omitempty"`
	DeviceID  string `json:"device_id,omitempty"`
	Scope     string `json:"scope"`
	Iat       int64  `json:"iat"`
	Exp       int64  `json:"exp"`
	Iss       string `json:"iss"`
	Aud       any    `json:"aud,omitempty"` // a string, or several
	Jti       string `json:"jti,omitempty"`
}
