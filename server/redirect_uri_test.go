package server

import (
	"net/url"
	"strings"
	"testing"

	"curfew/internal/web"
)

// Whatever is accepted is a registered one, or differs from it in the port of a loopback address and in nothing else;
// and an answer leads to the same place.
func FuzzMayLeadTo(f *testing.F) {
	const registered = appURI + " " + cliURI + " http://[::1]:7777/cb?x=1 http://localhost com.example.app:/cb"
	for _, uri := range strings.Fields(registered) {
		f.Add(uri)
	}
	for _, uri := range []string{
		"http://127.0.0.1:8080/callback", "http://localhost:1@evil.test", "http://[::1]:7777/cb?x=1#",
		"https://app.example/callback/..",
	} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !mayLeadTo(registered, uri) {
			return
		}
		u, err := url.Parse(withQuery(uri, url.Values{"code": {"c"}, "state": {"s"}}))
		if err != nil || u.User != nil || u.Fragment != "" || u.Query().Get("code") != "c" {
			t.Fatalf("%q was accepted: %v %v", uri, u, err)
		}
		for _, r := range strings.Fields(registered) {
			want, err := url.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if u.Scheme == want.Scheme && u.Hostname() == want.Hostname() && u.EscapedPath() == want.EscapedPath() &&
				strings.HasPrefix(u.RawQuery, want.RawQuery) && (u.Port() == want.Port() || web.IsLoopbackHost(u.Host)) {
				return
			}
		}
		t.Fatalf("%q was accepted", uri)
	})
}
