package server

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"curfew/models"
)

// logoutURL is the address that an app leads to. Pairs are its parameters.
func logoutURL(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return pathLogout + "?" + q.Encode()
}

const rpBack = rpOutURI + "&state=s%26t"

// wantOut checks that an answer leads back to the app, that the browser has lost its cookie, and which tokens still live.
func (k *kit) wantOut(what string, b *browser, a *answer, location string, dead ...string) {
	k.t.Helper()
	if a.status != 303 || a.header.Get("Location") != location {
		k.t.Errorf("%s: %d %q %s, want %q", what, a.status, a.header.Get("Location"), a.body, location)
	}
	if b.cookies[sessionCookie] != "" {
		k.t.Errorf("%s: the cookie is still there", what)
	}
	for _, token := range dead {
		if k.active(token) {
			k.t.Errorf("%s: a token lives: %v", what, claimsOf(k.t, token))
		}
	}
}

// RP-Initiated Logout section 2: the hint of an app of this very session ends the session with all that came through it,
// and the app's own device also where that would outlive the session; and leads back.
func TestLogout_OwnHint(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		for _, scope := range []string{"openid", "openid offline_access"} {
			b, elsewhere := k.browser(), k.browser()
			tokens := b.signedIn("scope", scope)
			sibling := k.exchange("app", b.newCode("app"))
			stays := k.exchange("app", b.newCode("app", "scope", "settings offline_access"))
			other := elsewhere.signedIn()
			a := b.get(logoutURL("id_token_hint", tokens.str("id_token"), "post_logout_redirect_uri", rpOutURI, "state", "s&t"))
			k.wantOut(scope, b, a, rpBack, tokens.str("access_token"), sibling.str("access_token"))
			if !k.active(stays.str("access_token")) || !k.active(other.str("access_token")) {
				t.Errorf("%s: too much has ended", scope)
			}
			k.wantPage("signed out", b.get(plainURL()), 200, "Password")
			// Again, with nothing left: it leads back all the same, RP-Initiated Logout section 2.
			again := b.get(logoutURL("id_token_hint", tokens.str("id_token"), "post_logout_redirect_uri", "https://rp.example/out"))
			k.wantOut("again", b, again, "https://rp.example/out")
		}
		// Without an address the page says it.
		b := k.browser()
		tokens := b.signedIn()
		a := b.get(logoutURL("id_token_hint", tokens.str("id_token"), "client_id", "rp"))
		k.wantPage("no address", a, 200, "You are signed out")
		if k.active(tokens.str("access_token")) || b.cookies[sessionCookie] != "" {
			t.Error("it is not")
		}
		// One that has expired is as good, and so is one of a refresh.
		tokens = b.signedIn()
		a = b.get(logoutURL("id_token_hint", k.expired(tokens), "post_logout_redirect_uri", rpOutURI, "state", "s&t"))
		k.wantOut("expired", b, a, rpBack, tokens.str("access_token"))
		tokens = b.signedIn()
		again := k.form("/oauth2/token", "grant_type", "refresh_token", "client_id", "rp", "client_secret", apiSecret,
			"refresh_token", tokens.str("refresh_token"))
		a = b.do("POST", pathLogout, url.Values{
			"id_token_hint": {again.str("id_token")}, "post_logout_redirect_uri": {rpOutURI}, "state": {"s&t"},
		}.Encode(), "Content-Type", formType, "Origin", "https://rp.example", "Sec-Fetch-Site", "cross-site")
		if location := a.header.Get("Location"); a.status != 303 || !strings.HasPrefix(location, pathLogout+"?") || !k.active(again.str("access_token")) {
			t.Fatalf("POST: %d %s", a.status, location)
		}
		k.wantOut("POST", b, b.get(a.header.Get("Location")), rpBack, again.str("access_token"))
	})
}

// expired is the ID token of an answer as it was two hours ago.
func (k *kit) expired(tokens *answer) string {
	k.t.Helper()
	claims := claimsOf(k.t, tokens.str("id_token"))
	for _, name := range []string{"iat", "exp", "auth_time"} {
		claims[name] = int64(claims[name].(float64)) - 7200
	}
	return k.identity("JWT", claims)
}

// identity is a token that the server's own key for apps has signed.
func (k *kit) identity(typ string, claims map[string]any) string {
	k.t.Helper()
	token, err := k.store.SignIdentity(typ, claims, models.Micros(time.Now().UnixMicro()))
	if err != nil {
		k.t.Fatal(err)
	}
	return token
}

// altered is the ID token of an answer with another claim and the signature that it had.
func (k *kit) altered(tokens *answer, name string, value any) string {
	k.t.Helper()
	parts, claims := strings.Split(tokens.str("id_token"), "."), claimsOf(k.t, tokens.str("id_token"))
	claims[name] = value
	text, err := json.Marshal(claims)
	if err != nil {
		k.t.Fatal(err)
	}
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(text) + "." + parts[2]
}

// Everything else asks, and does nothing until the answer.
func TestLogout_Asks(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		k.user("ben")
		foreign, ben := k.browser().signedIn(), k.browser()
		bens := k.exchange("rp", k.code(ben.signInAs(ben.get(plainURL()), "ben")), "code_verifier", "")
		b := k.browser()
		tokens := b.signedIn()
		own := tokens.str("id_token")
		forged := own[:strings.LastIndex(own, ".")+1] + strings.Repeat("A", 342)
		for name, pairs := range map[string][]string{
			"no hint":                {"client_id", "rp"},
			"another session's hint": {"id_token_hint", foreign.str("id_token")},
			"a forged hint":          {"id_token_hint", forged, "client_id", "rp"},
			"an access token":        {"id_token_hint", tokens.str("access_token"), "client_id", "rp"},
			"a hint cut short":       {"id_token_hint", own[:len(own)-8], "client_id", "rp"},
			"another user's hint":    {"id_token_hint", bens.str("id_token")},
			"another user put in":    {"id_token_hint", k.altered(bens, "sub", k.userID("anna").String()), "client_id", "rp"},
			"another device put in":  {"id_token_hint", k.altered(foreign, "sid", tokens.str("device_id")), "client_id", "rp"},
			"another client put in":  {"id_token_hint", k.altered(tokens, "aud", "app"), "client_id", "rp"},
			"another issuer's": {"id_token_hint", k.identity("JWT", map[string]any{
				"iss": "https://other.example", "sub": k.userID("anna").String(), "aud": "rp", "sid": tokens.str("device_id"),
			}), "client_id", "rp"},
			"a logout token": {"id_token_hint", k.identity("logout+jwt", claimsOf(t, own)), "client_id", "rp"},
			"no algorithm": {"id_token_hint", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) +
				own[strings.Index(own, "."):], "client_id", "rp"},
		} {
			a := b.get(logoutURL(append(pairs, "post_logout_redirect_uri", rpOutURI, "state", "s&t")...))
			k.wantPage(name, a, 200, "The Relying Party")
			if policy := a.header.Get("Content-Security-Policy"); strings.Contains(policy, "form-action") {
				t.Errorf("%s: Chromium would not follow the way back: %s", name, policy)
			}
			if !k.active(tokens.str("access_token")) || !k.active(foreign.str("access_token")) ||
				!k.active(bens.str("access_token")) || b.cookies[sessionCookie] == "" {
				t.Fatalf("%s: it did not ask", name)
			}
		}
		page := b.get(logoutURL("client_id", "rp", "post_logout_redirect_uri", rpOutURI, "state", "s&t"))
		if a := b.submit(page, "choice", "stay"); a.header.Get("Location") != pathAccount || !k.active(tokens.str("access_token")) {
			t.Errorf("stay: %d %v", a.status, a.header)
		}
		_, fields := pageForm(page)
		fields.Set("choice", "out")
		if a := b.do("POST", "/sign-out", fields.Encode(), "Content-Type", formType, "Origin", "https://evil.test", "Sec-Fetch-Site", "cross-site"); a.status != 403 {
			t.Errorf("from another site: %d", a.status)
		}
		fields.Set("logout", strings.TrimPrefix(logoutURL("client_id", "rp", "post_logout_redirect_uri", "https://evil.test/"), pathLogout+"?"))
		k.wantPage("a form that leads elsewhere", b.post("/sign-out", fields), 400, "leads to the wrong place")
		if !k.active(tokens.str("access_token")) {
			t.Error("what was refused has happened")
		}
		k.wantOut("out", b, b.submit(page, "choice", "out"), rpBack, tokens.str("access_token"))
		if !k.active(foreign.str("access_token")) {
			t.Error("the other browser's session has ended")
		}
		// Nobody is signed in here: there is nothing to ask. A hint still ends the device that it names, and no more.
		k.wantOut("nobody", b, b.get(logoutURL("client_id", "rp", "post_logout_redirect_uri", rpOutURI, "state", "s&t")), rpBack)
		a := b.get(logoutURL("id_token_hint", foreign.str("id_token"), "post_logout_redirect_uri", rpOutURI, "state", "s&t"))
		k.wantOut("nobody, a hint", b, a, rpBack, foreign.str("access_token"))
	})
}

// Section 3.1: post_logout_redirect_uri to the letter; what is wrong, unknown or doubled leads nowhere and ends nothing.
func TestLogout_LeadsNowhereElse(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		b := k.browser()
		tokens := b.signedIn()
		hint := tokens.str("id_token")
		for _, uri := range []string{
			"https://rp.example/out?from=curfew&x=1", "https://rp.example/out/", "https://RP.example/out", "http://rp.example/out",
			"https://rp.example/out#x", "https://rp.example/", "https://evil.test/", "https://rp.example/out https://evil.test/",
			rpURI, "javascript:alert(1)", "/account", "//evil.test", "https://rp.example/out\t",
		} {
			for _, proof := range [][]string{{"id_token_hint", hint}, {"client_id", "rp"}} {
				a := b.get(logoutURL(append(proof, "post_logout_redirect_uri", uri)...))
				k.wantPage(uri, a, 400, "leads to the wrong place")
			}
		}
		k.wantPage("of no client", b.get(logoutURL("post_logout_redirect_uri", rpOutURI)), 400, "We do not know this app")
		k.wantPage("of another", b.get(logoutURL("client_id", "app", "post_logout_redirect_uri", rpOutURI)), 400, "leads to the wrong place")
		k.wantPage("two clients", b.get(logoutURL("client_id", "app", "id_token_hint", hint)), 400, "We do not know this app")
		k.wantPage("two clients, expired", b.get(logoutURL("client_id", "app", "id_token_hint", k.expired(tokens))), 400, "We do not know this app")
		k.wantPage("a built-in one", b.get(logoutURL("client_id", "curfew", "post_logout_redirect_uri", rpOutURI)), 400, "We do not know this app")
		k.wantPage("doubled", b.get(logoutURL("id_token_hint", hint)+"&state=a&state=b"), 400, "It says the same thing twice")
		k.wantPage("NUL", b.get(logoutURL("id_token_hint", hint, "state", "\x00")), 400, "We cannot use this link")
		k.wantPage("malformed", b.get(pathLogout+"?state=%zz"), 400, "We cannot use this link")
		k.wantPage("too long", b.get(logoutURL("state", strings.Repeat("s", maxAuthorization))), 400, "We cannot use this link")
		k.wantPage("too long a form", b.do("POST", pathLogout, strings.Repeat("s", 1<<20), "Content-Type", formType), 400, "We cannot use this link")
		if !k.active(tokens.str("access_token")) || b.cookies[sessionCookie] == "" {
			t.Error("what was refused has happened")
		}
		k.wantPage("nothing at all", b.get(pathLogout), 200, "Sign out")
		if a := b.do("POST", pathLogout, "", "Content-Type", formType); a.status != 303 || a.header.Get("Location") != pathLogout {
			t.Errorf("an empty POST: %d %v", a.status, a.header)
		}
		k.sql("ALTER TABLE devices RENAME TO away")
		k.wantPage("a fault", b.get(logoutURL("id_token_hint", hint)), 500, "Something went wrong")
		k.sql("ALTER TABLE away RENAME TO devices")
	})
}

// The device that a hint names may be somebody else's by now, or have come through another session.
func TestLogout_DeviceOfTheHint(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b, other := k.browser(), k.browser()
		tokens := b.signedIn()
		device := uuid.MustParse(tokens.str("device_id"))
		// The same device signs in again through another browser: the hint's session is that one now.
		code := k.code(other.signInAs(other.get(plainURL()), "anna"))
		again := k.exchange("rp", code, "code_verifier", "", "device_id", device.String())
		if again.str("device_id") != device.String() {
			t.Fatalf("%s", again.body)
		}
		k.wantPage("it came through another browser by now", b.get(logoutURL("id_token_hint", tokens.str("id_token"))), 200, "Sign out")
		if !k.active(again.str("access_token")) {
			t.Error("it is out")
		}
		// The store looks again, under its locks.
		b2, err := k.store.AuthenticateBrowser(t.Context(), models.BrowserCookie{ClientID: models.ClientBrowser, Value: b.cookies[sessionCookie]})
		if err != nil || b2 == nil {
			t.Fatal(err)
		}
		_, err = k.store.SignOutApp(t.Context(), models.BrowserCookie{ClientID: models.ClientBrowser, Value: b.cookies[sessionCookie]},
			&models.Device{ID: device, UserID: k.userID("anna"), ClientID: "rp"})
		if err == nil || !k.active(again.str("access_token")) {
			t.Errorf("%v", err)
		}
		k.sql("DELETE FROM devices WHERE client_id = 'rp'")
		k.wantPage("the device is gone", b.get(logoutURL("id_token_hint", tokens.str("id_token"))), 200, "Sign out")
	})
}
