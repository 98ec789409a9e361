package server

import (
	"strings"
	"testing"
)

// One reader of JSON takes the first of two fields with one name, another the last: so none is taken. And what is said
// about a body tells of the API, not of the program.
func TestBadInput_JSONFields(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		before := k.state()
		for name, tc := range map[string]struct{ method, path, body string }{
			"doubled":                     {"PATCH", "/settings/devices/current", `{"name":"a","name":"b"}`},
			"doubled in another case":     {"PATCH", "/settings/devices/current", `{"name":"a","NAME":"b"}`},
			"doubled by another spelling": {"PATCH", "/settings/devices/current", `{"name":"a","na\u006de":"b"}`},
			"a list for a text":           {"PATCH", "/settings/devices/current", `{"name":["a"]}`},
			"a list for a body":           {"PATCH", "/settings/devices/current", `["name"]`},
			"null":                        {"PATCH", "/settings/devices/current", `null`},
			"a parameter":                 {"PATCH", "/settings/devices/current?name=x", `{"name":"a"}`},
			"doubled password": {
				"PUT", "/settings/password",
				`{"current_password":"x","current_password":"` + testPassword + `","new_password":"a better one it is"}`,
			},
		} {
			a := k.bearer(tc.method, tc.path, g.str("access_token"), tc.body)
			if a.status != 400 || a.str("code") != "invalid_request" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
			if d := a.str("detail"); strings.Contains(d, "Go ") || strings.Contains(d, "struct") ||
				strings.Contains(d, testPassword) {
				t.Errorf("%s: %s", name, d)
			}
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		if a := k.bearer("PATCH", "/settings/devices/current", g.str("access_token"), `{"name":"b"}`); a.status != 200 ||
			a.str("name") != "b" || a.json["current"] != true {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := k.bearer("DELETE", "/settings/devices/current", g.str("access_token"), ""); a.status != 200 ||
			k.active(g.str("access_token")) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// RFC 9110 section 13.1.2: the key set's tag is compared weakly, since a proxy that compresses makes a weak one of it.
func TestKeys_NotModified(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		tag := k.do(k.request("GET", "/oauth2/jwks", "")).header.Get("ETag")
		for value, status := range map[string]int{
			tag: 304, "W/" + tag: 304, `"other", W/` + tag: 304, "*": 304, `"other"`: 200, "": 200, strings.Trim(tag, `"`): 200,
		} {
			a := k.do(k.request("GET", "/oauth2/jwks", "", "If-None-Match", value))
			if a.status != status || a.header.Get("ETag") != tag || a.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: %d %v", value, a.status, a.header)
			}
		}
	})
}
