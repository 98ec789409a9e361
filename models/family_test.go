package models

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// family is a browser session with two children and one that stays.
type family struct {
	user         *User
	session      *BrowserSession
	cookie       string
	kids         []*Grant
	offline, odd *Grant // with offline_access; of the same user, by the password grant
}

func (k *kit) family(name string, app *Client) *family {
	k.t.Helper()
	f := &family{user: k.newUser(name)}
	f.session, f.cookie = k.browser(f.user, "", uuid.Nil)
	f.kids = []*Grant{k.child(f.session, app), k.child(f.session, app)}
	f.offline, f.odd = k.child(f.session, app, ScopeOfflineAccess), k.signIn(f.user)
	return f
}

func (f *family) state(k *kit) string {
	return fmt.Sprintf("session %v, children %v %v, offline %v, odd %v",
		k.inBrowser(f.cookie), k.alive(f.kids[0]), k.alive(f.kids[1]), k.alive(f.offline), k.alive(f.odd))
}

// Invariant 10: a browser session that is signed out, by whoever and for whatever reason, takes its children.
func TestFamily_ParentEnds(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app := k.newApp("app")
		by := Actor{Entity: EntityAdmin, ID: "test"}
		ctx := context.Background()
		const gone = "session false, children false false, offline true, odd true"
		for name, test := range map[string]struct {
			end   func(f *family) (*SignOut, error)
			count int
		}{
			"by an admin": {func(f *family) (*SignOut, error) {
				return k.Revoke(ctx, OneDevice(f.session.ID), ReasonRevoked, by)
			}, 3},
			"by the user": {func(f *family) (*SignOut, error) {
				return k.Revoke(ctx, UserDevice(f.user.ID, f.session.ID), ReasonSignedOut, Actor{Entity: EntityUser})
			}, 3},
			"on the page": {func(f *family) (*SignOut, error) {
				return k.SignOutBrowser(ctx, BrowserCookie{ClientID: ClientBrowser, Value: f.cookie, Origin: origin})
			}, 3},
			"by a filter": {func(f *family) (*SignOut, error) {
				return k.Revoke(ctx, Devices(DeviceFilter{UserID: f.user.ID, ClientID: ClientBrowser}), ReasonRevoked, by)
			}, 3},
			"with the built-in client": {func(*family) (*SignOut, error) {
				return k.Revoke(ctx, WholeClient(ClientBrowser), ReasonRevoked, by)
			}, -1},
		} {
			f := k.family(name, app)
			code := k.code(f.session, app)
			out, err := test.end(f)
			if err != nil || test.count >= 0 && out.Count != test.count {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
			if got := f.state(k); got != gone {
				t.Errorf("%s: %s", name, got)
			}
			if test.count > 0 && (out.Revocation.Subject != f.session.ID.String() || out.Revocation.Reason == ReasonParentSignedOut) {
				t.Errorf("%s: the answer names %+v", name, out.Revocation)
			}
			parents := k.events(f.session.ID.String())
			for _, g := range f.kids {
				if e := k.events(g.DeviceID.String()); len(e) != 1 || len(parents) != 1 || e[0].Reason != ReasonParentSignedOut ||
					e[0].CreatedAt != parents[0].CreatedAt || e[0].Seq >= parents[0].Seq || e[0].Entity != parents[0].Entity {
					t.Errorf("%s: events of a child %+v, of its parent %+v", name, e, parents)
				}
			}
			if _, err := k.exchange(app, code); !errors.Is(err, ErrCodeInvalid) {
				t.Errorf("%s: a code: %v", name, err)
			}
			k.revoke(WholeUser(f.user.ID))
			if got := f.state(k); got != "session false, children false false, offline false, odd false" {
				t.Errorf("%s, then the whole user: %s", name, got)
			}
		}
	})
}

// A child's own end, the end of the app and the expiry of the session end nothing else.
func TestFamily_OthersStay(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app := k.newApp("app")
		f := k.family("anna", app)
		if out := k.revoke(OneDevice(f.kids[0].DeviceID)); out.Count != 1 {
			t.Errorf("%+v", out)
		}
		if got := f.state(k); got != "session true, children false true, offline true, odd true" {
			t.Error(got)
		}
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE devices SET expires_at = 1 WHERE client_id = 'curfew'"); err != nil {
			t.Fatal(err)
		}
		if got := f.state(k); got != "session false, children false true, offline true, odd true" {
			t.Error(got)
		}
		// It is signed in again on its GUID, and its children are its children.
		_, f.cookie = k.browser(f.user, "", f.session.ID)
		if got := f.state(k); got != "session true, children false true, offline true, odd true" {
			t.Error(got)
		}
		k.revoke(WholeClient("app"))
		if got := f.state(k); got != "session true, children false false, offline false, odd true" {
			t.Error(got)
		}
		list, err := k.UserDevices(t.Context(), f.user.ID)
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
	})
}

// Whoever has the GUID of a session that was cleaned up has none of its children.
func TestFamily_ForeignParent(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app := k.newApp("app")
		f := k.family("anna", app)
		if _, err := k.sqldb.ExecContext(t.Context(), "DELETE FROM devices WHERE client_id = 'curfew'"); err != nil {
			t.Fatal(err)
		}
		bens, _ := k.browser(k.newUser("ben"), "", f.session.ID)
		if bens.ID != f.session.ID {
			t.Fatal("another GUID")
		}
		if out := k.revoke(OneDevice(bens.ID)); out.Count != 1 {
			t.Errorf("%+v", out)
		}
		if got := f.state(k); got != "session false, children true true, offline true, odd true" {
			t.Error(got)
		}
	})
}

// All but the current one: the device that asks and its browser session stay, nothing else.
func TestFamily_AllButTheCurrent(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app := k.newApp("app")
		for name, end := range map[string]func(f *family) (int, error){
			"all others": func(f *family) (int, error) {
				out, err := k.Revoke(t.Context(), OtherDevices(f.user.ID, f.kids[0].DeviceID), ReasonSignedOut, Actor{})
				return out.Count, err
			},
			"a changed password": func(f *family) (int, error) {
				g, out, err := k.ChangePassword(t.Context(), PasswordChange{
					UserID: f.user.ID, Current: testPassword, New: "another horse battery", KeepDevice: f.kids[0].DeviceID, IP: origin.IP,
				}, Actor{Entity: EntityUser})
				f.kids[0] = g
				return out.Count, err
			},
		} {
			f := k.family(name, app)
			if n, err := end(f); err != nil || n != 3 {
				t.Errorf("%s: %d, %v", name, n, err)
			}
			if got := f.state(k); got != "session true, children true false, offline false, odd false" {
				t.Errorf("%s: %s", name, got)
			}
			if d, err := k.GetDevice(t.Context(), DeviceFilter{ID: f.kids[0].DeviceID}); err != nil || d.ParentID != f.session.ID {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
			// It is its child still.
			k.revoke(OneDevice(f.session.ID))
			if k.alive(f.kids[0]) {
				t.Errorf("%s: an orphan", name)
			}
		}
		f := k.family("in the browser", app)
		if out, err := k.Revoke(t.Context(), OtherDevices(f.user.ID, f.session.ID), ReasonSignedOut, Actor{}); err != nil || out.Count != 4 {
			t.Errorf("%+v, %v", out, err)
		}
		if got := f.state(k); got != "session true, children false false, offline false, odd false" {
			t.Error(got)
		}
	})
}

// Room is made by what was longest unseen; a session was seen when a child was, and goes with its children.
func TestFamily_Room(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		old, oldCookie := k.browser(u, "", uuid.Nil)
		unseen, unseenCookie := k.browser(u, "", uuid.Nil)
		young, grandchild := k.child(old, app), k.child(unseen, app)
		seen := func(id uuid.UUID, order int) { // ten is now
			if _, err := k.sqldb.ExecContext(t.Context(), fmt.Sprintf("UPDATE devices SET last_seen_at = signed_in_at - %d WHERE id = '%s'", (10-order)*1_000_000_000, id)); err != nil {
				t.Fatal(err)
			}
		}
		seen(old.ID, 1)
		seen(unseen.ID, 2)
		seen(grandchild.DeviceID, 3)
		g := k.signIn(u) // the fifth of four
		if !k.inBrowser(oldCookie) || !k.alive(young) || k.inBrowser(unseenCookie) || k.alive(grandchild) || !k.alive(g) {
			t.Fatal("not the longest unseen")
		}
		if k.endedWith(unseen.ID) != ReasonTooManyDevices || k.endedWith(grandchild.DeviceID) != ReasonParentSignedOut {
			t.Fatal(k.endedWith(unseen.ID), k.endedWith(grandchild.DeviceID))
		}
		// A session that makes room for its own child stays.
		k.signIn(u)
		seen(young.DeviceID, 1)
		seen(g.DeviceID, 5)
		next := k.child(old, app)
		if !k.inBrowser(oldCookie) || !k.alive(next) || k.alive(young) {
			t.Fatal("the parent had to go")
		}
	}, func(c *Config) { c.MaxDevicesPerUser = 4 })
}

// A client's own limit counts that client's devices, and its lifetimes are its own.
func TestClient_OwnLimits(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		two, minute := 2, Span(60e9)
		app := k.newApp("app", func(c *NewClient) {
			c.MaxDevices, c.AccessTTL, c.RefreshTTL, c.DeviceMaxAge = &two, &minute, &minute, &minute
		})
		u := k.newUser("anna")
		other := k.signIn(u)
		b, cookie := k.browser(u, "", uuid.Nil)
		first := k.child(b, app)
		second, third := k.child(b, app), k.child(b, app)
		if k.alive(first) || !k.alive(second) || !k.alive(third) || !k.alive(other) || !k.inBrowser(cookie) || k.endedWith(first.DeviceID) != ReasonTooManyDevices {
			t.Fatal("not the client's longest unseen")
		}
		d, err := k.GetDevice(t.Context(), DeviceFilter{ID: third.DeviceID})
		if err != nil || third.ExpiresIn.Seconds() > 60 || d.ExpiresAt > d.SignedInAt.Add(61e9) || d.EndsAt > d.SignedInAt.Add(61e9) {
			t.Fatalf("%s, %+v, %v", third.ExpiresIn, d, err)
		}
		longer := Span(3600e9)
		to := &longer
		if app, err = k.UpdateClient(t.Context(), app.ID, ClientPatch{RefreshTTL: &to, DeviceMaxAge: &to}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.RefreshDevice(t.Context(), Refresh{Token: third.RefreshToken, Client: app, Origin: origin}); err != nil {
			t.Fatal(err)
		}
		shorter := Span(1e9)
		to = &shorter
		if app, err = k.UpdateClient(t.Context(), app.ID, ClientPatch{RefreshTTL: &to, AccessTTL: &to}, Actor{}); err != nil {
			t.Fatal(err)
		}
		k.age(2e9)
		if _, err := k.RefreshDevice(t.Context(), Refresh{Token: second.RefreshToken, Client: app, Origin: origin}); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatalf("past the client's lifetime: %v", err)
		}
	})
}

// Exchanges, refreshes of children, renewals and the end of their session at the same moment: no orphan, whatever came
// first, and nobody waits for another in a circle.
func TestFamily_Races(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app, other := k.newApp("app"), k.open()
		for round := range 8 {
			u := k.newUser(fmt.Sprintf("user%d", round))
			b, cookie := k.browser(u, "", uuid.Nil)
			child, codes := k.child(b, app), []string{k.code(b, app), k.code(b, app)}
			var mu sync.Mutex
			grants := []*Grant{child}
			keep := func(g *Grant, err error) {
				if err != nil && !errors.Is(err, ErrCodeInvalid) && !errors.Is(err, ErrRefreshTokenInvalid) {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if g != nil {
					grants = append(grants, g)
				}
			}
			var wg sync.WaitGroup
			for _, code := range codes {
				wg.Go(func() { keep(k.exchange(app, code)) })
			}
			wg.Go(func() {
				keep(other.RefreshDevice(t.Context(), Refresh{Token: child.RefreshToken, Client: app, Origin: origin}))
			})
			wg.Go(func() {
				if code, err := k.tryCode(b, app); err == nil {
					keep(k.exchange(app, code))
				} else if !errors.Is(err, ErrBrowserSession) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := other.Revoke(t.Context(), OneDevice(b.ID), ReasonRevoked, Actor{}); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			for _, g := range grants {
				if k.alive(g) {
					t.Error("an orphan is alive")
				}
			}
			if k.inBrowser(cookie) {
				t.Error("the session is alive")
			}
		}
	})
}
