package server

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"curfew/models"
)

// The whole way: a device with its browser session as parent, tokens that work, a name and a GUID of the app's own.
func TestCode_SignsIn(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		id := uuid.NewString()
		b := k.browser()
		g := k.exchange("app", b.newCode("app", "scope", "settings"), "device_id", id, "device_name", "My tab")
		if g.status != 200 || g.str("device_id") != id || g.str("scope") != "settings" ||
			g.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s", g.status, g.body)
		}
		if !k.active(g.str("access_token")) {
			t.Fatal("the access token is dead")
		}
		next := k.form(
			"/oauth2/token",
			"grant_type",
			"refresh_token",
			"client_id",
			"app",
			"refresh_token",
			g.str("refresh_token"),
		)
		k.wantError("refresh", next, 200, "")
		list, err := k.store.UserDevices(t.Context(), k.userID("anna"))
		if err != nil || len(list) != 2 {
			t.Fatalf("%v %v", list, err)
		}
		child, parent := list[0], list[1]
		if child.ClientID == models.ClientBrowser {
			child, parent = parent, child
		}
		if parent.ClientID != models.ClientBrowser || parent.Name != "Firefox on Linux" || child.ParentID != parent.ID ||
			child.ID.String() != id || child.Name != "My tab" {
			t.Errorf("%+v, below %+v", child, parent)
		}
		// The same app signs in again on its device.
		again := k.exchange("app", b.newCode("app", "scope", "settings"), "device_id", id)
		if again.str("device_id") != id || k.active(next.str("access_token")) || !k.active(again.str("access_token")) {
			t.Errorf("%s", again.body)
		}
		// Without a scope: what the client was registered with, less what must be asked for by name.
		if g := k.exchange("app", b.newCode("app")); g.str("scope") != "settings profile" {
			t.Errorf("%s", g.body)
		}
		a := b.get(authorizeURL("app", "scope", "admin"))
		k.wantBack("admin for somebody who is none", a, appURI, "access_denied")
	})
}

// Invariant 9: a presentation that fails spends nothing; what fits spends the code; once more signs out the device that
// it made, and nothing else.
func TestCode_SpentOnce(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		other := k.exchange("app", b.newCode("app"))
		code := b.newCode("app")
		before := k.state()
		for what, a := range map[string]*answer{
			"another client":          k.exchange("cli", code, "redirect_uri", appURI),
			"a confidential client":   k.exchange("shop", code, "redirect_uri", appURI),
			"no verifier":             k.exchange("app", code, "code_verifier", ""),
			"a wrong verifier":        k.exchange("app", code, "code_verifier", testVerifier+"x"),
			"the challenge":           k.exchange("app", code, "code_verifier", challengeOf(testVerifier)), // plain
			"a short verifier":        k.exchange("app", code, "code_verifier", "x"),
			"another redirect URI":    k.exchange("app", code, "redirect_uri", appURI+"/"),
			"the placeholder of ours": k.exchange("app", code, "redirect_uri", noRedirectURI, "code_verifier", "x"),
			"half a code":             k.exchange("app", code[:len(code)-1]),
			"another code":            k.exchange("app", code[:len(code)-4]+"AAAA"),
			"NUL's neighbour":         k.exchange("app", "\x01"),
		} {
			k.wantError(what, a, http.StatusBadRequest, "invalid_grant")
		}
		k.wantError("no code", k.exchange("app", ""), http.StatusBadRequest, "invalid_request")
		k.wantError(
			"a device_id that is none",
			k.exchange("app", code, "device_id", "x"),
			http.StatusBadRequest,
			"invalid_request",
		)
		k.wantError(
			"a resource",
			k.exchange("app", code, "resource", "https://evil.test"),
			http.StatusBadRequest,
			"invalid_target",
		)
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		g := k.exchange("app", code, "redirect_uri", "") // it may be missing where PKCE was used
		k.wantError("the right one", g, 200, "")
		k.wantError(
			"wrong, after it was spent",
			k.exchange("app", code, "code_verifier", testVerifier+"x"),
			400,
			"invalid_grant",
		)
		if !k.active(g.str("access_token")) {
			t.Error("a presentation that does not fit has signed the device out")
		}
		k.wantError("a replay", k.exchange("app", code), 400, "invalid_grant")
		if k.active(g.str("access_token")) || !k.active(other.str("access_token")) || b.signedInAs() != "anna" {
			t.Error("a replay signs out the device that the code made, and nothing else")
		}
		k.wantError("its refresh token", k.form("/oauth2/token", "grant_type", "refresh_token", "client_id", "app",
			"refresh_token", g.str("refresh_token")), 400, "invalid_grant")
	})
}

// N at once with one code: at most one is answered with tokens, and that device is out when all are done.
func TestCode_Parallel(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		for range 5 {
			code := b.newCode("app")
			answers := make([]*answer, 8)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() { answers[i] = k.exchange("app", code) })
			}
			all.Wait()
			won := 0
			for _, a := range answers {
				switch {
				case a.status == 200:
					won++
					if k.active(a.str("access_token")) {
						t.Error("the losers are replays: the device must be out")
					}
				default:
					k.wantError("a loser", a, 400, "invalid_grant")
				}
			}
			if won != 1 {
				t.Errorf("%d have won", won)
			}
		}
	})
}

// A code ends with its time and with what it belongs to: its user, client, browser session and everyone.
func TestCode_EndsWithItsSession(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		late := b.newCode("app")
		k.sql("UPDATE codes SET expires_at = expires_at - 61000000")
		k.wantError("late", k.exchange("app", late), 400, "invalid_grant")
		for what, end := range map[string]func(){
			"signed out here": func() { b.submit(b.get("/sign-out"), "choice", "out") },
			"user":            func() { k.revoke(models.WholeUser(k.userID("anna"))) },
			"client":          func() { k.revoke(models.WholeClient("app")) },
			"everyone":        func() { k.revoke(models.Everyone()) },
		} {
			code := b.newCode("app")
			end()
			k.wantError(what, k.exchange("app", code), 400, "invalid_grant")
			k.wantError("a new one", k.exchange("app", b.newCode("app")), 200, "")
		}
	})
}

func (k *kit) revoke(target models.Target) {
	k.t.Helper()
	if _, err := k.store.Revoke(k.t.Context(), target, models.ReasonRevoked, models.Actor{Entity: models.EntityAdmin}); err != nil {
		k.t.Fatal(err)
	}
}

// RFC 9700 section 4.8.2: nobody is talked out of PKCE, and without it the redirect URI must be there.
func TestCode_WithoutPKCE(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		plain := []string{"code_challenge", "", "code_challenge_method", ""}
		code := b.newCode("shop", plain...)
		k.wantError("a verifier without a challenge", k.exchange("shop", code), 400, "invalid_grant")
		k.wantError(
			"no redirect URI",
			k.exchange("shop", code, "code_verifier", "", "redirect_uri", ""),
			400,
			"invalid_grant",
		)
		k.wantError(
			"our placeholder",
			k.exchange("shop", code, "code_verifier", "", "redirect_uri", noRedirectURI),
			400,
			"invalid_grant",
		)
		k.wantError(
			"wrong secret",
			k.exchange("shop", code, "code_verifier", "", "client_secret", "wrong"),
			401,
			"invalid_client",
		)
		k.wantError("right", k.exchange("shop", code, "code_verifier", ""), 200, "")
		k.wantError("with PKCE all the same", k.exchange("shop", b.newCode("shop")), 200, "")
		stripped := b.newCode("shop")
		k.wantError("its verifier left out", k.exchange("shop", stripped, "code_verifier", ""), 400, "invalid_grant")
	})
}

// RFC 8707: what the authorization request named is what the token is for; the exchange may narrow it.
func TestCode_Resource(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		two := authorizeURL("app", "resource", "https://orders.example") + "&resource=https://stock.example&resource="
		k.code(b.signInAs(b.get(two), "anna"))
		audience := func(a *answer) string {
			t.Helper()
			k.wantError("exchange", a, 200, "")
			in := k.introspect(a.str("access_token"))
			return strings.TrimSpace(string(in.body))
		}
		all := audience(k.exchange("app", k.code(b.get(two))))
		if !strings.Contains(all, "https://orders.example") || !strings.Contains(all, "https://stock.example") ||
			strings.Contains(all, "settings") {
			t.Errorf("%s", all)
		}
		one := audience(k.exchange("app", k.code(b.get(two)), "resource", "https://stock.example"))
		if strings.Contains(one, "https://orders.example") || !strings.Contains(one, "https://stock.example") {
			t.Errorf("%s", one)
		}
		code := k.code(b.get(authorizeURL("app", "resource", "https://orders.example")))
		k.wantError("wider", k.exchange("app", code, "resource", "https://stock.example"), 400, "invalid_target")
	})
}
