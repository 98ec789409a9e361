package admin

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

const (
	// consoleCookie is the admin's browser session: a cookie of its own, since cookies know no ports. It opens the
	// console and nothing else.
	consoleCookie = "__Host-curfew-console"
	// consoleMarker names the browser and proves nothing, like the one of the public pages.
	consoleMarker = "__Host-curfew-console-browser"
	// consoleLife is how long a sign-in at the console lives at most.
	consoleLife = 12 * time.Hour

	fieldReturn = "return"
)

func consolePresented(c *gin.Context) models.BrowserCookie {
	return models.BrowserCookie{
		ClientID: models.ClientConsole, Value: web.CookieValue(c, consoleCookie), Origin: web.Origin(c),
	}
}

// signedIn is the admin who is signed in in the browser that asks; nil for nobody. It is asked of the database each
// time.
func (o *console) signedIn(c *gin.Context) (*models.BrowserSession, error) {
	if web.CookieValue(c, consoleCookie) == "" {
		return nil, nil
	}
	b, err := o.store.AuthenticateBrowser(c.Request.Context(), consolePresented(c))
	if errors.Is(err, models.ErrBrowserSession) || (err == nil && !b.User.Admin) {
		return nil, nil
	}
	return b, err
}

func (o *console) showSignIn(c *gin.Context) error {
	b, err := o.signedIn(c)
	switch {
	case err != nil:
		return err
	case b != nil:
		return web.SeeOther(c, ownPage(c.Query(fieldReturn)))
	}
	return o.showSignInForm(c, http.StatusOK, c.Query(fieldReturn), pages.SignIn{})
}

func (o *console) showSignInForm(c *gin.Context, status int, back string, page pages.SignIn) error {
	if _, ok := view.ParseUUID(web.CookieValue(c, consoleMarker)); !ok {
		web.SetCookie(c, consoleMarker, uuid.Must(uuid.NewV7()).String(), web.LongestCookie)
	}
	page.Console, page.Action = true, "/console/sign-in"
	page.Fields = []pages.Field{{Name: fieldReturn, Value: ownPage(back)}}
	page.Device = cmp.Or(page.Device, view.Platform(c.Request.UserAgent()))
	return o.site.Show(c, status, page)
}

// errNoCookies: the browser did not bring back the cookie that the sign-in page has set.
var errNoCookies = errors.New("the browser keeps no cookies")

func (o *console) postSignIn(c *gin.Context) error {
	form, err := web.ReadPageForm(c)
	if err != nil {
		return err
	}
	err = o.signIn(c, form)
	o.metrics.SignInRefused(err)
	if err == nil {
		return web.SeeOther(c, ownPage(form.Get(fieldReturn)))
	}
	p, status := signInProblem(err)
	if p == nil {
		return err
	}
	web.LogFault(c, status, err)
	if p.RetryAfter > 0 {
		c.Header("Retry-After", web.RetryAfter(p.RetryAfter))
	}
	return o.showSignInForm(c, status, form.Get(fieldReturn), pages.SignIn{
		Username: form.Get("username"), Device: form.Get("device_name"), Problem: p,
	})
}

// signIn checks the password and makes the browser's session. Somebody who is no admin leaves no device.
func (o *console) signIn(c *gin.Context, form url.Values) error {
	name, ok := view.ParseUUID(web.CookieValue(c, consoleMarker))
	if !ok {
		return errNoCookies
	}
	if form.Get("username") == "" || form.Get("password") == "" {
		return models.ErrCredentials
	}
	origin := web.Origin(c)
	u, err := o.store.AuthenticateUser(c.Request.Context(), models.PasswordAttempt{
		Username: form.Get("username"), Password: form.Get("password"), IP: web.LimitIP(c), ByProxy: origin.IP == "",
		Agent: origin.UserAgent, DeviceID: name,
	})
	if err != nil {
		return err
	}
	return o.enter(c, u, name, cmp.Or(models.DeviceName(form.Get("device_name")), view.Platform(origin.UserAgent)))
}

// enter makes or renews the browser's session, with a new cookie.
func (o *console) enter(c *gin.Context, u *models.User, marker uuid.UUID, name string) error {
	b, cookie, err := o.store.SignInBrowser(c.Request.Context(), models.BrowserSignIn{
		User: u, ClientID: models.ClientConsole, Cookie: web.CookieValue(c, consoleCookie), Marker: marker, Name: name,
		Most: consoleLife, Origin: web.Origin(c),
	})
	if err != nil {
		return err
	}
	web.SetCookie(c, consoleCookie, cookie, consoleLife)
	web.SetCookie(c, consoleMarker, b.ID.String(), web.LongestCookie)
	return nil
}

// signInProblem is what the sign-in page says of an error, and with which status.
func signInProblem(err error) (*pages.Problem, int) {
	switch {
	case errors.Is(err, errNoCookies):
		return &pages.Problem{Code: "cookies"}, http.StatusBadRequest
	case errors.Is(err, models.ErrCredentials):
		return &pages.Problem{Code: "credentials"}, http.StatusBadRequest
	case errors.Is(err, models.ErrScope):
		return &pages.Problem{Code: "not_admin"}, http.StatusForbidden
	}
	return problem(err)
}

// showSignOut asks: an image on another site could lead here.
func (o *console) showSignOut(c *gin.Context) error {
	b, err := o.signedIn(c)
	if err != nil {
		return err
	}
	return o.askSignOut(c, http.StatusOK, b)
}

func (o *console) askSignOut(c *gin.Context, status int, b *models.BrowserSession) error {
	if b == nil {
		return o.site.Show(c, status, pages.SignedOut{Again: "/console/sign-in"})
	}
	return o.site.Show(c, status, pages.SignOut{
		Action: "/console/sign-out", Fields: []pages.Field{{Name: "device", Value: b.ID.String()}},
		Username: b.User.Username,
	})
}

// postSignOut ends the session that was shown, and no other one: in another tab somebody else may have signed in.
func (o *console) postSignOut(c *gin.Context) error {
	form, err := web.ReadPageForm(c)
	if err != nil {
		return err
	}
	if form.Get("choice") == "stay" {
		return web.SeeOther(c, consoleHome)
	}
	b, err := o.signedIn(c)
	if err != nil {
		return err
	}
	if b != nil && form.Get("device") != b.ID.String() {
		return o.askSignOut(c, http.StatusConflict, b)
	}
	if _, err := o.store.SignOutBrowser(c.Request.Context(), consolePresented(c)); err != nil {
		return err
	}
	web.SetCookie(c, consoleCookie, "", web.NoCookie)
	return o.site.Show(c, http.StatusOK, pages.SignedOut{Again: "/console/sign-in"})
}

func (v *visit) showStepUp() error {
	return v.askPassword(http.StatusOK, v.Query(fieldReturn), nil)
}

func (v *visit) askPassword(status int, back string, p *pages.Problem) error {
	base, err := v.base(nil)
	if err != nil {
		return err
	}
	base.Problem = p
	return v.site.Show(v.Context, status, pages.StepUp{
		Console: base, Fields: []pages.Field{{Name: fieldReturn, Value: ownPage(back)}},
	})
}

// postStepUp checks the password of whoever is signed in: the session goes on, with a new cookie.
func (v *visit) postStepUp() error {
	back := v.form.Get(fieldReturn)
	origin := web.Origin(v.Context)
	u, err := v.store.AuthenticateUser(v.Request.Context(), models.PasswordAttempt{
		Username: v.session.User.Username, Password: v.form.Get("password"), IP: web.LimitIP(v.Context),
		ByProxy: origin.IP == "", Agent: origin.UserAgent, DeviceID: v.session.ID,
	})
	if err == nil && u.ID != v.session.UserID {
		err = models.ErrCredentials
	}
	if errors.Is(err, models.ErrCredentials) {
		return v.askPassword(http.StatusBadRequest, back, &pages.Problem{Code: "wrong_password"})
	}
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error { return v.askPassword(status, back, p) })
	}
	if err := v.enter(v.Context, u, v.session.ID, v.session.Name); err != nil {
		return err
	}
	return web.SeeOther(v.Context, ownPage(back))
}
