package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// sharedLife is how long a sign-in on a shared computer lives at most, and the apps that it signed in.
const sharedLife = 2 * time.Hour

// returnPaths are the pages of ours that a sign-in may lead to. An address that is not one of them is not built upon,
// so it can lead to no other site.
var returnPaths = []string{pathAccount, pathSecurity}

// destination is where a sign-in leads: to an app, or to a page of ours. It travels in the forms.
type destination struct {
	app  *authorization
	page string
}

// Names of the hidden fields, and of the query of /sign-in.
const (
	fieldAuthorize = "authorize"
	fieldReturn    = "return"
)

func (d destination) fields() []pages.Field {
	if d.app != nil {
		return []pages.Field{{Name: fieldAuthorize, Value: d.app.query}}
	}
	return []pages.Field{{Name: fieldReturn, Value: d.page}}
}

// readDestination reads what a form or an address carries, and looks at all of it again.
func (s *Server) readDestination(c *gin.Context, q url.Values) (destination, error) {
	if q.Has(fieldAuthorize) {
		a, err := s.readAuthorization(c.Request.Context(), q.Get(fieldAuthorize))
		return destination{app: a}, err
	}
	if page := q.Get(fieldReturn); slices.Contains(returnPaths, page) {
		return destination{page: page}, nil
	}
	return destination{page: pathAccount}, nil
}

// showSignIn is GET /sign-in: signing in to one's own account. Apps come by /oauth2/authorize.
func (s *Server) showSignIn(c *gin.Context) error {
	d, err := s.readDestination(c, url.Values{fieldReturn: {c.Query(fieldReturn)}})
	if err != nil {
		return err
	}
	b, err := s.session(c)
	switch {
	case err != nil:
		return err
	case b != nil:
		return seeOther(c, d.page)
	}
	return s.showForm(c, http.StatusOK, d, pages.SignIn{})
}

// showForm is the sign-in page.
func (s *Server) showForm(c *gin.Context, status int, d destination, page pages.SignIn) error {
	mark(c)
	page.Fields = d.fields()
	if d.app != nil {
		page.Client, page.LeadsTo = d.app.name(), leadsTo(d.app.redirectURI)
	}
	if page.Device == "" {
		page.Device = view.Platform(c.Request.UserAgent())
	}
	return s.show(c, status, page)
}

// postSignIn is POST /sign-in: the sign-in page's form, or the one that asks whether to go on.
func (s *Server) postSignIn(c *gin.Context) error {
	form, err := readPageForm(c)
	if err != nil {
		return err
	}
	d, err := s.readDestination(c, form)
	if err != nil {
		return err
	}
	if d.app != nil && form.Has("choice") {
		return s.answerContinue(c, d.app, form)
	}
	b, err := s.signInBrowser(c, form)
	s.metrics.SignInRefused(err)
	if problem, status := signInProblem(err); problem != nil {
		if problem.RetryAfter > 0 {
			c.Header("Retry-After", web.RetryAfter(problem.RetryAfter))
		}
		web.LogFault(c, status, err)
		return s.showForm(c, status, d, pages.SignIn{
			Username: form.Get("username"), Device: form.Get("device_name"), Shared: form.Get("shared") != "",
			Problem: problem,
		})
	}
	switch {
	case err != nil:
		return err
	case d.app != nil: // the password was given for this very app: there is nothing left to ask
		return s.sendCode(c, d.app, b)
	}
	return seeOther(c, d.page)
}

// errNoCookies: the browser did not bring back the cookie that the sign-in page has set.
var errNoCookies = errors.New("the browser keeps no cookies")

// signInBrowser checks the password and makes the browser's session, with a new cookie. A browser that keeps no cookie
// is told before anything is looked at: it would leave a session that nobody holds.
func (s *Server) signInBrowser(c *gin.Context, form url.Values) (*models.BrowserSession, error) {
	name, ok := marker(c)
	if !ok {
		return nil, errNoCookies
	}
	if form.Get("username") == "" || form.Get("password") == "" {
		return nil, models.ErrCredentials
	}
	origin := web.Origin(c)
	u, err := s.store.AuthenticateUser(c.Request.Context(), models.PasswordAttempt{
		Username: form.Get("username"), Password: form.Get("password"), IP: web.LimitIP(c), ByProxy: origin.IP == "",
		DeviceID: name, Agent: origin.UserAgent,
	})
	if err != nil {
		return nil, err
	}
	shared := form.Get("shared") != ""
	in := models.BrowserSignIn{
		User: u, ClientID: models.ClientBrowser, Cookie: cookieValue(c, sessionCookie), Marker: name,
		Name: deviceName(form.Get("device_name"), origin.UserAgent), Origin: origin,
	}
	age := cookieAge
	if shared {
		in.Most, age = sharedLife, 0
	}
	b, cookie, err := s.store.SignInBrowser(c.Request.Context(), in)
	if err != nil {
		return nil, err
	}
	setCookie(c, sessionCookie, cookie, age)
	setCookie(c, markerCookie, b.ID.String(), cookieAge)
	return b, nil
}

// signInProblem is what the sign-in page says of an error, and with which status.
func signInProblem(err error) (*pages.Problem, int) {
	switch {
	case err == nil:
		return nil, 0
	case errors.Is(err, errNoCookies):
		return &pages.Problem{Code: "cookies"}, http.StatusBadRequest
	case errors.Is(err, models.ErrCredentials):
		return &pages.Problem{Code: "credentials"}, http.StatusBadRequest
	}
	p := web.ProblemOf(err)
	switch p.Status {
	case http.StatusTooManyRequests:
		return &pages.Problem{Code: "throttled", RetryAfter: p.RetryAfter}, p.Status
	case http.StatusServiceUnavailable:
		return &pages.Problem{Code: "unavailable", RetryAfter: p.RetryAfter}, p.Status
	}
	return nil, 0
}
