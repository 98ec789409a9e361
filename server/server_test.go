package server

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"curfew/internal/apitest"
	"curfew/internal/testdb"
	"curfew/models"
)

// The whole life over HTTP: sign in, list, rename, refresh, sign out one, sign out everywhere.
func TestFlows(t *testing.T) {
	flows := func(t *testing.T, k *kit) {
		id := uuid.NewString()
		phone := k.signIn("anna", "device_id", id, "device_name", "Anna's phone")
		if phone.str("device_id") != id || phone.str("token_type") != "Bearer" || phone.json["expires_in"] != 300.0 ||
			phone.str("scope") != "settings profile" ||
			phone.header.Get("Cache-Control") != "no-store" || phone.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatalf("%s %v", phone.body, phone.header)
		}
		laptop := k.signIn("ANNA")
		list := k.bearer("GET", "/settings/devices", phone.str("access_token"), "")
		devices := list.json["devices"].([]any)
		if len(devices) != 2 {
			t.Fatalf("%s", list.body)
		}
		for _, d := range devices {
			if d := d.(map[string]any); (d["id"] == id) != (d["current"] == true) ||
				(d["id"] == id) != (d["name"] == "Anna's phone") {
				t.Fatalf("%v", d)
			}
		}
		renamed := k.bearer(
			"PATCH", "/settings/devices/"+laptop.str("device_id"), phone.str("access_token"), `{"name":"Laptop"}`,
		)
		if renamed.status != 200 || renamed.str("name") != "Laptop" {
			t.Fatalf("%d %s", renamed.status, renamed.body)
		}
		next := k.refresh(phone.str("refresh_token"))
		if next.status != 200 || next.str("device_id") != id || next.str("refresh_token") == phone.str("refresh_token") {
			t.Fatalf("%d %s", next.status, next.body)
		}
		if again := k.refresh(phone.str("refresh_token")); again.str("refresh_token") != next.str("refresh_token") {
			t.Fatalf("a retry: %d %s", again.status, again.body)
		}
		i := k.introspect(next.str("access_token"))
		if i.json["active"] != true || i.str("username") != "anna" || i.str("device_id") != id ||
			i.str("client_id") != "web" || i.str("iss") != k.url || i.str("aud") != k.url {
			t.Fatalf("%s", i.body)
		}
		if i := k.introspect(next.str("refresh_token")); i.json["active"] != true || i.str("device_id") != id {
			t.Fatalf("%s", i.body)
		}
		out := k.bearer("DELETE", "/settings/devices/"+laptop.str("device_id")+"?wait=50ms", next.str("access_token"), "")
		rev := out.json["revocation"].(map[string]any)
		if out.status != 200 || rev["level"] != "device" || rev["subject"] != laptop.str("device_id") ||
			out.json["count"] != 1.0 || out.json["applied"] == nil {
			t.Fatalf("%d %s", out.status, out.body)
		}
		if k.active(laptop.str("access_token")) || k.refresh(laptop.str("refresh_token")).str("error") != "invalid_grant" {
			t.Fatal("the laptop is still signed in")
		}
		tablet := k.signIn("anna")
		others := k.bearer("DELETE", "/settings/devices?except=current", next.str("access_token"), "")
		if others.status != 200 || others.json["count"] != 1.0 || k.active(tablet.str("access_token")) ||
			!k.active(next.str("access_token")) {
			t.Fatalf("%d %s", others.status, others.body)
		}
		all := k.bearer("DELETE", "/settings/devices", next.str("access_token"), "")
		if all.status != 200 || all.json["revocation"].(map[string]any)["level"] != "user" ||
			k.active(next.str("access_token")) {
			t.Fatalf("%d %s", all.status, all.body)
		}
		if a := k.bearer("GET", "/settings/devices", next.str("access_token"), ""); a.status != 401 ||
			!strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Fatalf("%d %v", a.status, a.header)
		}
	}
	forEachDB(t, flows)
	// what docs/operations.md says of it: no statement asks for its types
	t.Run("PostgreSQL behind pgbouncer", func(t *testing.T) {
		dbURL, err := url.Parse(testdb.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		q := dbURL.Query()
		q.Set("default_query_exec_mode", "exec")
		dbURL.RawQuery = q.Encode()
		flows(t, newKit(t, dbURL.String()))
	})
}

func TestToken_ReplayAndRetirement(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn("anna")
		second := k.refresh(first.str("refresh_token"))
		third := k.refresh(second.str("refresh_token"))
		if k.active(first.str("access_token")) || !k.active(second.str("access_token")) ||
			!k.active(third.str("access_token")) {
			t.Fatal("an access token two renewals old is alive, or one of the others is not")
		}
		if a := k.refresh(first.str("refresh_token")); a.status != 400 || a.str("error") != "invalid_grant" {
			t.Fatalf("replay: %d %s", a.status, a.body)
		}
		if k.active(third.str("access_token")) || k.refresh(third.str("refresh_token")).status != 400 {
			t.Fatal("the replay did not sign the device out")
		}
	})
}

func TestRevoke(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		revoke := func(token string, more ...string) *answer {
			return k.form("/oauth2/revoke", append([]string{"client_id", "web", "token", token}, more...)...)
		}
		for _, which := range []string{"access_token", "refresh_token"} {
			g := k.signIn("anna")
			if a := revoke(g.str(which)); a.status != 200 || k.active(g.str("access_token")) ||
				k.refresh(g.str("refresh_token")).status != 400 {
				t.Fatalf("%s: %d %s", which, a.status, a.body)
			}
			if a := revoke(g.str(which)); a.status != 200 {
				t.Fatalf("twice: %d %s", a.status, a.body)
			}
		}
		// A log-out wins its race with a refresh: the token that was rotated away does it too.
		g := k.signIn("anna")
		next := k.refresh(g.str("refresh_token"))
		if a := revoke(g.str("refresh_token")); a.status != 200 || k.active(next.str("access_token")) {
			t.Fatalf("rotated away: %d %s", a.status, a.body)
		}
		// An access token of the device's earlier life does not end the new one.
		id := uuid.NewString()
		old := k.signIn("anna", "device_id", id)
		now := k.signIn("anna", "device_id", id)
		if a := revoke(old.str("access_token")); a.status != 200 || !k.active(now.str("access_token")) {
			t.Fatalf("earlier life: %d %s", a.status, a.body)
		}
		if a := revoke("garbage"); a.status != 200 {
			t.Fatalf("garbage: %d %s", a.status, a.body)
		}
		if a := k.askAs("/oauth2/revoke", "api", apiSecret, "token", k.apiToken()); a.status != 400 ||
			a.str("error") != "unsupported_token_type" {
			t.Fatalf("a token without a device: %d %s", a.status, a.body)
		}
		if a := k.askAs("/oauth2/revoke", "api", apiSecret, "token", now.str("refresh_token")); a.status != 400 ||
			!k.active(now.str("access_token")) {
			t.Fatalf("another client's token: %d %s", a.status, a.body)
		}
	})
}

func TestIntrospect_WhoMay(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		for _, tc := range []struct {
			status int
			code   string
			form   []string
		}{
			{403, "access_denied", []string{"client_id", "my.app", "client_secret", apiSecret, "token", g.str("access_token")}},
			{403, "access_denied", []string{"client_id", "web", "token", g.str("access_token")}},
			{401, "invalid_client", []string{"client_id", "api", "client_secret", "wrong", "token", g.str("access_token")}},
			{401, "invalid_client", []string{"token", g.str("access_token")}},
			{400, "invalid_request", []string{"client_id", "api", "client_secret", apiSecret}},
		} {
			if a := k.form("/oauth2/introspect", tc.form...); a.status != tc.status || a.str("error") != tc.code {
				t.Errorf("%v: %d %s", tc.form[:2], a.status, a.body)
			}
		}
	})
}

// RFC 6749 section 2.3.1: both parts are form-urlencoded before they are put together.
func TestClientAuthentication_Basic(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape("api") + ":" + url.QueryEscape(apiSecret)))
		a := k.do(
			k.request(
				"POST", "/oauth2/token", "grant_type=client_credentials", "Content-Type", formType, "Authorization",
				"Basic "+basic,
			),
		)
		if a.status != 200 || a.json["refresh_token"] != nil || a.json["device_id"] != nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}

func TestSettings_Password(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		here, there := k.signIn("anna"), k.signIn("anna")
		change := func(current, next string) *answer {
			body, err := json.Marshal(map[string]string{"current_password": current, "new_password": next})
			if err != nil {
				t.Fatal(err)
			}
			return k.bearer("PUT", "/settings/password", here.str("access_token"), string(body))
		}
		if a := change("wrong", "a better one it is"); a.status != 403 || a.str("code") != "wrong_password" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := change(testPassword, "short"); a.status != 422 || a.str("code") != "password_policy" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		changed := change(testPassword, "a better one it is")
		if changed.status != 200 || changed.json["count"] != 1.0 || changed.str("device_id") != here.str("device_id") ||
			changed.str("scope") != here.str("scope") {
			t.Fatalf("%d %s", changed.status, changed.body)
		}
		if k.active(here.str("access_token")) || k.active(there.str("access_token")) ||
			!k.active(changed.str("access_token")) {
			t.Fatal("an older token is alive, or the new one is not")
		}
		// Whoever else has a refresh token of the same device is rid of: it does nothing any more.
		if a := k.refresh(here.str("refresh_token")); a.status != 400 || a.str("error") != "invalid_grant" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := k.refresh(changed.str("refresh_token")); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}

func TestSettings_OthersDevices(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.user("ben")
		anna, ben := k.signIn("anna"), k.signIn("ben")
		for _, method := range []string{"PATCH", "DELETE"} {
			for _, id := range []string{ben.str("device_id"), uuid.NewString(), "x", uuid.Nil.String()} {
				if a := k.bearer(
					method, "/settings/devices/"+id, anna.str("access_token"), map[string]string{"PATCH": `{"name":"x"}`}[method],
				); a.status != 404 {
					t.Errorf("%s %s: %d %s", method, id, a.status, a.body)
				}
			}
		}
		if !k.active(ben.str("access_token")) {
			t.Fatal("another user's device was signed out")
		}
		// The GUID of another user's device is never touched, and the answer does not tell.
		mine := k.signIn("anna", "device_id", ben.str("device_id"))
		if mine.str("device_id") == ben.str("device_id") || !k.active(ben.str("access_token")) {
			t.Fatal("another user's GUID was taken")
		}
		own := k.form(
			"/oauth2/token", "grant_type", "client_credentials", "client_id", "api", "client_secret", apiSecret, "scope",
			"settings",
		)
		if a := k.bearer("GET", "/settings/devices", own.str("access_token"), ""); a.status != 403 ||
			a.str("code") != "user_required" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		narrow := k.refresh(anna.str("refresh_token"), "scope", "profile")
		if a := k.bearer("GET", "/settings/devices", narrow.str("access_token"), ""); a.status != 403 ||
			!strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}

// What is wrong beside the password is said whatever the password is: no answer tells of it without a device in the
// list.
func TestToken_NoOracle(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for _, wrong := range [][]string{
			{"scope", "nosuch"},
			{"device_id", uuid.Max.String()},
		} {
			var answers []string
			for _, password := range []string{testPassword, "not it"} {
				a := k.form(
					"/oauth2/token",
					append(
						[]string{"grant_type", "password", "client_id", "web", "username", "anna", "password", password}, wrong...,
					)...,
				)
				answers = append(answers, fmt.Sprintf("%d %s", a.status, a.body))
			}
			if !strings.HasPrefix(answers[0], "400 ") || answers[0] != answers[1] {
				t.Errorf("%q: %s; with a wrong password %s", wrong, answers[0], answers[1])
			}
		}
	})
}

// A phone is called as its owner likes.
func TestToken_DeviceNames(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for name, want := range map[string]string{
			"MacBook\u00a0Pro de Léa": "MacBook Pro de Léa", "گوشی\u200cمن": "گوشی\u200cمن",
			"👨\u200d👩\u200d👧": "👨\u200d👩\u200d👧", "\u3000": "Go-http-client", "\u202e\u2066": "Go-http-client",
			"iPhone של דוד\u200f": "iPhone של דוד\u200f", "\u2068أحمد\u2069": "\u2068أحمد\u2069", "\U0001fae9 phone": "\U0001fae9 phone",
			"a\x01b\u202ec": "abc", strings.Repeat("a", 101): strings.Repeat("a", 100),
			strings.Repeat("a", 95) + "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f": strings.Repeat("a", 95),
		} {
			g := k.signIn("anna", "device_name", name)
			list := k.bearer("GET", "/settings/devices", g.str("access_token"), "")
			if got := list.json["devices"].([]any)[0].(map[string]any)["name"]; got != want {
				t.Errorf("%q became %q, want %q", name, got, want)
			}
		}
	})
}

// DESIGN: a user's token carries admin only if the user is an admin, and only when it is asked for by name.
func TestToken_AdminScope(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		ask := func(scope string) *answer {
			return k.form(
				"/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna", "password", testPassword,
				"scope", scope,
			)
		}
		if a := ask("admin"); a.status != 400 || a.str("error") != "invalid_scope" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		u, err := k.store.FindUser(t.Context(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		// That answer says that the password is right, so it leaves a trace.
		refused := models.AuditFilter{Type: models.AuditAdminRefused, UserID: u.ID.String()}
		if events, _, err := k.store.ListAuditEvents(t.Context(), refused, models.Page{}); err != nil ||
			len(events) != 1 {
			t.Fatalf("%v %v", events, err)
		}
		admin := true
		if _, _, err := k.store.UpdateUser(t.Context(), u.ID, models.UserPatch{Admin: &admin}, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		if a := ask("admin settings"); a.status != 200 || a.str("scope") != "admin settings" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := k.signIn("anna"); strings.Contains(a.str("scope"), "admin") {
			t.Fatalf("%s", a.body)
		}
	})
}

func TestMetadataAndKeys(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		if err := apitest.Routes("public", k.srv.Routes()); err != nil {
			t.Error(err)
		}
		m := k.do(k.request("GET", "/.well-known/oauth-authorization-server", ""))
		if m.status != 200 || m.str("issuer") != k.url || m.str("token_endpoint") != k.url+"/oauth2/token" {
			t.Fatalf("%d %s", m.status, m.body)
		}
		keys := k.do(k.request("GET", "/oauth2/jwks", ""))
		if keys.status != 200 || len(keys.json["keys"].([]any)) != 2 || // of access tokens, and of identity
			keys.header.Get("Cache-Control") != "public, max-age=300" {
			t.Fatalf("%d %s", keys.status, keys.body)
		}
		tag := keys.header.Get("ETag")
		if again := k.do(k.request("GET", "/oauth2/jwks", "", "If-None-Match", tag)); again.status != 304 ||
			len(again.body) != 0 {
			t.Fatalf("%d %s", again.status, again.body)
		}
		if again := k.do(
			k.request("HEAD", "/oauth2/jwks", "", "If-None-Match", keys.header.Get("ETag")),
		); again.status != 304 {
			t.Fatalf("%d", again.status)
		}
		for _, path := range []string{"/healthz", "/readyz", "/oauth2/jwks", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
			a, head := k.do(k.request("GET", path, "")), k.do(k.request("HEAD", path, ""))
			for _, h := range []*answer{a, head} {
				h.header.Del("Date")
				h.header.Del("X-Request-Id")
			}
			if a.status != 200 || head.status != 200 || len(head.body) != 0 || !reflect.DeepEqual(a.header, head.header) {
				t.Fatalf("%s: %d %v; HEAD %d %v %q", path, a.status, a.header, head.status, head.header, head.body)
			}
		}
		// An independent reader of key sets agrees, on the thumbprint too.
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(keys.body, &set); err != nil {
			t.Fatal(err)
		}
		sum, err := set.Keys[0].Thumbprint(crypto.SHA256)
		if err != nil || base64.RawURLEncoding.EncodeToString(sum) != set.Keys[0].KeyID || !set.Keys[0].Valid() {
			t.Fatalf("%v %+v", err, set.Keys[0])
		}
	})
}

// Invariant 7: without the database nothing is issued and nothing is accepted; the process lives, but is not ready.
func TestDatabaseAway(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		api := k.apiToken()
		k.introspect(g.str("access_token")) // the client is remembered
		k.store.DB().Close()
		for name, a := range map[string]*answer{
			"refresh": k.refresh(g.str("refresh_token")), "introspection": k.introspect(g.str("access_token")),
			"password": k.form(
				"/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna", "password", testPassword,
			),
			"revoke": k.form("/oauth2/revoke", "client_id", "web", "token", g.str("refresh_token")),
		} {
			if a.status != 503 || a.str("error") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s %v", name, a.status, a.body, a.header)
			}
		}
		for name, a := range map[string]*answer{
			"settings": k.bearer("GET", "/settings/devices", g.str("access_token"), ""),
			"feed":     k.bearer("GET", "/oauth2/revocations", api, ""),
			"ready":    k.do(k.request("GET", "/readyz", "")),
		} {
			if a.status != 503 || a.str("code") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		if a := k.do(k.request("HEAD", "/readyz", "")); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("HEAD /readyz: %d", a.status)
		}
		if a := k.do(k.request("GET", "/healthz", "")); a.status != 200 {
			t.Errorf("the process lives: %d", a.status)
		}
	})
}
