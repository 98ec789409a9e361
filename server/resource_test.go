package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"curfew/models"
)

const (
	orders = "https://api.example/orders"
	mail   = "urn:example:mail"
)

// audience is the aud of an access token, as introspection says it.
func (k *kit) audience(token string) []string {
	k.t.Helper()
	switch aud := k.introspect(token).json["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		var list []string
		for _, a := range aud {
			list = append(list, fmt.Sprint(a))
		}
		return list
	}
	return nil
}

func (k *kit) resourceClients() {
	k.t.Helper()
	k.client(models.NewClient{
		ID: "shop", Public: true, Grants: []string{"password", "refresh_token"}, Resources: []string{orders, mail},
		Scopes: []string{"settings", "profile", "admin"},
	})
	k.client(models.NewClient{
		ID: "job", Secret: apiSecret, Grants: []string{"client_credentials"}, Resources: []string{orders},
		Scopes: []string{"settings", "admin", "revocations", "work"},
	})
}

// RFC 8707: a token is for what was asked for and opens nothing of ours; a refresh may narrow it and nothing else.
func TestResource(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.resourceClients()
		in := k.form("/oauth2/token", signInForm("shop", "resource", orders, "resource", mail, "resource", orders)...)
		if in.status != 200 || in.str("scope") != "profile" {
			t.Fatalf("%d %s", in.status, in.body)
		}
		if aud := k.audience(in.str("access_token")); !slices.Equal(aud, []string{orders, mail}) {
			t.Errorf("aud %v", aud)
		}
		refresh := func(token string, more ...string) *answer {
			return k.form("/oauth2/token",
				append([]string{"grant_type", "refresh_token", "client_id", "shop", "refresh_token", token}, more...)...)
		}
		one := refresh(in.str("refresh_token"), "resource", mail)
		if aud := k.audience(one.str("access_token")); one.status != 200 || !slices.Equal(aud, []string{mail}) {
			t.Errorf("%d %s: aud %v", one.status, one.body, aud)
		}
		for _, wrong := range []string{"https://api.example", orders + "/", strings.ToUpper(orders), k.url, "orders", "*"} {
			if a := refresh(one.str("refresh_token"), "resource", wrong); a.status != 400 || a.str("error") != "invalid_target" {
				t.Errorf("%s: %d %s", wrong, a.status, a.body)
			}
		}
		all := refresh(one.str("refresh_token"))
		if aud := k.audience(all.str("access_token")); all.status != 200 || !slices.Equal(aud, []string{orders, mail}) {
			t.Errorf("%d %s: aud %v", all.status, all.body, aud)
		}
		for _, token := range []string{in.str("access_token"), one.str("access_token"), all.str("access_token")} {
			if a := k.bearer("GET", "/settings/devices", token, ""); a.status != 401 || a.str("code") != "invalid_token" {
				t.Errorf("the settings: %d %s", a.status, a.body)
			}
		}
		// A sign-in for one of them is not widened by a refresh.
		narrow := k.form("/oauth2/token", signInForm("shop", "resource", mail)...)
		if a := refresh(narrow.str("refresh_token"), "resource", orders); a.status != 400 ||
			a.str("error") != "invalid_target" {
			t.Errorf("widened: %d %s", a.status, a.body)
		}
		if a := refresh(narrow.str("refresh_token")); a.status != 200 {
			t.Errorf("the refusal has used the token up: %d %s", a.status, a.body)
		}
		// Without a resource it is for us, as ever.
		ours := k.form("/oauth2/token", signInForm("shop", "resource", "")...)
		if aud := k.audience(ours.str("access_token")); !slices.Equal(aud, []string{k.url}) ||
			ours.str("scope") != "settings profile" {
			t.Errorf("%s: aud %v", ours.body, aud)
		}
		if a := k.bearer("GET", "/settings/devices", ours.str("access_token"), ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// What a client was not registered for is refused before the password is looked at, and leaves no device.
func TestResource_Unknown(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.resourceClients()
		devices := k.devices()
		for _, form := range [][]string{
			signInForm("web", "resource", orders), signInForm("shop", "resource", orders, "resource", "https://other.example"),
			append(signInForm("shop", "resource", "https://other.example")[:6], "password", "wrong", "resource", "x"),
		} {
			if a := k.form("/oauth2/token", form...); a.status != 400 || a.str("error") != "invalid_target" {
				t.Errorf("%v: %d %s", form, a.status, a.body)
			}
		}
		if k.devices() != devices {
			t.Error("there is a device")
		}
		for _, twice := range []string{"scope", "client_id", "grant_type"} {
			if a := k.form("/oauth2/token", signInForm("shop", twice, "shop", twice, "shop")...); a.status != 400 ||
				a.str("error") != "invalid_request" {
				t.Errorf("%s twice: %d %s", twice, a.status, a.body)
			}
		}
	})
}

// A client's own token for a resource opens no door of ours either, the feed included.
func TestResource_ClientCredentials(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.resourceClients()
		grant := func(more ...string) *answer {
			return k.form("/oauth2/token", append([]string{
				"grant_type", "client_credentials", "client_id", "job", "client_secret", apiSecret,
			}, more...)...)
		}
		a := grant("resource", orders, "scope", "settings admin revocations work")
		if aud := k.audience(a.str("access_token")); a.status != 200 || a.str("scope") != "revocations work" ||
			!slices.Equal(aud, []string{orders}) {
			t.Fatalf("%d %s: aud %v", a.status, a.body, aud)
		}
		for _, path := range []string{"/settings/devices", "/oauth2/revocations"} {
			if got := k.bearer("GET", path, a.str("access_token"), ""); got.status != 401 {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
		if a := grant("resource", mail); a.status != 400 || a.str("error") != "invalid_target" {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}
