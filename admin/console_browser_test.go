package admin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"curfew/internal/chromium"
	"curfew/models"
)

// awaitPath waits until the tab shows a page of this path.
func awaitPath(t *testing.T, b *chromium.Tab, path string) {
	t.Helper()
	var at string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		state, err := chromedp.Run(
			b.Context,
			chromedp.Evaluate[string](`document.readyState + ' ' + location.pathname`),
		)
		if at = state; err == nil && state == "complete "+path {
			return
		}
	}
	t.Fatalf("the tab shows %q, not %s", at, path)
}

// clickOn clicks what a selector finds, and waits for the page that it leads to.
func clickOn(t *testing.T, b *chromium.Tab, selector, path string) {
	t.Helper()
	// What is gone tells that the page has been left.
	chromium.Evaluate[chromedp.Void](t, b, `document.documentElement.dataset.left = 'no'`)
	must(t, chromedp.Do(b.Context, chromedp.Click(chromedp.CSS(selector)),
		chromedp.WaitNotPresent(chromedp.CSS(`html[data-left]`))))
	awaitPath(t, b, path)
}

// In Chromium, with JavaScript and without: an admin signs in, finds a stolen phone and signs it out, gets asked for the
// password, makes a user, and walks every list. No page breaks a rule of axe's, says anything to the console (so its own
// policy refuses nothing that it does), or asks another host.
func TestConsole_InChromium(t *testing.T) {
	source := chromium.Axe(t)
	rules := fmt.Sprintf(chromium.RunAxe, "")
	forEachDB(t, func(t *testing.T, k *kit) {
		for i, scripts := range []bool{true, false} {
			_, err := k.store.CreateUser(t.Context(), models.NewUser{
				Username: fmt.Sprintf("anna%d", i), Password: testPassword, Admin: true,
			}, setup)
			must(t, err)
			phone := k.signIn(k.user(fmt.Sprintf("ben%d", i)), "settings", "203.0.113.1")
			b := chromium.NewTab(t, chromium.Start(t), k.http.URL)
			b.Scripts(t, scripts)
			check := func(where string) {
				t.Helper()
				if scripts { // axe is one
					chromium.Evaluate[chromedp.Void](t, b, source)
					for _, v := range chromium.Evaluate[[]string](t, b, rules, chromedp.EvalAwaitPromise) {
						t.Errorf("%s: %s", where, v)
					}
				}
				b.Quiet(t)
			}
			open := func(path string) {
				t.Helper()
				must(t, chromedp.Do(b.Context, chromedp.Navigate(k.http.URL+path)))
				check(path)
			}
			open("/console/devices?q=ben")
			awaitPath(t, b, "/console/sign-in")
			must(t, chromedp.Do(b.Context, chromedp.SendKeys(chromedp.CSS("#username"), fmt.Sprintf("anna%d", i)),
				chromedp.SendKeys(chromedp.CSS("#password"), testPassword)))
			clickOn(t, b, "form button.primary", "/console/devices")
			check("the list")
			clickOn(t, b, `form[action="/console/devices/`+phone.DeviceID.String()+`/end"] button`, "/console/devices")
			check("the receipt")
			if k.alive(phone) {
				t.Fatal("the phone is signed in")
			}
			for _, path := range []string{
				"/console/", "/console/devices", "/console/devices/" + phone.DeviceID.String(), "/console/users", "/console/users/new",
				"/console/users/" + phone.UserID.String(), "/console/clients", "/console/clients/new", "/console/clients/ops",
				"/console/clients/curfew", "/console/followers", "/console/revocations", "/console/events", "/console/everyone",
				"/console/devices/end?username=ben0",
			} {
				open(path)
			}
			k.age()
			must(t, chromedp.Do(b.Context, chromedp.Navigate(k.http.URL+"/console/users/new")))
			awaitPath(t, b, "/console/step-up")
			check("step-up")
			must(t, chromedp.Do(b.Context, chromedp.SendKeys(chromedp.CSS("#password"), testPassword)))
			clickOn(t, b, "form button.primary", "/console/users/new")
			must(t, chromedp.Do(b.Context, chromedp.SendKeys(chromedp.CSS("#username"), fmt.Sprintf("new%d", i)),
				chromedp.SendKeys(chromedp.CSS("#password"), testPassword+kb.Enter),
				chromedp.WaitVisible(chromedp.CSS(".notice"))))
			check("the new user")
			if where := chromium.Evaluate[string](t, b, `location.pathname`); !strings.HasPrefix(
				where,
				"/console/users/0",
			) {
				t.Errorf("at %s", where)
			}
			clickOn(t, b, `a[href="/console/sign-out"]`, "/console/sign-out")
			check("sign out")
			clickOn(t, b, `button[value=out]`, "/console/sign-out")
			must(t, chromedp.Do(b.Context, chromedp.Navigate(k.http.URL+"/console/")))
			awaitPath(t, b, "/console/sign-in")
			b.Quiet(t)
		}
	})
}
