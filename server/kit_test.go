package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"curfew/internal/apitest"
	"curfew/internal/pages"
	"curfew/internal/password"
	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
)

func TestMain(m *testing.M) {
	testdb.Prepare = apitest.Prepare
	os.Exit(apitest.Main("public", testdb.Main(m), apitest.AllOperations))
}

const (
	testPassword = "correct horse battery"
	apiSecret    = "a+b/c:d%e-and-some-more"
)

// kit is a real server on a real store, asked over real HTTP.
type kit struct {
	t     *testing.T
	store *models.Store
	srv   *Server
	http  *httptest.Server
	url   string
	off   func() // turns the pages off
}

// forEachDB runs fn on a new server on SQLite and on PostgreSQL, with the user anna, the public client web, the
// confidential client api, and the client ops.
func forEachDB(t *testing.T, fn func(t *testing.T, k *kit), change ...func(*models.Config)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, url string) { fn(t, newKit(t, url, change...)) })
}

func newKit(t *testing.T, dbURL string, change ...func(*models.Config)) *kit {
	t.Helper()
	// The issuer is the server's own address, so the server comes first.
	var handler http.Handler
	k := &kit{
		t:    t,
		http: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) })),
	}
	t.Cleanup(k.http.Close)
	k.http.Client().Transport = apitest.Transport{Fail: t.Errorf, Listener: "public"}
	k.url = k.http.URL
	cfg := models.Config{
		DatabaseURL: dbURL, Issuer: k.url, Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)}, ReuseInterval: 30 * time.Second,
		Hash: password.Config{Memory: 64, Time: 1, Threads: 1, Concurrency: 4, Queue: 64},
	}
	for _, c := range change {
		c(&cfg)
	}
	if _, err := models.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var err error
	if k.store, err = models.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.store.Close() })
	shell, err := pages.New(pages.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfgServer := Config{
		Store: k.store, Metrics: web.NewMetrics(k.store), Logger: slog.New(slog.DiscardHandler), Issuer: k.url, Pages: shell,
	}
	k.off = func() {
		cfgServer.Pages, cfgServer.Metrics = nil, web.NewMetrics(k.store)
		without, err := New(cfgServer)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(without.Close)
		handler = without.Handler()
	}
	k.srv, err = New(cfgServer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.srv.Close)
	handler = k.srv.Handler()

	k.user("anna")
	k.client(
		models.NewClient{
			ID: "web", Public: true, Grants: []string{"password", "refresh_token"},
			Scopes: []string{"settings", "profile", "admin"},
		},
	)
	k.client(
		models.NewClient{
			ID: "api", Secret: apiSecret, Grants: []string{"client_credentials"}, Scopes: []string{"revocations", "settings"},
			Introspect: true,
		},
	)
	k.client(
		models.NewClient{
			ID: "my.app", Secret: apiSecret, Grants: []string{"password", "refresh_token"}, Scopes: []string{"settings"},
		},
	)
	return k
}

func (k *kit) user(name string) *models.User {
	k.t.Helper()
	u, err := k.store.CreateUser(
		context.Background(), models.NewUser{Username: name, Password: testPassword}, models.Actor{},
	)
	if err != nil {
		k.t.Fatal(err)
	}
	return u
}

func (k *kit) client(in models.NewClient) {
	k.t.Helper()
	if _, _, err := k.store.CreateClient(context.Background(), in, models.Actor{}); err != nil {
		k.t.Fatal(err)
	}
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

func (a *answer) str(key string) string {
	s, _ := a.json[key].(string)
	return s
}

func (k *kit) do(r *http.Request) *answer {
	k.t.Helper()
	return k.doWith(k.http.Client(), r)
}

func (k *kit) doWith(client *http.Client, r *http.Request) *answer {
	k.t.Helper()
	res, err := client.Do(r)
	if err != nil {
		k.t.Fatal(err)
	}
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		k.t.Fatal(err)
	}
	if r.Method != http.MethodHead && strings.Contains(res.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(a.body, &a.json); err != nil {
			k.t.Fatalf("%s: %v", a.body, err)
		}
	}
	return a
}

func (k *kit) request(method, path, body string, headers ...string) *http.Request {
	k.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, k.url+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// form posts pairs of names and values.
func (k *kit) form(path string, pairs ...string) *answer {
	k.t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return k.do(k.request("POST", path, v.Encode(), "Content-Type", formType))
}

func (k *kit) signIn(name string, more ...string) *answer {
	k.t.Helper()
	a := k.form(
		"/oauth2/token",
		append(
			[]string{"grant_type", "password", "client_id", "web", "username", name, "password", testPassword}, more...,
		)...,
	)
	if a.status != 200 {
		k.t.Fatalf("sign in: %d %s", a.status, a.body)
	}
	return a
}

func (k *kit) refresh(token string, more ...string) *answer {
	k.t.Helper()
	return k.form(
		"/oauth2/token",
		append([]string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", token}, more...)...,
	)
}

func (k *kit) bearer(method, path, token, body string) *answer {
	k.t.Helper()
	headers := []string{"Authorization", "Bearer " + token}
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	return k.do(k.request(method, path, body, headers...))
}

func (k *kit) introspect(token string) *answer {
	k.t.Helper()
	return k.form("/oauth2/introspect", "client_id", "api", "client_secret", apiSecret, "token", token)
}

func (k *kit) active(token string) bool {
	k.t.Helper()
	a := k.introspect(token)
	if a.status != 200 {
		k.t.Fatalf("introspection: %d %s", a.status, a.body)
	}
	return a.json["active"] == true
}

// apiToken is the token of a resource server.
func (k *kit) apiToken() string {
	k.t.Helper()
	a := k.form(
		"/oauth2/token", "grant_type", "client_credentials", "client_id", "api", "client_secret", apiSecret, "scope",
		"revocations",
	)
	if a.status != 200 {
		k.t.Fatalf("client credentials: %d %s", a.status, a.body)
	}
	return a.str("access_token")
}
