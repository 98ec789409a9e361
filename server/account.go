package server

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"
)

// pathAccount is the user's own page, and where a sign-in leads that no app asked for.
const pathAccount = "/account"

// account is GET /account: who is signed in, and the way out.
func (s *Server) account(c *gin.Context) error {
	b, err := s.session(c)
	switch {
	case err != nil:
		return err
	case b == nil:
		return seeOther(c, "/sign-in?"+url.Values{fieldReturn: {pathAccount}}.Encode())
	}
	return s.askSignOut(c, http.StatusOK, b, "", "")
}
