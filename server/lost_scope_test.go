package server

import (
	"encoding/json"
	"testing"

	"curfew/models"
)

// What a client has lost opens no door of ours, is refused when it is asked for, and is missed in each answer: also in
// one that has nothing left.
func TestLostScope(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna", "scope", "settings")
		lose := func(scopes ...string) {
			patch := models.ClientPatch{Scopes: &scopes}
			if _, err := k.store.UpdateClient(t.Context(), "web", patch, models.Actor{}); err != nil {
				t.Fatal(err)
			}
		}
		lose("profile")
		if a := k.bearer("GET", "/settings/devices", g.str("access_token"), ""); a.status != 403 ||
			a.str("code") != "insufficient_scope" {
			t.Errorf("the settings: %d %s", a.status, a.body)
		}
		if a := k.introspect(g.str("access_token")); a.json["active"] != true || a.json["scope"] != "" {
			t.Errorf("introspection: %d %s", a.status, a.body)
		}
		if a := k.refresh(g.str("refresh_token"), "scope", "settings"); a.status != 400 || a.str("error") != "invalid_scope" {
			t.Errorf("a refresh that asks for it: %d %s", a.status, a.body)
		}
		next := k.refresh(g.str("refresh_token"))
		if scope, there := next.json["scope"]; next.status != 200 || !there || scope != "" {
			t.Errorf("a refresh: %d %s", next.status, next.body)
		}
		lose("profile", "settings")
		if a := k.bearer("GET", "/settings/devices", next.str("access_token"), ""); a.status != 403 {
			t.Errorf("a token that was issued without it: %d %s", a.status, a.body)
		}
		back := k.refresh(next.str("refresh_token"))
		if a := k.bearer("GET", "/settings/devices", back.str("access_token"), ""); a.status != 200 {
			t.Errorf("after it came back: %d %s", a.status, a.body)
		}
	})
}

// Every answer of the token endpoint says the scope.
func TestToken_ScopeInEveryAnswer(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.client(models.NewClient{ID: "plain", Public: true, Grants: []string{"password", "refresh_token"}})
		k.client(models.NewClient{ID: "plain.api", Secret: apiSecret, Grants: []string{"client_credentials"}})
		signIn := k.form("/oauth2/token", "grant_type", "password", "client_id", "plain", "username", "anna",
			"password", testPassword)
		for name, a := range map[string]*answer{
			"password": signIn,
			"refresh_token": k.form("/oauth2/token", "grant_type", "refresh_token", "client_id", "plain", "refresh_token",
				signIn.str("refresh_token")),
			"client_credentials": k.form("/oauth2/token", "grant_type", "client_credentials", "client_id", "plain.api",
				"client_secret", apiSecret),
		} {
			var members map[string]json.RawMessage
			err := json.Unmarshal(a.body, &members)
			if err != nil || a.status != 200 || string(members["scope"]) != `""` {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	})
}
