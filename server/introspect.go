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
		c.JSON(http.StatusOK, gin.H{"active": false})
		return
	case err != nil:
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, newIntrospection(found))
}

// errInactive: garbage is found out without a statement, so nothing has made sure of the client yet.
var errInactive = errors.New("the token is not active")

// introspection is the answer about a living token, RFC 7662 section 2.2.
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

func newIntrospection(i *models.Introspection) introspection {
	v := introspection{
		Active: true, TokenType: i.TokenType, ClientID: i.ClientID, Sub: i.UserID, Username: i.Username,
		DeviceID: i.DeviceID, Scope: i.Scope, Iat: i.IssuedAt, Exp: i.ExpiresAt, Iss: i.Issuer, Jti: i.ID,
	}
	switch len(i.Audience) {
	case 0:
	case 1:
		v.Aud = i.Audience[0]
	default:
		v.Aud = i.Audience
	}
	return v
}
