package server

import (
	"strings"
	"testing"

	"curfew/models"
)

// Signing out here ends this browser and what was signed in through it (invariant 10), but for offline_access; looking
// at the page ends nothing.
func TestSignOut(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b, elsewhere := k.browser(), k.browser()
		g := k.exchange("app", b.newCode("app"))
		offline := k.exchange("cli", b.newCode("cli", "scope", "profile offline_access"))
		far := k.exchange("app", elsewhere.newCode("app"))
		page := b.get("/sign-out?client_id=app")
		k.wantPage("asked by an app", page, 200, "<strong>The App</strong> asks us to sign you out, <strong>anna</strong>")
		k.wantPage("what goes with it", page, 200, "The app that you signed in to through this browser")
		k.wantPage(
			"an app that is not known",
			b.get("/sign-out?client_id=nobody"),
			200,
			"You are signed in here as <strong>anna</strong>",
		)
		k.wantPage("Curfew itself", b.get("/sign-out?client_id=curfew"), 200, "You are signed in here as")
		if a := b.submit(page, "choice", "stay"); a.status != 303 || a.header.Get("Location") != "/account" ||
			b.signedInAs() != "anna" {
			t.Errorf("stay: %d %v", a.status, a.header)
		}
		copied := b.clone()
		k.wantPage("out", b.submit(page, "choice", "out"), 200, "You are out of this browser and of The App.")
		if c := b.cookie(sessionCookie); c.MaxAge >= 0 {
			t.Errorf("the cookie stays: %s", c.Raw)
		}
		if b.signedInAs() != "" || copied.signedInAs() != "" || k.active(g.str("access_token")) {
			t.Error("it was no sign-out")
		}
		if !k.active(offline.str("access_token")) || !k.active(far.str("access_token")) ||
			elsewhere.signedInAs() != "anna" {
			t.Error("it has signed out more than this browser")
		}
		k.wantPage("out already", b.submit(page, "choice", "out"), 200, "You are out of this browser")
		k.wantPage("out already", b.get("/sign-out"), 200, "You are signed out")
	})
}

// A form that shows anna signs out nobody else.
func TestSignOut_StaleForm(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b := k.browser()
		b.newCode("app")
		page := b.get("/sign-out")
		k.code(b.signInAs(b.get(authorizeURL("app", "prompt", "login")), "ben"))
		k.wantPage(
			"ben has signed in",
			b.submit(page, "choice", "out"),
			409,
			"You are signed in here as <strong>ben</strong>",
		)
		k.wantPage(
			"malformed",
			b.do("POST", "/sign-out", "x=%zz", "Content-Type", formType),
			400,
			"We cannot use this link",
		)
		if b.signedInAs() != "ben" {
			t.Error("ben is out")
		}
	})
}

// The page says who has applied the sign-out, and what it does not know it does not say.
func TestSignOut_Receipt(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.newCode("app")
		a := b.submit(b.get("/sign-out"), "choice", "out")
		k.wantPage("nobody listens", a, 200, `class="receipt done"`)
		if _, err := k.store.Revoke(t.Context(), models.Everyone(), models.ReasonRevoked, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		ack := func() {
			a := k.bearer("POST", "/oauth2/revocations/ack", k.apiToken(), `{"subscriber":"slow","seq":0}`)
			if a.status != 204 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		ack() // it is live for half a minute, and applies nothing
		b.newCode("app")
		if _, _, err := k.store.CreateWebhook(t.Context(), "https://hook.example", nil, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		a = b.submit(b.get("/sign-out"), "choice", "out")
		k.wantPage("one is missing", a, 200, `class="receipt"`)
		k.wantText("somebody is to be told", a, "0 of 1 app told so far")
		if text := string(a.body); strings.Contains(text, "slow") || strings.Contains(text, `href=""`) {
			t.Errorf("%s", text)
		}
	})
}
