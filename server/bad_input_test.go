package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// state is everything that a bad request might have changed.
func (k *kit) state() string {
	k.t.Helper()
	var all []string
	for _, q := range []string{
		"SELECT count(*) FROM devices", "SELECT count(*) FROM users", "SELECT count(*) FROM clients",
		"SELECT count(*) FROM audit_events WHERE type NOT IN ('wrong_password', 'limit_reached')",
		"SELECT last_seq FROM realm", "SELECT coalesce(sum(valid_from), 0) FROM devices",
		"SELECT coalesce(sum(rotated_at), 0) FROM devices",
	} {
		var n int64
		if err := k.store.DB().QueryRowContext(k.t.Context(), q).Scan(&n); err != nil {
			k.t.Fatal(err)
		}
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, " ")
}

// passwordForm is a good password grant with some parameters changed; "-" leaves one out.
func passwordForm(change ...string) string {
	v := url.Values{"grant_type": {"password"}, "client_id": {"web"}, "username": {"anna"}, "password": {testPassword}}
	for i := 0; i+1 < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			v.Del(change[i])
		}
	}
	return v.Encode()
}

func refreshForm(token string) string {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {token}}.Encode()
}

type badTokenRequest struct {
	name, query, body string
	headers           []string
	status            int
	code              string
}

// badTokenRequests are made of a good refresh token, a good access token, and another client's refresh token.
func badTokenRequests(rt, access, others string) []badTokenRequest {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+url.QueryEscape(apiSecret)))
	flipped := rt[:len(rt)-1] + map[bool]string{true: "A", false: "B"}[rt[len(rt)-1] != 'A']
	return []badTokenRequest{
		{"no grant_type", "", passwordForm("grant_type", "-"), nil, 400, "invalid_request"},
		{"empty grant_type", "", passwordForm("grant_type", ""), nil, 400, "invalid_request"},
		{"unknown grant", "", passwordForm("grant_type", "magic"), nil, 400, "unsupported_grant_type"},
		{"code not registered", "", passwordForm("grant_type", "authorization_code"), nil, 400, "unauthorized_client"},
		{"grant not registered", "", passwordForm("grant_type", "client_credentials"), nil, 400, "unauthorized_client"},
		{"no username", "", passwordForm("username", "-"), nil, 400, "invalid_request"},
		{"empty password", "", passwordForm("password", ""), nil, 400, "invalid_request"},
		{"no refresh_token", "", refreshForm(""), nil, 400, "invalid_request"},
		{"doubled parameter", "", passwordForm() + "&username=ben", nil, 400, "invalid_request"},
		{"doubled unknown parameter", "", passwordForm() + "&x=1&x=2", nil, 400, "invalid_request"},
		{"not UTF-8", "", passwordForm() + "&device_name=%ff%fe", nil, 400, "invalid_request"},
		{"NUL", "", passwordForm("username", "an\x00na"), nil, 400, "invalid_request"},
		{"malformed escape", "", passwordForm() + "&x=%zz", nil, 400, "invalid_request"},
		{"10 MB", "", passwordForm("device_name", strings.Repeat("a", 10<<20)), nil, 400, "invalid_request"},
		{"100 kB name", "", passwordForm("username", strings.Repeat("a", 100<<10)), nil, 400, "invalid_request"},
		{"NUL in the device name", "", passwordForm("device_name", "a\x00b"), nil, 400, "invalid_request"},
		{
			"JSON", "", `{"grant_type":"password"}`,
			[]string{"Content-Type", "application/json"},
			400,
			"invalid_request",
		},
		{"no type", "", passwordForm(), []string{"Content-Type", ""}, 400, "invalid_request"},
		{"credentials in the query", "?client_id=web&username=anna", passwordForm(), nil, 400, "invalid_request"},
		{
			"two ways at once", "",
			"grant_type=client_credentials&client_id=api&client_secret=" + url.QueryEscape(apiSecret),
			[]string{"Authorization", basic},
			400, "invalid_request",
		},
		{
			"two clients at once", "", "grant_type=client_credentials&client_id=web",
			[]string{"Authorization", basic},
			400, "invalid_request",
		},
		{"Bearer for Basic", "", passwordForm(), []string{"Authorization", "Bearer x"}, 401, "invalid_client"},
		{"malformed Basic", "", passwordForm(), []string{"Authorization", "Basic !!"}, 401, "invalid_client"},
		{"no client", "", passwordForm("client_id", "-"), nil, 401, "invalid_client"},
		{"unknown client", "", passwordForm("client_id", "nobody"), nil, 401, "invalid_client"},
		{"odd client", "", passwordForm("client_id", "a\tb"), nil, 401, "invalid_client"},
		{
			"wrong secret", "", "grant_type=client_credentials&client_id=api&client_secret=wrong", nil, 401,
			"invalid_client",
		},
		{"missing secret", "", "grant_type=client_credentials&client_id=api", nil, 401, "invalid_client"},
		{"secret of a public client", "", passwordForm("client_secret", "x"), nil, 401, "invalid_client"},
		{"unknown scope", "", passwordForm("scope", "root"), nil, 400, "invalid_scope"},
		{"two spaces in scope", "", passwordForm("scope", "settings  profile"), nil, 400, "invalid_scope"},
		{"scope grows", "", refreshForm(rt) + "&scope=admin", nil, 400, "invalid_scope"},
		{"device_id in braces", "", passwordForm("device_id", "{"+uuid.NewString()+"}"), nil, 400, "invalid_request"},
		{"device_id of zeros", "", passwordForm("device_id", uuid.Nil.String()), nil, 400, "invalid_request"},
		{"device_id text", "", passwordForm("device_id", "phone"), nil, 400, "invalid_request"},
		{"wrong password", "", passwordForm("password", "wrong"), nil, 400, "invalid_grant"},
		{"unknown user", "", passwordForm("username", "nobody"), nil, 400, "invalid_grant"},
		{"another client's refresh token", "", refreshForm(others), nil, 400, "invalid_grant"},
		{"garbage refresh token", "", refreshForm("garbage"), nil, 400, "invalid_grant"},
		{"truncated refresh token", "", refreshForm(rt[:len(rt)-4]), nil, 400, "invalid_grant"},
		{"forged refresh token", "", refreshForm(flipped), nil, 400, "invalid_grant"},
		{"padded refresh token", "", refreshForm(rt + "="), nil, 400, "invalid_grant"},
		{"access token for refresh", "", refreshForm(access), nil, 400, "invalid_grant"},
	}
}

// Every bad token request gets the status, the code and the headers of RFC 6749 section 5.2, and changes nothing.
func TestBadInput_TokenEndpoint(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.user("ben")
		g := k.signIn("anna")
		other := k.form(
			"/oauth2/token", "grant_type", "password", "client_id", "my.app", "client_secret", apiSecret, "username", "ben",
			"password", testPassword,
		)
		if other.status != 200 {
			t.Fatalf("%s", other.body)
		}
		before := k.state()
		for _, tc := range badTokenRequests(g.str("refresh_token"), g.str("access_token"), other.str("refresh_token")) {
			headers := tc.headers
			if len(headers) == 0 || headers[0] != "Content-Type" {
				headers = append([]string{"Content-Type", formType}, headers...)
			}
			a := k.do(k.request("POST", "/oauth2/token"+tc.query, tc.body, headers...))
			if a.status != tc.status || a.str("error") != tc.code {
				t.Errorf("%s: %d %s, want %d %s", tc.name, a.status, a.body, tc.status, tc.code)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("%s: headers %v", tc.name, a.header)
			}
			if challenge := a.header.Get("WWW-Authenticate"); (challenge != "") != (tc.status == 401) {
				t.Errorf("%s: WWW-Authenticate %q", tc.name, challenge)
			}
		}
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			if a := k.do(k.request(method, "/oauth2/token", "")); a.status != 405 || a.header.Get("Allow") != "POST" {
				t.Errorf("%s: %d, Allow %q", method, a.status, a.header.Get("Allow"))
			}
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		if !k.active(g.str("access_token")) || k.refresh(g.str("refresh_token")).status != 200 {
			t.Error("the device suffered")
		}
	})
}

// Tokens that are none of ours are refused everywhere, in the same words.
func TestBadInput_AccessTokens(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		genuine := g.str("access_token")
		parts := strings.Split(genuine, ".")
		claims := jwt.MapClaims{}
		token, _, err := jwt.NewParser().ParseUnverified(genuine, claims)
		if err != nil {
			t.Fatal(err)
		}
		kid := token.Header["kid"].(string)
		strange, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, err := x509.MarshalPKIXPublicKey(strange.Public())
		if err != nil {
			t.Fatal(err)
		}
		sign := func(method jwt.SigningMethod, key any, header map[string]any) string {
			tok := jwt.NewWithClaims(method, claims)
			tok.Header["typ"], tok.Header["kid"] = "at+jwt", kid
			for name, value := range header {
				tok.Header[name] = value
			}
			raw, err := tok.SignedString(key)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		claims["exp"] = time.Now().Add(time.Hour).Unix()
		b64 := base64.RawURLEncoding.EncodeToString
		before := k.state()
		for name, raw := range map[string]string{
			"garbage":                "garbage",
			"truncated":              genuine[:len(genuine)-5],
			"no signature":           parts[0] + "." + parts[1] + ".",
			"alg none":               b64([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+kid+`"}`)) + "." + parts[1] + ".",
			"HS256 with our key":     sign(jwt.SigningMethodHS256, public, nil),
			"somebody else's key":    sign(jwt.SigningMethodES256, strange, nil),
			"unknown kid":            sign(jwt.SigningMethodES256, strange, map[string]any{"kid": "unknown"}),
			"a number for a kid":     sign(jwt.SigningMethodES256, strange, map[string]any{"kid": 7}),
			"padded":                 genuine + "=",
			"refresh token":          g.str("refresh_token"),
			"two tokens":             genuine + " " + genuine,
			"another body":           parts[0] + "." + b64([]byte(`{"sub":"x"}`)) + "." + parts[2],
			"nine kilobytes":         strings.Repeat("a", 9<<10),
			"swapped signature half": parts[0] + "." + parts[1] + "." + parts[2][43:] + parts[2][:43],
		} {
			if a := k.introspect(raw); a.status != 200 || (a.json["active"] != false && name != "refresh token") {
				t.Errorf("%s, introspection: %d %s", name, a.status, a.body)
			}
			a := k.bearer("GET", "/settings/devices", raw, "")
			if a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") ||
				a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s, settings: %d %v", name, a.status, a.header)
			}
		}
		if a := k.do(k.request("GET", "/settings/devices?access_token="+genuine, "")); a.status != 401 {
			t.Errorf("a token in the query: %d", a.status)
		}
		if a := k.do(
			k.request("GET", "/settings/devices", "", "Authorization", "Bearer "+genuine, "Authorization", "Bearer "+genuine),
		); a.status != 400 {
			t.Errorf("two headers: %d", a.status)
		}
		if a := k.do(k.request("GET", "/settings/devices", "")); a.status != 401 ||
			strings.Contains(a.header.Get("WWW-Authenticate"), "error") {
			t.Errorf("no token: %d %v", a.status, a.header)
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
	})
}

func TestBadInput_OtherIssuer(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		other := newKit(t, "sqlite:"+t.TempDir()+"/other.db")
		g := other.signIn("anna")
		if k.active(g.str("access_token")) {
			t.Fatal("a token of another issuer is believed")
		}
	})
}

func TestBadInput_Settings(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		at, path := g.str("access_token"), "/settings/devices/"+g.str("device_id")
		before := k.state()
		for _, tc := range []struct {
			name, method, path, body, contentType string
			status                                int
		}{
			{"no name", "PATCH", path, `{}`, "application/json", 400},
			{"empty name", "PATCH", path, `{"name":" "}`, "application/json", 400},
			{"long name", "PATCH", path, `{"name":"` + strings.Repeat("é", 101) + `"}`, "application/json", 400},
			{"100 kB name", "PATCH", path, `{"name":"` + strings.Repeat("a", 100<<10) + `"}`, "application/json", 413},
			{"NUL", "PATCH", path, `{"name":"a\u0000b"}`, "application/json", 400},
			{"control character", "PATCH", path, `{"name":"a\u001bb"}`, "application/json", 400},
			{"not UTF-8", "PATCH", path, "{\"name\":\"\xff\"}", "application/json", 400},
			{"unknown field", "PATCH", path, `{"name":"x","id":"y"}`, "application/json", 400},
			{"a number", "PATCH", path, `{"name":7}`, "application/json", 400},
			{"two values", "PATCH", path, `{"name":"x"}{}`, "application/json", 400},
			{"a form", "PATCH", path, `name=x`, formType, 415},
			{"unknown parameter", "DELETE", path + "?force=1", "", "", 400},
			{"bad wait", "DELETE", path + "?wait=soon", "", "", 400},
			{"long wait", "DELETE", path + "?wait=11s", "", "", 400},
			{"negative wait", "DELETE", path + "?wait=-1s", "", "", 400},
			{"bad except", "DELETE", "/settings/devices?except=others", "", "", 400},
			{"empty except", "DELETE", "/settings/devices?except=", "", "", 400},
			{"doubled except", "DELETE", "/settings/devices?except=current&except=current", "", "", 400},
			{"no passwords", "PUT", "/settings/password", `{}`, "application/json", 400},
			{"method", "POST", "/settings/devices", `{}`, "application/json", 405},
			{"nowhere", "GET", "/settings/nothing", "", "", 404},
		} {
			headers := []string{"Authorization", "Bearer " + at}
			if tc.contentType != "" {
				headers = append(headers, "Content-Type", tc.contentType)
			}
			a := k.do(k.request(tc.method, tc.path, tc.body, headers...))
			if a.status != tc.status || a.header.Get("Content-Type") != "application/problem+json" || a.str("code") == "" {
				t.Errorf("%s: %d %s %v", tc.name, a.status, a.body, a.header)
			}
		}
		if after := k.state(); after != before || !k.active(at) {
			t.Errorf("something changed: %s, was %s", after, before)
		}
	})
}
