package models

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Whoever has one session cannot make rows, devices and events without end: each code is one of an allowance.
func TestIssueCode_Bounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben, app := k.newUser("anna"), k.newUser("ben"), k.newApp("app")
		b, _ := k.browser(anna, "", uuid.Nil)
		for range 2 {
			k.child(b, app)
		}
		// One that is refused is written into the audit log, and so is one of them.
		if _, err := k.tryCode(b, app, func(in *CodeRequest) { in.Scope = ScopeAdmin }); !errors.Is(err, ErrScope) {
			t.Fatal(err)
		}
		for range 2 {
			_, err := k.tryCode(b, app, func(in *CodeRequest) { in.Scope = ScopeAdmin })
			if what, ok := throttledBy(err); !ok || what != "sign-ins of apps" {
				t.Fatalf("one more than the limit: %q, %v", what, err)
			}
		}
		if n, m := k.count(AuditAdminRefused), k.count(AuditLimitReached); n != 1 || m != 1 {
			t.Fatalf("%d refusals and %d limits in the log", n, m)
		}
		other, _ := k.browser(ben, "", uuid.Nil)
		k.child(other, app)
		if _, err := k.UnlockUser(t.Context(), anna.ID, Actor{}); err != nil {
			t.Fatal(err)
		}
		k.child(b, app)
	}, func(c *Config) { c.Limits.Codes, c.Limits.Window = 3, 24*time.Hour })
}

// A code that is presented again and again after its device is out takes no lock that others wait for.
func TestExchangeCode_ReplayAgainLeavesTheRealm(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, _ := k.browser(u, "", uuid.Nil)
		code := k.code(b, app)
		if _, err := k.exchange(app, code); err != nil {
			t.Fatal(err)
		}
		if _, err := k.exchange(app, code); !errors.Is(err, ErrCodeReused) {
			t.Fatal(err)
		}
		horizon := func() (h Micros) {
			if err := k.sqldb.QueryRowContext(t.Context(), "SELECT horizon FROM realm").Scan(&h); err != nil {
				t.Fatal(err)
			}
			return h
		}
		// lockRealm moves the horizon, which lies ahead of the clock by now and is moved by nothing else.
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE realm SET horizon = horizon + 60000000"); err != nil {
			t.Fatal(err)
		}
		before := horizon()
		if _, err := k.exchange(app, code); !errors.Is(err, ErrCodeReused) {
			t.Fatal(err)
		}
		if after := horizon(); after != before {
			t.Fatalf("the replay of a code whose device is out has locked the realm: horizon %d, before %d", after, before)
		}
	})
}

// What a client has lost since the code was made is in no token of it.
func TestExchangeCode_ClientHasLost(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, _ := k.browser(u, "", uuid.Nil)
		plain := k.code(b, app)
		bound := k.code(b, app, func(in *CodeRequest) { in.Resources = []string{"https://a.example", "https://b.example"} })
		lost := k.code(b, app, func(in *CodeRequest) { in.Resources = []string{"https://a.example"} })
		app, err := k.UpdateClient(t.Context(), app.ID, ClientPatch{
			Scopes: &[]string{"settings"}, Resources: &[]string{"https://b.example"},
		}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := k.exchange(app, plain)
		if err != nil || g.Scope != "settings" || g.Claims.Scope != "settings" {
			t.Fatalf("%+v, %v", g, err)
		}
		for _, asked := range []string{"https://a.example", ""} {
			g, err := k.exchange(app, bound, func(in *CodeExchange) { in.Resources = strings.Fields(asked) })
			if asked != "" && !errors.Is(err, ErrTarget) ||
				asked == "" && (err != nil || strings.Join(g.Claims.Audience, " ") != "https://b.example") {
				t.Fatalf("for %q: %+v, %v", asked, g, err)
			}
		}
		if g, err := k.exchange(app, lost); !errors.Is(err, ErrTarget) {
			t.Fatalf("%+v, %v", g, err)
		}
	})
}

// The same for the tokens that a changed password is answered with.
func TestChangePassword_ClientHasLostAResource(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		app := k.newApp("app", func(in *NewClient) { in.Resources = []string{k.cfg.Issuer, "https://a.example"} })
		b, _ := k.browser(u, "", uuid.Nil)
		code := k.code(b, app, func(in *CodeRequest) { in.Resources = []string{k.cfg.Issuer, "https://a.example"} })
		g, err := k.exchange(app, code)
		if err != nil {
			t.Fatal(err)
		}
		fewer := ClientPatch{Resources: &[]string{k.cfg.Issuer}}
		if _, err := k.UpdateClient(t.Context(), app.ID, fewer, Actor{}); err != nil {
			t.Fatal(err)
		}
		g, _, err = k.ChangePassword(t.Context(), PasswordChange{
			UserID: u.ID, Current: testPassword, New: "another horse battery", KeepDevice: g.DeviceID, IP: origin.IP,
		}, Actor{})
		if err != nil || len(g.Claims.Audience) != 1 || g.Claims.Audience[0] != k.cfg.Issuer {
			t.Fatalf("%+v, %v", g, err)
		}
	})
}

// On a shared computer the apps do not stay signed in for longer than the browser, whatever they asked for.
func TestFamily_SharedComputer(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, _, err := k.SignInBrowser(t.Context(), BrowserSignIn{
			User: u, ClientID: ClientBrowser, Name: "Library", Most: 2 * time.Hour, Origin: origin,
		})
		if err != nil {
			t.Fatal(err)
		}
		ends := func(g *Grant) Micros {
			d, err := k.GetDevice(t.Context(), DeviceFilter{ID: g.DeviceID})
			if err != nil {
				t.Fatal(err)
			}
			return d.EndsAt
		}
		for _, scope := range []string{"profile", "profile offline_access"} {
			g, err := k.exchange(app, k.code(b, app, func(in *CodeRequest) { in.Scope = "settings " + scope }))
			if err != nil || ends(g) > b.EndsAt {
				t.Fatalf("%s: ends at %d, its session at %d: %v", scope, ends(g), b.EndsAt, err)
			}
		}
		g := k.child(b, app)
		g, _, err = k.ChangePassword(t.Context(), PasswordChange{
			UserID: u.ID, Current: testPassword, New: "another horse battery", KeepDevice: g.DeviceID, IP: origin.IP,
		}, Actor{})
		if err != nil || ends(g) > b.EndsAt+1000 {
			t.Fatalf("after a change of the password: ends at %d, its session at %d: %v", ends(g), b.EndsAt, err)
		}
		if u, err = k.GetUser(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		own, _ := k.browser(u, "", uuid.Nil)
		if g := k.child(own, app); ends(g) != never {
			t.Fatalf("at home: ends at %d", ends(g))
		}
	})
}
