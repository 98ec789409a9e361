package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"curfew/models"
)

// What holds for every route is asked of every route, so that a new one is asked too. TestMain sees to it that each
// answer of openapi.yaml was given; nothing is left out but 500.

// bodies are what the routes with a JSON body take.
var bodies = map[string]string{
	"PATCH /settings/devices/:id":  `{"name":"x"}`,
	"PUT /settings/password":       `{"current_password":"` + testPassword + `","new_password":"a better one it is"}`,
	"POST /oauth2/revocations/ack": `{"subscriber":"rs1","seq":0}`,
}

// forms are the endpoints that take a form and authenticate a client.
var forms = []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"}

// each calls fn with every route that takes a bearer token, and the scope that it takes.
func (k *kit) each(fn func(r gin.RouteInfo, scope string)) {
	k.t.Helper()
	for _, r := range k.srv.Routes() {
		switch {
		case strings.HasPrefix(r.Path, "/settings/"):
			fn(r, models.ScopeSettings)
		case strings.HasPrefix(r.Path, "/account"): // a cookie opens them: TestAccount
		case r.Path == pathUserInfo:
			fn(r, models.ScopeOpenID)
		case strings.HasPrefix(r.Path, "/oauth2/revocations"):
			fn(r, models.ScopeRevocations)
		case !slices.Contains(
			append(forms, "/oauth2/jwks", "/.well-known/oauth-authorization-server", "/healthz", "/readyz",
				"/.well-known/openid-configuration", "/oauth2/authorize", pathLogout, "/sign-in", "/sign-out", "/pages/:file"), r.Path,
		):
			k.t.Errorf("%s %s: nobody has said whom it answers", r.Method, r.Path)
		}
	}
}

// ask asks a route with its own body. More headers come on top, or in the place of the body's type.
func (k *kit) ask(r gin.RouteInfo, token string, headers ...string) *answer {
	k.t.Helper()
	body := bodies[r.Method+" "+r.Path]
	if body != "" && !slices.Contains(headers, "Content-Type") {
		headers = append(headers, "Content-Type", "application/json")
	}
	if token != "" {
		headers = append(headers, "Authorization", "Bearer "+token)
	}
	return k.do(k.request(r.Method, strings.Replace(r.Path, ":id", "current", 1), body, headers...))
}

func (k *kit) clientToken(scope string) string {
	k.t.Helper()
	a := k.form(
		"/oauth2/token", "grant_type", "client_credentials", "client_id", "api", "client_secret", apiSecret, "scope", scope,
	)
	if a.status != 200 {
		k.t.Fatalf("%d %s", a.status, a.body)
	}
	return a.str("access_token")
}

func TestEveryRoute_BadToken(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		ended, narrow, own := k.signIn("anna"), k.signIn("anna", "scope", "profile").str("access_token"),
			k.clientToken("settings")
		k.form("/oauth2/revoke", "client_id", "web", "token", ended.str("refresh_token"))
		before := k.state()
		refused := `Bearer realm="curfew"`
		invalid := `, error="invalid_token", error_description="the access token is malformed, expired or signed out"`
		k.each(func(r gin.RouteInfo, scope string) {
			for _, c := range []struct {
				name, token string
				headers     []string
				status      int
				code        string
				challenge   string
			}{
				{"no token", "", nil, 401, "token_required", refused},
				{"no bearer", "", []string{"Authorization", "Basic YTpi"}, 401, "token_required", refused},
				{"garbage", "garbage", nil, 401, "invalid_token", refused + invalid},
				{"a refresh token", g.str("refresh_token"), nil, 401, "invalid_token", refused + invalid},
				{"signed out", ended.str("access_token"), nil, 401, "invalid_token", refused + invalid},
				{
					"two headers", g.str("access_token"),
					[]string{"Authorization", "Bearer " + g.str("access_token")},
					400,
					"invalid_request", refused + `, error="invalid_request"`,
				},
				{
					"too narrow", narrow, nil, 403, "insufficient_scope",
					refused + `, error="insufficient_scope", scope="` + scope + `"`,
				},
				{"a client's own", own, nil, 403, "user_required", ""},
			} {
				if c.code == "user_required" && scope != models.ScopeSettings {
					continue
				}
				a := k.ask(r, c.token, c.headers...)
				if a.status != c.status || a.str("code") != c.code || a.header.Get("WWW-Authenticate") != c.challenge {
					t.Errorf("%s %s, %s: %d %s %v, want %d %s", r.Method, r.Path, c.name, a.status, a.body, a.header, c.status, c.code)
				}
			}
		})
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
	})
}

func TestEveryRoute_BadBody(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		tokens := map[string]string{models.ScopeSettings: g.str("access_token"), models.ScopeRevocations: k.apiToken()}
		before, asked := k.state(), 0
		k.each(func(r gin.RouteInfo, scope string) {
			good := bodies[r.Method+" "+r.Path]
			if good == "" {
				return
			}
			asked++
			for _, bad := range []struct {
				kind, body string
				status     int
				code       string
			}{
				{"", good, 415, "unsupported_media_type"},
				{"text/json", good, 415, "unsupported_media_type"},
				{formType, `name=x`, 415, "unsupported_media_type"},
				{"application/json", good[:len(good)-1] + strings.Repeat(" ", 64<<10) + "}", 413, "too_large"},
				{"application/json", strings.Repeat(" ", 10<<20), 413, "too_large"},
				{"application/json", ``, 400, "invalid_request"},
				{"application/json", `{}`, 400, "invalid_request"},
				{"application/json", `[]`, 400, "invalid_request"},
				{"application/json", good[:len(good)-1], 400, "invalid_request"},
				{"application/json", good + good, 400, "invalid_request"},
				{"application/json", good[:len(good)-1] + `,"nothing":1}`, 400, "invalid_request"},
				{"application/json", strings.Replace(good, `"x"`, "\"\xff\"", 1) + "\xff", 400, "invalid_request"},
			} {
				a := k.do(
					k.request(
						r.Method, strings.Replace(r.Path, ":id", "current", 1), bad.body, "Content-Type", bad.kind, "Authorization",
						"Bearer "+tokens[scope],
					),
				)
				if a.status != bad.status || a.str("code") != bad.code {
					t.Errorf("%s %s with %q %.40q: %d %s, want %d", r.Method, r.Path, bad.kind, bad.body, a.status, a.body, bad.status)
				}
			}
		})
		if after := k.state(); after != before || !k.active(g.str("access_token")) || asked != len(bodies) {
			t.Errorf("something changed: %s, was %s; %d routes", after, before, asked)
		}
	})
}

// A method that a path does not have is 405 and names those that it has; what there is not is 404.
func TestEveryRoute_Method(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		methods := map[string][]string{}
		for _, r := range k.srv.Routes() {
			methods[r.Path] = append(methods[r.Path], r.Method)
		}
		for path, have := range methods {
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
				if slices.Contains(have, method) {
					continue
				}
				a := k.do(k.request(method, strings.Replace(path, ":id", "current", 1), ""))
				allow := strings.Split(a.header.Get("Allow"), ", ")
				slices.Sort(allow)
				slices.Sort(have)
				if a.status != 405 || !slices.Equal(allow, have) || a.str("code") != "method_not_allowed" {
					t.Errorf("%s %s: %d %s, Allow %q, want %v", method, path, a.status, a.body, allow, have)
				}
			}
			for _, longer := range []string{"/", "/x/y"} {
				if a := k.do(k.request("POST", strings.Replace(path, ":id", "current", 1)+longer, "")); a.status != 404 ||
					a.str("code") != "not_found" {
					t.Errorf("POST %s: %d %s", path+longer, a.status, a.body)
				}
			}
		}
	})
}

// Each endpoint that takes a client's secret, or a password, stops guessing, and then takes the right one no more
// either.
func TestEveryRoute_Guessing(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		password := func(current string) *answer {
			return k.bearer(
				"PUT", "/settings/password", g.str("access_token"),
				`{"current_password":"`+current+`","new_password":"a better one it is"}`,
			)
		}
		secret := func(path, client, secret string) *answer {
			return k.form(
				path, "grant_type", "client_credentials", "client_id", client, "client_secret", secret, "token", "garbage",
			)
		}
		for i, path := range forms { // each with a client of its own
			id := fmt.Sprint("guessed", i)
			k.client(
				models.NewClient{
					ID: id, Secret: apiSecret, Grants: []string{"client_credentials"}, Scopes: []string{"settings"}, Introspect: true,
				},
			)
			if a := secret(path, id, apiSecret); a.status != 200 {
				t.Fatalf("%s: %d %s", path, a.status, a.body)
			}
			for range 3 {
				if a := secret(path, id, "wrong"); a.status != 401 || a.str("error") != "invalid_client" ||
					a.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
			for _, s := range []string{"wrong", apiSecret} {
				if a := secret(path, id, s); a.status != http.StatusTooManyRequests ||
					a.str("error") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
					t.Errorf("%s: %d %s %v", path, a.status, a.body, a.header)
				}
			}
		}
		for range 3 {
			if a := password("wrong"); a.status != 403 || a.str("code") != "wrong_password" {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		for _, current := range []string{"wrong", testPassword} {
			if a := password(current); a.status != http.StatusTooManyRequests ||
				a.str("code") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
				t.Errorf("the password: %d %s %v", a.status, a.body, a.header)
			}
		}
		if !k.active(g.str("access_token")) {
			t.Error("the device suffered")
		}
	}, func(c *models.Config) { c.Limits.PerClient, c.Limits.PerAccountAddress = 3, 3 })
}

// Invariant 7: without the database nothing is accepted, whatever the route, and nothing that is in memory helps.
func TestEveryRoute_DatabaseAway(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		tokens := map[string]string{
			models.ScopeSettings: g.str("access_token"), models.ScopeRevocations: k.apiToken(),
			models.ScopeOpenID: k.openID("anna").str("access_token"),
		}
		k.introspect(g.str("access_token")) // the client is remembered
		if err := k.store.Close(); err != nil {
			t.Fatal(err)
		}
		away := func(what string, a *answer, code string) {
			if a.status != 503 || code != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s %v", what, a.status, a.body, a.header)
			}
		}
		k.each(func(r gin.RouteInfo, scope string) {
			a := k.ask(r, tokens[scope])
			away(r.Method+" "+r.Path, a, a.str("code"))
		})
		for _, path := range forms {
			body := url.Values{
				"grant_type": {"client_credentials"}, "client_id": {"api"}, "client_secret": {apiSecret},
				"token": {g.str("access_token")},
			}
			a := k.do(k.request("POST", path, body.Encode(), "Content-Type", formType))
			away("POST "+path, a, a.str("error"))
		}
	})
}
