package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"curfew/internal/apitest"
	"curfew/internal/password"
	"curfew/internal/testdb"
	"curfew/models"
)

func TestMain(m *testing.M) {
	testdb.Prepare = apitest.Prepare
	code := testdb.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "something still runs:", err)
		code = 1
	}
	os.Exit(code)
}

const issuer = "https://curfew.test"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// kit is a store with shorthands that fail the test.
type kit struct {
	*models.Store
	t   *testing.T
	cfg models.Config
}

func forEachDB(t *testing.T, fn func(t *testing.T, k *kit)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, url string) {
		k := &kit{t: t, cfg: models.Config{
			DatabaseURL: url, Issuer: issuer, Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)},
			Hash: password.Config{Memory: 64, Time: 1, Threads: 1, Concurrency: 4, Queue: 64},
		}}
		if _, err := models.Migrate(t.Context(), k.cfg); err != nil {
			t.Fatal(err)
		}
		k.Store = k.open()
		fn(t, k)
	})
}

func (k *kit) open() *models.Store {
	k.t.Helper()
	s, err := models.Open(k.t.Context(), k.cfg)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { s.Close() })
	return s
}

// start begins to tell receivers on a node of the store.
func (k *kit) start(s *models.Store) *Notifier {
	k.t.Helper()
	n := Start(Config{
		Store: s, Issuer: issuer, Client: NewClient(ClientConfig{Allow: loopback}), Logger: slog.New(slog.DiscardHandler),
	})
	k.t.Cleanup(n.Close)
	return n
}

func (k *kit) client(id, logoutURI string) {
	k.t.Helper()
	_, _, err := k.CreateClient(k.t.Context(), models.NewClient{
		ID: id, Public: true, Grants: []string{models.GrantPassword, models.GrantRefreshToken}, Scopes: []string{"settings"},
		BackchannelLogoutURI: logoutURI,
	}, models.Actor{})
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) user(name string) *models.User {
	k.t.Helper()
	u, err := k.CreateUser(k.t.Context(), models.NewUser{Username: name, Password: "correct horse battery"}, models.Actor{})
	if err != nil {
		k.t.Fatal(err)
	}
	return u
}

func (k *kit) signIn(u *models.User, client string, device uuid.UUID) *models.Grant {
	k.t.Helper()
	c, err := k.GetClient(k.t.Context(), client)
	if err != nil {
		k.t.Fatal(err)
	}
	g, err := k.SignIn(k.t.Context(), models.SignIn{
		User: u, Client: c, Scope: "settings", DeviceID: device, Name: "phone", Origin: models.Origin{IP: "203.0.113.7"},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return g
}

func (k *kit) revoke(t models.Target) *models.Revocation {
	k.t.Helper()
	out, err := k.Revoke(k.t.Context(), t, models.ReasonRevoked, models.Actor{Entity: models.EntityAdmin})
	if err != nil {
		k.t.Fatal(err)
	}
	return out.Revocation
}

func (k *kit) exec(statement string) {
	k.t.Helper()
	if _, err := k.DB().ExecContext(k.t.Context(), statement); err != nil {
		k.t.Fatal(err)
	}
}

// settled waits until everybody is told of an event, or has failed.
func (k *kit) settled(seq int64) models.Told {
	k.t.Helper()
	var told models.Told
	eventually(k.t, func() bool {
		var err error
		if told, err = k.Told(k.t.Context(), seq); err != nil {
			k.t.Fatal(err)
		}
		return told.Pending == 0
	})
	return told
}

func eventually(t *testing.T, fn func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !fn(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass")
		}
	}
}

// hook is a real receiver. answer decides what it says; nil: 204.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	hang   chan struct{} // closed at the end
	answer func(n int, w http.ResponseWriter, r *http.Request)
}

type received struct {
	header http.Header
	body   string
}

func newHook(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *hook {
	h := &hook{answer: answer}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.got = append(h.got, received{r.Header, string(body)})
		n, answer := len(h.got), h.answer
		h.mu.Unlock()
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(n, w, r)
	}))
	h.hang = make(chan struct{})
	t.Cleanup(func() {
		close(h.hang)
		h.CloseClientConnections()
		h.Close()
	})
	return h
}

func (h *hook) all() []received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]received{}, h.got...)
}

// kinds are the types of a webhook's messages, in their order.
func (h *hook) kinds() string {
	var list []string
	for _, r := range h.all() {
		var m struct{ Type string }
		json.Unmarshal([]byte(r.body), &m)
		list = append(list, m.Type)
	}
	return strings.Join(list, " ")
}

func (k *kit) webhook(h *hook, types ...string) (id uuid.UUID, secret string) {
	k.t.Helper()
	r, secret, err := k.CreateWebhook(context.Background(), h.URL, types, models.Actor{})
	if err != nil {
		k.t.Fatal(err)
	}
	return r.ID, secret
}
