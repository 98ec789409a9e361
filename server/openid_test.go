package server

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"curfew/models"
)

// The rows of the basic plan of OpenID's conformance suite that a server can be asked without it, named alike. They are
// ours: nobody has certified anything.
func TestOpenID_BasicPlan(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		for _, row := range []struct {
			name string
			test func(t *testing.T, k *kit)
		}{
			{"oidcc-server", rowServer(basicAuth)},
			{"oidcc-response-type-missing", rowResponseTypeMissing},
			{"oidcc-idtoken-signature", rowServer(basicAuth)},
			{"oidcc-userinfo-get", rowUserInfo("GET")},
			{"oidcc-userinfo-post-header", rowUserInfo("POST")},
			{"oidcc-ensure-request-without-nonce-succeeds-for-code-flow", rowSucceeds("nonce", "")},
			{"oidcc-scope-profile", rowScope("openid profile", "preferred_username", "name")},
			{"oidcc-scope-email", rowScope("openid email", "email", "email_verified")},
			{"oidcc-scope-address", rowScope("openid address")},
			{"oidcc-scope-phone", rowScope("openid phone")},
			{"oidcc-scope-all", rowScope("openid profile email address phone", "preferred_username", "name", "email", "email_verified")},
			{"oidcc-ensure-other-scope-order-succeeds", rowScope("email openid", "email", "email_verified")},
			{"oidcc-display-page", rowSucceeds("display", "page")},
			{"oidcc-display-popup", rowSucceeds("display", "popup")},
			{"oidcc-prompt-login", rowPromptLogin},
			{"oidcc-prompt-none-not-logged-in", rowNotLoggedIn},
			{"oidcc-prompt-none-logged-in", rowPromptNone("prompt", "none")},
			{"oidcc-max-age-1", rowMaxAge1},
			{"oidcc-max-age-10000", rowPromptNone("max_age", "10000", "prompt", "none")},
			{"oidcc-ensure-request-with-unknown-parameter-succeeds", rowUnknownParameter},
			{"oidcc-id-token-hint", rowIDTokenHint},
			{"oidcc-login-hint", rowLoginHint},
			{"oidcc-ui-locales", rowSucceeds("ui_locales", "se en")},
			{"oidcc-claims-locales", rowSucceeds("claims_locales", "se")},
			{"oidcc-ensure-request-with-acr-values-succeeds", rowSucceeds("acr_values", "1 2")},
			{"oidcc-codereuse", rowCodeReuse(0)},
			{"oidcc-codereuse-30seconds", rowCodeReuse(30)},
			{"oidcc-ensure-registered-redirect-uri", rowRegisteredRedirectURI},
			{"oidcc-ensure-post-request-succeeds", rowPost},
			{"oidcc-server-client-secret-post", rowServer(false)},
			{
				"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
				rowRefused("request_uri", "https://rp.example/r", "request_uri_not_supported"),
			},
			{"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", rowRefused("request", "eyJ", "request_not_supported")},
			{"oidcc-ensure-request-object-with-redirect-uri", rowRefused("request", "eyJ", "request_not_supported")},
			{"oidcc-claims-essential", rowSucceeds("claims", `{"userinfo":{"name":{"essential":true}}}`)},
			{"oidcc-refresh-token", rowRefreshToken},
			{"oidcc-ensure-request-with-valid-pkce-succeeds", rowPKCE},
		} {
			// The database is one for all rows, the browser a new one each.
			t.Run(row.name, func(t *testing.T) {
				here := *k
				here.t = t
				row.test(t, &here)
			})
		}
	})
}

const basicAuth = true // of the client at the token endpoint; else its secret is in the form

// OpenID Connect Core sections 2, 3.1.3.3, 3.1.3.6: what the ID token says.
func rowServer(basic bool) func(*testing.T, *kit) {
	return func(t *testing.T, k *kit) {
		before := time.Now().Unix() - 1
		b := k.browser()
		a := b.signInAs(b.get(plainURL("state", "s t/ü&")), "anna")
		if to, err := url.Parse(a.header.Get("Location")); err != nil || to.Query().Get("state") != "s t/ü&" ||
			to.Query().Get("iss") != k.url {
			t.Errorf("%v", a.header)
		}
		tokens := k.exchangeAs(basic, k.code(a))
		header, claims := k.idToken(tokens)
		if header["typ"] != "JWT" || header["alg"] != "RS256" || len(header) != 3 {
			t.Errorf("header %v", header)
		}
		if tokens.str("token_type") != "Bearer" || tokens.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %v", tokens.body, tokens.header)
		}
		access := claimsOf(t, tokens.str("access_token"))
		for name, want := range map[string]any{
			"iss": k.url, "sub": k.userID("anna").String(), "aud": "rp", "nonce": "n-0S6_WzA2Mj", "sid": tokens.str("device_id"),
			"at_hash": halfHash(tokens.str("access_token")), "auth_time": access["auth_time"], "iat": access["iat"], "exp": access["exp"],
		} {
			if claims[name] != want {
				t.Errorf("%s: %v, want %v", name, claims[name], want)
			}
		}
		if len(claims) != 9 || claims["auth_time"].(float64) < float64(before) {
			t.Errorf("%v", claims)
		}
	}
}

func rowResponseTypeMissing(t *testing.T, k *kit) {
	k.wantBack("no response_type", k.browser().get(plainURL("response_type", "")), rpURI, "invalid_request")
}

func rowUserInfo(method string) func(*testing.T, *kit) {
	return func(t *testing.T, k *kit) {
		tokens := k.browser().signedIn("scope", "openid profile email")
		a := k.bearer(method, pathUserInfo, tokens.str("access_token"), "")
		if a.status != 200 || a.str("sub") != k.userID("anna").String() || a.str("name") != "Anna Archer" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

func rowSucceeds(name, value string) func(*testing.T, *kit) {
	return func(t *testing.T, k *kit) {
		_, claims := k.idToken(k.browser().signedIn(name, value))
		if _, there := claims["nonce"]; there != (name != "nonce") {
			t.Errorf("%v", claims)
		}
	}
}

func rowUnknownParameter(t *testing.T, k *kit) {
	client := k.http.Client()
	checked := client.Transport
	client.Transport = nil // openapi.yaml does not know it either
	defer func() { client.Transport = checked }()
	rowSucceeds("extra", "foobar")(t, k)
}

// Section 5.4: a scope opens its claims at the userinfo endpoint, and no others.
func rowScope(scope string, members ...string) func(*testing.T, *kit) {
	return func(t *testing.T, k *kit) {
		tokens := k.browser().signedIn("scope", scope)
		a := k.userInfo(tokens.str("access_token"))
		if tokens.str("scope") != scope || a.status != 200 || len(a.json) != len(members)+1 {
			t.Errorf("%s: %s", tokens.str("scope"), a.body)
		}
		for _, m := range append(members, "sub") {
			if _, ok := a.json[m]; !ok {
				t.Errorf("%s is missing: %s", m, a.body)
			}
		}
	}
}

func rowPromptLogin(t *testing.T, k *kit) {
	b := k.browser()
	_, first := k.idToken(b.signedIn())
	k.sql("UPDATE devices SET auth_at = auth_at - 100000000 WHERE client_id = 'curfew'")
	_, same := k.idToken(b.signedIn())
	page := b.get(plainURL("prompt", "login"))
	k.wantPage("prompt=login", page, 200, "Password")
	_, again := k.idToken(k.exchange("rp", k.code(b.signInAs(page, "anna")), "code_verifier", ""))
	if same["auth_time"].(float64) != first["auth_time"].(float64)-100 || again["auth_time"].(float64) < first["auth_time"].(float64) {
		t.Errorf("auth_time %v, %v, %v", first["auth_time"], same["auth_time"], again["auth_time"])
	}
}

func rowNotLoggedIn(t *testing.T, k *kit) {
	k.wantBack("nobody", k.browser().get(plainURL("prompt", "none")), rpURI, "login_required")
}

func rowPromptNone(pairs ...string) func(*testing.T, *kit) {
	return func(t *testing.T, k *kit) {
		b := k.browser()
		_, first := k.idToken(b.signedIn())
		a := b.get(plainURL(pairs...))
		_, second := k.idToken(k.exchange("rp", k.code(a), "code_verifier", ""))
		if first["sub"] != second["sub"] || first["auth_time"] != second["auth_time"] {
			t.Errorf("%v, %v", first, second)
		}
	}
}

func rowMaxAge1(t *testing.T, k *kit) {
	b := k.browser()
	b.signedIn()
	k.sql("UPDATE devices SET auth_at = auth_at - 100000000 WHERE client_id = 'curfew'")
	page := b.get(plainURL("max_age", "1"))
	k.wantPage("max_age=1", page, 200, "Password")
	_, claims := k.idToken(k.exchange("rp", k.code(b.signInAs(page, "anna")), "code_verifier", ""))
	if time.Now().Unix()-int64(claims["auth_time"].(float64)) > 60 {
		t.Errorf("%v", claims)
	}
}

// Section 3.1.2.1: the hint says who it must be.
func rowIDTokenHint(t *testing.T, k *kit) {
	b, other := k.browser(), k.browser()
	if _, err := k.store.FindUser(t.Context(), "ben"); err != nil {
		k.user("ben")
	}
	hint := b.signedIn().str("id_token")
	k.code(b.get(plainURL("prompt", "none", "id_token_hint", hint)))
	k.code(b.get(plainURL("prompt", "none", "id_token_hint", k.expired(b.signedIn()))))
	k.code(other.signInAs(other.get(plainURL()), "ben"))
	k.wantBack("somebody else", other.get(plainURL("prompt", "none", "id_token_hint", hint)), rpURI, "login_required")
	page := other.get(plainURL("id_token_hint", hint))
	k.wantPage("somebody else is asked", page, 200, "Password")
	k.wantBack("and is somebody else again", other.signInAs(page, "ben"), rpURI, "login_required")
	k.code(other.signInAs(page, "anna"))
	k.wantBack("no hint", b.get(plainURL("id_token_hint", hint[:len(hint)-4])), rpURI, "invalid_request")
}

func rowLoginHint(t *testing.T, k *kit) {
	page := k.browser().get(plainURL("login_hint", "anna"))
	if !strings.Contains(string(page.body), `value="anna"`) {
		t.Errorf("%s", page.body)
	}
}

// RFC 6749 section 4.1.2: a second use is refused and takes the first tokens back, also when the code is long over.
func rowCodeReuse(after int) func(*testing.T, *kit) {
	return func(t *testing.T, k *kit) {
		b := k.browser()
		code := k.code(b.signInAs(b.get(plainURL()), "anna"))
		first := k.exchange("rp", code, "code_verifier", "")
		k.sql(fmt.Sprintf("UPDATE codes SET expires_at = expires_at - %d", 3*after*1_000_000))
		if second := k.exchange("rp", code, "code_verifier", ""); second.status != 400 || second.str("error") != "invalid_grant" {
			t.Errorf("%d %s", second.status, second.body)
		}
		if a := k.userInfo(first.str("access_token")); a.status != 401 {
			t.Errorf("the first tokens live: %d %s", a.status, a.body)
		}
	}
}

func rowRegisteredRedirectURI(t *testing.T, k *kit) {
	k.wantPage("another", k.browser().get(plainURL("redirect_uri", rpURI+"/x")), 400, "This link leads to the wrong place")
}

func rowPost(t *testing.T, k *kit) {
	b := k.browser()
	_, query, _ := strings.Cut(plainURL(), "?")
	a := b.do("POST", pathAuthorize, query, "Content-Type", formType, "Origin", "https://rp.example", "Sec-Fetch-Site", "cross-site")
	k.code(b.signInAs(b.get(a.header.Get("Location")), "anna"))
}

func rowRefused(name, value, code string) func(*testing.T, *kit) {
	return func(t *testing.T, k *kit) { k.wantBack(name, k.browser().get(plainURL(name, value)), rpURI, code) }
}

// Section 12.2: the same iss, sub, aud, auth_time, another iat, no nonce; and sid is still the device.
func rowRefreshToken(t *testing.T, k *kit) {
	tokens := k.browser().signedIn("scope", "openid profile")
	_, first := k.idToken(tokens)
	k.sql("UPDATE devices SET last_seen_at = last_seen_at")
	again := k.form("/oauth2/token", "grant_type", "refresh_token", "client_id", "rp", "client_secret", apiSecret,
		"refresh_token", tokens.str("refresh_token"))
	_, second := k.idToken(again)
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "sid"} {
		if first[name] != second[name] {
			t.Errorf("%s: %v, was %v", name, second[name], first[name])
		}
	}
	if _, there := second["nonce"]; there || second["at_hash"] != halfHash(again.str("access_token")) {
		t.Errorf("%v", second)
	}
	narrow := k.form("/oauth2/token", "grant_type", "refresh_token", "client_id", "rp", "client_secret", apiSecret,
		"refresh_token", again.str("refresh_token"), "scope", "profile")
	if narrow.status != 200 || narrow.str("id_token") != "" {
		t.Errorf("without openid: %d %s", narrow.status, narrow.body)
	}
}

func rowPKCE(t *testing.T, k *kit) {
	b := k.browser()
	code := k.code(b.signInAs(b.get(authorizeURL("rp", "scope", "openid")), "anna"))
	if a := k.exchange("rp", code, "code_verifier", testVerifier+"x"); a.str("error") != "invalid_grant" {
		t.Errorf("%d %s", a.status, a.body)
	}
	k.idToken(k.exchange("rp", code))
}

// An ID token is an access token nowhere: not at one door, not for introspection, not for revocation, not in the place
// of a refresh token, a code or a cookie, and neither is a logout token. Access tokens are RS256 here too: typ, key and
// claims are what tells them apart.
func TestOpenID_IDTokenOpensNothing(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		tokens := k.browser().signedIn("scope", "openid profile email settings")
		claims := claimsOf(t, tokens.str("id_token"))
		claims["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
		logoutToken := k.identity("logout+jwt", claims)
		if a := k.userInfo(tokens.str("access_token")); a.status != 200 {
			t.Fatalf("the access token: %d %s", a.status, a.body)
		}
		before := k.state()
		for _, token := range []string{tokens.str("id_token"), logoutToken} {
			k.opensNothing(token)
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		if !k.active(tokens.str("access_token")) {
			t.Error("the device suffered")
		}
	}, func(c *models.Config) { c.SigningAlg = "RS256" })
}

// opensNothing tries a JWT of ours that is no access token wherever one could be taken.
func (k *kit) opensNothing(token string) {
	k.t.Helper()
	doors := 0
	for _, r := range k.srv.Routes() {
		if !strings.HasPrefix(r.Path, "/settings/") && r.Path != pathUserInfo &&
			!strings.HasPrefix(r.Path, "/oauth2/revocations") {
			continue
		}
		if a := k.ask(r, token); a.status != 401 || a.str("code") != "invalid_token" {
			k.t.Errorf("%s %s: %d %s", r.Method, r.Path, a.status, a.body)
		}
		doors++
	}
	if doors < 10 {
		k.t.Errorf("only %d doors were tried", doors)
	}
	for _, hint := range []string{"", "access_token", "refresh_token"} {
		a := k.form("/oauth2/introspect", "client_id", "api", "client_secret", apiSecret, "token", token, "token_type_hint", hint)
		if a.status != 200 || a.json["active"] != false || len(a.json) != 1 {
			k.t.Errorf("introspection: %d %s", a.status, a.body)
		}
	}
	client := []string{"client_id", "rp", "client_secret", apiSecret}
	k.form("/oauth2/revoke", append(client, "token", token)...)
	for _, form := range [][]string{
		{"grant_type", "refresh_token", "refresh_token", token}, {"grant_type", "authorization_code", "code", token},
	} {
		if a := k.form("/oauth2/token", append(form, client...)...); a.status != 400 || a.str("error") != "invalid_grant" {
			k.t.Errorf("%v: %d %s", form, a.status, a.body)
		}
	}
	b := k.browser()
	b.cookies[sessionCookie] = token
	for _, path := range []string{pathAccount, pathSecurity} {
		if a := b.get(path); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
			k.t.Errorf("%s by a cookie: %d %s", path, a.status, a.body)
		}
	}
	k.wantBack("a cookie", b.get(plainURL("prompt", "none")), rpURI, "login_required")
}

// OpenID Connect Discovery section 3, and the same document at both addresses.
func TestOpenID_Discovery(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		oidc := k.do(k.request("GET", "/.well-known/openid-configuration", ""))
		oauth := k.do(k.request("GET", "/.well-known/oauth-authorization-server", ""))
		if oidc.status != 200 || string(oidc.body) != string(oauth.body) {
			t.Errorf("%s\n%s", oidc.body, oauth.body)
		}
		for name, want := range map[string]string{
			"issuer": k.url, "authorization_endpoint": k.url + pathAuthorize, "userinfo_endpoint": k.url + pathUserInfo,
			"end_session_endpoint": k.url + pathLogout, "jwks_uri": k.url + "/oauth2/jwks",
		} {
			if oidc.str(name) != want {
				t.Errorf("%s: %q", name, oidc.str(name))
			}
		}
		for name, want := range map[string]string{
			"scopes_supported": "openid", "subject_types_supported": "public", "id_token_signing_alg_values_supported": "RS256",
			"response_types_supported": "code", "claims_supported": "sid",
		} {
			if list, _ := oidc.json[name].([]any); !slices.Contains(list, any(want)) {
				t.Errorf("%s: %v", name, oidc.json[name])
			}
		}
		for _, name := range []string{"claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported"} {
			if no, ok := oidc.json[name].(bool); !ok || no {
				t.Errorf("%s: %v", name, oidc.json[name])
			}
		}
		if oidc.json["backchannel_logout_supported"] != true || oidc.json["backchannel_logout_session_supported"] != true {
			t.Errorf("back-channel logout: %s", oidc.body)
		}
		if oidc.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%v", oidc.header)
		}
		k.off()
		if a := k.do(k.request("GET", "/.well-known/openid-configuration", "")); a.json["authorization_endpoint"] != nil ||
			a.json["end_session_endpoint"] != nil {
			t.Errorf("without pages: %s", a.body)
		}
	})
}

// What the userinfo endpoint opens, and to whom.
func TestOpenID_UserInfo(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		b := k.browser()
		tokens := b.signedIn("scope", "openid email profile")
		without := b.signedIn("scope", "profile")
		if without.str("id_token") != "" {
			t.Errorf("an ID token without openid: %s", without.body)
		}
		if a := k.userInfo(without.str("access_token")); a.status != 403 || a.str("code") != "insufficient_scope" {
			t.Errorf("without openid: %d %s", a.status, a.body)
		}
		none := ""
		if _, _, err := k.store.UpdateUser(t.Context(), k.userID("anna"), models.UserPatch{Email: &none, Name: &none}, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		if a := k.userInfo(tokens.str("access_token")); a.status != 200 || len(a.json) != 2 || a.str("preferred_username") != "anna" {
			t.Errorf("nothing to tell: %d %s", a.status, a.body)
		}
		if a := k.bearer("GET", pathUserInfo+"?access_token="+url.QueryEscape(tokens.str("access_token")), "", ""); a.status != 401 {
			t.Errorf("the token in the address: %d %s", a.status, a.body)
		}
		k.set("rp", "scopes", "openid")
		if a := k.userInfo(tokens.str("access_token")); a.status != 200 || len(a.json) != 1 {
			t.Errorf("the client has lost the scopes: %d %s", a.status, a.body)
		}
		k.form("/oauth2/revoke", "client_id", "rp", "client_secret", apiSecret, "token", tokens.str("refresh_token"))
		if a := k.userInfo(tokens.str("access_token")); a.status != 401 {
			t.Errorf("signed out: %d %s", a.status, a.body)
		}
	})
}
