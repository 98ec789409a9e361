package server

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"curfew/models"
)

// RFC 9700 section 4.1.3, RFC 6749 section 3.1.2: a redirect URI is one of those registered, to the letter. Anything
// else is a page, and leads nowhere.
func TestAuthorize_RedirectURI(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		k.code(b.signInAs(b.get(authorizeURL("app")), "anna")) // who is signed in is not led astray either
		for _, uri := range []string{
			"", "/callback", "//app.example/callback", "https://app.example", "https://app.example/",
			"https://app.example/callback/", "https://app.example/callback/more", "https://app.example/callbackmore",
			"https://app.example/call", "https://app.example/Callback", "https://APP.example/callback",
			"HTTPS://app.example/callback", "http://app.example/callback", "https://app.example:443/callback",
			"https://app.example:8443/callback", "https://user@app.example/callback",
			"https://app.example@evil.test/callback",
			"https://app.example/callback#", "https://app.example/callback#x", "https://app.example/callback?",
			"https://app.example/callback?x=1", "https://app.example/%63allback", "https://app.example/x/../callback",
			"https://app.example/%2e%2e/callback", "https://app.example/.%2fcallback", "https://app.example//callback",
			"https://app.example./callback", "https://app.example.evil.test/callback",
			"https://evil.test/https://app.example/callback",
			"https://evilapp.example/callback", "https://app.example\\@evil.test/callback", "https://app.example/callback\t",
			" https://app.example/callback", "https://app.example/callback ", "https://app.example/callback\r\nX: y",
			"https://аpp.example/callback", "https://xn--pp-8cd.example/callback",
			"https://app.example/callback,https://evil.test",
			"https://app.example/callback https://evil.test", "javascript:alert(1)", "javascript://app.example/callback",
			"data:text/html,x", "vbscript:x", "file:///etc/passwd", "about:blank", "blob:https://app.example/x",
			"app.example:/callback", "urn:ietf:wg:oauth:2.0:oob", "http://127.0.0.1/callback", "http://localhost/callback",
			k.url + "/callback", "https://app.example/callback\x00", "https://app.example/callback\xff",
		} {
			k.wantPage("app "+uri, b.get(authorizeURL("app", "redirect_uri", uri)), 400, "This link leads to the wrong place")
		}
		for _, uri := range []string{
			"http://127.0.0.1:8080/callback/", "http://127.0.0.1:8080/", "http://127.0.0.1:8080",
			"http://127.0.0.1:/callback",
			"http://127.0.0.1:0/callback", "http://127.0.0.1:65536/callback", "http://127.0.0.1:080/callback",
			"http://127.0.0.1:-1/callback", "http://127.0.0.1:99999999999/callback", "http://127.0.0.1:80@evil.test/callback",
			"http://127.0.0.1@evil.test/callback", "http://u@127.0.0.1:1/callback", "http://127.0.0.1.evil.test:1/callback",
			"http://127.0.0.1:1.evil.test/callback", "http://127.0.0.2:1/callback", "http://127.1:1/callback",
			"http://2130706433/callback", "http://0x7f000001/callback", "https://127.0.0.1:1/callback",
			"http://localhost:1/callback",
			"http://127.0.0.1:1/callback?x", "http://127.0.0.1:1/callback#x", "http://127.0.0.1:1\\callback",
			"http://127.0.0.1:1/%63allback", "http://[::1]:7777/cb", "http://[::1]:7777/cb?x=2",
			"http://[0:0:0:0:0:0:0:1]:1/cb?x=1",
			"http://[::ffff:127.0.0.1]/callback", "http://[::1%25lo]:1/cb?x=1", "http://LOCALHOST:1", "http://localhost:1/",
			"http://localhost.evil.test", "http://localhost:1?x", "com.example.app:/cb/", "com.example.app://cb",
			"com.example.app:cb",
			"COM.example.app:/cb", "https://cli.example:1", "https://cli.example/",
		} {
			k.wantPage("cli "+uri, b.get(authorizeURL("cli", "redirect_uri", uri)), 400, "This link leads to the wrong place")
		}
		// RFC 8252 section 7.3: any port of a loopback one.
		for _, uri := range []string{
			cliURI, "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]/cb?x=1",
			"http://[::1]:8/cb?x=1",
			"http://localhost", "http://localhost:51004", "com.example.app:/cb",
		} {
			a := b.submit(b.get(authorizeURL("cli", "redirect_uri", uri)), "choice", "continue")
			if got := a.header.Get("Location"); a.status != 303 || !strings.HasPrefix(got, uri) ||
				!strings.Contains(got, "code=") {
				t.Errorf("%s: %d %q", uri, a.status, got)
			}
		}
		two := authorizeURL("app") + "&redirect_uri=" + url.QueryEscape("https://evil.test/")
		k.wantPage("two redirect URIs", b.get(two), 400, "It says the same thing twice")
		same := authorizeURL("app") + "&redirect_uri=" + url.QueryEscape(appURI)
		k.wantPage("the same one twice", b.get(same), 400, "It says the same thing twice")
	})
}

// A client that is not known gets no browser sent anywhere.
func TestAuthorize_Client(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		for _, id := range []string{
			"", "nobody", "App", "app ", "curfew", "curfew-console", "app\x00", "\xff", strings.Repeat("a", 5000),
		} {
			k.wantPage("client "+id, b.get(authorizeURL("app", "client_id", id)), 400, "We do not know this app")
		}
		k.wantPage("two clients", b.get(authorizeURL("app")+"&client_id=evil"), 400, "It says the same thing twice")
		k.wantPage(
			"one without redirect URIs",
			b.get(authorizeURL("app", "client_id", "web")),
			400,
			"leads to the wrong place",
		)
		k.wantPage("nothing at all", b.get(pathAuthorize), 400, "We do not know this app")
		k.wantPage(
			"too long",
			b.get(authorizeURL("app", "state", strings.Repeat("s", maxAuthorization))),
			400,
			"We cannot use this link",
		)
		hostile := b.get(authorizeURL("app", "client_id", `"><script>alert(1)</script>`))
		if strings.Contains(string(hostile.body), "<script>alert") {
			t.Errorf("markup of the request in the page: %s", hostile.body)
		}
	})
}

// RFC 6749 section 4.1.2.1, RFC 9207: everything else goes back to the client, with its state and with iss.
func TestAuthorize_ErrorsGoBack(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.set("web", "redirect_uris", appURI) // which has not the grant
		signedIn := k.browser()
		signedIn.newCode("app")
		challenge := challengeOf(testVerifier)
		for _, b := range []*browser{k.browser(), signedIn} {
			for _, tc := range []struct{ name, client, query, code string }{
				{"no response_type", "app", authorizeURL("app", "response_type", ""), "invalid_request"},
				{"token", "app", authorizeURL("app", "response_type", "token"), "unsupported_response_type"},
				{"hybrid", "app", authorizeURL("app", "response_type", "code id_token"), "unsupported_response_type"},
				{"two response types", "app", authorizeURL("app") + "&response_type=code", "invalid_request"},
				{"fragment", "app", authorizeURL("app", "response_mode", "fragment"), "invalid_request"},
				{"form_post", "app", authorizeURL("app", "response_mode", "form_post"), "invalid_request"},
				{"no grant", "app", authorizeURL("app", "client_id", "web"), "unauthorized_client"},
				{"no challenge", "app", authorizeURL("app", "code_challenge", ""), "invalid_request"},
				{"no PKCE", "app", authorizeURL("app", "code_challenge", "", "code_challenge_method", ""), "invalid_request"},
				{"no method", "app", authorizeURL("app", "code_challenge_method", ""), "invalid_request"},
				{"plain", "app", authorizeURL("app", "code_challenge_method", "plain"), "invalid_request"},
				{"s256", "app", authorizeURL("app", "code_challenge_method", "s256"), "invalid_request"},
				{"short challenge", "app", authorizeURL("app", "code_challenge", challenge[1:]), "invalid_request"},
				{"long challenge", "app", authorizeURL("app", "code_challenge", challenge+"A"), "invalid_request"},
				{"padded challenge", "app", authorizeURL("app", "code_challenge", challenge+"="), "invalid_request"},
				{"base64 challenge", "app", authorizeURL("app", "code_challenge", "+"+challenge[1:]), "invalid_request"},
				{"two challenges", "app", authorizeURL("app") + "&code_challenge=" + challenge, "invalid_request"},
				{"a challenge that is none, optional", "shop", authorizeURL("shop", "code_challenge", "x"), "invalid_request"},
				{"plain, optional", "shop", authorizeURL("shop", "code_challenge_method", "plain"), "invalid_request"},
				{"a method alone, optional", "shop", authorizeURL("shop", "code_challenge", ""), "invalid_request"},
				{"scope", "app", authorizeURL("app", "scope", "settings revocations"), "invalid_scope"},
				{"malformed scope", "app", authorizeURL("app", "scope", "settings  profile"), "invalid_scope"},
				{"two scopes", "app", authorizeURL("app", "scope", "settings") + "&scope=profile", "invalid_request"},
				{"resource", "app", authorizeURL("app", "resource", "https://evil.test"), "invalid_target"},
				{
					"second resource", "app", authorizeURL("app", "resource", "https://orders.example") + "&resource=x",
					"invalid_target",
				},
				{"prompt", "app", authorizeURL("app", "prompt", "sing"), "invalid_request"},
				{"none and login", "app", authorizeURL("app", "prompt", "none login"), "invalid_request"},
				{"max_age", "app", authorizeURL("app", "max_age", "-1"), "invalid_request"},
				{"max_age", "app", authorizeURL("app", "max_age", "1h"), "invalid_request"},
				{"max_age", "app", authorizeURL("app", "max_age", "99999999999999999999"), "invalid_request"},
				{"nonce", "app", authorizeURL("app", "nonce", strings.Repeat("n", maxNonce+1)), "invalid_request"},
				{"request", "app", authorizeURL("app", "request", "eyJ"), "request_not_supported"},
				{"request_uri", "app", authorizeURL("app", "request_uri", "https://x.test"), "request_uri_not_supported"},
				{"registration", "app", authorizeURL("app", "registration", "{}"), "registration_not_supported"},
				{"malformed", "app", authorizeURL("app") + "&x=%zz", "invalid_request"},
				{"NUL", "app", authorizeURL("app", "login_hint", "a\x00"), "invalid_request"},
				{"not UTF-8", "app", authorizeURL("app", "nonce", "\xff"), "invalid_request"},
			} {
				uri := map[string]string{"app": appURI + "?", "shop": shopURI + "&"}[tc.client]
				k.wantBack(tc.name, b.get(tc.query), uri, tc.code)
			}
			a := b.get(authorizeURL("app") + "&state=another")
			if u, _ := url.Parse(a.header.Get("Location")); u.Query().Get("error") != "invalid_request" ||
				u.Query().Has("state") {
				t.Errorf("two states: %d %v", a.status, a.header)
			}
		}
	})
}

// RFC 6749 section 3.1: a POST is the GET with what was posted, from any site, and opens nothing by itself.
func TestAuthorize_Post(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.newCode("app")
		query := strings.TrimPrefix(authorizeURL("app"), pathAuthorize+"?")
		elsewhere := []string{"Content-Type", formType, "Origin", "https://app.example", "Sec-Fetch-Site", "cross-site"}
		a := b.do("POST", pathAuthorize, query, elsewhere...)
		location := a.header.Get("Location")
		if a.status != 303 || !strings.HasPrefix(location, pathAuthorize+"?") {
			t.Fatalf("%d %v", a.status, a.header)
		}
		k.code(b.get(location))
		a = b.do("POST", pathAuthorize, query+"&redirect_uri=https://evil.test", elsewhere...)
		k.wantPage("two redirect URIs", b.get(a.header.Get("Location")), 400, "It says the same thing twice")
		k.wantPage(
			"in the address",
			b.do("POST", pathAuthorize+"?state=x", query, elsewhere...),
			400,
			"We cannot use this link",
		)
		k.wantPage("nothing", b.do("POST", pathAuthorize, "", elsewhere...), 400, "We cannot use this link")
		k.wantPage(
			"too long",
			b.do("POST", pathAuthorize, strings.Repeat("x", 1<<20), elsewhere...),
			400,
			"We cannot use this link",
		)
		k.wantPage("malformed", b.do("POST", pathAuthorize, "a=%zz", elsewhere...), 400, "We cannot use this link")
	})
}

// prompt and max_age, OpenID Connect Core section 3.1.2.1. Having just signed in satisfies both.
func TestAuthorize_Prompt(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		k.wantBack("none, nobody signed in", b.get(authorizeURL("app", "prompt", "none")), appURI, "login_required")
		k.wantBack("none, nobody signed in", b.get(authorizeURL("cli", "prompt", "none")), cliURI, "login_required")
		page := b.get(authorizeURL("app", "login_hint", `an"na`))
		if !strings.Contains(string(page.body), `value="an&#34;na"`) {
			t.Errorf("login_hint is not in the page: %s", page.body)
		}
		k.code(b.signInAs(page, "anna"))
		k.code(b.get(authorizeURL("app")))
		k.code(b.get(authorizeURL("app", "prompt", "none")))
		k.code(b.get(authorizeURL("app", "max_age", "3600")))
		k.wantBack("an app on the device", b.get(authorizeURL("cli", "prompt", "none")), cliURI, "interaction_required")
		k.wantBack(
			"none and at once",
			b.get(authorizeURL("app", "prompt", "none", "max_age", "0")),
			appURI,
			"login_required",
		)
		for _, pairs := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"prompt", "login", "max_age", "0"}} {
			page := b.get(authorizeURL("app", pairs...))
			k.wantPage(strings.Join(pairs, " "), page, 200, "Sign in to The App")
			k.code(b.signInAs(page, "anna"))
		}
		for _, prompt := range []string{"select_account", "consent"} {
			page := b.get(authorizeURL("app", "prompt", prompt))
			k.wantPage(prompt, page, 200, "Continue as anna")
			k.code(b.submit(page, "choice", "continue"))
		}
		// The time of the password counts, which nothing but a password moves.
		k.sql("UPDATE devices SET auth_at = auth_at - 100000000 WHERE client_id = 'curfew'")
		k.code(b.get(authorizeURL("app", "max_age", "200")))
		k.wantBack("too long ago", b.get(authorizeURL("app", "max_age", "99", "prompt", "none")), appURI, "login_required")
		page = b.get(authorizeURL("app", "max_age", "99"))
		k.wantPage("too long ago", page, 200, "Sign in to The App")
		k.code(b.signInAs(page, "anna"))
		k.code(b.get(authorizeURL("app", "max_age", "99")))
		// A form that says that it was asked does not do instead of the password.
		_, fields := pageForm(b.get(authorizeURL("app", "prompt", "login")))
		_, shown := pageForm(b.get(authorizeURL("cli")))
		fields.Set("choice", "continue")
		fields.Set("user_id", shown.Get("user_id"))
		k.wantPage("continue in the place of a password", b.post("/sign-in", fields), 200, "Password")
	})
}

// RFC 8252 section 8.6: any program on the device can open a browser, so an app there always asks.
func TestAuthorize_Continue(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b := k.browser()
		k.code(b.signInAs(b.get(authorizeURL("app")), "anna"))
		for range 2 {
			page := b.get(authorizeURL("cli"))
			k.wantPage("an app on the device", page, 200, "Continue as anna")
			k.wantPage("an app on the device", page, 200, "Takes you to an app on this device")
			k.code(b.submit(page, "choice", "continue"))
		}
		page := b.get(authorizeURL("cli"))
		k.wantPage("somebody else", b.submit(page, "choice", "other"), 200, "Password")

		// Somebody else signs in in another tab: what was shown is not what would happen.
		k.code(b.signInAs(b.get(authorizeURL("app", "prompt", "login")), "ben"))
		stale := b.submit(page, "choice", "continue")
		k.wantPage("a stale form", stale, 409, "Continue as ben")
		k.code(b.submit(stale, "choice", "continue"))
		page = b.get(authorizeURL("cli"))
		b.submit(b.get("/sign-out"), "choice", "out")
		k.wantPage("signed out in another tab", b.submit(page, "choice", "continue"), 200, "Password")
		k.wantPage("nobody signed in", k.browser().submit(page, "choice", "continue"), 200, "Password")
	})
}

// One session makes no codes without end. The app is told, and whoever comes by the sign-in page too.
func TestAuthorize_TooManyCodes(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b := k.browser()
		k.code(b.signInAs(b.get(authorizeURL("app")), "anna"))
		k.code(b.get(authorizeURL("app")))
		for range 2 {
			k.wantBack("the third", b.get(authorizeURL("app")), appURI, "temporarily_unavailable")
		}
		page := b.get(authorizeURL("app", "prompt", "login"))
		k.wantBack("with the password", b.signInAs(page, "anna"), appURI, "temporarily_unavailable")
		k.code(b.signInAs(page, "ben"))
	}, func(c *models.Config) { c.Limits.Codes, c.Limits.Window = 2, 24*time.Hour })
}

// RFC 6749 section 4.1.2.1: a fault of ours, once it is known whom the request is from.
func TestAuthorize_FaultGoesBack(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.newCode("app")
		k.sql("ALTER TABLE codes RENAME TO away")
		k.wantBack("no code can be made", b.get(authorizeURL("app")), appURI, "server_error")
		k.sql("ALTER TABLE devices RENAME TO devices_away")
		k.wantBack("the session cannot be looked at", b.get(authorizeURL("app")), appURI, "server_error")
		k.wantPage("our own page", b.get("/account"), 500, "Something went wrong here")
	})
}
