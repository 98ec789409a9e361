package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/pages"
	"curfew/models"
)

// pathLogout is where apps lead those who sign out: OpenID Connect RP-Initiated Logout 1.0.
const pathLogout = "/oauth2/logout"

// logout is such a request. Like an authorization request it travels in the form that asks, and is read anew from the
// query it came in.
type logout struct {
	query       string // as it came
	client      *models.Client
	hint        *models.IDTokenClaims // nil: none, or none that is good
	redirectURI string                // post_logout_redirect_uri, which is one of the client's; empty: none
	state       string
}

// logout is GET /oauth2/logout. What a good id_token_hint proves is done at once; else a page asks, since an image on
// another site could lead here.
func (s *Server) logout(c *gin.Context) error {
	l, err := s.readLogout(c.Request.Context(), c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	from := leaving{app: l.name(), logout: l}
	b, err := s.session(c)
	if err != nil {
		return err
	}
	device, err := s.provenDevice(c.Request.Context(), l, b)
	if err != nil {
		return err
	}
	if device == nil {
		return s.askSignOut(c, http.StatusOK, b, from)
	}
	cookie := presented(c)
	if b == nil { // whatever it holds opens nothing any more
		cookie.Value = ""
	}
	out, err := s.store.SignOutApp(c.Request.Context(), cookie, device)
	if errors.Is(err, models.ErrBrowserSession) { // something has changed meanwhile
		return s.askSignOut(c, http.StatusOK, b, from)
	}
	if err != nil {
		return err
	}
	if b != nil {
		setCookie(c, sessionCookie, "", noCookie)
	}
	return s.showSignedOut(c, http.StatusOK, from, out)
}

// provenDevice is the device that the hint names, if that is enough to sign out without asking: it came through the
// very session of this browser, or nobody is signed in in this browser, so that there is nobody to ask. nil: ask.
func (s *Server) provenDevice(ctx context.Context, l *logout, b *models.BrowserSession) (*models.Device, error) {
	if l.hint == nil {
		return nil, nil
	}
	device, err := s.store.DeviceOfIDToken(ctx, l.hint)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case b != nil && (device.ParentID == uuid.Nil || device.ParentID != b.ID):
		return nil, nil
	}
	return device, nil
}

// postLogout is POST /oauth2/logout: the GET with what was posted. A browser sends our cookie with none but a GET from
// another site.
func (s *Server) postLogout(c *gin.Context) error {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxAuthorization)
	if err := c.Request.ParseForm(); err != nil || c.Request.URL.RawQuery != "" {
		return &pageError{Status: http.StatusBadRequest, Page: pages.Error{Code: "request"}}
	}
	location := pathLogout
	if len(c.Request.PostForm) > 0 {
		location += "?" + c.Request.PostForm.Encode()
	}
	return seeOther(c, location)
}

// readLogout looks at a log-out request, RP-Initiated Logout section 2. What is wrong, unknown or doubled is a page,
// and leads nowhere (section 4). A hint that is not good is none: its key may be gone.
func (s *Server) readLogout(ctx context.Context, query string) (*logout, error) {
	wrong := func(code string, detail ...pages.Detail) error {
		return &pageError{Status: http.StatusBadRequest, Page: pages.Error{Code: code, Details: detail, Home: pathAccount}}
	}
	q, err := url.ParseQuery(query)
	if err != nil || len(query) > maxAuthorization {
		return nil, wrong("request")
	}
	for name, values := range q {
		switch {
		case len(values) > 1:
			return nil, wrong("doubled", pages.Detail{Name: "parameter", Value: shown(name)})
		case !utf8.ValidString(name) || !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0):
			return nil, wrong("request")
		}
	}
	l := &logout{query: query, state: q.Get("state")}
	if l.hint, err = s.store.ParseIDToken(q.Get("id_token_hint")); err != nil {
		l.hint = nil
	}
	clientID := q.Get("client_id")
	if l.hint != nil && clientID == "" {
		clientID = l.hint.Audience
	}
	if l.hint != nil && clientID != l.hint.Audience {
		return nil, wrong("client", pages.Detail{Name: "client_id", Value: shown(clientID)})
	}
	if l.client, err = s.clientForPage(ctx, clientID); err != nil {
		return nil, err
	}
	uri := q.Get("post_logout_redirect_uri")
	switch {
	case uri == "":
		return l, nil
	case l.client == nil:
		return nil, wrong("client", pages.Detail{Name: "client_id", Value: shown(clientID)})
	case !slices.Contains(strings.Fields(l.client.PostLogoutRedirectURIs), uri): // to the letter, section 3.1
		err := wrong("redirect_uri", pages.Detail{Name: "post_logout_redirect_uri", Value: shown(uri)}).(*pageError)
		err.Page.Client = l.client.Name
		return nil, err
	}
	l.redirectURI = uri
	return l, nil
}

// name is what people read of the app; empty if it is not known.
func (l *logout) name() string {
	if l.client == nil {
		return ""
	}
	return l.client.Name
}

// back is where the browser goes afterwards, RP-Initiated Logout section 3.
func (l *logout) back() string {
	if l.state == "" {
		return l.redirectURI
	}
	return withQuery(l.redirectURI, url.Values{"state": {l.state}})
}
