package models

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Invariant 9: one device, with what the code was made for.
func TestExchangeCode(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, _ := k.browser(u, "", uuid.Nil)
		id := uuid.Must(uuid.NewV7())
		g, err := k.exchange(app, k.code(b, app), func(in *CodeExchange) { in.DeviceID = id })
		if err != nil {
			t.Fatal(err)
		}
		d, err := k.GetDevice(t.Context(), DeviceFilter{ID: id})
		if err != nil || g.DeviceID != id || d.ParentID != b.ID || d.Offline || d.AuthAt != b.AuthAt || d.ClientID != "app" ||
			d.UserID != u.ID || d.Scope != "settings profile" || g.Nonce != "n" || g.AuthAt != b.AuthAt {
			t.Fatalf("%+v, %+v, %v", d, g, err)
		}
		next, err := k.RefreshDevice(t.Context(), Refresh{Token: g.RefreshToken, Client: app, Origin: origin})
		if err != nil || next.Claims.AuthTime != b.AuthAt.Seconds() || next.Claims.AuthTime != g.Claims.AuthTime || !k.alive(next) {
			t.Fatalf("auth_time %d, want %d: %v", next.Claims.AuthTime, b.AuthAt.Seconds(), err)
		}
		// A dump of the database has nothing that could be presented.
		var stored string
		code := k.code(b, app)
		if err := k.sqldb.QueryRowContext(t.Context(), "SELECT CAST(hash AS text) FROM codes WHERE used_at = 0").Scan(&stored); err != nil || strings.Contains(stored, strings.TrimPrefix(code, codePrefix)) {
			t.Fatalf("%q, %v", stored, err)
		}
		// The same device again: its older tokens die, its parent is the new one.
		again, err := k.exchange(app, code, func(in *CodeExchange) { in.DeviceID = id })
		if err != nil || again.DeviceID != id || k.alive(next) || !k.alive(again) || k.endedWith(id) != ReasonSignedInAgain {
			t.Fatalf("%+v, %v", again, err)
		}
		// The replay of the first code is about a sign-in that is over.
		other, err := k.exchange(app, k.code(b, app), func(in *CodeExchange) { in.DeviceID = b.ID })
		if err != nil || other.DeviceID == b.ID {
			t.Fatalf("somebody else's GUID: %+v, %v", other, err)
		}
	})
}

// What does not fit spends nothing, tells nothing and changes nothing.
func TestExchangeCode_DoesNotFit(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app, other := k.newUser("anna"), k.newApp("app"), k.newApp("other")
		b, _ := k.browser(u, "", uuid.Nil)
		code := k.code(b, app)
		long := strings.Repeat("x", 129)
		for name, change := range map[string]func(*CodeExchange){
			"another client":       func(in *CodeExchange) { in.Client = other },
			"a wrong verifier":     func(in *CodeExchange) { in.Verifier = strings.Replace(verifier, "a", "b", 1) },
			"no verifier":          func(in *CodeExchange) { in.Verifier = "" },
			"plain":                func(in *CodeExchange) { in.Verifier = challengeOf(verifier) },
			"a short verifier":     func(in *CodeExchange) { in.Verifier = "short" },
			"a long verifier":      func(in *CodeExchange) { in.Verifier = long },
			"another redirect URI": func(in *CodeExchange) { in.RedirectURI += "/" },
			"another code":         func(in *CodeExchange) { in.Code = code[:len(code)-1] + "!" },
			"no code":              func(in *CodeExchange) { in.Code = "" },
		} {
			if _, err := k.exchange(app, code, change); !errors.Is(err, ErrCodeInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := k.exchange(app, code, func(in *CodeExchange) { in.Resources = []string{"https://c.example"} }); !errors.Is(err, ErrTarget) {
			t.Errorf("a resource of nobody: %v", err)
		}
		g, err := k.exchange(app, code, func(in *CodeExchange) { in.RedirectURI = "" }) // PKCE says more
		if err != nil || !k.alive(g) {
			t.Fatalf("the right presentation after the wrong ones: %v", err)
		}
		// And none of them is a replay.
		if _, err := k.exchange(app, code, func(in *CodeExchange) { in.Verifier = "" }); !errors.Is(err, ErrCodeInvalid) || !k.alive(g) {
			t.Fatalf("a wrong presentation of a spent code: %v", err)
		}
		if _, err := k.exchange(other, code, func(in *CodeExchange) { in.Client = other }); !errors.Is(err, ErrCodeInvalid) || !k.alive(g) {
			t.Fatalf("a spent code by another client: %v", err)
		}
	})
}

// A second good presentation signs out the device that the code made and nothing else, also when it comes late.
func TestExchangeCode_Replay(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, cookie := k.browser(u, "", uuid.Nil)
		bystander := k.child(b, app)
		for _, late := range []time.Duration{0, time.Hour} {
			code := k.code(b, app)
			g, err := k.exchange(app, code)
			if err != nil {
				t.Fatal(err)
			}
			if g, err = k.RefreshDevice(t.Context(), Refresh{Token: g.RefreshToken, Client: app, Origin: origin}); err != nil {
				t.Fatal(err)
			}
			if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE codes SET expires_at = expires_at - "+micros(late)); err != nil {
				t.Fatal(err)
			}
			if _, err := k.Cleanup(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := k.exchange(app, code, func(in *CodeExchange) { in.Origin = elsewhere }); !errors.Is(err, ErrCodeReused) {
					t.Fatalf("after %s: %v", late, err)
				}
			}
			events := k.events(g.DeviceID.String())
			if k.alive(g) || len(events) != 1 || events[0].Reason != ReasonCodeReuse || !k.alive(bystander) || !k.inBrowser(cookie) {
				t.Fatalf("after %s: alive %v, events %+v", late, k.alive(g), events)
			}
			log, _, err := k.ListAuditEvents(t.Context(), AuditFilter{Type: AuditCodeReuse, DeviceID: g.DeviceID.String()}, Page{})
			if err != nil || len(log) != 1 || log[0].Detail["owner_ip"] != origin.IP || log[0].Detail["replay_ip"] != elsewhere.IP {
				t.Fatalf("audit log: %+v, %v", log, err)
			}
		}
		// The device has been signed in again since: the old code is nothing to it.
		id, code := uuid.Must(uuid.NewV7()), k.code(b, app)
		for _, c := range []string{code, k.code(b, app)} {
			if _, err := k.exchange(app, c, func(in *CodeExchange) { in.DeviceID = id }); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := k.exchange(app, code); !errors.Is(err, ErrCodeReused) || k.endedWith(id) != ReasonSignedInAgain {
			t.Fatalf("%v, %s", err, k.endedWith(id))
		}
		// Too late for a first presentation; and forgotten a day later.
		code = k.code(b, app)
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE codes SET expires_at = expires_at - "+micros(codeRetention+time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := k.exchange(app, code); !errors.Is(err, ErrCodeInvalid) {
			t.Fatalf("an expired code: %v", err)
		}
		if c, err := k.Cleanup(t.Context()); err != nil || c.Codes != 6 {
			t.Fatalf("%+v, %v", c, err)
		}
	})
}

// Of many presentations at once, also on two nodes, one makes the device, and the others end it.
func TestExchangeCode_InParallel(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, cookie := k.browser(u, "", uuid.Nil)
		nodes := []*Store{k.Store, k.open()}
		for range 5 {
			code := k.code(b, app)
			var mu sync.Mutex
			var got []*Grant
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					g, err := nodes[i%2].ExchangeCode(t.Context(), CodeExchange{
						Client: app, Code: code, RedirectURI: redirectURI, Verifier: verifier, Name: "app", Origin: origin,
					})
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						got = append(got, g)
					} else if !errors.Is(err, ErrCodeReused) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if len(got) != 1 {
				t.Fatalf("%d exchanges succeeded", len(got))
			}
			if k.alive(got[0]) || k.endedWith(got[0].DeviceID) != ReasonCodeReuse || !k.inBrowser(cookie) {
				t.Fatalf("the winner's device is in, or more than it is out")
			}
		}
	})
}

// A code is one of the tokens of its user, client, browser session and everyone.
func TestExchangeCode_AfterASignOut(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for name, end := range map[string]func(u *User, b *BrowserSession, app *Client){
			"device":          func(_ *User, b *BrowserSession, _ *Client) { k.revoke(OneDevice(b.ID)) },
			"user":            func(u *User, _ *BrowserSession, _ *Client) { k.revoke(WholeUser(u.ID)) },
			"client":          func(_ *User, _ *BrowserSession, app *Client) { k.revoke(WholeClient(app.ID)) },
			"built-in client": func(*User, *BrowserSession, *Client) { k.revoke(WholeClient(ClientBrowser)) },
			"everyone":        func(*User, *BrowserSession, *Client) { k.revoke(Everyone()) },
			"all devices":     func(u *User, _ *BrowserSession, _ *Client) { k.revoke(OtherDevices(u.ID, uuid.Nil)) },
			"disabled": func(u *User, _ *BrowserSession, _ *Client) {
				yes := true
				if _, _, err := k.UpdateUser(t.Context(), u.ID, UserPatch{Disabled: &yes}, Actor{}); err != nil {
					t.Fatal(err)
				}
			},
			"deleted": func(u *User, _ *BrowserSession, _ *Client) {
				if _, err := k.DeleteUser(t.Context(), u.ID, Actor{}); err != nil {
					t.Fatal(err)
				}
			},
		} {
			u, app := k.newUser("user "+name), k.newApp(strings.ReplaceAll("app "+name, " ", "-"))
			b, _ := k.browser(u, "", uuid.Nil)
			code := k.code(b, app)
			end(u, b, app)
			if g, err := k.exchange(app, code); !errors.Is(err, ErrCodeInvalid) {
				t.Errorf("%s: %+v, %v", name, g, err)
			}
			if app2, err := k.GetClient(t.Context(), app.ID); err != nil {
				t.Fatal(err)
			} else if _, err := k.tryCode(b, app2); name != "client" && !errors.Is(err, ErrBrowserSession) && !errors.Is(err, ErrClientCredentials) {
				t.Errorf("%s: another code: %v", name, err)
			}
		}
	})
}

// A code that races a sign-out falls on one side: once the sign-out has been acknowledged, nothing that came of the
// code is alive, or the code was issued after it.
func TestExchangeCode_RacesSignOut(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app, other := k.newApp("app"), k.open()
		for round := range 6 {
			for name, target := range map[string]func(u *User, b *BrowserSession) Target{
				"device":   func(_ *User, b *BrowserSession) Target { return OneDevice(b.ID) },
				"user":     func(u *User, _ *BrowserSession) Target { return WholeUser(u.ID) },
				"client":   func(*User, *BrowserSession) Target { return WholeClient("app") },
				"everyone": func(*User, *BrowserSession) Target { return Everyone() },
			} {
				u := k.newUser(name + string(rune('a'+round)))
				b, _ := k.browser(u, "", uuid.Nil)
				codes := []string{k.code(b, app), k.code(b, app), k.code(b, app)}
				var wg sync.WaitGroup
				grants := make([]*Grant, len(codes))
				for i, code := range codes {
					wg.Go(func() {
						g, err := k.exchange(app, code)
						if err != nil && !errors.Is(err, ErrCodeInvalid) {
							t.Error(err)
						}
						grants[i] = g
					})
				}
				wg.Go(func() {
					if _, err := other.Revoke(t.Context(), target(u, b), ReasonRevoked, Actor{}); err != nil {
						t.Error(err)
					}
				})
				wg.Wait()
				for _, g := range grants {
					if g == nil {
						continue
					}
					if k.alive(g) {
						t.Errorf("%s: an access token survived", name)
					}
					if _, err := k.RefreshDevice(t.Context(), Refresh{Token: g.RefreshToken, Client: app, Origin: origin}); !errors.Is(err, ErrRefreshTokenInvalid) {
						t.Errorf("%s: a refresh token survived: %v", name, err)
					}
				}
			}
		}
	})
}

func TestIssueCode_Refused(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		secretly := k.newApp("server", func(c *NewClient) { c.Public, c.PKCE = false, PKCEOptional })
		b, cookie := k.browser(u, "", uuid.Nil)
		none := func(in *CodeRequest) { in.Challenge = "" }
		for name, err := range map[string]error{
			"no challenge":        try(k.tryCode(b, app, none)),
			"a verifier":          try(k.tryCode(b, app, func(in *CodeRequest) { in.Challenge = verifier })),
			"a long redirect URI": try(k.tryCode(b, app, func(in *CodeRequest) { in.RedirectURI = "https://" + strings.Repeat("x", 3000) })),
		} {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := k.tryCode(b, app, func(in *CodeRequest) { in.Scope = "profile admin" }); !errors.Is(err, ErrScope) {
			t.Errorf("admin for somebody who is none: %v", err)
		}
		if log, _, err := k.ListAuditEvents(t.Context(), AuditFilter{Type: AuditAdminRefused}, Page{}); err != nil || len(log) != 1 {
			t.Errorf("audit log: %+v, %v", log, err)
		}
		// One without a challenge needs its redirect URI, and takes no verifier.
		code := k.code(b, secretly, none)
		for _, change := range []func(*CodeExchange){
			func(*CodeExchange) {},
			func(in *CodeExchange) { in.Verifier, in.RedirectURI = "", "" },
		} {
			if _, err := k.exchange(secretly, code, change); !errors.Is(err, ErrCodeInvalid) {
				t.Errorf("without a challenge: %v", err)
			}
		}
		if _, err := k.exchange(secretly, code, func(in *CodeExchange) { in.Verifier = "" }); err != nil {
			t.Error(err)
		}
		if out, err := k.SignOutBrowser(t.Context(), BrowserCookie{ClientID: ClientBrowser, Value: cookie}); err != nil || out.Count != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
		if _, err := k.tryCode(b, app); !errors.Is(err, ErrBrowserSession) {
			t.Errorf("a session that is out: %v", err)
		}
	})
}

func try(_ string, err error) error { return err }

// RFC 8707: a token for one API is worth nothing at another, nor at our own doors.
func TestResources(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, _ := k.browser(u, "", uuid.Nil)
		both := func(in *CodeRequest) { in.Resources = []string{"https://a.example", "https://b.example"} }
		g, err := k.exchange(app, k.code(b, app, both), func(in *CodeExchange) { in.Resources = []string{"https://a.example"} })
		if err != nil || strings.Join(g.Claims.Audience, " ") != "https://a.example" || g.Scope != "profile" || k.alive(g) {
			t.Fatalf("%+v, %v", g, err)
		}
		api := k.newClient("api", GrantClientCredentials)
		yes := true
		if api, err = k.UpdateClient(t.Context(), api.ID, ClientPatch{Introspect: &yes}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if i, err := k.Introspect(t.Context(), api, g.AccessToken); err != nil || i == nil || i.Audience[0] != "https://a.example" {
			t.Fatalf("introspection: %+v, %v", i, err)
		}
		refresh := func(resources ...string) (*Grant, error) {
			c, err := k.GetClient(t.Context(), app.ID)
			if err != nil {
				t.Fatal(err)
			}
			next, err := k.RefreshDevice(t.Context(), Refresh{Token: g.RefreshToken, Client: c, Origin: origin, Resources: resources})
			if err == nil {
				g = next
			}
			return next, err
		}
		if next, err := refresh("https://b.example"); err != nil || strings.Join(next.Claims.Audience, " ") != "https://b.example" {
			t.Fatalf("%+v, %v", next, err)
		}
		if next, err := refresh(); err != nil || strings.Join(next.Claims.Audience, " ") != "https://a.example https://b.example" {
			t.Fatalf("%+v, %v", next, err)
		}
		if _, err := refresh("https://curfew.test"); !errors.Is(err, ErrTarget) {
			t.Fatal(err)
		}
		if _, err := k.UpdateClient(t.Context(), app.ID, ClientPatch{Resources: &[]string{"https://b.example"}}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if _, err := refresh("https://a.example"); !errors.Is(err, ErrTarget) {
			t.Fatal(err)
		}
		if next, err := refresh(); err != nil || strings.Join(next.Claims.Audience, " ") != "https://b.example" {
			t.Fatalf("%+v, %v", next, err)
		}
		if _, err := k.SignIn(t.Context(), SignIn{User: u, Client: app, Name: "x", Resources: []string{"https://c.example"}}); !errors.Is(err, ErrTarget) {
			t.Fatal(err)
		}
	})
}
