package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
)

// Invariant 2 over HTTP: many at once with one refresh token, and there is one successor.
func TestToken_OneSuccessor(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for range 5 {
			g := k.signIn("anna")
			answers := make([]*answer, 16)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() { answers[i] = k.refresh(g.str("refresh_token")) })
			}
			all.Wait()
			successors, issued := map[string]bool{}, map[string]bool{}
			for _, a := range answers {
				if a.status != 200 || a.str("device_id") != g.str("device_id") {
					t.Fatalf("%d %s", a.status, a.body)
				}
				successors[a.str("refresh_token")] = true
				issued[a.str("access_token")] = true
			}
			if len(successors) != 1 || successors[g.str("refresh_token")] || len(issued) != len(answers) {
				t.Fatalf("%d successors, %d different access tokens of %d", len(successors), len(issued), len(answers))
			}
			for raw := range issued {
				if !k.active(raw) {
					t.Fatal("an access token of the one successor is not alive")
				}
			}
		}
	})
}

// With no reuse interval every second use is theft, the immediate one too.
func TestToken_NoReuseInterval(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna")
		next := k.refresh(g.str("refresh_token"))
		if a := k.refresh(g.str("refresh_token")); a.status != 400 || a.str("error") != "invalid_grant" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if k.active(next.str("access_token")) {
			t.Fatal("the device is still signed in")
		}
	}, func(c *models.Config) { c.ReuseInterval = models.None })
}

// RFC 6749 section 6: a narrower scope is for one access token; the refresh token keeps what the sign-in granted.
func TestToken_ScopeNarrows(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn("anna", "scope", "settings")
		if a := k.refresh(g.str("refresh_token"), "scope", "settings profile"); a.status != 400 ||
			a.str("error") != "invalid_scope" {
			t.Fatalf("what the sign-in did not grant: %d %s", a.status, a.body)
		}
		g = k.signIn("anna")
		one := k.refresh(g.str("refresh_token"), "scope", "profile")
		all := k.refresh(one.str("refresh_token"))
		if one.str("scope") != "profile" || all.str("scope") != g.str("scope") {
			t.Fatalf("%s, then %s", one.body, all.body)
		}
	})
}

// The same app signs in again on the same device: its older tokens are dead, its GUID and its name stay.
func TestToken_SignedInAgain(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		id := uuid.NewString()
		first := k.signIn("anna", "device_id", id, "device_name", "Phone")
		again := k.signIn("anna", "device_id", id, "device_name", "Another name")
		if again.str("device_id") != id || k.active(first.str("access_token")) ||
			k.refresh(first.str("refresh_token")).str("error") != "invalid_grant" {
			t.Fatalf("%s", again.body)
		}
		if !k.active(again.str("access_token")) {
			t.Fatal("a token of before has signed out the new sign-in")
		}
		list := k.bearer("GET", "/settings/devices", again.str("access_token"), "")
		if d := list.json["devices"].([]any); len(d) != 1 || d[0].(map[string]any)["name"] != "Phone" {
			t.Fatalf("%s", list.body)
		}
	})
}

// Too many wrong passwords: 429, for the right one too, and for a user that does not exist; somebody else is not
// stopped.
func TestToken_Guessing(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.user("ben")
		try := func(name, password string) *answer {
			return k.form("/oauth2/token", "grant_type", "password", "client_id", "web", "username", name, "password", password)
		}
		for _, name := range []string{"anna", "nobody"} {
			for range 3 {
				if a := try(name, "wrong"); a.status != 400 || a.str("error") != "invalid_grant" {
					t.Fatalf("%s: %d %s", name, a.status, a.body)
				}
			}
			for _, password := range []string{"wrong", testPassword} {
				if a := try(name, password); a.status != http.StatusTooManyRequests ||
					a.str("error") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" ||
					a.header.Get("Cache-Control") != "no-store" {
					t.Fatalf("%s: %d %s %v", name, a.status, a.body, a.header)
				}
			}
		}
		k.signIn("ben")
	}, func(c *models.Config) { c.Limits.PerAccountAddress = 3 })
}

// lockedBuffer takes a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Invariant 5: no password, secret, token or query is in any log line, whatever goes wrong.
func TestLog_NoSecret(t *testing.T) {
	testdb.Each(t, func(t *testing.T, dbURL string) {
		log := &lockedBuffer{}
		logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		k := newKit(t, dbURL, func(c *models.Config) { c.Logger = logger })
		srv, err := New(Config{Store: k.store, Metrics: web.NewMetrics(k.store), Logger: logger, Issuer: k.url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		loud := httptest.NewServer(srv.Handler())
		t.Cleanup(loud.Close)
		k.url = loud.URL

		const mistyped = "correct horse battery?"
		g := k.signIn("anna")
		secrets := []string{
			testPassword, mistyped, apiSecret, g.str("access_token"), g.str("refresh_token"), "in-the-query", "curfew_rt_",
			"eyJ",
		}
		k.form("/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna", "password", mistyped)
		k.form("/oauth2/token", "grant_type", "client_credentials", "client_id", "web", "client_secret", apiSecret)
		k.form("/oauth2/token?password=in-the-query", "grant_type", "password")
		k.bearer("GET", "/settings/devices?access_token=in-the-query", g.str("access_token"), "")
		k.bearer(
			"PUT", "/settings/password", g.str("access_token"),
			`{"current_password":"`+mistyped+`","new_password":"`+testPassword+`"}`,
		)
		k.bearer("GET", "/in-the-query/"+g.str("access_token"), g.str("access_token"), "")
		k.introspect(g.str("refresh_token"))
		k.refresh(g.str("refresh_token"))
		k.refresh(k.refresh(g.str("refresh_token")).str("refresh_token"))
		k.refresh(g.str("refresh_token")) // a replay
		k.store.DB().Close()
		if a := k.refresh(g.str("refresh_token")); a.status != 503 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		k.introspect(g.str("access_token"))
		k.form("/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna", "password", testPassword)
		text := log.String()
		if !strings.Contains(text, `"request failed"`) || !strings.Contains(text, `"route":"/oauth2/token"`) {
			t.Fatalf("the log does not tell what happened:\n%s", text)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in the log", secret)
			}
		}
	})
}

// Every grant that a client may be registered with has its row at the token endpoint, and no other one.
func TestGrants_OneTable(t *testing.T) {
	var names []string
	for _, g := range grants {
		names = append(names, g.name)
		if g.check == nil || g.issue == nil {
			t.Errorf("%s: an empty cell", g.name)
		}
	}
	if !slices.Equal(names, models.GrantNames()) {
		t.Errorf("%q at the endpoint, %q in models", names, models.GrantNames())
	}
}
