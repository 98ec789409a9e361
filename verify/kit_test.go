package verify_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"curfew/internal/apitest"
	"curfew/internal/password"
	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
	"curfew/server"
	"curfew/verify"
)

func TestMain(m *testing.M) {
	testdb.Prepare = apitest.Prepare
	code := testdb.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString("goroutines are left: " + err.Error())
		code = 1
	}
	os.Exit(code)
}

const apiSecret = "a+b/c:d%e-and-some-more"

// issuer is a real Curfew on a real database, at an address that outlives its restarts.
type issuer struct {
	t        *testing.T
	cfg      models.Config
	addr     string
	store    *models.Store
	srv      *server.Server
	http     *httptest.Server
	user     *models.User
	client   *models.Client
	requests [3]atomic.Int64 // for keys, introspection, the feed
}

func (i *issuer) url() string { return "http://" + i.addr }

// forEachDB runs fn with an issuer on SQLite and on PostgreSQL.
func forEachDB(t *testing.T, fn func(t *testing.T, i *issuer), change ...func(*models.Config)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, url string) {
		i := prepare(t, url, change...)
		i.start()
		fn(t, i)
	})
}

// prepare makes the database and reserves the address.
func prepare(t *testing.T, dbURL string, change ...func(*models.Config)) *issuer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, addr: l.Addr().String()}
	l.Close()
	i.cfg = models.Config{
		DatabaseURL: dbURL, Issuer: i.url(), Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)},
		ReuseInterval: 30 * time.Second,
		Hash:          password.Config{Memory: 64, Time: 1, Threads: 1},
	}
	for _, c := range change {
		c(&i.cfg)
	}
	if _, err := models.Migrate(t.Context(), i.cfg); err != nil {
		t.Fatal(err)
	}
	if i.store, err = models.Open(t.Context(), i.cfg); err != nil {
		t.Fatal(err)
	}
	defer func() { i.store.Close() }()
	if i.user, err = i.store.CreateUser(t.Context(), models.NewUser{
		Username: "anna",
		Password: "correct horse battery",
	}, models.Actor{}); err != nil {
		t.Fatal(err)
	}
	if i.client, _, err = i.store.CreateClient(t.Context(), models.NewClient{
		ID: "web", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"orders", "profile"},
	}, models.Actor{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err = i.store.CreateClient(t.Context(), models.NewClient{
		ID: "api", Secret: apiSecret, Grants: []string{"client_credentials"}, Scopes: []string{"revocations"},
		Introspect: true,
	}, models.Actor{}); err != nil {
		t.Fatal(err)
	}
	return i
}

// start opens the store and listens. stop undoes it.
func (i *issuer) start() {
	i.t.Helper()
	var err error
	if i.store, err = models.Open(i.t.Context(), i.cfg); err != nil {
		i.t.Fatal(err)
	}
	if i.srv, err = server.New(server.Config{
		Store: i.store, Metrics: web.NewMetrics(i.store), Logger: slog.New(slog.DiscardHandler), Issuer: i.url(),
	}); err != nil {
		i.t.Fatal(err)
	}
	l, err := net.Listen("tcp", i.addr)
	if err != nil {
		i.t.Fatal(err)
	}
	i.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for n, path := range []string{"/oauth2/jwks", "/oauth2/introspect", "/oauth2/revocations"} {
			if r.URL.Path == path {
				i.requests[n].Add(1)
			}
		}
		i.srv.Handler().ServeHTTP(w, r)
	}))
	i.http.Listener.Close()
	i.http.Listener = l
	i.http.Start()
	i.t.Cleanup(i.stop)
}

func (i *issuer) stop() {
	if i.srv == nil {
		return
	}
	i.srv.Close()
	i.http.CloseClientConnections()
	i.http.Close()
	i.store.Close()
	i.srv = nil
}

// verifier follows the issuer; quiet, because the faults are made on purpose.
func (i *issuer) verifier(change ...func(*verify.Config)) *verify.Verifier {
	i.t.Helper()
	cfg := verify.Config{
		Issuer: i.url(), ClientID: "api", ClientSecret: apiSecret, Subscriber: "rs1",
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	v, err := verify.New(cfg)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(v.Close)
	return v
}

// synced waits until the verifier knows everything up to seq.
func synced(t *testing.T, v *verify.Verifier, seq int64) {
	t.Helper()
	for v.Staleness() > time.Hour || v.Seq() < seq {
		select {
		case <-t.Context().Done():
			t.Fatal("the verifier never got there")
		case <-time.After(time.Millisecond):
		}
	}
}

func (i *issuer) signIn() *models.Grant {
	i.t.Helper()
	g, err := i.store.SignIn(context.Background(), models.SignIn{
		User: i.user, Client: i.client,
		Scope: "orders profile", DeviceID: uuid.Nil, Name: "phone",
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return g
}

func (i *issuer) revoke(level models.Level, g *models.Grant) int64 {
	i.t.Helper()
	target := models.Everyone()
	switch level {
	case models.LevelDevice:
		target = models.OneDevice(g.DeviceID)
	case models.LevelUser:
		target = models.WholeUser(g.UserID)
	case models.LevelClient:
		target = models.WholeClient("web")
	}
	out, err := i.store.Revoke(context.Background(), target, models.ReasonRevoked,
		models.Actor{Entity: models.EntityAdmin})
	if err != nil {
		i.t.Fatal(err)
	}
	return out.Revocation.Seq
}

func get(t *testing.T, handler http.Handler, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", "/", strings.NewReader(""))
	for n := 0; n+1 < len(headers); n += 2 {
		r.Header.Add(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}
