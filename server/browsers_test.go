package server

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"curfew/models"
)

const (
	appOrigin   = "https://app.example"
	otherOrigin = "https://other.example:8443"
	foreign     = "https://evil.example"
)

// browserClients adds two apps with different origins.
func (k *kit) browserClients() {
	k.t.Helper()
	for id, origin := range map[string]string{"spa": appOrigin, "other": otherOrigin} {
		k.client(models.NewClient{
			ID: id, Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"settings", "profile"},
			Origins: []string{origin, "http://localhost:3000"},
		})
	}
}

// page posts a form as a page of an origin does.
func (k *kit) page(origin, path string, headers []string, pairs ...string) *answer {
	k.t.Helper()
	headers = append([]string{"Content-Type", formType, "Origin", origin}, headers...)
	return k.do(k.request("POST", path, encoded(pairs), headers...))
}

func encoded(pairs []string) string {
	var b []string
	for i := 0; i+1 < len(pairs); i += 2 {
		b = append(b, pairs[i]+"="+strings.ReplaceAll(strings.ReplaceAll(pairs[i+1], "%", "%25"), " ", "+"))
	}
	return strings.Join(b, "&")
}

func signInForm(client string, more ...string) []string {
	return append([]string{
		"grant_type", "password", "client_id", client, "username", "anna", "password", testPassword,
	}, more...)
}

func (k *kit) devices() int {
	k.t.Helper()
	var n int
	if err := k.store.DB().QueryRow(`SELECT count(*) FROM devices`).Scan(&n); err != nil {
		k.t.Fatal(err)
	}
	return n
}

// readable tells whether a browser lets a page of the origin read the answer.
func readable(a *answer, origin string) bool {
	return slices.Equal(a.header.Values("Access-Control-Allow-Origin"), []string{origin})
}

// silent tells whether it lets nobody.
func silent(a *answer) bool {
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") {
			return false
		}
	}
	return true
}

// A page of the client's own origin signs in, renews, lists and signs out, and can read each answer, errors included.
func TestBrowsers_OwnOrigin(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.browserClients()
		in := k.page(appOrigin, "/oauth2/token", nil, signInForm("spa")...)
		next := k.page(appOrigin, "/oauth2/token", nil, "grant_type", "refresh_token", "client_id", "spa", "refresh_token",
			in.str("refresh_token"))
		bearer := []string{"Authorization", "Bearer " + next.str("access_token"), "Origin", appOrigin}
		list := k.do(k.request("GET", "/settings/devices", "", bearer...))
		asked := []struct {
			name   string
			a      *answer
			status int
		}{
			{"sign-in", in, 200},
			{"refresh", next, 200},
			{"list", list, 200},
			{"wrong password", k.page(appOrigin, "/oauth2/token", nil, signInForm("spa", "scope", "none")...), 400},
			{"no grant", k.page(appOrigin, "/oauth2/token", nil, "client_id", "spa"), 400},
			{"no client", k.page(appOrigin, "/oauth2/token", nil, "grant_type", "password"), 401},
			{"two clients", k.page(appOrigin, "/oauth2/token", nil, "client_id", "spa", "client_id", "spa"), 400},
			{
				"garbage", k.do(k.request("GET", "/settings/devices", "", "Authorization", "Bearer x", "Origin", appOrigin)), 401,
			},
			{"no token", k.do(k.request("GET", "/settings/devices", "", "Origin", appOrigin)), 401},
			{"no such route", k.do(k.request("GET", "/settings/nothing", "", bearer...)), 404},
			{"no such method", k.do(k.request("PUT", "/settings/devices", "", bearer...)), 405},
			{"log-out", k.page(appOrigin, "/oauth2/revoke", nil, "client_id", "spa", "token", next.str("refresh_token")), 200},
			{"signed out", k.do(k.request("GET", "/settings/devices", "", bearer...)), 401},
		}
		for _, c := range asked {
			if c.a.status != c.status || !readable(c.a, appOrigin) || !slices.Contains(c.a.header.Values("Vary"), "Origin") ||
				c.a.header.Get("Access-Control-Allow-Credentials") != "" || c.a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s %v", c.name, c.a.status, c.a.body, c.a.header)
			}
		}
	})
}

// A page that may not ask leaves nothing behind: no device, no failed attempt, no event, no sign-out; and it is told
// how it could be allowed.
func TestBrowsers_ForeignOrigin(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.browserClients()
		g := k.page(appOrigin, "/oauth2/token", nil, signInForm("spa")...)
		before, devices := k.state(), k.devices()
		for _, origin := range []string{
			foreign, otherOrigin, "null", "", appOrigin + "/", appOrigin + "/login", "https://APP.example",
			"HTTPS://app.example",
			appOrigin + ":443", "http://app.example", "https://app.example.evil.example", "https://sub.app.example",
			"https://evil.example, " + appOrigin, appOrigin + " ",
		} {
			if strings.TrimSpace(origin) != origin {
				continue // net/http trims it
			}
			for name, a := range map[string]*answer{
				"sign-in":        k.page(origin, "/oauth2/token", nil, signInForm("spa")...),
				"wrong password": k.page(origin, "/oauth2/token", nil, signInForm("spa", "password", "wrong")[:6]...),
				"unknown client": k.page(origin, "/oauth2/token", nil, signInForm("nobody")...),
				"refresh": k.page(origin, "/oauth2/token", nil, "grant_type", "refresh_token", "client_id", "spa", "refresh_token",
					g.str("refresh_token")),
				"log-out": k.page(origin, "/oauth2/revoke", nil, "client_id", "spa", "token", g.str("refresh_token")),
				"basic": k.page(origin, "/oauth2/token", []string{"Authorization", "Basic YXBpOndyb25n"},
					"grant_type", "client_credentials"),
			} {
				if a.status != 403 || a.str("error") != "origin_not_allowed" || !silent(a) ||
					!strings.Contains(a.str("error_description"), "curfew client set ") ||
					!strings.Contains(a.str("error_description"), "--origins ") ||
					strings.ContainsAny(a.str("error_description"), `"\`) || !slices.Contains(a.header.Values("Vary"), "Origin") {
					t.Errorf("%s from %q: %d %s %v", name, origin, a.status, a.body, a.header)
				}
			}
			for method, path := range map[string]string{
				"GET": "/settings/devices", "DELETE": "/settings/devices/current", "PUT": "/settings/password",
			} {
				a := k.do(k.request(method, path, "{}", "Origin", origin, "Authorization", "Bearer "+g.str("access_token")))
				if a.status != 403 || a.str("code") != "origin_not_allowed" || !silent(a) {
					t.Errorf("%s %s from %q: %d %s %v", method, path, origin, a.status, a.body, a.header)
				}
			}
		}
		a := k.page(foreign, "/oauth2/token", nil, signInForm("spa")...)
		if want := "curfew client set spa --origins " + foreign; !strings.Contains(a.str("error_description"), want) {
			t.Errorf("%s does not say %q", a.body, want)
		}
		two := k.request("POST", "/oauth2/token", encoded(signInForm("spa")), "Content-Type", formType, "Origin", appOrigin,
			"Origin", foreign)
		if a := k.do(two); a.status != 403 {
			t.Errorf("two origins: %d %s", a.status, a.body)
		}
		for _, token := range []string{"", "garbage"} {
			a := k.do(k.request("GET", "/settings/devices", "", "Origin", foreign, "Authorization", "Bearer "+token))
			if a.status != 403 || !silent(a) {
				t.Errorf("a token that cannot be read, from elsewhere: %d %s %v", a.status, a.body, a.header)
			}
		}
		if after := k.state(); after != before || k.devices() != devices {
			t.Errorf("something changed: %s, was %s; %d devices, were %d", after, before, k.devices(), devices)
		}
		if a := k.bearer("GET", "/settings/devices", g.str("access_token"), ""); a.status != 200 {
			t.Errorf("the device suffered: %d %s", a.status, a.body)
		}
	})
}

// Who is no page of another origin asks as ever: without Origin, from this server's own, or as the browser vouches.
func TestBrowsers_SameOrigin(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.browserClients()
		for name, headers := range map[string][]string{
			"no origin":             nil,
			"own":                   {"Origin", k.url},
			"the browser vouches":   {"Origin", "null", "Sec-Fetch-Site", "same-origin"},
			"behind another name":   {"Origin", "https://behind.example", "Sec-Fetch-Site", "same-origin"},
			"a program, not a page": {"Sec-Fetch-Site", "none"},
		} {
			headers = append(headers, "Content-Type", formType)
			a := k.do(k.request("POST", "/oauth2/token", encoded(signInForm("web")), headers...))
			if a.status != 200 || !silent(a) || !slices.Contains(a.header.Values("Vary"), "Origin") {
				t.Errorf("%s: %d %s %v", name, a.status, a.body, a.header)
			}
			for i, h := range headers {
				if h == "Content-Type" {
					headers = append(headers[:i], headers[i+2:]...)
					break
				}
			}
			list := k.do(k.request("GET", "/settings/devices", "",
				append(headers, "Authorization", "Bearer "+a.str("access_token"))...))
			if list.status != 200 || !silent(list) {
				t.Errorf("%s: %d %s %v", name, list.status, list.body, list.header)
			}
		}
		for _, site := range []string{"cross-site", "same-site", "none", ""} {
			a := k.page(foreign, "/oauth2/token", []string{"Sec-Fetch-Site", site}, signInForm("web")...)
			if a.status != 403 {
				t.Errorf("%s: %d %s", site, a.status, a.body)
			}
		}
	})
}

func (k *kit) preflight(origin, path, method string) *answer {
	k.t.Helper()
	headers := []string{"Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization"}
	if origin != "" {
		headers = append(headers, "Origin", origin)
	}
	return k.do(k.request("OPTIONS", path, "", headers...))
}

// A preflight is answered for the origin of any client, and for no other one.
func TestBrowsers_Preflight(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.browserClients()
		k.client(models.NewClient{
			ID: "keeper", Public: true, Grants: []string{"password", "refresh_token"}, RefreshCookie: true,
			Origins: []string{"https://keeper.example"},
		})
		for _, path := range []string{
			"/oauth2/token", "/oauth2/revoke", "/settings/devices", "/settings/devices/current", "/settings/password",
		} {
			for origin, cookies := range map[string]string{
				appOrigin: "", otherOrigin: "", "http://localhost:3000": "", "https://keeper.example": "true",
			} {
				a := k.preflight(origin, path, "POST")
				if a.status != 204 || !readable(a, origin) || a.header.Get("Access-Control-Max-Age") != "7200" ||
					a.header.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type" ||
					!strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") ||
					a.header.Get("Access-Control-Allow-Credentials") != cookies ||
					!slices.Contains(a.header.Values("Vary"), "Origin") || len(a.body) > 0 {
					t.Errorf("%s from %s: %d %s %v", path, origin, a.status, a.body, a.header)
				}
			}
			for _, origin := range []string{foreign, "null", appOrigin + "/", "https://APP.example", appOrigin + ":443", "*"} {
				if a := k.preflight(origin, path, "POST"); a.status != 403 || a.str("code") != "origin_not_allowed" || !silent(a) {
					t.Errorf("%s from %s: %d %s %v", path, origin, a.status, a.body, a.header)
				}
			}
		}
		for _, path := range []string{
			"/oauth2/introspect", "/oauth2/revocations", "/oauth2/revocations/ack", "/oauth2/jwks", "/healthz", "/nothing",
			"/oauth2/token/", "/oauth2/tokens", "/settings",
		} {
			if a := k.preflight(appOrigin, path, "POST"); a.status < 400 || a.header.Get("Access-Control-Allow-Methods") != "" {
				t.Errorf("%s: %d %v", path, a.status, a.header)
			}
		}
		if a := k.do(k.request("OPTIONS", "/oauth2/token", "", "Origin", appOrigin)); a.status != 405 {
			t.Errorf("no preflight: %d %s", a.status, a.body)
		}
		for _, path := range []string{"/oauth2/jwks", "/.well-known/oauth-authorization-server"} {
			a := k.do(k.request("GET", path, "", "Origin", foreign))
			if a.status != 200 || !readable(a, "*") {
				t.Errorf("%s: %d %v", path, a.status, a.header)
			}
		}
	})
}

// What an admin changes counts with the next request; so does a client that is gone.
func TestBrowsers_ChangesActAtOnce(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.browserClients()
		set := func(origins ...string) {
			change := models.ClientPatch{Origins: &origins}
			if _, err := k.store.UpdateClient(t.Context(), "spa", change, models.Actor{}); err != nil {
				t.Fatal(err)
			}
		}
		asked := func(origin string) [2]int {
			return [2]int{
				k.preflight(origin, "/oauth2/token", "POST").status,
				k.page(origin, "/oauth2/token", nil, signInForm("spa")...).status,
			}
		}
		for range 3 {
			set(foreign)
			if got := asked(foreign); got != [2]int{204, 200} {
				t.Fatalf("added: %v", got)
			}
			if got := asked(appOrigin); got != [2]int{403, 403} {
				t.Fatalf("removed: %v", got)
			}
			set(appOrigin)
			if got := asked(foreign); got != [2]int{403, 403} {
				t.Fatalf("removed again: %v", got)
			}
		}
		g := k.page(appOrigin, "/oauth2/token", nil, signInForm("spa")...)
		if _, err := k.store.DeleteClient(t.Context(), "spa", models.Actor{}); err != nil {
			t.Fatal(err)
		}
		a := k.do(k.request("GET", "/settings/devices", "", "Origin", appOrigin,
			"Authorization", "Bearer "+g.str("access_token")))
		if got := asked(appOrigin); got != [2]int{403, 403} || a.status != 403 {
			t.Fatalf("deleted: %v, %d", got, a.status)
		}
	})
}

// Another node's change: the request is judged by the client as it is in the database, whatever this node remembers.
func TestBrowsers_ChangedElsewhere(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.browserClients()
		g := k.page(appOrigin, "/oauth2/token", nil, signInForm("spa")...)
		k.preflight(appOrigin, "/oauth2/token", "POST") // remembered
		if _, err := k.store.DB().Exec(`UPDATE clients SET origins = '', version = version + 1 WHERE id = 'spa'`); err != nil {
			t.Fatal(err)
		}
		devices := k.devices()
		for _, form := range [][]string{
			signInForm("spa"),
			{"grant_type", "refresh_token", "client_id", "spa", "refresh_token", g.str("refresh_token")},
		} {
			if a := k.page(appOrigin, "/oauth2/token", nil, form...); a.status != 403 || !silent(a) {
				t.Errorf("%v: %d %s %v", form[1], a.status, a.body, a.header)
			}
		}
		if k.devices() != devices {
			t.Error("there is a new device")
		}
	})
}

// Without the database nobody is let through who is not known, and no preflight is answered once that is too old.
func TestBrowsers_DatabaseAway(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.browserClients()
		if err := k.store.Close(); err != nil {
			t.Fatal(err)
		}
		for name, a := range map[string]*answer{
			"preflight": k.preflight(appOrigin, "/oauth2/token", "POST"),
			"sign-in":   k.page(appOrigin, "/oauth2/token", nil, signInForm("spa")...),
			"settings":  k.do(k.request("GET", "/settings/devices", "", "Origin", appOrigin, "Authorization", "Bearer x")),
		} {
			if a.status != http.StatusServiceUnavailable || !silent(a) || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s %v", name, a.status, a.body, a.header)
			}
		}
	})
}
