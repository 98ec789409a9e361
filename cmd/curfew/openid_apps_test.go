package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"curfew/internal/testdb"
	"curfew/internal/view"
	"curfew/internal/visit"
)

// The apps of docs/apps-openid.md, the real programs as the page configures them: sign in, renew, log out; and one
// sign-out at the command line ends all their sessions, those of the apps that are told by the time of its receipt.
func TestOpenID_Apps(t *testing.T) {
	k := newOpenIDKit(t)
	k.holdEndpoints()
	var apps []*openIDApp
	for _, start := range []func() *openIDApp{k.startApache, k.startExpress, k.startAuthJS, k.startOAuth2Proxy} {
		a := start()
		k.lifeAt(a)
		apps = append(apps, a)
	}
	k.outEverywhere(apps)
}

// openIDKit is a server with alice, and what its apps are started with.
type openIDKit struct {
	*testing.T
	*box
	server   *running
	upstream string // the address of the app behind proxies: it says what it is told
}

// openIDApp is an app that runs.
type openIDApp struct {
	client, address, secret string
	logout                  string // path
	told                    bool   // it has a back-channel logout URI
	stays                   *person
}

// person is alice, in a browser that goes to one app.
type person struct {
	k           *openIDKit
	to          *openIDApp
	app, curfew *visit.Browser
}

func newOpenIDKit(t *testing.T) *openIDKit {
	public := freeAddr(t)
	b := newBox(t, testdb.SQLite(t)).with("CURFEW_PUBLIC_ADDR="+public, "CURFEW_ISSUER=http://"+public,
		"CURFEW_OUTBOUND_ALLOW=127.0.0.0/8")
	b.run("", "migrate")
	b.run(testPassword+"\n", "user", "add", "alice", "--password-stdin")
	b.run("", "user", "set", "alice", "--name", "Alice", "--email", "alice@example.com", "--email-verified")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.URL.Path, r.Header)
	}))
	t.Cleanup(upstream.Close)
	return &openIDKit{T: t, box: b, server: b.serve(), upstream: upstream.Listener.Addr().String()}
}

// local makes the page's addresses and secrets those of this test.
func (k *openIDKit) local(a *openIDApp, text string) string {
	host := a.client + ".example.com"
	return strings.NewReplacer(
		"https://id.example.com", k.server.public, "id.example.com", strings.TrimPrefix(k.server.public, "http://"),
		"https://"+host, "http://"+a.address, "127.0.0.1:3000", k.upstream, "127.0.0.1:4180", a.address,
		"CLIENT_SECRET", a.secret, "COOKIE_SECRET", testCookieSecret,
	).Replace(text)
}

// register runs the page's command that registers an app.
func (k *openIDKit) register(client string) *openIDApp {
	k.Helper()
	a := &openIDApp{client: client, address: freeAddr(k.T)}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", openIDPage))
	if err != nil {
		k.Fatal(err)
	}
	var command string
	for _, m := range registration.FindAllStringSubmatch(string(page), -1) {
		if strings.HasPrefix(m[1], "curfew client add "+client+" ") {
			command = m[1]
		}
	}
	var made struct {
		ClientSecret string `json:"client_secret"`
	}
	out := k.shell(k.local(a, command) + " --json")
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ClientSecret == "" {
		k.Fatalf("%s: %v", out, err)
	}
	a.secret = made.ClientSecret
	// Old enough at once to be renewed, by the page's configurations.
	k.run("", "client", "set", client, "--access-ttl", "20s")
	return a
}

// newPerson is alice with another browser.
func (k *openIDKit) newPerson(a *openIDApp) *person {
	p := &person{k: k, to: a, app: visit.New(), curfew: visit.New()}
	p.app.Header = http.Header{"Accept": {"text/html"}}
	return p
}

// open goes to a path of the app and does what a person would, until there is a page. It returns what that says.
func (p *person) open(path string) string {
	p.k.Helper()
	address := "http://" + p.to.address + path
	for range 10 {
		page, err := p.app.Get(p.k.Context(), address)
		if err == nil && page.Form.Has("csrfToken") { // Auth.js: Sign in with Curfew
			page, err = p.app.Submit(p.k.Context(), page.Form, nil)
		}
		switch {
		case err != nil:
			p.k.Fatalf("%s: %v", address, err)
		case page.Out == nil && page.Status == http.StatusOK:
			return page.Body
		case page.Out == nil:
			p.k.Fatalf("%s: %s answers %d: %s", p.to.client, page.URL, page.Status, page.Body)
		case !strings.HasPrefix(page.Out.String(), p.k.server.public+"/"):
			p.k.Fatalf("%s: %s leads to %s", p.to.client, page.URL, page.Out)
		}
		back, err := p.curfew.SignIn(p.k.Context(), page.Out.String(), "alice", testPassword)
		if err != nil {
			p.k.Fatalf("%s: %v", p.to.client, err)
		}
		address = back.String()
	}
	p.k.Fatalf("%s leads round and round", p.to.client)
	return ""
}

// in tells whether the app takes her for signed in; it is asked once.
func (p *person) in() bool {
	p.k.Helper()
	page, err := p.app.Get(p.k.Context(), "http://"+p.to.address+"/")
	switch {
	case err != nil:
		p.k.Fatal(err)
	case page.Out != nil && strings.HasPrefix(page.Out.String(), p.k.server.public+"/oauth2/authorize?"),
		page.Form.Has("csrfToken"):
		return false
	case page.Status == http.StatusOK && strings.Contains(page.Body, "alice@example.com"):
		return true
	}
	p.k.Fatalf("%s answers %d: %s", p.to.client, page.Status, page.Body)
	return false
}

// until waits for something to be so.
func (k *openIDKit) until(what string, so func() bool) {
	k.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			k.Fatalf("%s: not in a minute", what)
		}
	}
}

// counted is what the server's counters of a name say together.
func (k *openIDKit) counted(name string) (sum float64) {
	k.Helper()
	_, text := k.server.do(http.MethodGet, k.server.admin+"/metrics", "", nil)
	for line := range strings.Lines(text) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name || strings.HasPrefix(key, name+"{") {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				k.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// lifeAt signs alice in at an app in two browsers, has the app renew, and logs her out of one, which leaves the other.
func (k *openIDKit) lifeAt(a *openIDApp) {
	k.Helper()
	p := k.newPerson(a)
	a.stays = k.newPerson(a)
	for _, p := range []*person{p, a.stays} {
		if p.in() {
			k.Fatalf("%s: nobody signed in", a.client)
		}
		if text := p.open("/"); !strings.Contains(text, "alice@example.com") {
			k.Fatalf("%s: %s", a.client, text)
		}
	}
	before := k.counted("curfew_refreshes_total")
	k.until(a.client+" renews", func() bool { return p.in() && k.counted("curfew_refreshes_total") > before })
	if !p.in() {
		k.Errorf("%s: out after it renewed", a.client)
	}

	told := k.counted("curfew_notices_total")
	if text := p.open(a.logout); !strings.Contains(text, "signed out") && !strings.Contains(text, "/bye") {
		k.Errorf("%s: after the log-out: %s", a.client, text)
	}
	if a.told {
		k.until(a.client+" is told", func() bool { return k.counted("curfew_notices_total") > told })
	}
	if p.in() || !a.stays.in() {
		k.Errorf("%s: after the log-out in one browser: in %t, in another %t", a.client, p.in(), a.stays.in())
	}
	if page, err := p.curfew.Get(k.Context(), k.server.public+"/account"); err != nil || !page.Form.Has("password") {
		k.Errorf("%s: the browser's session goes on after the log-out: %v", a.client, err)
	}
}

// outEverywhere signs alice out at the command line.
func (k *openIDKit) outEverywhere(apps []*openIDApp) {
	k.Helper()
	told := 0
	for _, a := range apps {
		if a.told { // so that no renewal ends it
			k.run("", "client", "set", a.client, "--access-ttl", "default")
			told++
		}
		if !a.stays.in() {
			k.Fatalf("%s: out already", a.client)
		}
	}
	var receipt struct{ Told *view.Told }
	start := time.Now()
	out := k.run("", "revoke", "user", "alice", "--wait=60s", "--json")
	k.Logf("the receipt was there %d ms after the command was started", time.Since(start).Milliseconds())
	if err := json.Unmarshal([]byte(out), &receipt); err != nil {
		k.Fatal(err)
	}
	if receipt.Told == nil || *receipt.Told != (view.Told{Receivers: told, Answered: told}) {
		k.Errorf("%s: want %d told", out, told)
	}
	for _, a := range apps {
		if a.told && a.stays.in() {
			k.Errorf("%s was told, and its session goes on", a.client)
		}
	}
	for _, a := range apps {
		k.until(a.client+" is out", func() bool { return !a.stays.in() })
		k.Logf("%s: out %d ms after the command was started", a.client, time.Since(start).Milliseconds())
	}
}
