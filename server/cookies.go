package server

import (
	"errors"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// The two cookies of the pages. Both are of this host alone and never seen by a script. How long a browser keeps them
// is said as a length (Max-Age), so that its clock does not matter; whether they are worth anything, the database says.
const (
	// sessionCookie is the browser session: new at every sign-in, opens pages and no API.
	sessionCookie = "__Host-curfew"
	// markerCookie names the browser, and proves nothing: tabs that sign in at the same moment meet in one session by
	// it. It is set with the sign-in page, so one that has not come back tells that cookies are off.
	markerCookie = "__Host-curfew-browser"

	cookieAge = web.LongestCookie
	noCookie  = web.NoCookie
)

func setCookie(c *gin.Context, name, value string, age time.Duration) {
	web.SetCookie(c, name, value, age)
}

// cookieValue is empty for none.
func cookieValue(c *gin.Context, name string) string { return web.CookieValue(c, name) }

func presented(c *gin.Context) models.BrowserCookie {
	return models.BrowserCookie{
		ClientID: models.ClientBrowser, Value: cookieValue(c, sessionCookie), Origin: web.Origin(c),
	}
}

// session is who is signed in in the browser that asks; nil for nobody. It is asked of the database each time.
func (s *Server) session(c *gin.Context) (*models.BrowserSession, error) {
	if cookieValue(c, sessionCookie) == "" {
		return nil, nil
	}
	b, err := s.store.AuthenticateBrowser(c.Request.Context(), presented(c))
	if errors.Is(err, models.ErrBrowserSession) {
		return nil, nil
	}
	return b, err
}

// marker is the name that the browser has brought along.
func marker(c *gin.Context) (uuid.UUID, bool) { return view.ParseUUID(cookieValue(c, markerCookie)) }

// mark gives a browser a name, unless it has one.
func mark(c *gin.Context) {
	if _, ok := marker(c); !ok {
		setCookie(c, markerCookie, uuid.Must(uuid.NewV7()).String(), cookieAge)
	}
}
