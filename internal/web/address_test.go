package web

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProxies_Source(t *testing.T) {
	const none = ""
	for _, c := range []struct {
		name      string
		peer      string
		forwarded []string // one a line of the header
		ip, limit string
	}{
		{"no proxy", "198.51.100.1:1", []string{"203.0.113.7"}, "198.51.100.1", "198.51.100.1"},
		{"the proxy itself", "10.0.0.1:1", nil, "10.0.0.1", "10.0.0.1"},
		{"plain", "10.0.0.1:1", []string{"203.0.113.7"}, "203.0.113.7", "203.0.113.7"},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.7:51234"}, "203.0.113.7", "203.0.113.7"},
		{"IPv6", "10.0.0.1:1", []string{"2001:DB8::0007"}, "2001:db8::7", "2001:db8::7"},
		{"IPv6 in brackets", "10.0.0.1:1", []string{"[2001:db8::7]"}, "2001:db8::7", "2001:db8::7"},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8::7]:443"}, "2001:db8::7", "2001:db8::7"},
		{"IPv4 as IPv6", "10.0.0.1:1", []string{"[::ffff:203.0.113.7]:443"}, "203.0.113.7", "203.0.113.7"},
		{"with a zone", "10.0.0.1:1", []string{"fe80::1%eth0"}, "fe80::1", "fe80::1"},
		{"what a client wrote", "10.0.0.1:1", []string{"6.6.6.6, 203.0.113.7:51234"}, "203.0.113.7", "203.0.113.7"},
		{"in a line of its own", "10.0.0.1:1", []string{"6.6.6.6", "203.0.113.7"}, "203.0.113.7", "203.0.113.7"},
		{"two proxies", "10.0.0.1:1", []string{"6.6.6.6,203.0.113.7 ,\t10.0.0.2:80"}, "203.0.113.7", "203.0.113.7"},
		{"proxies only", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", "10.0.0.3"},
		{"a proxy in IPv4 as IPv6", "[::ffff:10.0.0.1]:1", []string{"203.0.113.7"}, "203.0.113.7", "203.0.113.7"},
		{"a single proxy", "[2001:db8::1]:1", []string{"203.0.113.7"}, "203.0.113.7", "203.0.113.7"},

		{"unknown", "10.0.0.1:1", []string{"unknown"}, none, "10.0.0.1"},
		{"empty", "10.0.0.1:1", []string{""}, none, "10.0.0.1"},
		{"an empty entry", "10.0.0.1:1", []string{"203.0.113.7,"}, none, "10.0.0.1"},
		{"the hop before", "10.0.0.1:1", []string{"203.0.113.7, unix:"}, none, "10.0.0.1"},
		{"behind two proxies", "10.0.0.1:1", []string{"6.6.6.6, garbage, 10.0.0.2"}, none, "10.0.0.2"},
		{"a name", "10.0.0.1:1", []string{"phone.example"}, none, "10.0.0.1"},
		{"IPv4 in brackets", "10.0.0.1:1", []string{"[203.0.113.7]"}, none, "10.0.0.1"},
		{"half brackets", "10.0.0.1:1", []string{"[2001:db8::7"}, none, "10.0.0.1"},
		{"no such port", "10.0.0.1:1", []string{"203.0.113.7:70000"}, none, "10.0.0.1"},
		{"leading zeros", "10.0.0.1:1", []string{"203.0.113.007"}, none, "10.0.0.1"},
	} {
		p, err := newProxies([]string{"10.0.0.0/8", "2001:db8::1"}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.forwarded
		if got := p.source(r); got != (source{c.ip, c.limit}) {
			t.Errorf("%s: %+v, want %+v", c.name, got, source{c.ip, c.limit})
		}
	}
}

func TestProxies_List(t *testing.T) {
	for _, good := range []string{"10.0.0.1", "::ffff:10.0.0.1", "10.0.0.0/8", "::ffff:10.0.0.0/104", "::/0,10.0.0.1"} {
		p, err := newProxies(strings.Split(good, ","), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-For", "203.0.113.7")
		if got := p.source(r).ip; got != "203.0.113.7" {
			t.Errorf("%s is not trusted: %s", good, got)
		}
	}
	for _, bad := range []string{"", "proxy", "10.0.0.1:80", "10.0.0.0/33"} {
		if _, err := newProxies([]string{bad}, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The log names the proxy, once for many, and repeats little of what a client may have written.
func TestProxies_Unreadable(t *testing.T) {
	var log bytes.Buffer
	p, err := newProxies([]string{"10.0.0.0/8"}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-For", "203.0.113.7, "+strings.Repeat("x", 5000))
		p.source(r)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "proxy=10.0.0.1") || log.Len() > 500 {
		t.Errorf("%d lines: %s", n, log.String())
	}
}
