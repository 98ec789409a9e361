package admin

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/notify"
	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// The console: the admin's pages. A handler fills a struct of the package pages with what the same methods of the store
// tell as the API's, or changes what they change. A page has no rule of its own.

const consoleHome = "/console/"

// console are the admin's pages.
type console struct {
	store    *models.Store
	metrics  *web.Metrics
	notifier *notify.Notifier
	site     *web.Site
	url      string        // how people reach the listener; empty: as the browser does
	stepUp   time.Duration // after which the password is asked for again; 0: never
	history  *history
}

// visit is a request of an admin who is signed in.
type visit struct {
	*gin.Context
	*console
	session *models.BrowserSession
	form    url.Values // of a post
}

func (o *console) routes(e *gin.Engine) {
	o.site.Assets(e)
	r := e.Group("", web.Pages.Middleware, o.site.Handle(o.site.CheckHost), o.site.Handle(o.site.CheckSite))
	r.GET("/console", o.site.Handle(func(c *gin.Context) error { return web.SeeOther(c, consoleHome) }))
	g := r.Group("/console")
	g.GET("/sign-in", o.site.Handle(o.showSignIn))
	g.POST("/sign-in", o.site.Handle(o.postSignIn))
	g.GET("/sign-out", o.site.Handle(o.showSignOut))
	g.POST("/sign-out", o.site.Handle(o.postSignOut))
	g.GET("/step-up", o.page((*visit).showStepUp))
	g.POST("/step-up", o.action((*visit).postStepUp))

	g.GET("/", o.page((*visit).overview))
	g.GET("/devices", o.page((*visit).devices))
	g.GET("/devices/end", o.page(again((*visit).askEnd)))
	g.POST("/devices/end", o.action(again((*visit).endSelected)))
	g.GET("/devices/:id", o.page((*visit).device))
	g.POST("/devices/:id/rename", o.action((*visit).renameDevice))
	g.POST("/devices/:id/end", o.action((*visit).endDevice))
	g.GET("/everyone", o.page(again((*visit).askEveryone)))
	g.POST("/everyone", o.action(again((*visit).endEveryone)))

	g.GET("/users", o.page((*visit).users))
	g.POST("/users", o.action(again((*visit).createUser)))
	g.GET("/users/new", o.page(again((*visit).newUser)))
	g.GET("/users/:id", o.page((*visit).user))
	for name, change := range map[string]func(*visit) error{
		"profile": (*visit).changeProfile, "password": again((*visit).setPassword), "admin": again((*visit).setAdmin),
		"disable": (*visit).disableUser, "enable": (*visit).enableUser, "unlock": (*visit).unlockUser,
		"end": (*visit).endUser, "delete": again((*visit).deleteUser),
	} {
		g.POST("/users/:id/"+name, o.action(change))
	}

	g.GET("/clients", o.page((*visit).clients))
	g.POST("/clients", o.action(again((*visit).createClient)))
	g.GET("/clients/new", o.page(again((*visit).newClient)))
	g.GET("/clients/:id", o.page((*visit).client))
	g.POST("/clients/:id", o.action(again((*visit).changeClient)))
	g.POST("/clients/:id/secret", o.action(again((*visit).rotateSecret)))
	g.POST("/clients/:id/end", o.action(again((*visit).endClient)))
	g.POST("/clients/:id/delete", o.action(again((*visit).deleteClient)))

	g.GET("/followers", o.page((*visit).followers))
	g.POST("/followers/forget", o.action((*visit).forgetFollower))
	g.GET("/receivers", o.page((*visit).receivers))
	g.POST("/receivers", o.action(again((*visit).createWebhook)))
	g.GET("/receivers/new", o.page(again((*visit).newWebhook)))
	g.GET("/receivers/:id", o.page((*visit).receiver))
	g.POST("/receivers/:id/test", o.action((*visit).testWebhook))
	g.POST("/receivers/:id/secret", o.action(again((*visit).rotateWebhook)))
	g.POST("/receivers/:id/delete", o.action((*visit).deleteWebhook))
	g.GET("/revocations", o.page((*visit).revocations))
	g.GET("/revocations/:seq", o.page((*visit).revocation))
	g.GET("/revocations/:seq/receipt", o.page((*visit).receiptState))
	g.GET("/events", o.page((*visit).events))
}

// page makes a handler of what is for admins alone. Whoever is not signed in is led to the sign-in, and back.
func (o *console) page(fn func(*visit) error) gin.HandlerFunc {
	return o.site.Handle(func(c *gin.Context) error {
		b, err := o.signedIn(c)
		switch {
		case err != nil:
			return err
		case b == nil && c.Request.Method == http.MethodGet:
			return web.SeeOther(c, "/console/sign-in?"+url.Values{fieldReturn: {c.Request.URL.RequestURI()}}.Encode())
		case b == nil:
			return web.SeeOther(c, "/console/sign-in")
		}
		return fn(&visit{Context: c, console: o, session: b})
	})
}

// action is [console.page] for a form. One that was shown to somebody else, because another admin has signed in in
// another tab meanwhile, does nothing.
func (o *console) action(fn func(*visit) error) gin.HandlerFunc {
	return o.page(func(v *visit) (err error) {
		if v.form, err = web.ReadPageForm(v.Context, "grants", "types"); err != nil {
			return err
		}
		if v.form.Get("session") != v.session.ID.String() {
			return &web.PageError{Status: http.StatusConflict, Page: pages.Error{Code: "stale"}}
		}
		return fn(v)
	})
}

// again asks for the password before what makes credentials or ends many, if it was given too long ago. What was typed
// into a form does not go through that page: a password may be in it. The form is shown again.
func again(fn func(*visit) error) func(*visit) error {
	return func(v *visit) error {
		if v.stepUp == 0 || v.session.AuthAge < v.stepUp {
			return fn(v)
		}
		back := v.Request.URL.RequestURI()
		if v.Request.Method == http.MethodPost {
			back = withQuery(formPage(v.Request.URL.Path, v.form), "notice", "confirmed")
		}
		return web.SeeOther(v.Context, "/console/step-up?"+url.Values{fieldReturn: {back}}.Encode())
	}
}

// formPage is the page whose form posts to a path.
func formPage(path string, form url.Values) string {
	switch path {
	case "/console/devices/end":
		return withQuery("/console/devices/end", filterPairs(form)...)
	case "/console/everyone":
		return path
	case "/console/users", "/console/clients", "/console/receivers":
		return path + "/new"
	}
	parts := strings.Split(path, "/") // /console/users/ID/password
	return strings.Join(parts[:min(len(parts), 4)], "/")
}

// withQuery adds names and values, in turn, to an address of ours. Empty values are left out.
func withQuery(address string, pairs ...string) string {
	path, query, _ := strings.Cut(address, "?")
	q, _ := url.ParseQuery(query)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// ownPage is an address of the console's pages, or its first page for anything else. It is put together anew, so it
// leads to no other site.
func ownPage(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, consoleHome) ||
		strings.ContainsAny(u.Path, "\\\r\n") || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/..") {
		return consoleHome
	}
	switch u.Path {
	case "/console/sign-in", "/console/sign-out", "/console/step-up":
		return consoleHome
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).RequestURI()
}

// said are the parameters that a page is shown with after a form.
var said = []string{"notice", "receipt", "ended"}

// query reads the query of a page. A form with GET sends its empty fields too: they select nothing.
func (v *visit) query(allowed ...string) (url.Values, error) {
	v.dropEmpty()
	return web.Query(v.Context, append(allowed, said...)...)
}

// queryPage is [visit.query] for a list.
func (v *visit) queryPage(allowed ...string) (url.Values, models.Page, error) {
	v.dropEmpty()
	return web.QueryPage(v.Context, append(allowed, said...)...)
}

func (v *visit) dropEmpty() {
	q, err := url.ParseQuery(v.Request.URL.RawQuery)
	if err != nil {
		return // and so it is refused
	}
	for name, values := range q {
		if len(values) == 1 && values[0] == "" {
			delete(q, name)
		}
	}
	v.Request.URL.RawQuery = q.Encode()
}

// base is what every page has: who is signed in, and what the form before it did.
func (v *visit) base(q url.Values) (pages.Console, error) {
	base := pages.Console{
		Admin: v.session.User.Username, Session: v.session.ID.String(), API: v.api(), Notice: pages.Notice(q.Get("notice")),
	}
	seq, err := strconv.ParseInt(q.Get("receipt"), 10, 64)
	if err != nil || seq <= 0 {
		return base, nil
	}
	base.Receipt, err = v.receipt(seq)
	if base.Receipt != nil {
		base.Receipt.Devices, _ = strconv.Atoi(q.Get("ended"))
		base.Receipt.Reload = v.Request.URL.RequestURI()
	}
	return base, err
}

// orBase is [visit.base] of a query that could be read.
func (v *visit) orBase(q url.Values, err error) (pages.Console, error) {
	if err != nil {
		return pages.Console{}, err
	}
	return v.base(q)
}

// api is the listener's address, for the lines of curl.
func (v *visit) api() string {
	if v.url != "" {
		return v.url
	}
	scheme := "http://"
	if v.Request.TLS != nil {
		scheme = "https://"
	}
	return scheme + v.Request.Host
}

// actor is the admin who is signed in, as the audit log names whoever does something.
func (v *visit) actor() models.Actor {
	return models.Actor{
		Entity: models.EntityAdmin, ID: v.session.User.ID.String(), IP: web.ClientIP(v.Context),
		UserAgent: v.Request.UserAgent(),
	}
}

func (v *visit) show(page pages.Page) error { return v.site.Show(v.Context, http.StatusOK, page) }

// problem is what a page says of an error that whoever fills in its form can act on, and with which status; nil for any
// other.
func problem(err error) (*pages.Problem, int) {
	p := web.ProblemOf(err)
	switch p.Code {
	case "invalid_request":
		return &pages.Problem{Code: "invalid", Detail: p.Detail}, p.Status
	case "password_policy", "conflict":
		return &pages.Problem{Code: p.Code}, p.Status
	case "temporarily_unavailable":
		code := "unavailable"
		if p.Status == http.StatusTooManyRequests {
			code = "throttled"
		}
		return &pages.Problem{Code: code, RetryAfter: p.RetryAfter}, p.Status
	}
	return nil, 0
}

// withProblem shows a form again with what is wrong in it; of an error that is no such thing it is the error's page.
func (v *visit) withProblem(err error, show func(status int, p *pages.Problem) error) error {
	p, status := problem(err)
	if p == nil {
		return err
	}
	web.LogFault(v.Context, status, err)
	if p.RetryAfter > 0 {
		v.Header("Retry-After", web.RetryAfter(p.RetryAfter))
	}
	return show(status, p)
}

// list shows a page of a list, which fill asks the store for. What is wrong with its filter is said on it.
func (v *visit) list(
	page pages.Page, base *pages.Console, fill func(q url.Values, p models.Page) error, filter ...string,
) error {
	q, p, err := v.queryPage(filter...)
	if *base, err = v.orBase(q, err); err != nil {
		return err
	}
	status := http.StatusOK
	if err = fill(q, p); err != nil {
		if base.Problem, status = problem(err); base.Problem == nil {
			return err
		}
	}
	return v.site.Show(v.Context, status, page)
}

// done leads to a page that says what was done.
func (v *visit) done(address, notice string, out *models.SignOut) error {
	if out == nil || out.Revocation == nil {
		return web.SeeOther(v.Context, withQuery(address, "notice", notice))
	}
	ended := ""
	if out.Counted {
		ended = strconv.Itoa(out.Count)
	}
	return web.SeeOther(v.Context, withQuery(address, "notice", notice,
		"receipt", strconv.FormatInt(out.Revocation.Seq, 10), "ended", ended))
}

// out leads to a page after a sign-out: with its receipt, or that there was nothing to end.
func (v *visit) out(address string, out *models.SignOut) error {
	if out == nil || out.Revocation == nil || (out.Counted && out.Count == 0) {
		return v.done(address, "nothing", nil)
	}
	return v.done(address, "", out)
}

// receipt is a receipt as it is now; nil if there is no such event.
func (v *visit) receipt(seq int64) (*pages.Receipt, error) {
	event, err := v.store.GetRevocation(v.Request.Context(), seq)
	if err != nil {
		return nil, unlessGone(err)
	}
	r, err := v.store.Receipt(v.Request.Context(), seq)
	if err != nil {
		return nil, unlessGone(err)
	}
	page := &pages.Receipt{
		Seq: seq, Subscribers: len(r.Subscribers), Acknowledged: r.Acknowledged(),
		Slowest: time.Duration(r.SlowestMillis()) * time.Millisecond,
		URL:     "/console/revocations/" + strconv.FormatInt(seq, 10) + "/receipt",
	}
	told, err := v.store.Told(v.Request.Context(), seq)
	if err != nil {
		return nil, unlessGone(err)
	}
	if told.Receivers > 0 {
		page.Told = new(pages.Told(told))
	}
	for _, name := range view.NewApplied(r).Missing {
		page.Waiting = append(page.Waiting, pages.Straggler{Name: name, Until: event.ExpiresAt.Time()})
	}
	return page, nil
}
