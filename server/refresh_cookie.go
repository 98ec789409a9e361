package server

import (
	"math"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// The refresh cookie: a browser app on the same site gets its refresh token as a cookie that no script can
// read. It is worth what the token is worth; where it is taken, the Origin says which page uses it.

// refreshCookieName: __Host- keeps other hosts of the same site from setting one of theirs in its place, and
// asks for the path /.
func refreshCookieName(clientID string) string { return "__Host-curfew-rt-" + clientID }

func refreshCookie(clientID, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: refreshCookieName(clientID), Value: value, Path: "/", MaxAge: maxAge, Secure: true, HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	}
}

// deliver makes the answer to whoever got tokens. The refresh token of a client with the cookie is in no body.
func deliver(c *gin.Context, g *models.Grant) tokenAnswer {
	answer := newTokenAnswer(g)
	if g.RefreshCookie && g.RefreshToken != "" {
		seconds := max(1, int(min(math.MaxInt32, g.RefreshExpiresIn/time.Second)))
		http.SetCookie(c.Writer, refreshCookie(g.Claims.ClientID, g.RefreshToken, seconds))
		answer.RefreshToken = ""
	}
	return answer
}

// forgetRefreshCookie makes the browser delete it.
func forgetRefreshCookie(c *gin.Context, clientID string) {
	http.SetCookie(c.Writer, refreshCookie(clientID, "", -1))
}

// tokenOfCookie is the refresh token that a page sent in its cookie; empty if it sent none, and for a client whose
// tokens are not cookies. Only the client's own pages, and this server's, may use it.
func (s *Server) tokenOfCookie(r *http.Request, client *models.Client) (string, error) {
	if !client.RefreshCookie {
		return "", nil
	}
	found := r.CookiesNamed(refreshCookieName(client.ID))
	if len(found) != 1 {
		return "", nil
	}
	if p := s.scriptOf(r); !p.there || !p.isOf(client) {
		return "", originRefused(p, client.ID)
	}
	return found[0].Value, nil
}

// forgetOwnCookie deletes the cookie of whoever has signed the own device out by the settings.
func (s *Server) forgetOwnCookie(c *gin.Context) {
	clientID := web.CallerFrom(c).ClientID
	if cookie, err := s.store.HasRefreshCookie(c.Request.Context(), clientID); err == nil && cookie {
		forgetRefreshCookie(c, clientID)
	}
}
