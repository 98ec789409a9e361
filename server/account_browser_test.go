package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"curfew/internal/chromium"
)

// forEachTab is [forEachBrowser] with a tab of a real browser: with JavaScript on one database, without it on the
// other.
func forEachTab(t *testing.T, fn func(t *testing.T, k *kit, b *chromium.Tab, scripts bool)) {
	t.Helper()
	forEachBrowser(t, func(t *testing.T, k *kit) {
		scripts := strings.HasSuffix(t.Name(), "SQLite")
		b := chromium.NewTab(t, chromium.Start(t), k.url)
		b.Scripts(t, scripts)
		fn(t, k, b, scripts)
	})
}

// ackAs says that a service has applied the sign-outs up to a number.
func (k *kit) ackAs(name string, seq int) {
	k.t.Helper()
	a := k.bearer("POST", "/oauth2/revocations/ack", k.apiToken(), fmt.Sprintf(`{"subscriber":%q,"seq":%d}`, name, seq))
	if a.status != 204 {
		k.t.Fatalf("%d %s", a.status, a.body)
	}
}

func keys(text string) chromedp.Action[chromedp.Void] { return chromedp.KeyEvent(text) }

func into(selector, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(selector), text)
}

// Somebody whose phone is stolen, as docs/pages.md counts it: one click beside the typing.
func TestBrowser_StolenPhone(t *testing.T) {
	forEachTab(t, func(t *testing.T, k *kit, b *chromium.Tab, scripts bool) {
		phone, laptop := k.signIn("anna", "device_name", "Phone"), k.signIn("anna", "device_name", "Laptop")
		b.Go(t, "/account")
		b.Enter(t, "anna"+kb.Tab+testPassword)
		b.Click(t, `form[action="/account/end"]:has([value="`+phone.str("device_id")+`"]) button`)
		b.Wants(t, ".receipt.done", "Out.")
		if b.Clicks != 1 {
			t.Errorf("%d clicks, and docs/pages.md says 1", b.Clicks)
		}
		if k.active(phone.str("access_token")) || !k.active(laptop.str("access_token")) {
			t.Error("not the phone alone is out")
		}
		b.Quiet(t)
	})
}

// The same by the keyboard alone; then the name of a device, "this wasn't me", the password, and everything.
func TestBrowser_Account(t *testing.T) {
	forEachTab(t, func(t *testing.T, k *kit, b *chromium.Tab, scripts bool) {
		k.ackAs("orders", 0)
		phone, laptop := k.signIn("anna", "device_name", "Phone"), k.signIn("anna", "device_name", "Laptop")
		b.Go(t, "/account")
		b.Wants(t, "h1", "Sign in")
		b.Enter(t, "anna"+kb.Tab+testPassword)
		b.Wants(t, "h1", "Your devices")
		b.TabTo(t, `form[action="/account/end"]:has([value="`+phone.str("device_id")+`"]) button`)
		b.Leave(t, keys(kb.Enter))
		b.Wants(t, ".receipt", "0 of 1 service confirmed so far.")
		if k.active(phone.str("access_token")) || !k.active(laptop.str("access_token")) {
			t.Error("not the phone alone is out")
		}
		k.ackAs("orders", k.count("SELECT max(seq) FROM revocations"))
		if !scripts {
			b.TabTo(t, "[data-receipt=reload] a")
			b.Leave(t, keys(kb.Enter))
		}
		b.Wants(t, ".receipt.done", "Out. 1 of 1 service confirmed, slowest")
		b.Wants(t, ".ended", "You signed it out.")

		b.TabTo(t, ".device:not(.child) summary")
		must(t, chromedp.Do(b.Context, keys(kb.Enter),
			chromedp.WaitVisible(chromedp.CSS("details[open] input[name=name]"))))
		b.TabTo(t, "input[name=name]")
		must(t, chromedp.Do(b.Context, chromedp.SetValue(chromedp.CSS("details[open] input[name=name]"), "Desk")))
		b.Leave(t, keys(kb.Enter))
		b.Wants(t, ".here", "Desk")
		b.Wants(t, ".notice", "The new name is saved.")

		b.Go(t, "/account/security")
		b.Wants(t, ".events", "A new device, Laptop, signed in to web from 127.0.0.1.")
		b.Click(t, `form[action="/account/not-me"] button`)
		b.Wants(t, ".notice", "That device is signed out.")
		if k.active(laptop.str("access_token")) {
			t.Error("the laptop is not out")
		}
		b.Leave(t, into("#current_password", testPassword), into("#new_password", "a better one it is"+kb.Enter))
		b.Wants(t, ".notice", "Your password is changed")
		b.Click(t, `nav a[href="/account"]`)
		b.Click(t, `a[href="/account/end-everywhere"]`)
		b.Wants(t, "h1", "Sign out everywhere")
		b.Leave(t, into("#password", "a better one it is"+kb.Enter))
		b.Wants(t, "h1", "You are signed out")
		b.Go(t, "/account")
		b.Wants(t, "h1", "Sign in")
		b.Quiet(t)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
