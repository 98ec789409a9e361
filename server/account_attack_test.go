package server

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"curfew/models"
)

// accountPosts are the forms of the account.
var accountPosts = []string{
	"/account/rename", "/account/end", "/account/end-others", "/account/end-everywhere", "/account/password", "/account/not-me",
}

// accountGets are its pages.
var accountGets = []string{"/account", "/account/end-everywhere", "/account/security"}

// full is a form that would do something at every one of them.
func full(session, device string) url.Values {
	return url.Values{
		"session": {session}, "device": {device}, "name": {"renamed"}, "password": {testPassword},
		"current_password": {testPassword}, "new_password": {"a better one it is"},
	}
}

// What another site posts, what is not signed in, and what a form shows of somebody else does nothing.
func TestAccount_NotFromHere(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b, nobody := k.browser(), k.browser()
		session := b.enter("anna").deviceHere()
		form := full(session, k.signIn("anna").str("device_id"))
		two := b.clone() // ben signs in in another tab of anna's browser
		before := k.state()
		for _, path := range accountPosts {
			for _, from := range [][]string{
				{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"},
				{"Sec-Fetch-Site", "cross-site"},
				{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.app.example"},
				{"Origin", "https://evil.test"},
				{"Origin", "null"},
			} {
				a := b.do("POST", path, form.Encode(), append([]string{"Content-Type", formType}, from...)...)
				k.wantPage(path+strings.Join(from, " "), a, 403, "Another site tried to act for you")
			}
			if a := nobody.post(path, form); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/sign-in?return=%2Faccount") {
				t.Errorf("%s: %d %v", path, a.status, a.header)
			}
			k.wantPage("twice", b.do("POST", path, form.Encode()+"&session=x", "Content-Type", formType), 400, "We cannot use this link")
			k.wantPage("in the query", b.post(path+"?device="+form.Get("device"), form), 400, "We cannot use this link")
			k.wantPage("another session", b.post(path, full(k.userID("ben").String(), form.Get("device"))), 409, "Nothing has happened")
		}
		for _, path := range accountGets {
			for _, method := range []string{"GET", "HEAD"} {
				if a := nobody.do(method, path, ""); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/sign-in?return=%2Faccount") {
					t.Errorf("%s %s: %d %v", method, path, a.status, a.header)
				}
				a := b.do(method, path, "")
				if h := a.header; a.status != 200 || h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" ||
					!strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
					t.Errorf("%s %s: %d %v", method, path, a.status, h)
				}
			}
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		delete(two.cookies, sessionCookie)
		two.enter("ben")
		b.cookies = two.cookies
		phone := k.signIn("ben")
		for _, path := range accountPosts {
			form := full(session, phone.str("device_id"))
			a := b.post(path, form)
			k.wantPage(path, a, 409, "Nothing has happened")
			k.wantText("whose page it is now", a, "Your devices")
		}
		if !k.active(phone.str("access_token")) || b.signedInAs() != "ben" {
			t.Error("anna's form has done something to ben")
		}
		// Another user's device, from one's own form.
		form = full(b.get("/account").deviceHere(), k.signIn("anna").str("device_id"))
		for _, path := range []string{"/account/rename", "/account/end", "/account/not-me"} {
			k.wantPage(path, b.post(path, form), 404, "That does not exist any more.")
		}
	})
}

// A cookie is worth something while its session lives, in its own browser: not after a sign-out, and not what a dump of
// the database has.
func TestAccount_Cookie(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b, far := k.browser(), k.browser()
		b.enter("anna")
		far.enter("anna")
		thief := b.clone()
		far.send("/account/end", "device", b.get("/account").deviceHere())
		var id, refresh string
		row := k.store.DB().QueryRowContext(t.Context(), "SELECT CAST(id AS text), CAST(refresh_id AS text) FROM devices WHERE client_id = 'curfew' ORDER BY id DESC LIMIT 1")
		if err := row.Scan(&id, &refresh); err != nil {
			t.Fatal(err)
		}
		dump := func(value string) *browser {
			d := k.browser()
			d.cookies[sessionCookie] = value
			return d
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(far.cookies[sessionCookie], "curfew_bs_"))
		if err != nil {
			t.Fatal(err)
		}
		clear(raw[37:]) // the database has the ids that stand before it
		g := k.signIn("anna")
		for what, b := range map[string]*browser{
			"signed out": b, "its copy": thief, "the session's id": dump(id), "its refresh id": dump(refresh),
			"both": dump("curfew_bs_" + base64.RawURLEncoding.EncodeToString(raw)), "an access token": dump(g.str("access_token")),
			"a refresh token": dump(g.str("refresh_token")), "a refresh token with the prefix": dump(strings.Replace(g.str("refresh_token"), "curfew_rt_", "curfew_bs_", 1)),
		} {
			for _, path := range accountGets {
				if a := b.get(path); a.status != 303 {
					t.Errorf("%s opens %s: %d", what, path, a.status)
				}
			}
		}
		for _, path := range []string{"/settings/me", "/settings/events", "/settings/devices"} {
			if a := far.get(path); a.status != 401 {
				t.Errorf("a cookie opens %s: %d", path, a.status)
			}
			if a := k.bearer("GET", path, far.cookies[sessionCookie], ""); a.status != 401 {
				t.Errorf("a cookie is a token at %s: %d", path, a.status)
			}
		}
	})
}

// What others choose, names and user agents, is text on the pages, never markup.
func TestAccount_StoredMarkup(t *testing.T) {
	const markup = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.client(models.NewClient{
			ID: "evil", Name: markup, Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"settings"},
		})
		b := k.browser()
		b.enter("anna")
		for range 2 {
			a := k.do(k.request("POST", "/oauth2/token", url.Values{
				"grant_type": {"password"}, "client_id": {"evil"}, "username": {"anna"}, "password": {testPassword},
				"device_name": {markup},
			}.Encode(), "Content-Type", formType, "User-Agent", markup))
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			for _, path := range accountGets {
				page := string(b.get(path).body)
				if strings.Contains(page, "<script>") || strings.Contains(page, "<img src=x") || strings.Contains(page, `"'>`) {
					t.Errorf("%s: %s", path, page)
				}
			}
			k.wantText("shown as it is", b.get("/account"), "<script>alert(1)</script>")
			b.send("/account/end", "device", a.str("device_id"))
		}
	})
}

// Guessing by these pages is limited as everywhere, and a database that is away is said.
func TestAccount_LimitsAndFaults(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		session := b.enter("anna").deviceHere()
		form := full(session, session)
		limited := map[string]string{"/account/rename": "name", "/account/password": "current_password", "/account/end-everywhere": "password"}
		for path, field := range limited {
			var a *answer
			for i := range 12 {
				form.Set(field, fmt.Sprint("wrong", i))
				if a = b.post(path, form); a.status == 429 {
					break
				}
			}
			k.wantPage(path, a, 429, "Too many tries. You can try again in")
			if a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %v", path, a.header)
			}
		}
		if err := k.store.Close(); err != nil {
			t.Fatal(err)
		}
		for _, path := range accountPosts {
			k.wantPage(path, b.post(path, form), 503, "We cannot reach our database")
		}
		for _, path := range append(accountGets, "/account/receipts/1") {
			k.wantPage(path, b.get(path), 503, "We cannot reach our database")
			if a := b.do("HEAD", path, ""); path != "/account/receipts/1" && a.status != 503 {
				t.Errorf("HEAD %s: %d", path, a.status)
			}
		}
	}, func(c *models.Config) { c.Limits.Renames = 3 })
}
