package server

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"curfew/models"
)

const cookieOrigin = "https://keeper.example"

// tab is a page of the client keeper, whose refresh token is a cookie. All tabs share the browser's cookies.
type tab struct {
	k      *kit
	mu     *sync.Mutex
	cookie *string
}

func (k *kit) tab() tab {
	k.t.Helper()
	k.client(models.NewClient{
		ID: "keeper", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"settings"},
		Origins: []string{cookieOrigin}, RefreshCookie: true,
	})
	return tab{k: k, mu: &sync.Mutex{}, cookie: new(string)}
}

// keep does with an answer's cookie what a browser does.
func (b tab) keep(a *answer) *http.Cookie {
	b.k.t.Helper()
	set := (&http.Response{Header: a.header}).Cookies()
	if len(set) > 1 {
		b.k.t.Fatalf("%d cookies: %v", len(set), set)
	}
	if len(set) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if *b.cookie = set[0].Value; set[0].MaxAge < 0 {
		*b.cookie = ""
	}
	return set[0]
}

// post sends a form, with the cookie if there is one; more headers can take the place of the Origin.
func (b tab) post(path string, headers []string, pairs ...string) *answer {
	b.k.t.Helper()
	b.mu.Lock()
	if *b.cookie != "" {
		headers = append(headers, "Cookie", "__Host-curfew-rt-keeper="+*b.cookie)
	}
	b.mu.Unlock()
	return b.k.do(b.k.request("POST", path, encoded(pairs), append(headers, "Content-Type", formType)...))
}

var fromKeeper = []string{"Origin", cookieOrigin}

func (b tab) signIn() *answer {
	b.k.t.Helper()
	a := b.post("/oauth2/token", fromKeeper, signInForm("keeper")...)
	if b.keep(a); a.status != 200 || *b.cookie == "" {
		b.k.t.Fatalf("%d %s %v", a.status, a.body, a.header)
	}
	return a
}

func (b tab) refresh(headers ...string) *answer {
	b.k.t.Helper()
	return b.post("/oauth2/token", headers, "grant_type", "refresh_token", "client_id", "keeper")
}

// The refresh token comes as a cookie that no script can read, is in no body, and is taken from there.
func TestRefreshCookie(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		b := k.tab()
		a := b.signIn()
		c := b.keep(a)
		if c.Name != "__Host-curfew-rt-keeper" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode ||
			c.Path != "/" || c.Domain != "" || c.MaxAge < 719*3600 || c.MaxAge > 720*3600 ||
			a.json["refresh_token"] != nil || strings.Contains(string(a.body), c.Value) {
			t.Fatalf("%s %v", a.body, a.header["Set-Cookie"])
		}
		if a.header.Get("Access-Control-Allow-Credentials") != "true" || !readable(a, cookieOrigin) {
			t.Fatalf("%v", a.header)
		}
		next := b.refresh(fromKeeper...)
		renewed := b.keep(next)
		if next.status != 200 || renewed == nil || renewed.Value == c.Value || next.json["refresh_token"] != nil ||
			!k.active(next.str("access_token")) || next.header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Fatalf("%d %s %v", next.status, next.body, next.header)
		}
		if own := b.refresh("Origin", k.url); own.status != 200 || b.keep(own) == nil {
			t.Fatalf("a page of this server's own: %d %s", own.status, own.body)
		}
		out := b.post("/oauth2/revoke", fromKeeper, "client_id", "keeper")
		if gone := b.keep(out); out.status != 200 || gone == nil || gone.MaxAge >= 0 || gone.Path != "/" || !gone.Secure {
			t.Fatalf("%d %s %v", out.status, out.body, out.header["Set-Cookie"])
		}
		if k.active(next.str("access_token")) {
			t.Fatal("the device is still signed in")
		}
		if a := b.refresh(fromKeeper...); a.status != 400 || a.str("error") != "invalid_request" {
			t.Fatalf("without a cookie: %d %s", a.status, a.body)
		}
	})
}

// The cookie is nothing without the Origin of a page that may use it, and changes nothing then.
func TestRefreshCookie_Origin(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		b := k.tab()
		k.browserClients()
		b.signIn()
		before := k.state()
		for name, headers := range map[string][]string{
			"no origin": nil, "foreign": {"Origin", foreign}, "null": {"Origin", "null"},
			"another client's":               {"Origin", appOrigin},
			"null, and the browser vouches":  {"Origin", "null", "Sec-Fetch-Site", "same-origin"},
			"no origin, the browser vouches": {"Sec-Fetch-Site", "same-origin"},
		} {
			for path, a := range map[string]*answer{
				"refresh": b.refresh(headers...),
				"log-out": b.post("/oauth2/revoke", headers, "client_id", "keeper"),
			} {
				if a.status != 403 || a.str("error") != "origin_not_allowed" || a.header.Get("Set-Cookie") != "" {
					t.Errorf("%s, %s: %d %s %v", path, name, a.status, a.body, a.header)
				}
			}
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		if a := b.refresh(fromKeeper...); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// A client without the cookie takes none, and a cookie of one client is nothing to another.
func TestRefreshCookie_OnlyItsClient(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		b := k.tab()
		k.browserClients()
		b.signIn()
		for _, name := range []string{"__Host-curfew-rt-keeper", "__Host-curfew-rt-spa"} {
			a := k.page(appOrigin, "/oauth2/token", []string{"Cookie", name + "=" + *b.cookie}, "grant_type", "refresh_token",
				"client_id", "spa")
			if a.status != 400 || a.str("error") != "invalid_request" || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: %d %s %v", name, a.status, a.body, a.header)
			}
		}
		two := b.post("/oauth2/token", append([]string{"Cookie", "__Host-curfew-rt-keeper=x"}, fromKeeper...), "grant_type",
			"refresh_token", "client_id", "keeper")
		if two.status != 400 || two.str("error") != "invalid_request" {
			t.Errorf("two cookies: %d %s", two.status, two.body)
		}
		if a := b.refresh(fromKeeper...); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		off := false
		change := models.ClientPatch{RefreshCookie: &off}
		if _, err := k.store.UpdateClient(t.Context(), "keeper", change, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		a := b.post("/oauth2/token", fromKeeper, signInForm("keeper")...)
		if a.status != 200 || a.str("refresh_token") == "" || a.header.Get("Set-Cookie") != "" ||
			a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("turned off: %d %s %v", a.status, a.body, a.header)
		}
	})
}

// Two tabs wake up at once and renew with the same cookie: both go on, with the one successor, whoever answers last.
func TestRefreshCookie_TwoTabs(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		b := k.tab()
		b.signIn()
		for range 5 {
			answers := make([]*answer, 4)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() { answers[i] = b.refresh(fromKeeper...) })
			}
			all.Wait()
			values := map[string]bool{}
			for _, a := range answers {
				c := b.keep(a)
				if a.status != 200 || c == nil || !k.active(a.str("access_token")) {
					t.Fatalf("%d %s %v", a.status, a.body, a.header)
				}
				values[c.Value] = true
			}
			if len(values) != 1 {
				t.Fatalf("%d successors", len(values))
			}
		}
	})
}

// Every way out deletes the cookie, and a changed password answers a new one.
func TestRefreshCookie_Settings(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		b := k.tab()
		ask := func(method, path, token, body string) *answer {
			headers := append([]string{"Authorization", "Bearer " + token}, fromKeeper...)
			if body != "" {
				headers = append(headers, "Content-Type", "application/json")
			}
			return k.do(k.request(method, path, body, headers...))
		}
		for _, path := range []string{"/settings/devices/current", "/settings/devices"} {
			a := ask("DELETE", path, b.signIn().str("access_token"), "")
			if c := b.keep(a); a.status != 200 || c == nil || c.MaxAge >= 0 {
				t.Errorf("%s: %d %s %v", path, a.status, a.body, a.header)
			}
		}
		in := b.signIn()
		others := ask("DELETE", "/settings/devices?except=current", in.str("access_token"), "")
		if a := others; a.status != 200 || b.keep(a) != nil {
			t.Errorf("the others: %d %s %v", a.status, a.body, a.header)
		}
		was := *b.cookie
		a := ask("PUT", "/settings/password", in.str("access_token"),
			`{"current_password":"`+testPassword+`","new_password":"a better one it is"}`)
		if c := b.keep(a); a.status != 200 || c == nil || c.Value == was || a.json["refresh_token"] != nil ||
			!k.active(a.str("access_token")) || a.header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Fatalf("%d %s %v", a.status, a.body, a.header)
		}
		next := b.refresh(fromKeeper...)
		if b.keep(next); next.status != 200 {
			t.Fatalf("%d %s", next.status, next.body)
		}
		// Log-out by the access token deletes the cookie of the same device.
		out := b.post("/oauth2/revoke", fromKeeper, "client_id", "keeper", "token", next.str("access_token"))
		if c := b.keep(out); out.status != 200 || c == nil || c.MaxAge >= 0 {
			t.Fatalf("%d %s %v", out.status, out.body, out.header)
		}
	})
}
