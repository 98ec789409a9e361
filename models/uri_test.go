package models

import (
	"errors"
	"testing"
)

func TestRedirectURI(t *testing.T) {
	public, confidential := &Client{Public: true}, &Client{}
	for _, uri := range []string{
		"https://app.example", "https://app.example/", "https://app.example/cb?x=1&y=2", "https://app.example:8443/cb",
		"https://xn--bcher-kva.example/cb", "http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://[::1]:3000/cb",
		"http://localhost/cb", "https://203.0.113.7/cb", "https://[2001:db8::7]/cb",
	} {
		for _, c := range []*Client{public, confidential} {
			if err := c.checkRedirectURI(uri); err != nil {
				t.Errorf("%s: %v", uri, err)
			}
		}
	}
	for _, uri := range []string{
		"com.example.app:/cb", "com.example.app://cb", "com.example.app:/", "com.example-2.app:/cb?x",
	} {
		if err := public.checkRedirectURI(uri); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		if err := confidential.checkRedirectURI(uri); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s for a confidential client: %v", uri, err)
		}
	}
	for _, uri := range []string{
		"", " ", "/cb", "cb", "//app.example/cb", "app.example/cb", "https:", "https:/cb", "https://", "https:///cb",
		"https:app.example", "https://:443/cb", "https://app.example/cb#", "https://app.example/cb#x",
		"HTTPS://app.example/cb",
		"https://APP.example/cb", "https://user@app.example/cb", "https://user:pw@app.example/cb",
		"https://@app.example/cb",
		"https://app.example:/cb", "https://app.example:0/cb", "https://app.example:65536/cb", "https://app.example:080/cb",
		"https://app.example:x/cb", "https://*.example/cb", "https://app.example/*", "https://bücher.example/cb",
		"https://app..example/cb", "https://.example/cb", "https://app.example./cb", "https://app.example/c b",
		"https://app.example/\ncb", `https://app.example\cb`, "https://app.example/\x00", "https://[::1/cb", "https://[127.0.0.1]/cb",
		"https://[::FFFF:1]/cb", "http://app.example/cb", "http://127.0.0.1.evil.example/cb",
		"http://localhost.evil.example/cb",
		"http://localhost./cb", "http://127.1/cb", "http://0.0.0.0/cb", "http://[::ffff:127.0.0.1]/cb",
		"http://127.0.0.2/cb",
		"http://LOCALHOST/cb", "http://localhost@evil.example/cb", "javascript:alert(1)",
		"javascript://app.example/%0aalert(1)",
		"data:text/html,x", "vbscript:x", "file:///etc/passwd", "ftp://app.example/cb", "about:blank",
		"blob:https://app.example/x",
		"myapp:/cb", "myapp://cb", "urn:ietf:wg:oauth:2.0:oob", "com.example.app:cb",
		"com.example.app:", "com.example.app:/cb#x",
		"Com.Example.App:/cb", "com..app:/cb", ".example:/cb", "com.:/cb", "com.example.app:/*", "javascript.:alert(1)",
	} {
		if err := public.checkRedirectURI(uri); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is allowed: %v", uri, err)
		}
	}
}

func TestWebOrigin(t *testing.T) {
	for _, origin := range []string{
		"https://app.example", "https://app.example:8443", "http://localhost:3000",
		"http://127.0.0.1:8080", "http://[::1]:3000",
		"https://xn--bcher-kva.example", "http://app.test:81", "https://app.example:80", "http://app.example:443",
	} {
		if err := CheckWebOrigin(origin); err != nil {
			t.Errorf("%s: %v", origin, err)
		}
	}
	for _, origin := range []string{
		"", "*", "null", "NULL", "app.example", "//app.example", "https://", "https:", "https://*", "https://*.example",
		"https://app.example/", "https://app.example/login", "https://app.example?",
		"https://app.example#", "https://APP.example",
		"HTTPS://app.example", "https://app.example:443", "http://app.example:80",
		"https://app.example:", "https://app.example:0",
		"https://user@app.example", "https://app.example.", "https://bücher.example", "ftp://app.example", "file://",
		"javascript://app.example", "https://app.example https://b.example", "https://app.example,https://b.example",
		"https://app.example\n", " https://app.example", "https://[::1", "http://[0:0:0:0:0:0:0:1]:3000",
	} {
		if err := CheckWebOrigin(origin); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is allowed: %v", origin, err)
		}
	}
}

func TestResourceURI(t *testing.T) {
	for _, uri := range []string{
		"https://api.example", "https://api.example/orders?tenant=1", "http://127.0.0.1:9000/",
		"urn:example:orders", "api://orders",
	} {
		if err := checkResource(uri); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for _, uri := range []string{
		"", "orders", "/orders", "//api.example", "https://api.example/#x", "https://api.example/#", "urn:", "https:",
		"https://api.example/a b", "https://api.example/ü", "urn:a\"b", "URN:example:orders",
	} {
		if err := checkResource(uri); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is allowed: %v", uri, err)
		}
	}
}
