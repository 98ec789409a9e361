package server

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/web"
	"curfew/models"
)

// pathAuthorize is where apps lead their users.
const pathAuthorize = "/oauth2/authorize"

// authorize is GET /oauth2/authorize, RFC 6749 section 4.1.1: the sign-in page, the question whether to go on, or the
// way back to the client with a code or an error.
func (s *Server) authorize(c *gin.Context) error {
	a, err := s.readAuthorization(c.Request.Context(), c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	b, err := s.session(c)
	switch {
	case err != nil:
		return a.refuseFault(c, err)
	case a.needsPassword(b) && a.has(promptNone):
		return a.refuse("login_required", "the user is not signed in, or too long ago")
	case a.needsPassword(b):
		return s.showForm(c, http.StatusOK, destination{app: a}, pages.SignIn{Username: a.loginHint})
	case a.mustAsk() && a.has(promptNone):
		return a.refuse("interaction_required", "the user has to be asked before an app on a device gets a code")
	case a.mustAsk():
		return s.showContinue(c, http.StatusOK, a, b, nil)
	}
	return s.sendCode(c, a, b)
}

// postAuthorize is POST /oauth2/authorize, which RFC 6749 section 3.1 allows: it is the GET, with what was posted.
func (s *Server) postAuthorize(c *gin.Context) error {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxAuthorization)
	if err := c.Request.ParseForm(); err != nil || len(c.Request.PostForm) == 0 || c.Request.URL.RawQuery != "" {
		return &pageError{Status: http.StatusBadRequest, Page: pages.Error{Code: "request"}}
	}
	return seeOther(c, pathAuthorize+"?"+c.Request.PostForm.Encode())
}

// refuseFault sends the client a fault of ours: it cannot be answered with a status, RFC 6749 section 4.1.2.1.
func (a *authorization) refuseFault(c *gin.Context, err error) error {
	e := oauthErrorOf(err)
	web.LogFault(c, e.status, err)
	if e.code != "temporarily_unavailable" {
		e = errFault
	}
	return a.refuse(e.code, e.description)
}

// sendCode leads back to the client with a code. The session may have ended since it was looked at, and then the user
// signs in again.
func (s *Server) sendCode(c *gin.Context, a *authorization, b *models.BrowserSession) error {
	if a.subject != "" && a.subject != b.UserID.String() {
		return a.refuse("login_required", "somebody else has signed in than id_token_hint names")
	}
	code, err := s.store.IssueCode(c.Request.Context(), models.CodeRequest{
		Session: b, Client: a.client, RedirectURI: a.redirectURI, Challenge: a.challenge, Scope: a.scope,
		Resources: a.resources, Nonce: a.nonce, Origin: web.Origin(c),
	})
	switch {
	case err == nil:
		return seeOther(c, a.answer(s.issuer, url.Values{"code": {code}}))
	case errors.Is(err, models.ErrBrowserSession) && a.has(promptNone):
		return a.refuse("login_required", "the user is not signed in")
	case errors.Is(err, models.ErrBrowserSession):
		problem := &pages.Problem{Code: "stale"}
		return s.showForm(c, http.StatusOK, destination{app: a}, pages.SignIn{Username: a.loginHint, Problem: problem})
	case errors.Is(err, models.ErrClientCredentials): // it was changed at this very moment
		return a.refuse("temporarily_unavailable", "the client has just been changed; try again")
	case errors.Is(err, models.ErrScope):
		return a.refuse("access_denied", "the user may not have a scope")
	case errors.Is(err, models.ErrTarget):
		return a.refuse("invalid_target", "a resource is unknown, malformed or not allowed")
	}
	return a.refuseFault(c, err)
}

// showContinue asks whether to go on to the app as the user who is signed in. The form names that user: what was shown
// is what happens, also if somebody else has signed in in another tab meanwhile.
func (s *Server) showContinue(
	c *gin.Context, status int, a *authorization, b *models.BrowserSession, problem *pages.Problem,
) error {
	return s.show(c, status, pages.Continue{
		Fields: append(destination{app: a}.fields(), pages.Field{Name: "user_id", Value: b.UserID.String()}),
		Client: a.name(), LeadsTo: leadsTo(a.redirectURI), Username: b.User.Username, Problem: problem,
	})
}

// answerContinue is what was chosen there.
func (s *Server) answerContinue(c *gin.Context, a *authorization, form url.Values) error {
	b, err := s.session(c)
	switch {
	case err != nil:
		return err
	case form.Get("choice") == "other", a.needsPassword(b):
		return s.showForm(c, http.StatusOK, destination{app: a}, pages.SignIn{})
	case form.Get("user_id") != b.UserID.String():
		return s.showContinue(c, http.StatusConflict, a, b, &pages.Problem{Code: "stale"})
	}
	return s.sendCode(c, a, b)
}
