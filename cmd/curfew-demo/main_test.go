package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curfew/internal/pages"
	"curfew/internal/password"
	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
	"curfew/server"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

const (
	secret       = "a+b/c:d%e-and-some-more"
	userPassword = "correct horse battery"
)

// kit is a demo with a real Curfew behind it.
type kit struct {
	*testing.T
	store  *models.Store
	issuer string
	base   string // of the demo
	user   *models.User
	web    *models.Client
	hold   atomic.Pointer[func()] // called before a token request is answered, if it is set
}

func newKit(t *testing.T) *kit {
	k := &kit{T: t}
	var curfew http.Handler
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hold := k.hold.Load(); hold != nil && r.URL.Path == "/oauth2/token" {
			(*hold)()
		}
		curfew.ServeHTTP(w, r)
	}))
	t.Cleanup(issuer.Close)
	cfg := models.Config{
		DatabaseURL: testdb.SQLite(t), Issuer: issuer.URL, Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)},
		Hash: password.Config{Memory: 64, Time: 1, Threads: 1},
	}
	k.issuer = issuer.URL
	if _, err := models.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var err error
	k.store, err = models.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.store.Close() })
	shell, err := pages.New(pages.Config{})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Store: k.store, Metrics: web.NewMetrics(k.store), Pages: shell,
		Logger: slog.New(slog.DiscardHandler), Issuer: issuer.URL,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	curfew = srv.Handler()
	k.user, err = k.store.CreateUser(t.Context(), models.NewUser{Username: "anna", Password: userPassword},
		models.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	k.web = k.client(models.NewClient{
		ID: "web", Public: true, Grants: []string{"password"},
		Scopes: []string{"orders", "profile"},
	})
	k.client(models.NewClient{
		ID: "demo-api", Secret: secret, Grants: []string{"client_credentials"}, Scopes: []string{"revocations"},
		Introspect: true,
	})
	return k
}

func (k *kit) client(in models.NewClient) *models.Client {
	k.Helper()
	c, _, err := k.store.CreateClient(k.Context(), in, models.Actor{})
	if err != nil {
		k.Fatal(err)
	}
	return c
}

func (k *kit) signIn(scope string) *models.Grant {
	k.Helper()
	g, err := k.store.SignIn(k.Context(), models.SignIn{User: k.user, Client: k.web, Scope: scope, Name: "phone"})
	if err != nil {
		k.Fatal(err)
	}
	return g
}

// start runs the demo, with some of its variables changed; stop ends it as SIGTERM does.
func (k *kit) start(change ...map[string]string) (stop func() error) {
	k.Helper()
	file := filepath.Join(k.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		k.Fatal(err)
	}
	env := map[string]string{
		"CURFEW_DEMO_ISSUER": k.issuer, "CURFEW_DEMO_CLIENT_ID": "demo-api", "CURFEW_DEMO_CLIENT_SECRET_FILE": file,
		"CURFEW_DEMO_SUBSCRIBER": "demo-1",
		"CURFEW_DEMO_SCOPE":      "orders", "CURFEW_DEMO_ADDR": "127.0.0.1:0",
	}
	for _, c := range change {
		maps.Copy(env, c)
	}
	ctx, end := context.WithCancel(k.Context())
	at, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, func(k string) string { return env[k] }, func(a net.Addr) { at <- "http://" + a.String() })
	}()
	select {
	case k.base = <-at:
	case err := <-ended:
		k.Fatal(err)
	}
	return func() error {
		end()
		return <-ended
	}
}

func (k *kit) ask(method, path, token string) (*http.Response, string) {
	k.Helper()
	res := k.begin(method, path, token)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		k.Fatal(err)
	}
	return res, string(b)
}

// begin asks, and leaves the answer's body to be read.
func (k *kit) begin(method, path, token string) *http.Response {
	k.Helper()
	r, err := http.NewRequestWithContext(k.Context(), method, k.base+path, nil)
	if err != nil {
		k.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		k.Fatal(err)
	}
	return res
}

// The demo against a real Curfew: the claims, the checks for proxies, the counters; a sign-out is seen; SIGTERM ends
// it.
func TestDemo(t *testing.T) {
	k := newKit(t)
	stop := k.start()
	g := k.signIn("orders")
	res, body := k.ask("GET", "/", g.AccessToken)
	var shown struct {
		Claims struct{ Sub, Scope string }
		Feed   struct {
			Heard *float64 `json:"last_heard_seconds_ago"`
		}
	}
	if err := json.Unmarshal([]byte(body), &shown); err != nil || res.StatusCode != 200 ||
		shown.Claims.Sub != k.user.ID.String() || shown.Claims.Scope != "orders" {
		t.Fatalf("%d %s %v", res.StatusCode, body, err)
	}
	for _, tc := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "/", "", 401},
		{"GET", "/", "x", 401},
		{"GET", "/", k.signIn("profile").AccessToken, 403},
		{"GET", "/nothing", "", 404},
		{"GET", "/check/", g.AccessToken, 200},
		{"POST", "/check/a/b?c=d", g.AccessToken, 200},
		{"POST", "/check/a", "", 401},
		{"GET", "/healthz", "", 200},
	} {
		if res, body := k.ask(tc.method, tc.path, tc.token); res.StatusCode != tc.status {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, res.StatusCode, body)
		} else if strings.HasPrefix(tc.path, "/check/") && tc.status == 200 &&
			res.Header.Get("X-Curfew-Sub") != k.user.ID.String() {
			t.Errorf("%s: %v", tc.path, res.Header)
		}
	}
	out, err := k.store.Revoke(t.Context(), models.WholeUser(k.user.ID), models.ReasonRevoked,
		models.Actor{Entity: models.EntityAdmin})
	if err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r, err := k.store.WaitApplied(waiting, out.Revocation.Seq); err != nil || r.Acknowledged() != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if res, body := k.ask("GET", "/", g.AccessToken); res.StatusCode != 401 {
		t.Fatalf("signed out: %d %s", res.StatusCode, body)
	}
	_, body = k.ask("GET", "/metrics", "")
	for _, want := range []string{
		"# TYPE curfew_verify_tokens_total counter\n", "curfew_verify_tokens_total{result=\"revoked\"} 1\n",
		"\ncurfew_verify_index_entries 1\n",
		"\ncurfew_verify_events_total 1\n", "# TYPE curfew_verify_staleness_seconds gauge\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// The page, the stream about one token, and who may have them.
func TestDemo_Page(t *testing.T) {
	k := newKit(t)
	k.startPage()
	for path, want := range map[string]string{
		"/": "Sign in with Curfew", "/curfew.js": "export class Session", "/demo.js": "import {Session}",
		"/style.css":   "main {",
		"/config.json": `"client_id":"demo-web"`,
	} {
		res, body := k.ask("GET", path, "")
		if res.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
		if policy := res.Header.Get("Content-Security-Policy"); path == "/" &&
			!strings.Contains(policy, "connect-src 'self' "+k.issuer+";") {
			t.Errorf("the policy of the page is %q", policy)
		}
	}
	for _, path := range []string{"/", "/watch"} {
		if res, body := k.ask("GET", path, "x"); res.StatusCode != 401 {
			t.Errorf("%s with a wrong token: %d %s", path, res.StatusCode, body)
		}
	}
	if res, _ := k.ask("GET", "/watch", ""); res.StatusCode != 401 {
		t.Errorf("the stream without a token: %d", res.StatusCode)
	}

	g := k.signIn("orders")
	res := k.begin("GET", "/watch", g.AccessToken)
	defer res.Body.Close()
	stream := bufio.NewScanner(res.Body)
	if !stream.Scan() || res.StatusCode != 200 || !strings.HasPrefix(stream.Text(), `{"alive":true,`) {
		t.Fatalf("%d %s, %v", res.StatusCode, stream.Text(), stream.Err())
	}
	if _, err := k.store.Revoke(t.Context(), models.WholeUser(k.user.ID), models.ReasonRevoked,
		models.Actor{Entity: models.EntityAdmin}); err != nil {
		t.Fatal(err)
	}
	var last string
	for stream.Scan() { // ends by itself
		last = stream.Text()
	}
	if !strings.Contains(last, `"alive":false,`) || !strings.Contains(last, `"code":"revoked"`) {
		t.Errorf("%s, %v", last, stream.Err())
	}
}

// The streams are bounded, and end when the demo does.
func TestDemo_Streams(t *testing.T) {
	k := newKit(t)
	stop := k.start(map[string]string{"CURFEW_DEMO_SCOPE": ""})
	g := k.signIn("orders")
	open := make([]*http.Response, maxStreams+1)
	for i := range open {
		r, err := http.NewRequestWithContext(t.Context(), "GET", k.base+"/watch", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+g.AccessToken)
		if open[i], err = http.DefaultClient.Do(r); err != nil {
			t.Fatal(err)
		}
		defer open[i].Body.Close()
		if want := map[bool]int{true: 200, false: 503}[i < maxStreams]; open[i].StatusCode != want {
			t.Fatalf("stream %d: %d", i, open[i].StatusCode)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(open[0].Body); err != nil {
		t.Errorf("a stream was cut off: %v", err)
	}
}

func TestExplain(t *testing.T) {
	var out, errs bytes.Buffer
	if status := explain([]string{"--help"}, &out, &errs); status != 0 || errs.Len() > 0 ||
		!strings.Contains(out.String(), "CURFEW_DEMO_WEB_CLIENT_ID") {
		t.Errorf("%d %s %s", status, out.String(), errs.String())
	}
	out.Reset()
	if status := explain([]string{"serve"}, &out, &errs); status != 2 || out.Len() > 0 ||
		!strings.Contains(errs.String(), "--help") {
		t.Errorf("%d %s %s", status, out.String(), errs.String())
	}
}

func TestConfig_Refuses(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing": {}, "no secret": {"CURFEW_DEMO_ISSUER": "http://a.test", "CURFEW_DEMO_CLIENT_ID": "x"},
		"two secrets": {
			"CURFEW_DEMO_ISSUER": "http://a.test", "CURFEW_DEMO_CLIENT_ID": "x", "CURFEW_DEMO_CLIENT_SECRET": "y",
			"CURFEW_DEMO_CLIENT_SECRET_FILE": "z",
		},
		"no file": {
			"CURFEW_DEMO_ISSUER": "http://a.test", "CURFEW_DEMO_CLIENT_ID": "x",
			"CURFEW_DEMO_CLIENT_SECRET_FILE": "/nowhere/at/all",
		},
		"bad issuer": {"CURFEW_DEMO_ISSUER": "a.test", "CURFEW_DEMO_CLIENT_ID": "x", "CURFEW_DEMO_CLIENT_SECRET": "y"},
	} {
		if err := run(t.Context(), func(k string) string { return env[k] },
			func(net.Addr) { t.Errorf("%s: listens", name) }); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
