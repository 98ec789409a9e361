package web

import (
	"errors"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
)

// Site is what the pages of a listener share: how they are shown, where they are served, and who may post to them.
type Site struct {
	pages  *pages.Pages
	origin string // how people reach the listener, if that is known: https://curfew.example
	home   string // where an error page leads to
	check  *http.CrossOriginProtection
	setter string // the variable that origin comes from, for whoever has to set it
}

// NewSite makes it. It believes posts from the origin's own pages, also when a proxy changes the Host that we see.
func NewSite(p *pages.Pages, origin, setter, home string) (*Site, error) {
	s := &Site{pages: p, origin: origin, home: home, setter: setter, check: http.NewCrossOriginProtection()}
	if origin == "" {
		return s, nil
	}
	return s, s.check.AddTrustedOrigin(origin)
}

// PageError is an error that is a page. It leads nowhere but to pages of ours.
type PageError struct {
	Status int
	Page   pages.Error
}

func (e *PageError) Error() string { return e.Page.Code }

// Show renders a page in the reader's language.
func (s *Site) Show(c *gin.Context, status int, page pages.Page) error {
	return s.pages.Render(c.Writer, status, s.pages.Language(c.Request), page)
}

// ReceiptState puts a receipt into words, in the reader's language.
func (s *Site) ReceiptState(c *gin.Context, r pages.Receipt) pages.ReceiptState {
	return s.pages.ReceiptState(s.pages.Language(c.Request), r)
}

// Assets serves what the pages load.
func (s *Site) Assets(e *gin.Engine) {
	group := e.Group(strings.TrimSuffix(pages.AssetPrefix, "/"), Pages.Middleware)
	group.Match(GetAndHead, "/:file", gin.WrapH(s.pages.Assets()))
}

// Handle makes a gin handler of a page's. Its error becomes a page.
func (s *Site) Handle(fn HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := fn(c); err != nil {
			s.Fail(c, err)
		}
	}
}

// Fail answers with an error's page.
func (s *Site) Fail(c *gin.Context, err error) {
	c.Abort()
	e := PageErrorOf(err)
	LogFault(c, e.Status, err)
	if e.Page.RetryAfter > 0 {
		c.Header("Retry-After", RetryAfter(e.Page.RetryAfter))
	}
	if err := s.Show(c, e.Status, e.Page); err != nil {
		WriteProblem(c, err)
	}
}

// PageErrorOf is the one place where an error of the store becomes a page.
func PageErrorOf(err error) *PageError {
	if e, ok := errors.AsType[*PageError](err); ok {
		return e
	}
	p := ProblemOf(err)
	e := &PageError{Status: p.Status, Page: pages.Error{RetryAfter: p.RetryAfter}}
	switch p.Status {
	case http.StatusTooManyRequests:
		e.Page.Code = "throttled"
	case http.StatusServiceUnavailable:
		e.Page.Code = "unavailable"
	case http.StatusNotFound:
		e.Page.Code = "not_found"
	case http.StatusBadRequest:
		e.Page.Code = "request"
	default:
		e.Status, e.Page.Code = http.StatusInternalServerError, "internal"
	}
	return e
}

// maxShownHost bounds what an error page repeats of a Host header.
const maxShownHost = 200

// CheckHost serves pages only where a browser keeps our cookies: they are Secure, so it takes TLS (ours, or that of a
// proxy, which the origin tells of) or an address of the machine itself.
func (s *Site) CheckHost(c *gin.Context) error {
	if c.Request.TLS != nil || strings.HasPrefix(s.origin, "https://") || IsLoopbackHost(c.Request.Host) {
		return nil
	}
	host := strings.ToValidUTF8(c.Request.Host, "?")
	return &PageError{Status: http.StatusForbidden, Page: pages.Error{
		Code: "host",
		Details: []pages.Detail{
			{Name: "Host", Value: host[:min(len(host), maxShownHost)]},
			{Name: s.setter, Value: s.origin},
		},
	}}
}

// IsLoopbackHost tells whether a Host names this machine.
func IsLoopbackHost(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}

// CheckSite refuses what a page of another site posts. It takes no token in the form: browsers say where a request
// comes from.
func (s *Site) CheckSite(c *gin.Context) error {
	if s.check.Check(c.Request) == nil {
		return nil
	}
	return &PageError{Status: http.StatusForbidden, Page: pages.Error{Code: "cross_site", Home: s.home}}
}

// MaxPageForm bounds a page's form: an authorization request, encoded once more, and what a person types.
const MaxPageForm = 32 << 10

// ReadPageForm reads what a page's form posts, strictly: no field twice but for those that may be.
func ReadPageForm(c *gin.Context, several ...string) (url.Values, error) {
	wrong := &PageError{Status: http.StatusBadRequest, Page: pages.Error{Code: "request"}}
	r := c.Request
	if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil ||
		ct != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return nil, wrong
	}
	r.Body = http.MaxBytesReader(c.Writer, r.Body, MaxPageForm)
	if err := r.ParseForm(); err != nil {
		return nil, wrong
	}
	for name, values := range r.PostForm {
		if (len(values) > 1 && !slices.Contains(several, name)) || !isFormText(name) ||
			slices.ContainsFunc(values, func(v string) bool { return !isFormText(v) }) {
			return nil, wrong
		}
	}
	return r.PostForm, nil
}

func isFormText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// SeeOther leads a browser on. 303 and nothing else: with 307 it would post the password there (RFC 9700 section 4.12).
// There is no body, which would repeat what is in the address.
func SeeOther(c *gin.Context, location string) error {
	c.Header("Location", location)
	c.Status(http.StatusSeeOther)
	return nil
}

const (
	// LongestCookie is how long browsers keep one at most.
	LongestCookie = 400 * 24 * time.Hour
	// NoCookie, as an age, takes a cookie away.
	NoCookie = -1
)

// SetCookie sets a cookie of this host alone that no script sees. How long a browser keeps it is said as a length
// (Max-Age), so that its clock does not matter; 0 is until it is closed.
func SetCookie(c *gin.Context, name, value string, age time.Duration) {
	cookie := &http.Cookie{
		Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(age / time.Second),
	}
	if age < 0 {
		cookie.MaxAge = NoCookie
	}
	http.SetCookie(c.Writer, cookie)
}

// CookieValue is a cookie that the browser presents; empty for none.
func CookieValue(c *gin.Context, name string) string {
	cookie, err := c.Request.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}
