package models

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What cannot be is refused by name, in a new client and in a change, and nothing is changed by it.
func TestClient_WhatCannotBe(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		grants := []string{GrantPassword, GrantRefreshToken}
		for _, public := range []bool{true, false} {
			id := "public"
			if !public {
				id = "confidential"
			}
			if _, _, err := k.CreateClient(t.Context(), NewClient{ID: id, Public: public, Grants: grants}, Actor{}); err != nil {
				t.Fatal(err)
			}
		}
		second, day, long := Span(time.Second), Span(25*time.Hour), Span(1500*time.Millisecond)
		negative, none := Span(-time.Second), 0
		cases := []struct {
			name   string
			public bool
			in     NewClient
			want   string // part of what it says
		}{
			{"pkce", true, NewClient{PKCE: "plain"}, "must be required or optional"},
			{"pkce optional", true, NewClient{PKCE: PKCEOptional}, "confidential clients"},
			{"cookie", false, NewClient{RefreshCookie: true}, "public clients"},
			{"own scheme", false, NewClient{RedirectURIs: []string{"com.example.app:/cb"}}, "public clients"},
			{"access_ttl", true, NewClient{AccessTTL: &day}, "access_ttl 25h0m0s: must be 1s to 24h0m0s"},
			{"refresh_ttl", true, NewClient{RefreshTTL: &negative}, "refresh_ttl -1s"},
			{"half a second", true, NewClient{RefreshTTL: &long}, "whole seconds"},
			{"device_max_age", true, NewClient{DeviceMaxAge: &negative}, "device_max_age -1s"},
			{"lost_answer", true, NewClient{LostAnswer: &day}, "lost answer"},
			{"max_devices", true, NewClient{MaxDevices: &none}, "max_devices 0: must be 1 to 1000"},
			{"back channel", true, NewClient{BackchannelLogoutURI: "ftp://app.example"}, "backchannel_logout_uri"},
			{"back channel", true, NewClient{BackchannelLogoutURI: "https://app.example/#x"}, "fragment"},
			{"twice", true, NewClient{Origins: []string{"https://a.example", "https://a.example"}}, "twice"},
			{"too many", true, NewClient{Resources: make([]string, 51)}, "at most 50"},
			{"too long", true, NewClient{Resources: []string{"https://a.example/" + strings.Repeat("a", 500)}}, "at most 512"},
		}
		for _, c := range cases {
			id := map[bool]string{true: "public", false: "confidential"}[c.public]
			before, err := k.GetClient(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			c.in.ID, c.in.Public, c.in.Grants, c.in.Name = "new", c.public, grants, "New"
			_, _, made := k.CreateClient(t.Context(), c.in, Actor{})
			_, changed := k.UpdateClient(t.Context(), id, c.in.patch(), Actor{})
			for _, err := range []error{made, changed} {
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %q", c.name, err, c.want)
				}
			}
			after, err := k.GetClient(t.Context(), id)
			if err != nil || after.Version != before.Version {
				t.Errorf("%s: version %d, was %d, %v", c.name, after.Version, before.Version, err)
			}
		}
		// What fits by itself and not to the rest.
		if _, _, err := k.CreateClient(t.Context(), NewClient{
			ID: "new", Public: true, Grants: []string{GrantAuthorizationCode},
		}, Actor{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "redirect URI") {
			t.Errorf("no redirect URI: %v", err)
		}
		if _, _, err := k.CreateClient(t.Context(), NewClient{
			ID: "new", Public: true, Grants: []string{GrantPassword}, RefreshCookie: true,
		}, Actor{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a cookie and no refresh: %v", err)
		}
		if _, _, err := k.CreateClient(t.Context(), NewClient{
			ID: "new", Public: true, Grants: []string{GrantAuthorizationCode, GrantRefreshToken}, AccessTTL: &second,
			RedirectURIs: []string{"https://app.example/cb"}, RefreshCookie: true, Origins: []string{"https://app.example"},
		}, Actor{}); err != nil {
			t.Errorf("%v", err)
		}
	})
}

// Each member is stored, changed, and taken back; what a change does not name stays.
func TestClient_Members(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		hour, three, off := Span(time.Hour), 3, Span(0)
		in := NewClient{
			ID: "app", Public: true, Grants: []string{GrantPassword, GrantAuthorizationCode, GrantRefreshToken},
			RedirectURIs:           []string{"https://app.example/cb", "com.example.app:/cb"},
			PostLogoutRedirectURIs: []string{"https://app.example/"}, Origins: []string{"https://app.example"},
			Resources: []string{"https://api.example/orders", "urn:example:mail"}, AccessTTL: &hour, RefreshTTL: &hour,
			DeviceMaxAge: &off, MaxDevices: &three, RefreshCookie: true, BackchannelLogoutURI: "https://app.example/out",
		}
		if _, _, err := k.CreateClient(t.Context(), in, Actor{}); err != nil {
			t.Fatal(err)
		}
		name := "App"
		if _, err := k.UpdateClient(t.Context(), "app", ClientPatch{Name: &name}, Actor{}); err != nil {
			t.Fatal(err)
		}
		c, err := k.GetClient(t.Context(), "app")
		if err != nil || c.Name != name || c.RedirectURIs != "https://app.example/cb com.example.app:/cb" ||
			c.PostLogoutRedirectURIs != "https://app.example/" || c.Origins != "https://app.example" ||
			c.Resources != "https://api.example/orders urn:example:mail" || c.PKCE != PKCERequired || *c.AccessTTL != hour ||
			*c.RefreshTTL != hour || *c.DeviceMaxAge != 0 || *c.MaxDevices != 3 || !c.RefreshCookie ||
			c.BackchannelLogoutURI != "https://app.example/out" {
			t.Fatalf("%+v %v", c, err)
		}
		if !c.HasResource("urn:example:mail") || c.HasResource("urn:example") || !c.HasOrigin("https://app.example") ||
			c.HasOrigin("https://app") || c.HasOrigin("") {
			t.Error("a list is not compared to the letter")
		}
		var longest Micros
		if err := k.sqldb.QueryRow(`SELECT longest_access_ttl FROM realm`).Scan(&longest); err != nil ||
			longest != Micros(time.Hour.Microseconds()) {
			t.Errorf("the log forgets after %d µs, before the client's tokens expire: %v", longest, err)
		}
		none, empty, no, no2 := (*Span)(nil), []string{}, false, (*int)(nil)
		text := ""
		if _, err := k.UpdateClient(t.Context(), "app", ClientPatch{
			Grants: &[]string{GrantPassword}, RedirectURIs: &empty, PostLogoutRedirectURIs: &empty, Origins: &empty,
			Resources: &empty, AccessTTL: &none, RefreshTTL: &none, DeviceMaxAge: &none, MaxDevices: &no2, RefreshCookie: &no,
			BackchannelLogoutURI: &text,
		}, Actor{}); err != nil {
			t.Fatal(err)
		}
		c, err = k.GetClient(t.Context(), "app")
		if err != nil || c.RedirectURIs+c.PostLogoutRedirectURIs+c.Origins+c.Resources+c.BackchannelLogoutURI != "" ||
			c.AccessTTL != nil || c.RefreshTTL != nil || c.DeviceMaxAge != nil || c.MaxDevices != nil || c.RefreshCookie {
			t.Fatalf("%+v %v", c, err)
		}
	})
}

// Curfew's own clients are nobody's to make, change or delete.
func TestClient_BuiltIn(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for _, id := range []string{ClientBrowser, ClientConsole} {
			_, _, made := k.CreateClient(t.Context(), NewClient{ID: id, Public: true}, Actor{})
			_, changed := k.UpdateClient(t.Context(), id, ClientPatch{Name: &id}, Actor{})
			_, secret := k.RotateClientSecret(t.Context(), id, "", Actor{})
			_, deleted := k.DeleteClient(t.Context(), id, Actor{})
			for _, err := range []error{made, changed, secret, deleted} {
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "built in") {
					t.Errorf("%s: %v", id, err)
				}
			}
		}
	})
}
