package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"curfew/internal/apitest"
	"curfew/internal/notify"
	"curfew/internal/pages"
	"curfew/internal/password"
	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
)

func TestMain(m *testing.M) {
	testdb.Prepare = apitest.Prepare
	os.Exit(apitest.Main("admin", testdb.Main(m), apitest.AllOperations))
}

const testPassword = "correct horse battery"

// setup is who made what a test starts with.
var setup = models.Actor{Entity: models.EntityAdmin, ID: "cli"}

// kit is a real admin listener on a real store, asked over real HTTP with a client's own admin token.
type kit struct {
	t     *testing.T
	store *models.Store
	adm   *Admin
	http  *httptest.Server
	token string
	web   *models.Client
}

// newNotifier sends test messages to this machine.
func newNotifier(t *testing.T, store *models.Store) *notify.Notifier {
	n := notify.New(notify.Config{Store: store, Logger: slog.New(slog.DiscardHandler), Client: notify.NewClient(
		notify.ClientConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	)})
	t.Cleanup(n.Close)
	return n
}

func forEachDB(t *testing.T, fn func(t *testing.T, k *kit)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, dbURL string) {
		k := &kit{t: t}
		cfg := models.Config{
			DatabaseURL: dbURL, Issuer: "https://curfew.test", Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)},
			ReuseInterval: 30 * time.Second,
			Hash:          password.Config{Memory: 64, Time: 1, Threads: 1},
		}
		_, err := models.Migrate(t.Context(), cfg)
		must(t, err)
		k.store, err = models.Open(t.Context(), cfg)
		must(t, err)
		t.Cleanup(func() { k.store.Close() })
		shell, err := pages.New(pages.Config{})
		must(t, err)
		k.adm, err = New(Config{
			Store: k.store, Metrics: web.NewMetrics(k.store), Logger: slog.New(slog.DiscardHandler), Pprof: true,
			Notifier: newNotifier(t, k.store), Pages: shell, StepUp: 15 * time.Minute, Version: "test",
		})
		must(t, err)
		t.Cleanup(k.adm.Close)
		k.http = httptest.NewServer(k.adm.Handler())
		t.Cleanup(k.http.Close)
		k.http.Client().Transport = apitest.Transport{Fail: t.Errorf, Listener: "admin"}
		k.web, _, err = k.store.CreateClient(t.Context(), models.NewClient{
			ID: "web", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"settings", "admin"},
		}, setup)
		must(t, err)
		_, _, err = k.store.CreateClient(
			t.Context(), models.NewClient{ID: "ops", Grants: []string{"client_credentials"}, Scopes: []string{"admin"}}, setup,
		)
		must(t, err)
		k.own()
		fn(t, k)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// own gets the client a new token of its own.
func (k *kit) own() {
	k.t.Helper()
	ops, err := k.store.GetClient(context.Background(), "ops")
	must(k.t, err)
	g, err := k.store.GrantClient(context.Background(), ops, "admin")
	must(k.t, err)
	k.token = g.AccessToken
}

func (k *kit) user(name string) *models.User {
	k.t.Helper()
	u, err := k.store.CreateUser(context.Background(), models.NewUser{Username: name, Password: testPassword}, setup)
	must(k.t, err)
	return u
}

func (k *kit) signIn(u *models.User, scope, ip string) *models.Grant {
	k.t.Helper()
	g, err := k.store.SignIn(context.Background(), models.SignIn{
		User: u, Client: k.web, Scope: scope, Name: "phone of " + u.Username,
		Origin: models.Origin{IP: ip, UserAgent: "curl/8"},
	})
	must(k.t, err)
	return g
}

func (k *kit) alive(g *models.Grant) bool {
	_, err := k.store.CheckAccessToken(context.Background(), g.AccessToken)
	return err == nil
}

type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (r *reply) str(key string) string { s, _ := r.json[key].(string); return s }

func (r *reply) list(key string) []map[string]any {
	var all []map[string]any
	for _, v := range r.json[key].([]any) {
		all = append(all, v.(map[string]any))
	}
	return all
}

func (k *kit) ask(method, path, body string) *reply { return k.askAs(k.token, method, path, body) }

func (k *kit) askAs(token, method, path, body string) *reply {
	k.t.Helper()
	kind := ""
	if body != "" {
		kind = "application/json"
	}
	return k.send(token, method, path, body, kind)
}

func (k *kit) send(token, method, path, body, kind string) *reply {
	k.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, k.http.URL+path, strings.NewReader(body))
	must(k.t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	res, err := k.http.Client().Do(r)
	must(k.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(k.t, err)
	a := &reply{status: res.StatusCode, header: res.Header, body: string(b)}
	if method != http.MethodHead && strings.Contains(res.Header.Get("Content-Type"), "json") {
		must(k.t, json.Unmarshal(b, &a.json))
	}
	return a
}

// want asks and fails on another status.
func (k *kit) want(status int, method, path, body string) *reply {
	k.t.Helper()
	a := k.ask(method, path, body)
	if a.status != status {
		k.t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}
