package server

import (
	"errors"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/web"
)

// The pages: what they share. A page's handler fills a struct of the package pages, or leaves its error to
// [Server.page].

// pageRoutes are the routes for browsers. Nothing is kept in the server between two requests: what a form is about
// travels in its hidden fields, and is looked at again when it comes.
func (s *Server) pageRoutes() {
	assets := s.engine.Group(strings.TrimSuffix(pages.AssetPrefix, "/"), web.Pages.Middleware)
	assets.Match(web.GetAndHead, "/:file", gin.WrapH(s.pages.Assets()))

	// Apps lead browsers here, also by a form of their own, so that one is not held to be from elsewhere.
	apps := s.engine.Group("/oauth2/authorize", web.Pages.Middleware, s.page(s.checkHost))
	apps.GET("", s.page(s.authorize))
	apps.POST("", s.page(s.postAuthorize))
	out := s.engine.Group(pathLogout, web.Pages.Middleware, s.page(s.checkHost))
	out.GET("", s.page(s.logout))
	out.POST("", s.page(s.postLogout))

	// What a cookie opens, and what makes one.
	own := s.engine.Group("", web.Pages.Middleware, s.page(s.checkHost), s.page(s.checkSite))
	own.Match(web.GetAndHead, "/sign-in", s.page(s.showSignIn))
	own.POST("/sign-in", s.page(s.postSignIn))
	own.Match(web.GetAndHead, "/sign-out", s.page(s.showSignOut))
	own.POST("/sign-out", s.page(s.postSignOut))
	s.accountRoutes(own)
}

// pageError is an error that is a page. It leads nowhere but to pages of ours.
type pageError struct {
	status int
	page   pages.Error
}

func (e *pageError) Error() string { return e.page.Code }

// page makes a gin handler of a page's. Its error becomes a page, or goes back to the client.
func (s *Server) page(fn web.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		err := fn(c)
		if err == nil {
			return
		}
		c.Abort()
		if r, ok := errors.AsType[*refusal](err); ok {
			_ = seeOther(c, r.to.answer(s.issuer, url.Values{"error": {r.code}, "error_description": {r.description}}))
			return
		}
		e := pageErrorOf(err)
		web.LogFault(c, e.status, err)
		if e.page.RetryAfter > 0 {
			c.Header("Retry-After", web.RetryAfter(e.page.RetryAfter))
		}
		if err := s.show(c, e.status, e.page); err != nil {
			web.WriteProblem(c, err)
		}
	}
}

// pageErrorOf is the one place where an error of the store becomes a page.
func pageErrorOf(err error) *pageError {
	if e, ok := errors.AsType[*pageError](err); ok {
		return e
	}
	p := web.ProblemOf(err)
	e := &pageError{status: p.Status, page: pages.Error{RetryAfter: p.RetryAfter}}
	switch p.Status {
	case http.StatusTooManyRequests:
		e.page.Code = "throttled"
	case http.StatusServiceUnavailable:
		e.page.Code = "unavailable"
	case http.StatusNotFound:
		e.page.Code = "not_found"
	case http.StatusBadRequest:
		e.page.Code = "request"
	default:
		e.status, e.page.Code = http.StatusInternalServerError, "internal"
	}
	return e
}

// show renders a page in the reader's language.
func (s *Server) show(c *gin.Context, status int, page pages.Page) error {
	return s.pages.Render(c.Writer, status, s.pages.Language(c.Request), page)
}

// checkHost serves pages only where a browser keeps our cookies: they are Secure, so it takes TLS (ours, or that of a
// proxy, which the issuer tells of) or an address of the machine itself.
func (s *Server) checkHost(c *gin.Context) error {
	if c.Request.TLS != nil || strings.HasPrefix(s.issuer, "https://") || isLoopbackHost(c.Request.Host) {
		return nil
	}
	return &pageError{status: http.StatusForbidden, page: pages.Error{
		Code: "host", Details: []pages.Detail{{Name: "Host", Value: shown(c.Request.Host)}, {
			Name:  "CURFEW_ISSUER",
			Value: s.issuer,
		}},
	}}
}

func isLoopbackHost(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}

// checkSite refuses what a page of another site posts. It takes no token in the form: browsers say where a request
// comes from.
func (s *Server) checkSite(c *gin.Context) error {
	if s.crossOrigin.Check(c.Request) == nil {
		return nil
	}
	return &pageError{status: http.StatusForbidden, page: pages.Error{Code: "cross_site", Home: pathAccount}}
}

// newCrossOrigin believes the issuer's own pages, also when a proxy changes the Host that we see.
func newCrossOrigin(origin string) (*http.CrossOriginProtection, error) {
	p := http.NewCrossOriginProtection()
	return p, p.AddTrustedOrigin(origin)
}

// maxPageForm bounds a page's form: an authorization request, encoded once more, and what a person types.
const maxPageForm = 32 << 10

// readPageForm reads what a page's form posts, strictly: none of ours sends a field twice.
func readPageForm(c *gin.Context) (url.Values, error) {
	wrong := &pageError{status: http.StatusBadRequest, page: pages.Error{Code: "request"}}
	r := c.Request
	if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || ct != formType ||
		r.URL.RawQuery != "" {
		return nil, wrong
	}
	r.Body = http.MaxBytesReader(c.Writer, r.Body, maxPageForm)
	if err := r.ParseForm(); err != nil {
		return nil, wrong
	}
	for name, values := range r.PostForm {
		if len(values) > 1 || !utf8.ValidString(name) || !utf8.ValidString(values[0]) ||
			strings.ContainsRune(values[0], 0) {
			return nil, wrong
		}
	}
	return r.PostForm, nil
}
