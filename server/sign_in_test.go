package server

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/internal/web"
	"curfew/models"
)

func (b *browser) cookie(name string) *http.Cookie {
	for _, c := range b.set {
		if c.Name == name {
			return c
		}
	}
	return &http.Cookie{}
}

// signedInAs is whom the account page shows; empty for nobody.
func (b *browser) signedInAs() string {
	b.k.t.Helper()
	a := b.get("/account")
	if a.status == http.StatusSeeOther {
		return ""
	}
	for _, name := range []string{"anna", "ben"} {
		if strings.Contains(string(a.body), `class="user-name">`+name+"<") {
			return name
		}
	}
	b.k.t.Fatalf("%d %s", a.status, a.body)
	return ""
}

// Session fixation: the cookie changes at every sign-in, what somebody has planted is worth nothing afterwards, and a
// clock that is wrong ends none.
func TestSignIn_CookieIsNew(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b, thief := k.browser(), k.browser()
		k.code(thief.signInAs(thief.get(authorizeURL("app")), "ben"))
		// The victim's browser has the thief's cookie.
		b.cookies[sessionCookie] = thief.cookies[sessionCookie]
		values := map[string]bool{b.cookies[sessionCookie]: true}
		for range 3 {
			k.code(b.signInAs(b.get(authorizeURL("app", "prompt", "login")), "anna"))
			c := b.cookie(sessionCookie)
			if values[c.Value] || !strings.HasPrefix(c.Value, "curfew_bs_") {
				t.Fatalf("the cookie is not new: %q", c.Value)
			}
			values[c.Value] = true
			for _, c := range b.set {
				if !c.Expires.IsZero() || c.MaxAge <= 0 {
					t.Errorf("the browser's clock decides: %s", c.Raw)
				}
			}
		}
		if who := thief.signedInAs(); who != "" {
			t.Errorf("the thief's browser is signed in as %s", who)
		}
		b.cookies[sessionCookie] = "curfew_bs_AAAA"
		if who := b.signedInAs(); who != "" {
			t.Errorf("a made-up cookie is signed in as %s", who)
		}
	}, func(c *models.Config) { c.ReuseInterval = models.None })
}

// What another site posts is refused, whatever it is and however it says where it comes from; nothing has happened.
func TestSignIn_PostedFromElsewhere(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.newCode("app")
		_, enter := pageForm(b.get(authorizeURL("app", "prompt", "login")))
		enter.Set("username", "anna")
		enter.Set("password", testPassword)
		_, goOn := pageForm(b.get(authorizeURL("cli")))
		goOn.Set("choice", "continue")
		_, out := pageForm(b.get("/sign-out"))
		out.Set("choice", "out")
		before := k.state()
		for _, from := range [][]string{
			{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"},
			{"Sec-Fetch-Site", "cross-site", "Origin", "null"},
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.app.example"},
			{"Origin", "https://evil.test"},
			{"Origin", "null"},
			{"Origin", strings.Replace(k.url, "127.0.0.1", "localhost", 1)},
			{"Origin", k.url + "0"},
		} {
			headers := append([]string{"Content-Type", formType}, from...)
			for path, form := range map[string][]url.Values{"/sign-in": {enter, goOn}, "/sign-out": {out}} {
				for _, f := range form {
					a := b.do("POST", path, f.Encode(), headers...)
					k.wantPage(fmt.Sprint(path, from), a, 403, "Another site tried to act for you")
					if len(b.set) != 0 {
						t.Errorf("%v sets cookies: %v", from, b.set)
					}
				}
			}
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
	})
}

// What a form carries is looked at again, and nothing of it is believed: a stale one and a forged one do no harm, and
// tell nothing about the password.
func TestSignIn_FormIsNotBelieved(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		page := b.get(authorizeURL("app"))
		before := k.state()
		for _, password := range []string{testPassword, "wrong"} {
			forge := func(query string) *answer {
				return b.submit(
					page,
					"username",
					"anna",
					"password",
					password,
					fieldAuthorize,
					strings.TrimPrefix(query, pathAuthorize+"?"),
				)
			}
			k.wantPage("redirect URI", forge(authorizeURL("app", "redirect_uri", "https://evil.test")), 400, "wrong place")
			k.wantPage("client", forge(authorizeURL("app", "client_id", "evil")), 400, "We do not know this app")
			k.wantPage("nothing", forge(""), 400, "We do not know this app")
			k.wantPage("two", forge(authorizeURL("app")+"&client_id=cli"), 400, "It says the same thing twice")
			k.wantBack("no PKCE", forge(authorizeURL("app", "code_challenge", "")), appURI, "invalid_request")
			k.wantBack("scope", forge(authorizeURL("app", "scope", "root")), appURI, "invalid_scope")
		}
		_, fields := pageForm(page)
		body := fields.Encode() + "&username=anna&password=" + url.QueryEscape(testPassword)
		for what, a := range map[string]*answer{
			"a field twice": b.do("POST", "/sign-in", body+"&username=ben", "Content-Type", formType),
			"malformed":     b.do("POST", "/sign-in", body+"&x=%zz", "Content-Type", formType),
			"NUL":           b.do("POST", "/sign-in", body+"&device_name=%00", "Content-Type", formType),
			"not UTF-8":     b.do("POST", "/sign-in", body+"&device_name=%ff", "Content-Type", formType),
			"no form":       b.do("POST", "/sign-in", body, "Content-Type", "text/plain"),
			"too long":      b.do("POST", "/sign-in", body+strings.Repeat("x", web.MaxPageForm), "Content-Type", formType),
		} {
			k.wantPage(what, a, 400, "We cannot use this link")
		}
		// The form was open while the client changed.
		k.set("app", "redirect_uris", "https://elsewhere.example/callback")
		k.wantPage("the redirect URI is gone", b.signInAs(page, "anna"), 400, "wrong place")
		k.set("app", "redirect_uris", appURI)
		k.set("app", "grants", "refresh_token password")
		k.wantBack("the grant is gone", b.signInAs(page, "anna"), appURI, "unauthorized_client")
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		if _, err := k.store.DeleteClient(t.Context(), "app", models.Actor{}); err != nil {
			t.Fatal(err)
		}
		k.wantPage("the client is gone", b.signInAs(page, "anna"), 400, "We do not know this app")
	})
}

// No address that somebody writes into a link is ever led to.
func TestSignIn_OpenRedirect(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		in := k.browser()
		in.newCode("app")
		for _, to := range []string{
			"https://evil.test", "//evil.test", `/\evil.test`, `\\evil.test`, "/account@evil.test", "/account/../../evil",
			"///evil.test",
			"/%2fevil.test", "/\t/evil.test", "javascript:alert(1)", "/account\r\nX: y", "https:evil.test",
			"/account?x=//evil.test", "", "/sign-out",
		} {
			query := url.Values{fieldReturn: {to}}.Encode()
			if a := in.get("/sign-in?" + query); a.status != 303 || a.header.Get("Location") != "/account" {
				t.Errorf("%q: %d %v", to, a.status, a.header)
			}
			b := k.browser()
			a := b.signInAs(b.get("/sign-in?"+query), "anna", fieldReturn, to)
			if a.status != 303 || a.header.Get("Location") != "/account" {
				t.Errorf("%q: %d %v", to, a.status, a.header)
			}
		}
	})
}

// The limits on guessing are those of the password grant, and the page says when they are over.
func TestSignIn_Guessing(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		page := b.get(authorizeURL("app"))
		for _, name := range []string{"anna", "nobody"} {
			for range 3 {
				page = b.submit(page, "username", name, "password", "wrong", "device_name", "Desk", "shared", "1")
				k.wantPage(name, page, 400, "That user name and password do not fit together.")
				if text := string(page.body); !strings.Contains(text, `value="`+name+`"`) ||
					!strings.Contains(text, `value="Desk"`) ||
					!strings.Contains(text, " checked") || strings.Contains(text, "wrong\"") ||
					len(b.set) != 0 {
					t.Fatalf("what was typed: %s", text)
				}
			}
			for _, password := range []string{"wrong", testPassword} {
				a := b.submit(page, "username", name, "password", password)
				k.wantPage(name, a, http.StatusTooManyRequests, "Too many tries. You can try again in")
				if a.header.Get("Retry-After") == "" {
					t.Errorf("%v", a.header)
				}
			}
		}
		k.wantError("the grant", k.form("/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna",
			"password", testPassword), 429, "temporarily_unavailable")
		k.wantPage("nothing typed", b.submit(page, "username", "", "password", ""), 400, "do not fit together")
		if k.count("SELECT count(*) FROM devices") != 0 {
			t.Error("a device was made")
		}
	}, func(c *models.Config) { c.Limits.PerAccountAddress = 3 })
}

// A browser that keeps no cookies hears that, before a password is looked at, and is not sent in circles.
func TestSignIn_CookiesOff(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.off = true
		before := k.state()
		for _, path := range []string{authorizeURL("app"), authorizeURL("cli"), "/sign-in"} {
			page := b.get(path)
			for range 3 {
				page = b.signInAs(page, "anna")
				k.wantPage(path, page, 400, "Your browser did not keep our cookie")
			}
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		b.off = false
		k.code(b.signInAs(b.get(authorizeURL("app")), "anna"))
	})
}

// Tabs that sign in at the same moment meet in one session, a form that is sent twice makes no second one, and every
// one of them gets what it came for.
func TestSignIn_ManyTabs(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		first := k.browser()
		page := first.get(authorizeURL("app"))
		tabs := make([]*browser, 8)
		answers := make([]*answer, len(tabs))
		var all sync.WaitGroup
		for i := range tabs {
			tabs[i] = first.clone()
			all.Go(func() { answers[i] = tabs[i].signInAs(page, "anna") })
		}
		all.Wait()
		if n := k.count("SELECT count(*) FROM devices"); n != 1 {
			t.Errorf("%d browser sessions", n)
		}
		for i, a := range answers {
			if who := tabs[i].signedInAs(); who != "anna" { // whichever answer the browser has seen last
				t.Errorf("tab %d: signed in as %q", i, who)
			}
			if a := k.exchange("app", k.code(a)); a.status != 200 {
				t.Errorf("tab %d: %d %s", i, a.status, a.body)
			}
		}
		// The page that the back button shows, sent once more.
		a := tabs[0].signInAs(page, "anna")
		if a := k.exchange("app", k.code(a)); a.status != 200 {
			t.Errorf("again: %d %s", a.status, a.body)
		}
		if n := k.count("SELECT count(*) FROM devices WHERE client_id = 'curfew'"); n != 1 {
			t.Errorf("%d browser sessions", n)
		}
	})
}

// A name of a device is cleaned, and refused to nobody.
func TestSignIn_DeviceName(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		for given, want := range map[string]string{
			"": "Firefox on Linux", " \t ": "Firefox on Linux", " My\u0007 desk\u200b ": "My desk",
			strings.Repeat("é", 300): strings.Repeat("é", 100),
		} {
			b := k.browser()
			k.code(b.signInAs(b.get(authorizeURL("app")), "anna", "device_name", given))
			list, err := k.store.UserDevices(t.Context(), k.userID("anna"))
			if err != nil || len(list) == 0 || list[0].Name != want {
				t.Errorf("%q: %v %v", given, list, err)
			}
		}
	})
}

// A shared computer: the cookie goes with the browser, and the session soon.
func TestSignIn_SharedComputer(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b := k.browser()
		k.code(b.signInAs(b.get(authorizeURL("app")), "anna", "shared", "1", "device_name", "Library"))
		if c := b.cookie(sessionCookie); c.MaxAge != 0 || !c.Expires.IsZero() {
			t.Errorf("%s", c.Raw)
		}
		devices, err := k.store.UserDevices(t.Context(), k.userID("anna"))
		if err != nil || len(devices) != 1 {
			t.Fatalf("%v %v", devices, err)
		}
		d := devices[0]
		if life := d.EndsAt.Sub(d.CreatedAt); life <= 0 || life > sharedLife+time.Minute || d.Name != "Library" ||
			d.ClientID != "curfew" {
			t.Errorf("%v %+v", life, d)
		}
		// The next reader: the one before goes, with what was signed in through it.
		g := k.exchange("app", b.newCode("app"))
		k.code(b.signInAs(b.get(authorizeURL("app", "prompt", "login")), "ben"))
		if who := b.signedInAs(); who != "ben" || k.active(g.str("access_token")) {
			t.Errorf("signed in as %s; the app of before: %v", who, k.active(g.str("access_token")))
		}
		if b.cookies[markerCookie] == d.ID.String() {
			t.Error("the browser has kept the name of another user's session")
		}
	})
}

// State travels in the form: sign-in pages that nobody answers cost the server nothing, neither rows nor memory.
func TestSignIn_PagesCostNothing(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		get := func(n int) {
			b := k.browser()
			for i := range n {
				b.cookies = map[string]string{}
				if a := b.get(authorizeURL("app", "state", fmt.Sprint("the state ", i))); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
		}
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		get(100)
		before, rows := heap(), k.state()
		get(1000)
		// The state of a request alone would be some hundred bytes a page.
		if grown := heap() - before; grown > 200_000 {
			t.Errorf("1,000 pages have left %d bytes", grown)
		}
		if after := k.state(); after != rows {
			t.Errorf("something changed: %s, was %s", after, rows)
		}
	})
}

// The cookie opens pages, and no API.
func TestSignIn_CookieOpensNoAPI(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.newCode("app")
		cookie := b.cookies[sessionCookie]
		k.wantProblem("as a token", k.bearer("GET", "/settings/devices", cookie, ""), 401)
		k.wantProblem("as a cookie", b.get("/settings/devices"), 401)
		k.wantError(
			"refresh",
			k.form("/oauth2/token", "grant_type", "refresh_token", "client_id", "app", "refresh_token", cookie),
			400,
			"invalid_grant",
		)
		k.wantError("code", k.exchange("app", cookie), 400, "invalid_grant")
		if k.active(cookie) || b.signedInAs() != "anna" {
			t.Error("the session suffered, or introspection knows it")
		}
	})
}
