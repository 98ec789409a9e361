package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"curfew/internal/chromium"
	"curfew/internal/need"
	"curfew/models"
)

// newBrowser starts a headless Chromium with a profile of its own; its context is the first tab.
func newBrowser(t *testing.T, preferences string) context.Context {
	t.Helper()
	profile, err := os.MkdirTemp("", "curfew-demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // what is left of the browser may still write into it
	if err := os.MkdirAll(filepath.Join(profile, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(preferences), 0o600); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need.Program(t, "chromium", "chromium")), chromedp.UserDataDir(profile), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.WSURLReadTimeout(chromium.StartsWithin),
		chromedp.Flag("disable-background-networking", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	return newTab(t, ctx)
}

// newTab is a tab of the same browser: with its cookies and its storage.
func newTab(t *testing.T, browser context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func open(t *testing.T, tab context.Context, url string) {
	t.Helper()
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
}

// do runs a script in the page.
func do(t *testing.T, tab context.Context, script string, args ...any) {
	t.Helper()
	if _, err := chromedp.Run(tab, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(script, args...))); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

func click(t *testing.T, tab context.Context, selector string) {
	t.Helper()
	do(t, tab, "document.querySelector(%q).click()", selector)
}

// textOf is what a script finds, or nothing while a page is loading.
func textOf(tab context.Context, script string) string {
	text, err := chromedp.Run(tab, chromedp.Evaluate[string]("String("+script+")"))
	if err != nil {
		return ""
	}
	return text
}

// await waits until a script finds true.
func await(t *testing.T, tab context.Context, script string, args ...any) {
	t.Helper()
	script = fmt.Sprintf(script, args...)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if textOf(tab, script) == "true" {
			return
		}
	}
	t.Fatalf("never: %s\n%s\n%s", script, textOf(tab, "location.href"), textOf(tab, "document.body.innerText"))
}

// typeIn fills the sign-in page in, and sends it.
func typeIn(t *testing.T, tab context.Context, password string) {
	t.Helper()
	await(t, tab, "!!document.querySelector('form #password')")
	do(t, tab, "document.querySelector('#username').value = 'anna'")
	do(t, tab, "document.querySelector('#password').value = %q", password)
	click(t, tab, "form button.primary")
}

const signedIn = "document.querySelector('#signed-in')?.hidden === false"

// startPage starts the demo with its page, which is a client of this address.
func (k *kit) startPage() {
	k.Helper()
	stop := k.start(map[string]string{"CURFEW_DEMO_SCOPE": "", "CURFEW_DEMO_WEB_CLIENT_ID": "demo-web"})
	k.Cleanup(func() {
		if err := stop(); err != nil {
			k.Error(err)
		}
	})
	k.client(models.NewClient{
		ID: "demo-web", Name: "Demo page", Public: true, Grants: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"settings", "profile"}, RedirectURIs: []string{k.base + "/"}, Origins: []string{k.base},
	})
}

// The demo in Chromium, on another origin than the issuer: a wrong password, the right one, the token's claims, the
// list, the moment of a sign-out from elsewhere, a receipt.
func TestBrowser_Demo(t *testing.T) {
	k := newKit(t)
	k.startPage()
	tab := newBrowser(t, "{}")
	open(t, tab, k.base+"/")
	await(t, tab, "document.querySelector('#signed-out')?.hidden === false")
	click(t, tab, "#sign-in")
	typeIn(t, tab, "wrong, and long enough")
	await(t, tab, "!!document.querySelector('#problem')")
	typeIn(t, tab, userPassword)
	await(t, tab, signedIn)
	if at := textOf(tab, "location.href"); at != k.base+"/" {
		t.Errorf("the address is %s: the code should be gone", at)
	}
	await(t, tab, "document.querySelector('#claims').innerText.includes(%q)", k.user.ID.String())
	await(t, tab, "document.querySelector('#watch').innerText.startsWith('Alive')")
	await(t, tab, "document.querySelector('#devices').innerText.includes('Demo page · this one')")
	if mine := k.devices("demo-web"); len(mine) != 1 || mine[0].ParentID == uuid.Nil {
		t.Errorf("%+v", mine)
	}

	// Signed out from elsewhere: the API's stream says so, the page has not asked.
	out, err := k.store.Revoke(t.Context(), models.WholeUser(k.user.ID), models.ReasonRevoked,
		models.Actor{Entity: models.EntityAdmin})
	if err != nil {
		t.Fatal(err)
	}
	await(t, tab, `/^Signed out. The API knew at \d+:\d\d:\d\d/.test(document.querySelector('#moment').innerText)`)
	await(t, tab, "document.querySelector('#moment').innerText.includes('by event %d')", out.Revocation.Seq)
	await(t, tab, "document.querySelector('#signed-out').hidden === false")

	// The browser session went with it: the password again. The device is the same.
	before := k.deviceID()
	click(t, tab, "#sign-in")
	typeIn(t, tab, userPassword)
	await(t, tab, signedIn)
	if after := k.deviceID(); after != before {
		t.Errorf("another device: %s, was %s", after, before)
	}
	await(t, tab, "document.querySelector('#watch').innerText.startsWith('Alive')")
	click(t, tab, "#everywhere")
	await(t, tab, "document.querySelector('#receipt').innerText.includes('applied at 1 of 1 servers')")
	await(t, tab, "document.querySelector('#signed-out').hidden === false")
}

// deviceID is of the only device of the demo's page, signed in or not.
func (k *kit) deviceID() string {
	k.Helper()
	list, _, err := k.store.ListDevices(k.Context(), models.DeviceFilter{ClientID: "demo-web"}, models.Page{})
	if err != nil || len(list) != 1 {
		k.Fatalf("%+v, %v", list, err)
	}
	return list[0].ID.String()
}

// spa serves the code of docs/apps-spa.md at an origin of its own: http://host:port.
func (k *kit) spa(host string, refreshCookie bool) (origin string) {
	k.Helper()
	files := map[string]string{
		"/":          codeOf(k.T, "apps-spa.md", "run", "index.html"),
		"/app.js":    codeOf(k.T, "apps-spa.md", "run", "app.js"),
		"/curfew.js": codeOf(k.T, "apps-spa.md", "file", "cmd/curfew-demo/web/curfew.js"),
		"/config.js": fmt.Sprintf("export const issuer = %q, clientId = 'shop', refreshCookie = %t;", k.issuer,
			refreshCookie),
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/javascript")
		if r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src "+k.issuer)
		}
		_, _ = w.Write([]byte(file))
	}))
	k.Cleanup(srv.Close)
	origin = strings.Replace(srv.URL, "127.0.0.1", host, 1)
	k.client(models.NewClient{
		ID: "shop", Name: "Shop", Public: true, Grants: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"settings"}, RedirectURIs: []string{origin + "/"}, Origins: []string{origin},
		RefreshCookie: refreshCookie, AccessTTL: new(models.Span(2 * time.Second)),
	})
	return origin
}

const stateIs = "document.querySelector('#state')?.textContent === '%s'"

// signInShop signs in, and lists the devices by CORS.
func (k *kit) signInShop(tab context.Context, origin string) {
	k.Helper()
	open(k.T, tab, origin+"/")
	await(k.T, tab, stateIs, "signed out")
	click(k.T, tab, "#sign-in")
	typeIn(k.T, tab, userPassword)
	await(k.T, tab, stateIs, "signed in")
	click(k.T, tab, "#list")
	await(k.T, tab, "document.querySelector('#devices').textContent.includes('(this one)')")
}

// rotatedAt is when the shop's device was refreshed last.
func (k *kit) rotatedAt() models.Micros {
	k.Helper()
	mine := k.devices("shop")
	if len(mine) != 1 {
		k.Fatalf("%+v", mine)
	}
	return mine[0].RotatedAt
}

// refreshesWhenDue: once the access token is old, a list takes a refresh.
func (k *kit) refreshesWhenDue(tab context.Context) {
	k.Helper()
	before := k.rotatedAt()
	for end := time.Now().Add(time.Minute); k.rotatedAt() == before; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			k.Fatalf("no refresh: %s", textOf(tab, "document.body.innerText"))
		}
		click(k.T, tab, "#list")
	}
	await(k.T, tab, "document.querySelector('#devices').textContent.includes('(this one)')")
	await(k.T, tab, stateIs, "signed in")
}

// An app on another site, with the tokens in the memory of its tabs: sign-in, refresh and list by CORS; a second tab
// gets the tokens of the first; the sign-out reaches both.
func TestBrowser_InMemory(t *testing.T) {
	k := newKit(t)
	origin := k.spa("localhost", false)
	first := newBrowser(t, "{}")
	k.signInShop(first, origin)
	k.refreshesWhenDue(first)
	kept := textOf(first, "JSON.stringify([localStorage, sessionStorage, document.cookie])")
	if !strings.Contains(kept, k.devices("shop")[0].ID.String()) || strings.Contains(kept, "eyJ") ||
		strings.Contains(kept, "curfew_rt_") {
		t.Errorf("a token is in a storage: %s", kept)
	}

	second := newTab(t, first)
	open(t, second, origin+"/")
	await(t, second, stateIs, "signed in")
	k.refreshesWhenDue(second)
	open(t, first, origin+"/") // a reload takes them back from the other tab
	await(t, first, stateIs, "signed in")

	click(t, second, "#sign-out")
	await(t, second, stateIs, "signed out")
	await(t, first, stateIs, "signed out")
	if left := k.devices("shop"); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	// The browser session goes on: no password. A loopback address might be anybody's, so the page asks.
	click(t, first, "#sign-in")
	await(t, first, "!!document.querySelector('button[value=continue]')")
	click(t, first, "button[value=continue]")
	await(t, first, stateIs, "signed in")
}

// Three tabs that need a token at the same moment need one refresh: the others wait for it, and take what it got.
func TestBrowser_OneRefresh(t *testing.T) {
	k := newKit(t)
	origin := k.spa("localhost", false)
	tabs := []context.Context{newBrowser(t, "{}")}
	k.signInShop(tabs[0], origin)
	for range 2 {
		tab := newTab(t, tabs[0])
		open(t, tab, origin+"/")
		await(t, tab, stateIs, "signed in")
		tabs = append(tabs, tab)
	}
	k.oneRefresh(func() int64 { return k.refreshesIn(tabs) })
}

// refreshesIn is how many refreshes it takes when each of the tabs needs a token.
func (k *kit) refreshesIn(tabs []context.Context) int64 {
	t := k.T
	t.Helper()
	time.Sleep(2 * time.Second) // the life of an access token
	var asked atomic.Int64
	release := make(chan struct{})
	hold := func() {
		asked.Add(1)
		<-release
	}
	k.hold.Store(&hold)
	defer k.hold.Store(nil)
	for _, tab := range tabs {
		do(t, tab, "document.querySelector('#devices').replaceChildren()")
		click(t, tab, "#list")
	}
	time.Sleep(300 * time.Millisecond) // for the others to do it wrong
	close(release)
	for _, tab := range tabs {
		await(t, tab, "document.querySelector('#devices').textContent.includes('(this one)')")
		await(t, tab, stateIs, "signed in")
	}
	return asked.Load()
}

// An app on another origin of the same site, with the refresh cookie: it survives a reload, no script sees it, two tabs
// refresh with it, and the sign-out deletes it.
func TestBrowser_RefreshCookie(t *testing.T) {
	k := newKit(t)
	origin := k.spa("127.0.0.1", true)
	first := newBrowser(t, "{}")
	k.signInShop(first, origin)
	k.refreshesWhenDue(first)
	open(t, first, origin+"/")
	await(t, first, stateIs, "signed in")
	if seen := textOf(first, "document.cookie"); seen != "" {
		t.Errorf("a script sees %s", seen)
	}
	second := newTab(t, first)
	open(t, second, origin+"/")
	await(t, second, stateIs, "signed in")
	k.refreshesWhenDue(second)
	k.refreshesWhenDue(first)

	click(t, first, "#sign-out")
	await(t, first, stateIs, "signed out")
	await(t, second, stateIs, "signed out")
	open(t, first, origin+"/")
	await(t, first, stateIs, "signed out")
	if left := k.devices("shop"); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// A browser that keeps no cookies is told so, and is not led in a circle.
func TestBrowser_NoCookies(t *testing.T) {
	k := newKit(t)
	k.startPage()
	tab := newBrowser(t, `{"profile":{"default_content_setting_values":{"cookies":2}}}`)
	// The app needs its storage, which goes with the cookies: so the request comes from elsewhere.
	open(t, tab, k.issuer+"/oauth2/authorize?response_type=code&client_id=demo-web&redirect_uri="+k.base+
		"/&code_challenge_method=S256&state=s&code_challenge="+strings.Repeat("a", 43))
	typeIn(t, tab, userPassword)
	await(t, tab, "document.querySelector('#problem')?.innerText.includes('did not keep our cookie') === true")
	if left := k.devices("curfew"); len(left) != 0 {
		t.Errorf("a browser session that nobody holds: %+v", left)
	}
}
