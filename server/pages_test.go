package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"curfew/internal/pages"
	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
)

// Where a browser keeps none of our cookies there are no pages, and the reason is said.
func TestPages_Host(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		ask := func(host, method, path string) *answer {
			r := k.request(method, path, "", "Content-Type", formType)
			r.Host = host
			client := *k.http.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			return k.doWith(&client, r)
		}
		for _, host := range []string{
			"auth.example", "auth.example:8080", "192.0.2.1", "10.0.0.1:80", "localhost.evil.test", "evil-localhost",
			"[2001:db8::1]:1",
		} {
			for _, path := range append(accountGets,
				"/sign-in", "/sign-out", "/account/receipts/1", authorizeURL("app"), pathLogout) {
				k.wantPage(host, ask(host, "GET", path), 403, "This server was reached without TLS, by a name.")
			}
			for _, path := range append(accountGets, "/sign-in", "/sign-out") {
				if a := ask(host, "HEAD", path); a.status != 403 {
					t.Errorf("HEAD %s: %d", path, a.status)
				}
			}
			k.wantPage(host, ask(host, "POST", pathAuthorize), 403, "Open it by https")
			k.wantPage(host, ask(host, "POST", pathLogout), 403, "Open it by https")
			k.wantPage(host, ask(host, "POST", "/sign-in"), 403, "Open it by https")
			k.wantPage(host, ask(host, "POST", "/sign-out"), 403, "Open it by https")
		}
		for _, host := range []string{"localhost", "localhost:1", "127.0.0.1", "127.0.0.2:5", "[::1]:8080", "app.localhost:3"} {
			if a := ask(host, "GET", "/sign-in"); a.status != 200 {
				t.Errorf("%s: %d %s", host, a.status, a.body)
			}
		}
		site, err := web.NewSite(k.srv.pages, "https://auth.example", "CURFEW_ISSUER", pathAccount)
		if err != nil {
			t.Fatal(err)
		}
		*k.srv.site = *site // TLS ends at a proxy
		if a := ask("auth.example", "GET", "/sign-in"); a.status != 200 {
			t.Errorf("behind TLS: %d %s", a.status, a.body)
		}
	})
}

// What the pages load is there, under the address that the page says.
func TestPages_Assets(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		page := string(b.get("/sign-in").body)
		found := 0
		for _, part := range strings.Split(page, `"`) {
			if strings.HasPrefix(part, "/pages/") {
				found++
				for _, method := range []string{"GET", "HEAD"} {
					if a := b.do(method, part, ""); a.status != 200 ||
						!strings.Contains(a.header.Get("Cache-Control"), "immutable") {
						t.Errorf("%s %s: %d %v", method, part, a.status, a.header)
					}
				}
			}
		}
		for _, method := range []string{"GET", "HEAD"} {
			if a := b.do(method, "/pages/style.css", ""); a.status != 404 {
				t.Errorf("%d %v", a.status, a.header)
			}
		}
		if found != 3 {
			t.Errorf("%d files", found)
		}
		in := k.browser()
		in.newCode("app")
		for _, tc := range []struct {
			b      *browser
			path   string
			status int
		}{{b, "/sign-in", 200}, {in, "/sign-in", 303}, {b, "/sign-out", 200}, {b, "/account", 303}, {in, "/account", 200}, {in, "/account/security", 200}} {
			if a := tc.b.do("HEAD", tc.path, ""); a.status != tc.status || len(a.body) != 0 {
				t.Errorf("HEAD %s: %d, want %d", tc.path, a.status, tc.status)
			}
		}
		b.headers = []string{"Accept-Language", "de-CH, en;q=0.5"}
		k.wantPage("German", b.get("/sign-in"), 200, "Passwort")
	})
}

// Without pages there is nowhere to get a code, and the metadata say so.
func TestPages_Off(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		m := k.do(k.request("GET", "/.well-known/oauth-authorization-server", ""))
		if m.str("authorization_endpoint") != k.url+pathAuthorize ||
			m.json["authorization_response_iss_parameter_supported"] != true ||
			!contains(m, "response_types_supported", "code") || !contains(m, "code_challenge_methods_supported", "S256") ||
			!contains(m, "grant_types_supported", "authorization_code") ||
			contains(m, "code_challenge_methods_supported", "plain") {
			t.Errorf("%s", m.body)
		}
		k.off()
		for _, path := range []string{"/sign-in", "/sign-out", "/account", "/account/x", "/pages/x", authorizeURL("app")} {
			if a := k.doWith(http.DefaultClient, k.request("GET", path, "")); a.status != 404 { // openapi.yaml has them
				t.Errorf("%s: %d", path, a.status)
			}
		}
		m = k.do(k.request("GET", "/.well-known/oauth-authorization-server", ""))
		if m.str("authorization_endpoint") != "" || contains(m, "response_types_supported", "code") ||
			contains(
				m,
				"grant_types_supported",
				"authorization_code",
			) || contains(m, "code_challenge_methods_supported", "S256") {
			t.Errorf("%s", m.body)
		}
	})
}

func contains(a *answer, list, value string) bool {
	values, _ := a.json[list].([]any)
	for _, v := range values {
		if v == value {
			return true
		}
	}
	return false
}

// A fault of ours goes to the page, or to a client that could be read; nothing is accepted.
func TestPages_DatabaseAway(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.newCode("app")
		enter, out := b.get(authorizeURL("app", "prompt", "login")), b.get("/sign-out")
		own := b.clone()
		delete(own.cookies, sessionCookie)
		ownPage := own.get("/sign-in")
		if err := k.store.Close(); err != nil {
			t.Fatal(err)
		}
		for what, a := range map[string]*answer{
			"authorize": b.get(authorizeURL("app")), "sign-in": b.get("/sign-in"), "sign-out": b.get("/sign-out"),
			"account": b.get("/account"), "logout": b.get(pathLogout + "?client_id=app"),
			"enter": b.signInAs(enter, "anna"), "enter own": own.signInAs(ownPage, "anna"), "out": b.submit(out, "choice",
				"out"),
		} {
			k.wantPage(what, a, 503, "We cannot reach our database")
			if a.header.Get("Retry-After") == "" || len(a.header.Values("Set-Cookie")) > 1 {
				t.Errorf("%s: %v", what, a.header)
			}
		}
		for _, path := range []string{"/sign-in", "/sign-out", "/account"} {
			if a := b.do("HEAD", path, ""); a.status != 503 {
				t.Errorf("HEAD %s: %d", path, a.status)
			}
		}
	})
}

// Invariant 5 for the pages: no password, cookie, code or query is in any log line, whatever goes wrong.
func TestPages_LogHasNoSecret(t *testing.T) {
	testdb.Each(t, func(t *testing.T, dbURL string) {
		log := &lockedBuffer{}
		logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		k := newKit(t, dbURL, func(c *models.Config) { c.Logger = logger })
		k.apps()
		shell, err := pages.New(pages.Config{})
		if err != nil {
			t.Fatal(err)
		}
		srv, err := New(Config{
			Store: k.store, Metrics: web.NewMetrics(k.store), Logger: logger, Issuer: k.url, Pages: shell,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		loud := httptest.NewServer(srv.Handler())
		t.Cleanup(loud.Close)
		k.url = loud.URL

		b := k.browser()
		page := b.get(authorizeURL("app", "nonce", "in-the-query"))
		const mistyped = "correct horse battery?"
		b.submit(page, "username", "anna", "password", mistyped)
		code := k.code(b.signInAs(page, "anna"))
		g := k.exchange("app", code)
		b.get("/sign-out?client_id=in-the-query")
		b.get(authorizeURL("app", "scope", "in-the-query"))
		k.exchange("app", code) // a replay
		secrets := []string{
			testPassword, mistyped, code, testVerifier, b.cookies[sessionCookie], b.cookies[markerCookie], "in-the-query",
			g.str("access_token"), "curfew_bs_", "curfew_ac_", "eyJ",
		}
		k.store.DB().Close()
		if a := b.signInAs(page, "anna"); a.status != 503 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		text := log.String()
		if !strings.Contains(text, `"request failed"`) || !strings.Contains(text, `"route":"/sign-in"`) {
			t.Fatalf("the log does not tell what happened:\n%s", text)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in the log", secret)
			}
		}
	})
}

// No page stands in a frame, and none sends a browser on with the password (RFC 9700 sections 4.12 and 4.16).
func TestPages_Headers(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		signIn := b.get(authorizeURL("app"))
		back := b.signInAs(signIn, "anna")
		for name, a := range map[string]*answer{
			"sign-in": signIn, "code": back, "continue": b.get(authorizeURL("cli")), "sign-out": b.get("/sign-out"),
			"account": b.get("/account"), "error": b.get(pathAuthorize), "own sign-in": k.browser().get("/sign-in"),
			"refused": b.get(authorizeURL("app", "scope", "x")),
		} {
			csp := a.header.Get("Content-Security-Policy")
			if a.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(csp, "frame-ancestors 'none'") ||
				!strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") ||
				a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v", name, a.header)
			}
			// Chromium applies form-action to the redirect after the form.
			leadsBack := name == "sign-in" || name == "continue"
			if leadsBack == strings.Contains(csp, "form-action") && a.status == http.StatusOK && name != "own sign-in" &&
				name != "sign-out" && name != "account" {
				t.Errorf("%s: %s", name, csp)
			}
		}
		if back.status != http.StatusSeeOther || len(back.body) != 0 {
			t.Errorf("%d %q", back.status, back.body)
		}
		q, _ := url.Parse(back.header.Get("Location"))
		if q.Query().Get("iss") != k.url || q.Query().Get("state") != "the state" { // mix-up, RFC 9207
			t.Errorf("%v", back.header)
		}
	})
}
