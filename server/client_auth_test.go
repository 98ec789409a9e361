package server

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"curfew/models"
)

// askAs posts a form with a client's secret.
func (k *kit) askAs(path, id, secret string, more ...string) *answer {
	k.t.Helper()
	return k.form(path, append([]string{"client_id", id, "client_secret", secret}, more...)...)
}

func (k *kit) tokenAs(id, secret, grant string, more ...string) *answer {
	k.t.Helper()
	return k.askAs("/oauth2/token", id, secret, append([]string{"grant_type", grant}, more...)...)
}

func (k *kit) wantError(what string, a *answer, status int, code string) {
	k.t.Helper()
	if a.status != status || a.str("error") != code {
		k.t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, code)
	}
}

// A node remembers clients, but nothing that was changed about one is ever answered from memory: not a secret, not a
// right that it has got, not one that it has lost. Every client here has been seen before the change.
func TestClientAuthentication_ChangesCountAtOnce(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.tokenAs("my.app", apiSecret, "password", "username", "anna", "password", testPassword)
		k.wantError("sign in", g, 200, "")
		k.wantError("client credentials", k.tokenAs("api", apiSecret, "client_credentials"), 200, "")
		k.wantError("not yet", k.askAs("/oauth2/introspect", "my.app", apiSecret, "token", "x"), 403, "access_denied")
		k.wantError("not yet", k.tokenAs("my.app", apiSecret, "client_credentials"), 400, "unauthorized_client")
		k.wantError(
			"not yet",
			k.tokenAs("my.app", apiSecret, "password", "username", "anna", "password", testPassword, "scope", "profile"), 400,
			"invalid_scope",
		)

		may := true
		patch := models.ClientPatch{
			Introspect: &may, Scopes: &[]string{"settings", "profile"},
			Grants: &[]string{models.GrantPassword, models.GrantRefreshToken, models.GrantClientCredentials},
		}
		if _, err := k.store.UpdateClient(t.Context(), "my.app", patch, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		k.wantError(
			"introspection", k.askAs("/oauth2/introspect", "my.app", apiSecret, "token", g.str("access_token")), 200, "",
		)
		k.wantError("a new grant", k.tokenAs("my.app", apiSecret, "client_credentials", "scope", "profile"), 200, "")
		k.wantError(
			"a new scope",
			k.tokenAs("my.app", apiSecret, "password", "username", "anna", "password", testPassword, "scope", "profile"), 200,
			"",
		)
		less := models.ClientPatch{Introspect: new(bool), Grants: &[]string{models.GrantPassword}}
		if _, err := k.store.UpdateClient(t.Context(), "my.app", less, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		k.wantError(
			"introspection no more", k.askAs("/oauth2/introspect", "my.app", apiSecret, "token", g.str("access_token")), 403,
			"access_denied",
		)
		k.wantError("the grant no more", k.tokenAs("my.app", apiSecret, "client_credentials"), 400, "unauthorized_client")
		k.wantError(
			"no refresh any more", k.tokenAs("my.app", apiSecret, "refresh_token", "refresh_token", g.str("refresh_token")), 400,
			"unauthorized_client",
		)
	})
}

// A secret that was changed is wrong at once, also where no statement would notice it, and opens no way to passwords.
func TestClientAuthentication_OldSecret(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		const next = "another-secret-of-some-length"
		g := k.tokenAs("my.app", apiSecret, "password", "username", "anna", "password", testPassword)
		k.wantError("sign in", g, 200, "")
		k.wantError("client credentials", k.tokenAs("api", apiSecret, "client_credentials"), 200, "")
		for _, id := range []string{"api", "my.app"} {
			if _, err := k.store.RotateClientSecret(t.Context(), id, next, models.Actor{}); err != nil {
				t.Fatal(err)
			}
		}
		// First what needs no statement that would notice the change.
		k.wantError(
			"old secret, garbage", k.askAs("/oauth2/introspect", "api", apiSecret, "token", "garbage"), 401, "invalid_client",
		)
		k.wantError(
			"old secret, log-out with garbage", k.askAs("/oauth2/revoke", "my.app", apiSecret, "token", "garbage"), 401,
			"invalid_client",
		)
		// The two must not differ, or the old secret would still find out passwords. Nor are these guesses: none is
		// looked at. (A right password would clear what the wrong ones had counted, so it comes last.)
		for range 4 {
			k.wantError(
				"old secret, wrong password", k.tokenAs("my.app", apiSecret, "password", "username", "anna", "password", "wrong"),
				401, "invalid_client",
			)
		}
		k.wantError(
			"new secret, password", k.tokenAs("my.app", next, "password", "username", "anna", "password", testPassword), 200,
			"",
		)
		before := k.state()
		k.wantError(
			"old secret, right password",
			k.tokenAs("my.app", apiSecret, "password", "username", "anna", "password", testPassword), 401, "invalid_client",
		)
		k.wantError(
			"old secret, client credentials", k.tokenAs("api", apiSecret, "client_credentials"), 401, "invalid_client",
		)
		k.wantError(
			"old secret, living token", k.askAs("/oauth2/introspect", "api", apiSecret, "token", g.str("access_token")), 401,
			"invalid_client",
		)
		k.wantError(
			"old secret, log-out", k.askAs("/oauth2/revoke", "my.app", apiSecret, "token", g.str("refresh_token")), 401,
			"invalid_client",
		)
		k.wantError(
			"old secret, refresh", k.tokenAs("my.app", apiSecret, "refresh_token", "refresh_token", g.str("refresh_token")), 401,
			"invalid_client",
		)
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		k.wantError("new secret", k.tokenAs("api", next, "client_credentials"), 200, "")
		if _, err := k.store.DeleteClient(t.Context(), "api", models.Actor{}); err != nil {
			t.Fatal(err)
		}
		k.wantError("deleted", k.tokenAs("api", next, "client_credentials"), 401, "invalid_client")
		k.wantError("deleted", k.askAs("/oauth2/introspect", "api", next, "token", "garbage"), 401, "invalid_client")
	}, func(c *models.Config) { c.Limits.PerAccountAddress = 3 })
}

// RFC 6749 section 2.3.1: the parts of Basic are form-urlencoded first. What needs no encoding may come as it is; the
// scheme's case does not matter (RFC 9110 section 11.1); a client_id in the form that says the same is no second way.
func TestClientAuthentication_BasicVariants(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		const plain = "only-letters-and-digits-0123"
		k.client(models.NewClient{ID: "plain", Secret: plain, Grants: []string{"client_credentials"}})
		ask := func(headers []string, pairs ...string) *answer {
			form := url.Values{"grant_type": {"client_credentials"}}
			for i := 0; i+1 < len(pairs); i += 2 {
				form.Add(pairs[i], pairs[i+1])
			}
			return k.do(
				k.request("POST", "/oauth2/token", form.Encode(), append([]string{"Content-Type", formType}, headers...)...),
			)
		}
		basic := func(scheme, id, secret string) []string {
			return []string{"Authorization", scheme + " " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))}
		}
		encoded := basic("Basic", url.QueryEscape("api"), url.QueryEscape(apiSecret))
		for name, tc := range map[string]struct {
			a      *answer
			status int
			code   string
		}{
			"encoded":                {ask(encoded), 200, ""},
			"lower case":             {ask(basic("basic", url.QueryEscape("api"), url.QueryEscape(apiSecret))), 200, ""},
			"nothing to encode":      {ask(basic("Basic", "plain", plain)), 200, ""},
			"the same client_id":     {ask(encoded, "client_id", "api"), 200, ""},
			"an empty client_secret": {ask(encoded, "client_secret", ""), 200, ""},
			"form":                   {ask(nil, "client_id", "api", "client_secret", apiSecret), 200, ""},
			"another client_id":      {ask(encoded, "client_id", "plain"), 400, "invalid_request"},
			"the secret twice":       {ask(encoded, "client_secret", apiSecret), 400, "invalid_request"},
			"two headers":            {ask(append(encoded, encoded...)), 401, "invalid_client"},
			"+ is a space":           {ask(basic("Basic", "api", apiSecret)), 401, "invalid_client"},
			"malformed escape":       {ask(basic("Basic", "api", "%zz")), 401, "invalid_client"},
			"no colon": {
				ask([]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("api"))}), 401, "invalid_client",
			},
			"no id":                      {ask(basic("Basic", "", plain)), 401, "invalid_client"},
			"NUL in the id":              {ask(basic("Basic", "api%00", plain)), 401, "invalid_client"},
			"an id that is not UTF-8":    {ask(basic("Basic", "%ff", plain)), 401, "invalid_client"},
			"NUL in the secret":          {ask(basic("Basic", "plain", plain+"%00")), 401, "invalid_client"},
			"another's secret":           {ask(basic("Basic", "plain", url.QueryEscape(apiSecret))), 401, "invalid_client"},
			"no secret":                  {ask(basic("Basic", "plain", "")), 401, "invalid_client"},
			"a public client's no grant": {ask(basic("Basic", "web", "")), 400, "unauthorized_client"},
		} {
			if tc.a.status != tc.status || tc.a.str("error") != tc.code {
				t.Errorf("%s: %d %s, want %d %s", name, tc.a.status, tc.a.body, tc.status, tc.code)
			}
			if challenge := tc.a.header.Get("WWW-Authenticate"); (challenge != "") != (tc.status == 401) {
				t.Errorf("%s: WWW-Authenticate %q", name, challenge)
			}
		}
	})
}

// Guessing a client's secret is stopped, and then a right guess is not let through either, though this node knows the
// client. A public client has no secret to guess: nobody's mistakes shut out the others at his address.
func TestClientAuthentication_Guessing(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		ask := func(id, secret string) *answer {
			return k.form("/oauth2/token", "grant_type", "client_credentials", "client_id", id, "client_secret", secret)
		}
		if a := ask("api", apiSecret); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, id := range []string{"api", "web"} {
			for range 3 {
				if a := ask(id, "wrong"); a.status != 401 {
					t.Fatalf("%s: %d %s", id, a.status, a.body)
				}
			}
			if a := ask(id, "wrong"); a.status != http.StatusTooManyRequests ||
				a.str("error") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
				t.Fatalf("%s: %d %s %v", id, a.status, a.body, a.header)
			}
		}
		if a := ask("api", apiSecret); a.status != http.StatusTooManyRequests {
			t.Errorf("a right guess after too many: %d %s", a.status, a.body)
		}
		k.signIn("anna")
	}, func(c *models.Config) { c.Limits.PerClient = 3 })
}
