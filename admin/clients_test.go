package admin

import (
	"net/http"
	"strings"
	"testing"
)

// What a client is registered with beside grants and scopes: set, shown, changed, taken back, and refused by name.
func TestClients_Members(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		made := k.want(201, "POST", "/admin/clients", `{"client_id":"app","public":true,
			"grants":["password","authorization_code","refresh_token"],"redirect_uris":["https://app.example/cb"],
			"post_logout_redirect_uris":["https://app.example/"],"origins":["https://app.example"],"resources":["urn:example:x"],
			"pkce":"required","access_ttl":90,"refresh_ttl":3600,"device_max_age":0,"max_devices":3,"lost_answer":600,
			"refresh_cookie":true,"backchannel_logout_uri":"https://app.example/out"}`)
		for _, want := range []string{
			`"redirect_uris":["https://app.example/cb"]`, `"post_logout_redirect_uris":["https://app.example/"]`,
			`"origins":["https://app.example"]`, `"resources":["urn:example:x"]`, `"pkce":"required"`, `"access_ttl":90,`,
			`"refresh_ttl":3600,`, `"device_max_age":0,`, `"max_devices":3,`, `"lost_answer":600,`, `"refresh_cookie":true`,
			`"backchannel_logout_uri":"https://app.example/out"`,
		} {
			if again := k.want(200, "GET", "/admin/clients/app", ""); !strings.Contains(made.body, want) ||
				!strings.Contains(again.body, want) {
				t.Errorf("no %s in %s", want, made.body)
			}
		}
		// null is the server's; what is not there stays.
		a := k.want(200, "PATCH", "/admin/clients/app", `{"access_ttl":null,"max_devices":null,"origins":[],
			"backchannel_logout_uri":null,"lost_answer":1}`)
		for _, want := range []string{
			`"access_ttl":null`, `"max_devices":null`, `"origins":[]`, `"backchannel_logout_uri":null`, `"lost_answer":1,`,
			`"refresh_ttl":3600,`, `"redirect_uris":["https://app.example/cb"]`, `"refresh_cookie":true`,
		} {
			if !strings.Contains(a.body, want) {
				t.Errorf("no %s in %s", want, a.body)
			}
		}
		before := k.want(200, "GET", "/admin/clients/app", "").body
		for body, want := range map[string]string{
			`{"access_ttl":0}`:                             "access_ttl",
			`{"access_ttl":1.5}`:                           "access_ttl",
			`{"access_ttl":"90s"}`:                         "access_ttl",
			`{"access_ttl":9223372036854775807}`:           "access_ttl",
			`{"refresh_ttl":-9223372036854775808}`:         "refresh_ttl",
			`{"max_devices":1001}`:                         "max_devices",
			`{"lost_answer":86401}`:                        "lost answer",
			`{"origins":["https://app.example/"]}`:         "must be written as browsers send it: https://app.example",
			`{"origins":["*"]}`:                            "must be one origin",
			`{"origins":["null"]}`:                         "origin null",
			`{"redirect_uris":["javascript:alert(1)"]}`:    "redirect URI",
			`{"redirect_uris":[]}`:                         "must have a redirect URI",
			`{"resources":["orders"]}`:                     "must be absolute",
			`{"pkce":"optional"}`:                          "confidential",
			`{"grants":["password"]}`:                      "refresh_cookie",
			`{"backchannel_logout_uri":"app.example/out"}`: "backchannel_logout_uri",
		} {
			a := k.want(400, "PATCH", "/admin/clients/app", body)
			if !strings.Contains(a.str("detail"), want) {
				t.Errorf("%s: %s", body, a.body)
			}
		}
		if after := k.want(200, "GET", "/admin/clients/app", "").body; after != before {
			t.Errorf("a refused change changed it: %s, was %s", after, before)
		}
		for _, id := range []string{"curfew", "curfew-console"} {
			k.want(400, "POST", "/admin/clients", `{"client_id":"`+id+`","public":true}`)
			k.want(400, "PATCH", "/admin/clients/"+id, `{"name":"x"}`)
			k.want(400, "POST", "/admin/clients/"+id+"/secret", "")
			k.want(400, "DELETE", "/admin/clients/"+id, "")
		}
	})
}

// The admin listener is for no page.
func TestBrowsers_Nobody(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.want(201, "POST", "/admin/clients", `{"client_id":"app","public":true,"origins":["https://app.example"]}`)
		for _, method := range []string{"OPTIONS", "GET"} {
			r, err := http.NewRequestWithContext(t.Context(), method, k.http.URL+"/admin/clients", nil)
			must(t, err)
			r.Header.Set("Authorization", "Bearer "+k.token)
			r.Header.Set("Origin", "https://app.example")
			r.Header.Set("Access-Control-Request-Method", "GET")
			a, err := k.http.Client().Do(r)
			must(t, err)
			a.Body.Close()
			for name := range a.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s: %s", method, name)
				}
			}
		}
	})
}
