package models

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestSignInBrowser(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, first := k.browser(u, "", uuid.Nil)
		d, err := k.GetDevice(t.Context(), DeviceFilter{ID: b.ID})
		if err != nil || d.ClientID != ClientBrowser || d.UserID != u.ID || d.ParentID != uuid.Nil || d.AuthAt == 0 || !k.inBrowser(first) {
			t.Fatalf("%+v, %v", d, err)
		}
		got, err := k.AuthenticateBrowser(t.Context(), BrowserCookie{ClientID: ClientBrowser, Value: first, Origin: origin})
		if err != nil || got.ID != b.ID || got.User.ID != u.ID || got.User.Username != "anna" || got.User.Admin || got.AuthAt != b.AuthAt {
			t.Fatalf("%+v, %v", got, err)
		}
		child := k.child(b, app)

		// The same user again: the password was given now, the cookie is another, and nothing has ended.
		k.offset.Add(5_000_000)
		again, second := k.browser(u, first, b.ID)
		if again.ID != b.ID || second == first || !k.inBrowser(second) || !k.alive(child) || len(k.events(b.ID.String())) != 0 || again.AuthAt <= b.AuthAt {
			t.Fatalf("renewed: %+v", again)
		}
		if !k.inBrowser(first) { // another tab, which has it still
			t.Fatal("the cookie before is dead at once")
		}
		k.age(k.cfg.ReuseInterval)
		if k.inBrowser(first) || !k.inBrowser(second) {
			t.Fatal("the cookie before lives on")
		}
		// Also when the browser has lost its marker, or its cookie.
		for _, has := range []struct {
			cookie string
			marker uuid.UUID
		}{{second, uuid.Nil}, {"", b.ID}} {
			if again, second = k.browser(u, has.cookie, has.marker); again.ID != b.ID {
				t.Fatalf("another session: %+v", again)
			}
		}
		// After the reuse interval neither the marker alone nor a cookie from before renews anything: who has the password
		// and a GUID, which lists show, takes over no session unseen. It is a new sign-in, which ends what was before.
		for _, cookie := range []string{"", first} {
			k.age(k.cfg.ReuseInterval)
			before, events := k.child(again, app), k.count(AuditSignedInAgain)
			other, its := k.browser(u, cookie, b.ID)
			if other.ID != b.ID || k.inBrowser(second) || !k.inBrowser(its) || k.alive(before) ||
				k.endedWith(before.DeviceID) != ReasonParentSignedOut || k.count(AuditSignedInAgain) != events+1 {
				t.Fatalf("renewed without its cookie: %+v", other)
			}
			again, second = other, its
		}
		child = k.child(again, app)

		// Somebody else in the same browser: the session before is out, with its children.
		ben := k.newUser("ben")
		bens, third := k.browser(ben, second, b.ID)
		if bens.ID == b.ID || k.inBrowser(second) || k.alive(child) || !k.inBrowser(third) ||
			k.endedWith(b.ID) != ReasonSignedOut || k.endedWith(child.DeviceID) != ReasonParentSignedOut {
			t.Fatal("the session of somebody else goes on in the same browser")
		}
		// Who only knows its id ends nobody's session.
		annas, fourth := k.browser(u, "", bens.ID)
		if annas.ID == bens.ID || !k.inBrowser(third) || !k.inBrowser(fourth) {
			t.Fatal("a GUID ended a session")
		}

		// One that is out is signed in again on its GUID, and what was of the life before stays dead.
		if out, err := k.SignOutBrowser(t.Context(), BrowserCookie{ClientID: ClientBrowser, Value: fourth, Origin: origin}); err != nil || out.Count != 1 || k.inBrowser(fourth) {
			t.Fatalf("%+v, %v", out, err)
		}
		back, fifth := k.browser(u, fourth, annas.ID)
		if back.ID != annas.ID || k.inBrowser(fourth) || !k.inBrowser(fifth) {
			t.Fatal("signed in again on the same GUID")
		}
		if out, err := k.SignOutBrowser(t.Context(), BrowserCookie{ClientID: ClientBrowser, Value: fourth}); out != nil || err != nil || !k.inBrowser(fifth) {
			t.Fatalf("the cookie of the life before signs it out: %+v, %v", out, err)
		}
	})
}

// What a browser holds opens pages only, and nothing else opens them.
func TestBrowserCookie_IsNoToken(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		g, app := k.signIn(u), k.newApp("app")
		b, cookie := k.browser(u, "", uuid.Nil)
		asToken := refreshTokenPrefix + strings.TrimPrefix(cookie, browserCookies.prefix)
		asCookie := browserCookies.prefix + strings.TrimPrefix(g.RefreshToken, refreshTokenPrefix)
		for _, token := range []string{cookie, asToken} {
			if _, err := k.RefreshDevice(t.Context(), Refresh{Token: token, Client: app, Origin: origin}); !errors.Is(err, ErrRefreshTokenInvalid) {
				t.Errorf("refresh: %v", err)
			}
			if _, err := k.CheckAccessToken(t.Context(), token); !errors.Is(err, ErrAccessToken) {
				t.Errorf("check: %v", err)
			}
			if out, err := k.RevokeToken(t.Context(), app, token, Actor{}); out != nil || err != nil {
				t.Errorf("revoke: %+v, %v", out, err)
			}
		}
		for _, value := range []string{"", "x", g.RefreshToken, g.AccessToken, asToken, asCookie, cookie + "=", cookie[:len(cookie)-1], strings.ToUpper(cookie)} {
			if k.inBrowser(value) {
				t.Errorf("%.20s opens a page", value)
			}
		}
		if _, err := k.AuthenticateBrowser(t.Context(), BrowserCookie{ClientID: ClientConsole, Value: cookie}); !errors.Is(err, ErrBrowserSession) {
			t.Errorf("the console: %v", err)
		}
		// A row of an app has no cookie, whatever is signed with the right key.
		forged := k.secret.derive(browserCookies, refreshToken{g.DeviceID, uuid.MustParse(g.Claims.RefreshID)})
		for _, client := range []string{ClientBrowser, ClientConsole, k.client.ID} {
			if _, err := k.AuthenticateBrowser(t.Context(), BrowserCookie{ClientID: client, Value: forged}); !errors.Is(err, ErrBrowserSession) {
				t.Errorf("an app's device: %v", err)
			}
		}
		for _, client := range []string{ClientBrowser, ClientConsole} {
			if _, err := k.AuthenticateClient(t.Context(), ClientCredentials{ID: client, IP: "198.51.100.9"}); !errors.Is(err, ErrClientCredentials) {
				t.Errorf("%s authenticates: %v", client, err)
			}
			if _, err := k.DeleteClient(t.Context(), client, Actor{}); !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
			if _, err := k.UpdateClient(t.Context(), client, ClientPatch{Grants: &[]string{GrantPassword}}, Actor{}); !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
			if _, _, err := k.CreateClient(t.Context(), NewClient{ID: client, Public: true}, Actor{}); !errors.Is(err, ErrConflict) && !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
		}
		if !k.inBrowser(cookie) || b.ClientID != ClientBrowser {
			t.Error("signed out by a try")
		}
	})
}

// The console is for admins, and leaves nobody else's device.
func TestSignInBrowser_Console(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		in := BrowserSignIn{ClientID: ClientConsole, Name: "Firefox", Origin: origin}
		in.User = k.newUser("anna")
		if _, _, err := k.SignInBrowser(t.Context(), in); !errors.Is(err, ErrScope) {
			t.Fatal(err)
		}
		if list, err := k.UserDevices(t.Context(), in.User.ID); err != nil || len(list) != 0 {
			t.Fatalf("%+v, %v", list, err)
		}
		yes := true
		admin, _, err := k.UpdateUser(t.Context(), in.User.ID, UserPatch{Admin: &yes}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		in.User = admin
		b, cookie, err := k.SignInBrowser(t.Context(), in)
		if err != nil || b.Scope != "" || k.inBrowser(cookie) {
			t.Fatalf("%+v, %v", b, err)
		}
		if _, err := k.AuthenticateBrowser(t.Context(), BrowserCookie{ClientID: ClientConsole, Value: cookie}); err != nil {
			t.Fatal(err)
		}
		no := false
		if _, _, err := k.UpdateUser(t.Context(), admin.ID, UserPatch{Admin: &no}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.AuthenticateBrowser(t.Context(), BrowserCookie{ClientID: ClientConsole, Value: cookie}); !errors.Is(err, ErrBrowserSession) {
			t.Fatal(err)
		}
	})
}

// Many tabs sign in at once: one session, and whichever answer the browser sees last, its cookie is good.
func TestSignInBrowser_ManyTabs(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, marker := k.newUser("anna"), uuid.Must(uuid.NewV7())
		nodes := []*Store{k.Store, k.open()}
		cookie := ""
		for range 2 { // the first time without a session, then with one
			var wg sync.WaitGroup
			cookies := make([]string, 8)
			for i := range cookies {
				wg.Go(func() {
					b, c, err := nodes[i%2].SignInBrowser(t.Context(), BrowserSignIn{
						User: u, ClientID: ClientBrowser, Cookie: cookie, Marker: marker, Name: "Firefox", Origin: origin,
					})
					if err != nil || b.ID != marker {
						t.Errorf("%+v, %v", b, err)
					}
					cookies[i] = c
				})
			}
			wg.Wait()
			for _, c := range cookies {
				if !k.inBrowser(c) || c == cookie {
					t.Fatal("a tab's cookie is dead, or the one from before")
				}
			}
			cookie = cookies[0]
			if list, err := k.UserDevices(t.Context(), u.ID); err != nil || len(list) != 1 {
				t.Fatalf("%d sessions, %v", len(list), err)
			}
			k.age(k.cfg.ReuseInterval)
			if k.inBrowser(cookie) == false { // it was the one before; the newest has been given to somebody
				for _, c := range cookies {
					if k.inBrowser(c) {
						cookie = c
					}
				}
			}
		}
	})
}

// Looking at a page keeps a session going, at most once a minute is it written, and a shared computer's ends in any case.
func TestAuthenticateBrowser_Idle(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		b, cookie := k.browser(u, "", uuid.Nil)
		back := func(columns ...string) {
			for _, c := range columns {
				if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE devices SET "+c+" = "+c+" - "+micros(2*time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
		}
		look := func() *DeviceInfo {
			k.inBrowser(cookie)
			d, err := k.GetDevice(t.Context(), DeviceFilter{ID: b.ID})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		if d := look(); d.LastSeenAt != b.LastSeenAt {
			t.Fatal("it was written at once")
		}
		back("last_seen_at", "expires_at")
		if d := look(); d.LastSeenAt < b.LastSeenAt || d.ExpiresAt < b.ExpiresAt {
			t.Fatalf("%+v", d)
		}
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE devices SET expires_at = 1"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // also when it has been looked at
			if k.inBrowser(cookie) {
				t.Fatal("an expired session came back to life")
			}
		}
		shared, cookie2, err := k.SignInBrowser(t.Context(), BrowserSignIn{
			User: u, ClientID: ClientBrowser, Name: "x", Most: time.Hour, Origin: origin,
		})
		if err != nil || shared.EndsAt > shared.SignedInAt.Add(time.Hour+2*time.Second) || shared.ExpiresAt != shared.EndsAt || !k.inBrowser(cookie2) {
			t.Fatalf("%+v, %v", shared, err)
		}
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE devices SET ends_at = 1"); err != nil {
			t.Fatal(err)
		}
		if k.inBrowser(cookie2) {
			t.Fatal("it outlives its end")
		}
	})
}

// A changed password on the page: a new cookie, everything else of the user is out, codes too.
func TestChangePasswordInBrowser(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, app := k.newUser("anna"), k.newApp("app")
		b, cookie := k.browser(u, "", uuid.Nil)
		change := func(current, next string) (string, *SignOut, error) {
			in := PasswordChange{Current: current, New: next, IP: origin.IP}
			return k.ChangePasswordInBrowser(t.Context(), b, in, Actor{Entity: EntityUser, ID: u.ID.String(), IP: origin.IP})
		}
		child, elsewhere := k.child(b, app, ScopeOfflineAccess), k.signIn(u)
		code := k.code(b, app)
		if _, _, err := change("wrong", "another horse battery"); !errors.Is(err, ErrCredentials) {
			t.Fatal(err)
		}
		next, out, err := change(testPassword, "another horse battery")
		if err != nil || out.Count != 2 || k.inBrowser(cookie) || !k.inBrowser(next) || k.alive(child) || k.alive(elsewhere) {
			t.Fatalf("%+v, %v", out, err)
		}
		if _, err := k.exchange(app, code); !errors.Is(err, ErrCodeInvalid) {
			t.Fatalf("a code from before: %v", err)
		}
		if _, _, err := change(testPassword, "x horse battery staple"); !errors.Is(err, ErrCredentials) {
			t.Fatal(err)
		}
	})
}
