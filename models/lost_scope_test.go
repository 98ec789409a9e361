package models

import (
	"errors"
	"testing"
)

// A scope that the client has lost opens nothing any more: not by a token that is out, not by a refresh.
func TestLostScope(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		g := k.signIn(u) // settings profile
		machine, _, err := k.CreateClient(t.Context(), NewClient{
			ID: "ops", Grants: []string{GrantClientCredentials}, Scopes: []string{"admin", "orders"}, Introspect: true,
		}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		own, err := k.GrantClient(t.Context(), machine, "admin orders")
		if err != nil {
			t.Fatal(err)
		}
		asked := Refresh{Token: g.RefreshToken, Client: k.client, Scope: "settings", Origin: origin}
		if k.client, err = k.UpdateClient(t.Context(), k.client.ID, ClientPatch{Scopes: &[]string{"profile"}}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if machine, err = k.UpdateClient(t.Context(), machine.ID, ClientPatch{Scopes: &[]string{"orders"}}, Actor{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			token, lost, left string
		}{{g.AccessToken, "settings", "profile"}, {own.AccessToken, "admin", "orders"}} {
			checked, err := k.CheckAccessToken(t.Context(), c.token)
			if err != nil || checked.HasScope(c.lost) || checked.Scope != c.left {
				t.Errorf("a check finds %+v, %v", checked, err)
			}
			i, err := k.Introspect(t.Context(), machine, c.token)
			if err != nil || i == nil || i.Scope != c.left {
				t.Errorf("introspection finds %+v, %v", i, err)
			}
		}
		if i, err := k.Introspect(t.Context(), machine, g.RefreshToken); err != nil || i == nil || i.Scope != "profile" {
			t.Errorf("introspection of the refresh token finds %+v, %v", i, err)
		}
		if _, err := k.RefreshDevice(t.Context(), asked); !errors.Is(err, errStaleClient) {
			t.Errorf("as the client was: %v", err)
		}
		asked.Client = k.client
		if _, err := k.RefreshDevice(t.Context(), asked); !errors.Is(err, ErrScope) {
			t.Errorf("a refresh that asks for it: %v", err)
		}
		asked.Scope = ""
		next, err := k.RefreshDevice(t.Context(), asked)
		if err != nil || next.Scope != "profile" {
			t.Fatalf("a refresh: %+v, %v", next, err)
		}
		asked.Scope = "settings" // a retry
		if _, err := k.RefreshDevice(t.Context(), asked); !errors.Is(err, ErrScope) {
			t.Errorf("a retry that asks for it: %v", err)
		}
		// It may have it again.
		if k.client, err = k.UpdateClient(t.Context(), k.client.ID, ClientPatch{Scopes: &[]string{"profile", "settings"}}, Actor{}); err != nil {
			t.Fatal(err)
		}
		asked.Client = k.client
		if next, err = k.RefreshDevice(t.Context(), asked); err != nil || next.Scope != "settings" {
			t.Errorf("after it came back: %+v, %v", next, err)
		}
	})
}

// A user's token has the scope admin for as long as the user is an admin.
func TestLostScope_Admin(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, err := k.CreateUser(t.Context(), NewUser{Username: "root", Password: testPassword, Admin: true}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := k.SignIn(t.Context(), SignIn{User: u, Client: k.client, Scope: "admin profile", Name: "x", Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE users SET admin = false"); err != nil { // whoever writes it
			t.Fatal(err)
		}
		if checked, err := k.CheckAccessToken(t.Context(), g.AccessToken); err != nil || checked.Scope != "profile" {
			t.Fatalf("%+v, %v", checked, err)
		}
	})
}
