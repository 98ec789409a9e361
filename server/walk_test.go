package server

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"curfew/internal/chromium"
	"curfew/models"
)

// pageRoutes are the patterns of the public pages: whatever is not named here as something else.
func (k *kit) pageRoutes() (list []string) {
	for _, r := range k.srv.Routes() {
		if r.Method == "GET" && !slices.ContainsFunc([]string{
			"/settings/", "/.well-known/", "/healthz", "/readyz", "/pages/", "/account/receipts/", pathUserInfo, "/oauth2/jwks",
			"/oauth2/revocations",
		}, func(other string) bool { return strings.HasPrefix(r.Path, other) }) {
			list = append(list, r.Path)
		}
	}
	return list
}

// Every public page, as the server serves it, in every look; also the ones that only a form leads to. What others may
// choose is markup: if any of it became an element, the tab would ask for it or say so on its console.
func TestWalk(t *testing.T) {
	forEachTab(t, func(t *testing.T, k *kit, b *chromium.Tab, scripts bool) {
		w := chromium.NewWalk(t, b, scripts, k.pageRoutes())
		form := func(name, password string) {
			t.Helper()
			w.Go(t, "/account")
			w.Leave(t, into("#username", name), into("#password", password+"\r"))
		}
		const markup = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`
		_, err := k.store.UpdateClient(t.Context(), "app", models.ClientPatch{Name: new(markup)}, models.Actor{})
		must(t, err)
		w.Open(t, "/sign-in")
		form("anna", "wrong")
		w.Page(t, "a wrong password")
		w.Open(t, authorizeURL("app"))
		_, err = chromedp.Call(b.Context, network.ClearBrowserCookies, cdp.Empty{})
		must(t, err)
		w.Leave(t, into("#username", "anna"), into("#password", testPassword+"\r"))
		w.Page(t, "no cookies")
		w.Open(t, authorizeURL("app", "redirect_uri", "https://evil.test/"))
		w.Open(t, authorizeURL("app", "client_id", "nobody"))

		k.ackAs("orders", 0)
		k.exchange("app", k.browser().newCode("app"))
		k.signIn("anna", "device_name", markup)
		form("anna", testPassword)
		w.Page(t, "the devices")
		w.Click(t, `form[action="/account/end"] button`)
		w.Page(t, "a receipt that is not complete")
		k.ackAs("orders", k.count("SELECT max(seq) FROM revocations"))
		w.Open(t, "/account/security")
		w.Leave(t, into("#current_password", "wrong"), into("#new_password", "a better one it is\r"))
		w.Page(t, "a wrong password in the form")
		w.Click(t, `nav a[href="/account"]`)
		w.Click(t, `form[action="/account/end-others"] button`)
		w.Page(t, "all others are out")
		w.Open(t, authorizeURL("cli"))
		w.Open(t, logoutURL("client_id", "app"))
		w.Follow(t)

		w.Go(t, "/sign-out")
		w.Click(t, "button[value=out]")
		w.Page(t, "signed out")
		for range 12 {
			k.form("/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna", "password", "wrong")
		}
		form("anna", "wrong")
		w.Wants(t, ".alert", "Too many tries")
		w.Page(t, "throttled")
	})
}
