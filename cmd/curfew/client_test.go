package main

import (
	"slices"
	"testing"

	"curfew/internal/testdb"
	"curfew/internal/view"
)

// The members of a client, by flags: a list by repeating the flag or in one value, a switch without a value, a
// length of time, the server's own again; what is not named stays.
func TestClientSet(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		b.run("", "migrate")
		b.run("", "client", "add", "app", "--public", "--grants", "password,authorization_code", "--grants", "refresh_token",
			"--scopes", "settings profile", "--redirect-uris", "https://app.example/cb http://127.0.0.1/cb", "--redirect-uris",
			"com.example.app:/cb", "--origins", "https://app.example", "--origins", "http://localhost:3000", "--resources",
			"urn:example:x", "--access-ttl", "90s", "--refresh-ttl", "24h", "--device-max-age", "0s", "--max-devices", "3",
			"--lost-answer", "10m", "--refresh-cookie", "--post-logout-redirect-uris",
			"https://app.example/", "--pkce", "required",
			"--backchannel-logout-uri", "https://app.example/out")
		show := func(args ...string) view.Client {
			var c struct {
				view.Client
				CreatedAt string `json:"created_at"` // which is only written
				UpdatedAt string `json:"updated_at"`
			}
			b.json(&c, "", append([]string{"client", "set", "app"}, args...)...)
			return c.Client
		}
		c := show("--name", "App")
		if c.Name != "App" || !slices.Equal(c.Grants, []string{"password", "authorization_code", "refresh_token"}) ||
			!slices.Equal(c.RedirectURIs, []string{"https://app.example/cb", "http://127.0.0.1/cb", "com.example.app:/cb"}) ||
			!slices.Equal(c.Origins, []string{"https://app.example", "http://localhost:3000"}) || len(c.Resources) != 1 ||
			*c.AccessTTL != 90 || *c.RefreshTTL != 86400 || *c.DeviceMaxAge != 0 || *c.MaxDevices != 3 || *c.LostAnswer != 600 ||
			!c.RefreshCookie || len(c.PostLogoutRedirectURIs) != 1 || *c.BackchannelLogoutURI != "https://app.example/out" {
			t.Fatalf("%+v", c)
		}
		c = show("--access-ttl", "default", "--max-devices", "default", "--no-refresh-cookie", "--origins", "",
			"--backchannel-logout-uri", "", "--scopes", "settings")
		if c.AccessTTL != nil || c.MaxDevices != nil || c.RefreshCookie || len(c.Origins) != 0 ||
			c.BackchannelLogoutURI != nil ||
			!slices.Equal(c.Scopes, []string{"settings"}) || len(c.RedirectURIs) != 3 || *c.RefreshTTL != 86400 ||
			c.Name != "App" {
			t.Fatalf("%+v", c)
		}
		if c = show("--refresh-cookie"); !c.RefreshCookie {
			t.Fatalf("%+v", c)
		}
		if line := b.run("", "client", "set", "app", "--lost-answer", "1m"); line != "client app: changed\n" {
			t.Errorf("%q", line)
		}
		b.refuse(2, "", []string{"client", "set", "app"}, "nothing to change")
		b.refuse(2, "", []string{"client", "set", "app", "--access-ttl", "soon"}, `--access-ttl: "soon" is not a duration`)
		b.refuse(2, "", []string{"client", "set", "app", "--max-devices", "many"}, "whole number")
		b.refuse(2, "", []string{"client", "set", "app", "--origins", "https://app.example/"},
			"as browsers send it: https://app.example")
		b.refuse(2, "", []string{"client", "set", "app", "--pkce", "optional"}, "confidential")
		b.refuse(1, "", []string{"client", "set", "nobody", "--name", "x"}, `no client "nobody"`)
		b.refuse(2, "", []string{"client", "set", "curfew", "--name", "x"}, "built in")
		b.refuse(2, "", []string{"client", "delete", "curfew-console"}, "built in")
		b.refuse(2, "", []string{"client", "add", "curfew", "--public", "--grants", "password"}, "built in")
	})
}
