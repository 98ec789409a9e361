package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"curfew/internal/chromium"
	"curfew/models"
)

// forEachTab is [forEachDB] with the admin anna and a tab of a real browser: with JavaScript on one database, without
// it on the other.
func forEachTab(t *testing.T, fn func(t *testing.T, k *kit, b *chromium.Tab, scripts bool)) {
	t.Helper()
	forEachDB(t, func(t *testing.T, k *kit) {
		scripts := strings.HasSuffix(t.Name(), "SQLite")
		_, err := k.store.CreateUser(
			t.Context(), models.NewUser{Username: "anna", Password: testPassword, Admin: true}, setup,
		)
		must(t, err)
		b := chromium.NewTab(t, chromium.Start(t), k.http.URL)
		b.Scripts(t, scripts)
		fn(t, k, b, scripts)
	})
}

func into(selector, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(selector), text)
}

func endButton(g *models.Grant) string {
	return `form[action="/console/devices/` + g.DeviceID.String() + `/end"] button`
}

// An admin signs somebody's stolen phone out, as docs/pages.md counts it: one click beside the typing; and once more by
// the keyboard alone.
func TestConsole_StolenPhone(t *testing.T) {
	forEachTab(t, func(t *testing.T, k *kit, b *chromium.Tab, scripts bool) {
		b.Look(t, "light", 1280)
		ben := k.user("ben")
		phone, tablet, laptop := k.signIn(ben, "settings", ""), k.signIn(ben, "settings", ""), k.signIn(ben, "settings", "")
		find := func() {
			t.Helper()
			if scripts {
				b.Press(t, "/")
			} else {
				b.TabTo(t, "[data-find]")
			}
			b.Enter(t, "ben")
		}
		b.Go(t, "/console/")
		b.Enter(t, "anna"+kb.Tab+testPassword)
		find()
		b.Click(t, endButton(phone))
		b.Wants(t, ".receipt", "Out.")
		if b.Clicks != 1 {
			t.Errorf("%d clicks, and docs/pages.md says 1", b.Clicks)
		}
		b.Go(t, "/console/")
		find()
		b.TabTo(t, endButton(tablet))
		b.Leave(t, chromedp.KeyEvent(" "))
		b.Wants(t, ".receipt", "Out.")
		if k.alive(phone) || k.alive(tablet) || !k.alive(laptop) {
			t.Error("not the phone and the tablet alone are out")
		}
		b.Quiet(t)
	})
}

// Every page of the console, as the listener serves it, in every look; also the ones that only a form leads to. What
// others may choose is markup: if any of it became an element, the tab would ask for it or say so on its console.
func TestWalk(t *testing.T) {
	forEachTab(t, func(t *testing.T, k *kit, b *chromium.Tab, scripts bool) {
		var routes []string
		for _, r := range k.adm.Routes() {
			if r.Method == "GET" && strings.HasPrefix(r.Path, "/console/") && !strings.HasSuffix(r.Path, "/receipt") {
				routes = append(routes, r.Path)
			}
		}
		w := chromium.NewWalk(t, b, scripts, routes)
		submit := func(page string, fields ...chromedp.Action[chromedp.Void]) {
			t.Helper()
			w.Leave(t, fields...)
			w.Page(t, page)
		}
		ben := k.user("ben")
		phones := []*models.Grant{k.signIn(ben, "settings", "203.0.113.1"), k.signIn(ben, "settings", "203.0.113.1")}
		const markup = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`
		_, err := k.store.UpdateClient(t.Context(), "web", models.ClientPatch{Name: new(markup)}, setup)
		must(t, err)
		_, err = k.store.RenameDevice(t.Context(), models.DeviceFilter{ID: phones[1].DeviceID}, markup,
			models.Actor{Entity: models.EntityAdmin, ID: markup, UserAgent: markup})
		must(t, err)
		_, _, err = k.store.CreateWebhook(t.Context(), "https://hooks.example/curfew", nil, setup)
		must(t, err)
		must(t, k.store.Acknowledge(t.Context(), models.SubscriberID{ClientID: "ops", Name: "orders-1"}, 0))

		w.Open(t, "/console/devices?q=ben")
		submit("not an admin", into("#username", "ben"), into("#password", testPassword+kb.Enter))
		w.Go(t, "/console/devices?q=ben")
		submit("the devices", into("#username", "anna"), into("#password", testPassword+kb.Enter))
		w.Click(t, endButton(phones[0]))
		w.Page(t, "a receipt that is not complete")
		w.Open(t, "/console/devices/"+phones[0].DeviceID.String())
		w.Click(t, `a[href="/console/users/`+ben.ID.String()+`"]`)
		w.Page(t, "a user")

		// "Sign out these N": the number first, and typed.
		w.Open(t, "/console/devices?username=ben&status=active")
		w.Click(t, ".end-these a")
		w.Page(t, "the number")
		w.Go(t, "/console/devices/end?username=ben")
		submit("a wrong number", into("#count", "7"+kb.Enter))
		w.Wants(t, ".alert", "Nothing has been signed out")
		w.Go(t, "/console/devices/end?username=ben")
		submit("these are out", into("#count", "1"+kb.Enter))
		w.Wants(t, ".receipt", "Out.")
		w.Open(t, "/console/clients/new")
		submit("a client that cannot be", into("#client_id", "a b"+kb.Enter))
		w.Go(t, "/console/clients/new")
		submit("a secret, once", into("#scopes", "settings"), into("#redirect_uris", "https://shop.example/cb"),
			into("#client_id", "shop"+kb.Enter))
		w.Wants(t, ".secret", "Copy it now")
		w.Open(t, "/console/clients/curfew")
		w.Open(t, "/console/everyone")

		k.age()
		w.Go(t, "/console/users/new")
		w.Page(t, "step-up")
		w.Go(t, "/console/users/new")
		submit("a wrong password", into("#password", "wrong"+kb.Enter))
		w.Go(t, "/console/users/new")
		w.Leave(t, into("#password", testPassword+kb.Enter))
		w.Page(t, "a new user")
		w.Open(t, "/console/revocations/"+fmt.Sprint(k.last()))
		w.Open(t, "/console/devices/none")
		w.Follow(t)

		w.Go(t, "/console/sign-out")
		w.Click(t, `button[value=out]`)
		w.Page(t, "signed out")
		if w.Go(t, "/console/"); w.At(t) != "/console/sign-in" {
			t.Error("signed out, and the console opens")
		}
	})
}

// last is the number of the last sign-out.
func (k *kit) last() (seq int64) {
	k.t.Helper()
	must(k.t, k.store.DB().QueryRowContext(k.t.Context(), "SELECT last_seq FROM realm").Scan(&seq))
	return seq
}
