package admin

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"curfew/models"
)

// Only admins sign in, and nobody else leaves a device; no address of another site is led to.
func TestConsole_SignIn(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.user("ben")
		_, b := k.admin("anna")
		before := k.state()
		other := k.browser()
		other.want(
			other.post("/console/sign-in", "username", "anna", "password", testPassword),
			400,
			"no cookies",
			"did not keep",
		)
		other.want(other.signIn("ben", testPassword), 403, "no admin", "may not use the console")
		other.want(other.signIn("anna", "wrong"), 400, "wrong password", "do not fit together")
		other.want(other.signIn("nobody", "wrong"), 400, "unknown", "do not fit together")
		other.want(other.signIn("", ""), 400, "nothing", "do not fit together")
		if after := k.state(); after != before {
			t.Errorf("somebody left something: %s, was %s", after, before)
		}
		if len(other.cookies) != 1 {
			t.Errorf("cookies: %v", other.cookies)
		}
		for _, back := range []string{
			"https://evil.test/console/", "//evil.test/console/", `/\evil.test`, "/console/..//evil.test", "/console//evil.test",
			"/account", "javascript:alert(1)", "/console/sign-out", "", "/console/%0d%0aX: 1", "console/", "http:/console/",
		} {
			if to := b.get("/console/sign-in?" + url.Values{"return": {back}}.Encode()).header.Get("Location"); to != "/console/" {
				t.Errorf("%q leads to %q", back, to)
			}
		}
		if to := b.get("/console/sign-in?return=%2Fconsole%2Fdevices%3Fq%3Da%2526b").header.Get("Location"); to != "/console/devices?q=a%26b" {
			t.Errorf("leads to %q", to)
		}
		b.page("/console/", "anna", "Overview")
		old := b.cookies[consoleCookie]
		b.want(b.signIn("anna", testPassword), 303, "again")
		if b.cookies[consoleCookie] == old {
			t.Error("the cookie stays after a sign-in")
		}
		if a := b.get("/console"); a.status != 303 || a.header.Get("Location") != "/console/" {
			t.Errorf("%d %v", a.status, a.header)
		}
	})
}

// What opens the console is a living session of somebody who is an admin now: no user's cookie, none after a sign-out or
// a password change, none of an admin who was one.
func TestConsole_EveryRoute_Closed(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		ben := k.user("ben")
		out, outCookie := k.admin("out")
		changed, changedCookie := k.admin("changed")
		was, wasCookie := k.admin("was")
		_, cookie, err := k.store.SignInBrowser(t.Context(), models.BrowserSignIn{
			User: ben, ClientID: models.ClientBrowser, Name: "ben's browser",
		})
		must(t, err)
		users := k.browser()
		users.cookies[consoleCookie] = cookie
		theirs := k.browser()
		theirs.cookies["__Host-curfew"] = cookie
		copied := outCookie.clone()
		outCookie.want(
			outCookie.post("/console/sign-out", hidden(outCookie.get("/console/sign-out"))...),
			200,
			"sign out",
			"Sign in again",
		)
		_, _, err = k.store.UpdateUser(
			t.Context(),
			changed.ID,
			models.UserPatch{Password: new("another horse battery")},
			setup,
		)
		must(t, err)
		_, _, err = k.store.UpdateUser(t.Context(), was.ID, models.UserPatch{Admin: new(false)}, setup)
		must(t, err)
		silent, silentCookie := k.admin("silent") // the flag alone, as from a restored dump
		k.exec(`UPDATE users SET admin = false WHERE username = 'silent'`)
		made, dumped := k.browser(), k.browser()
		made.cookies[consoleCookie] = "curfew_bs_AAAA"
		_, living := k.admin("living")
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(living.cookies[consoleCookie], "curfew_bs_"))
		must(t, err)
		clear(raw[37:]) // the database has the ids that stand before it
		dumped.cookies[consoleCookie] = "curfew_bs_" + base64.RawURLEncoding.EncodeToString(raw)
		g := k.signIn(ben, "settings", "203.0.113.1")
		fill := k.there(ben, g)
		before := k.state()
		for name, b := range map[string]*browser{
			"no cookie": k.browser(), "a user's cookie under its name": theirs, "a user's value": users, "a copy after sign-out": copied,
			"after a password change": changedCookie, "of who was an admin": wasCookie, "without the flag": silentCookie, "made up": made,
			"from a dump": dumped,
		} {
			k.each("/console/", fill, func(method, path string) {
				if strings.HasPrefix(path, "/console/sign-") {
					return
				}
				if a := b.do(method, path, url.Values{"confirm": {"everyone"}}); a.status != 303 ||
					!strings.HasPrefix(a.header.Get("Location"), "/console/sign-in") || a.body != "" {
					t.Errorf("%s: %s %s: %d %s", name, method, path, a.status, a.body)
				}
			})
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		_, _ = out, silent
	})
}

// A page of another site posts nothing, none stands in a frame, and each page says so.
func TestConsole_EveryRoute_FromElsewhere(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, b := k.admin("anna")
		g := k.signIn(k.user("ben"), "settings", "203.0.113.1")
		_, err := k.store.Revoke(
			t.Context(),
			models.OneDevice(k.signIn(u, "settings", "").DeviceID),
			models.ReasonRevoked,
			setup,
		)
		must(t, err)
		fill := k.there(u, g)
		before := k.state()
		k.each("/console/", fill, func(method, path string) {
			if method == "POST" {
				for _, from := range []map[string]string{
					{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
					{"Sec-Fetch-Site": "same-site"},
					{"Origin": "https://evil.test"},
					{"Origin": "null"},
					{"Origin": k.http.URL + "0"},
				} {
					other := b.clone()
					other.headers = from
					other.want(other.post(path, "confirm", "everyone"), 403, path, "Another site tried to act for you")
				}
				return
			}
			a := b.get(path)
			csp := a.header.Get("Content-Security-Policy")
			if a.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(csp, "frame-ancestors 'none'") ||
				!strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") ||
				a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v", path, a.header)
			}
		})
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		r := b.clone()
		r.headers = nil
		a := r.do("GET", "/console/", nil)
		if a.status != 200 {
			t.Errorf("%d", a.status)
		}
	})
}

// What anybody can store is text on every page.
func TestConsole_StoredMarkup(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`
		u, err := k.store.CreateUser(t.Context(), models.NewUser{Username: "<b>ben</b>", Password: testPassword}, setup)
		must(t, err)
		_, err = k.store.UpdateClient(t.Context(), "web", models.ClientPatch{Name: new(evil)}, setup)
		must(t, err)
		k.web, err = k.store.GetClient(t.Context(), "web")
		must(t, err)
		g, err := k.store.SignIn(t.Context(), models.SignIn{
			User: u, Client: k.web, Scope: "settings", Name: evil, Origin: models.Origin{IP: "203.0.113.1", UserAgent: evil},
		})
		must(t, err)
		_, err = k.store.RenameDevice(t.Context(), models.DeviceFilter{ID: g.DeviceID}, evil+"2",
			models.Actor{Entity: models.EntityAdmin, ID: evil, UserAgent: evil})
		must(t, err)
		out, err := k.store.Revoke(
			t.Context(),
			models.OneDevice(g.DeviceID),
			models.ReasonRevoked,
			models.Actor{ID: evil},
		)
		must(t, err)
		q := url.QueryEscape(evil)
		for _, path := range []string{
			"/console/", "/console/devices", "/console/devices?q=" + q, "/console/devices/" + g.DeviceID.String(),
			"/console/devices/end?q=" + q, "/console/users", "/console/users?prefix=" + q, "/console/users/" + u.ID.String(),
			"/console/clients", "/console/clients/web", "/console/revocations",
			fmt.Sprintf("/console/revocations/%d", out.Revocation.Seq), "/console/events", "/console/events?actor=" + q,
			"/console/devices?notice=" + q, "/console/step-up?return=" + q,
		} {
			a := b.page(path)
			for _, bad := range []string{"<script>alert", "<img src=x", "<b>ben"} {
				if strings.Contains(a.body, bad) {
					t.Errorf("%s: %q stands in it", path, bad)
				}
			}
		}
		b.want(b.get("/console/revocations?reason="+q), 400, "no reason", "there is no such reason")
		a := b.get("/console/events?user_id=" + q)
		b.want(a, 400, "a filter that is none", "must be a UUID")
		if strings.Contains(a.body, "<script>alert") {
			t.Error("the filter stands in the page")
		}
	})
}

var counted = regexp.MustCompile(`name="expected" value="(\d+)"`)

// The number comes first, and a wrong one does nothing.
func TestConsole_EndByFilter(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		var grants []*models.Grant
		for i := range 3 {
			grants = append(grants, k.signIn(k.user(fmt.Sprintf("user%d", i)), "settings", "203.0.113.9"))
		}
		other := k.signIn(k.user("else"), "settings", "203.0.113.10")
		page := b.page("/console/devices/end?ip=203.0.113.9&q=phone&username=", "phone of user1")
		if m := counted.FindStringSubmatch(page.body); m == nil || m[1] != "3" {
			t.Fatalf("%v", m)
		}
		before := k.state()
		fields := hidden(page)
		for _, typed := range []string{"", "2", "4", "-3", "3x", "three", "0"} {
			b.want(
				b.post("/console/devices/end", append(fields, "count", typed)...),
				409,
				typed,
				"Nothing has been signed out",
			)
		}
		b.want(
			b.post("/console/devices/end", "expected", "3", "count", "3", "ip", "203.0.113.77"),
			409,
			"another filter",
		)
		b.leads(b.post("/console/devices/end", "expected", "5", "count", "5"), "/console/everyone")
		late := k.signIn(k.user("late"), "settings", "203.0.113.9") // since the number was shown
		b.want(
			b.post("/console/devices/end", append(fields, "count", "3")...),
			409,
			"one more",
			`name="expected" value="4"`,
		)
		if before != k.state() {
			if !k.alive(grants[0]) || !k.alive(late) {
				t.Fatal("a wrong number signed somebody out")
			}
		}
		a := b.post(
			"/console/devices/end",
			append(hidden(b.page("/console/devices/end?ip=203.0.113.9&q=phone")), "count", " 4 ")...)
		b.leads(a, "/console/devices?", "4 devices are out.")
		for _, g := range append(grants, late) {
			if k.alive(g) {
				t.Error("a token lives")
			}
		}
		if !k.alive(other) {
			t.Error("the filter took another one")
		}
		b.page("/console/devices/end?ip=203.0.113.9", "No device fits the filter any more")
		b.page("/console/devices/end?username=nobody", "No device fits the filter any more")
		b.want(b.get("/console/devices/end?status=odd"), 400, "bad filter")
	})
}

// seqOf is the number of the receipt that an answer leads to.
func seqOf(a *reply) int64 {
	u, _ := url.Parse(a.header.Get("Location"))
	seq, _ := strconv.ParseInt(u.Query().Get("receipt"), 10, 64)
	return seq
}
