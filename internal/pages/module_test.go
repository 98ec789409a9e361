package pages

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"curfew/internal/chromium"
)

// A receipt that is not complete is completed while one looks at it, and said where a screen reader hears it.
func TestBrowser_ReceiptFillsIn(t *testing.T) {
	site := newSite(t)
	b := chromium.NewTab(t, chromium.Start(t), site.URL)
	must(t, chromedp.Do(b.Context, chromedp.Navigate(site.URL+"/en/account-receipt")))
	want := site.pages.ReceiptState("en", *receiptDone()).Text
	_, err := chromedp.Run(b.Context,
		chromedp.Poll[bool](`document.querySelector('[role=status]').textContent === `+quoteJS(want),
			chromedp.WithPollingTimeout(time.Minute)))
	must(t, err)
	if !chromium.Evaluate[bool](t, b,
		`document.querySelector('.receipt').matches('.done') && !document.querySelector('[data-receipt=reload]')`) {
		t.Error("the receipt does not look complete")
	}
	b.Quiet(t)
}

// The same page without JavaScript: a link to look again, and forms that do what they say.
func TestBrowser_WithoutScripts(t *testing.T) {
	site := newSite(t)
	b := chromium.NewTab(t, chromium.Start(t), site.URL)
	b.Scripts(t, false)
	must(t, chromedp.Do(b.Context, chromedp.Navigate(site.URL+"/en/account-receipt"),
		chromedp.WaitVisible(chromedp.CSS(`[data-receipt=reload] a`)),
		chromedp.Click(chromedp.CSS(`.device:not(.child) summary`)),
		chromedp.SetValue(chromedp.CSS(`details[open] input[name=name]`), "Desk"),
		chromedp.Click(chromedp.CSS(`details[open] button`)), chromedp.WaitVisible(chromedp.CSS(`.plain h1`))))
	if post := site.lastPost(); post.Get("path") != "/account/rename" || post.Get("name") != "Desk" ||
		post.Get("device") != sampleDevices()[0].ID {
		t.Errorf("renaming posts %v", post)
	}
	must(t, chromedp.Do(b.Context, chromedp.Navigate(site.URL+"/en/account"),
		chromedp.Click(chromedp.CSS(`form[action="/account/end"]:has(input[value="`+sampleDevices()[2].ID+`"]) button`)),
		chromedp.WaitVisible(chromedp.CSS(`.plain h1`))))
	if post := site.lastPost(); post.Get("path") != "/account/end" || post.Get("device") != sampleDevices()[2].ID {
		t.Errorf("signing out posts %v", post)
	}
	must(t, chromedp.Do(b.Context, chromedp.Navigate(site.URL+"/en/sign-in"),
		chromedp.SendKeys(chromedp.CSS("#username"), "alice"+kb.Tab+"correct horse"+kb.Enter),
		chromedp.WaitVisible(chromedp.CSS(`.plain h1 + .lead`))))
	post := site.lastPost()
	if post.Get("path") != "/sign-in" || post.Get("username") != "alice" ||
		post.Get("password") != "correct horse" || post.Get("device_name") != "Firefox on Linux" ||
		post.Get("state") == "" || post.Has("shared") {
		t.Errorf("signing in posts %v", post)
	}
	b.Quiet(t)
}

// The keys of the console: / finds, ? explains; and the small things that the module does.
func TestBrowser_Module(t *testing.T) {
	site := newSite(t)
	b := chromium.NewTab(t, chromium.Start(t), site.URL)
	b.Go(t, "/en/console-devices")
	find := chromium.Evaluate[string](t, b, `document.getElementById('q').value`)
	b.Press(t, "/")
	if at := chromium.Evaluate[string](t, b, `document.activeElement.id + ' ' + document.activeElement.value`); at != "q "+find {
		t.Errorf("/ leads to %q", at)
	}
	must(t, chromedp.Do(b.Context, chromedp.KeyEvent("?")))
	if chromium.Evaluate[bool](t, b, `document.getElementById('keys').open`) || chromium.Evaluate[string](t, b,
		`document.activeElement.value.at(-1)`) != "?" {
		t.Error("? in a field must be a question mark")
	}
	chromium.Evaluate[chromedp.Void](t, b, `document.activeElement.blur()`)
	must(t, chromedp.Do(b.Context, chromedp.KeyEvent("?"), chromedp.WaitVisible(chromedp.CSS("#keys")),
		chromedp.KeyEvent(kb.Escape),
		chromedp.WaitNotVisible(chromedp.CSS("#keys"))))

	must(t, chromedp.Do(b.Context, chromedp.Navigate(site.URL+"/en/sign-in"),
		chromedp.Click(chromedp.CSS("button[data-show]"))))
	if chromium.Evaluate[string](t, b, `document.getElementById('password').type`) != "text" {
		t.Error("the password does not show")
	}
	if chromium.Evaluate[string](t, b, `document.querySelector('button[data-show]').ariaLabel`) != "Hide password" {
		t.Error("the button does not say what it does")
	}
	must(t, chromedp.Do(b.Context, chromedp.Navigate(site.URL+"/en/account"),
		chromedp.Click(chromedp.CSS("details[data-rename] summary")),
		chromedp.WaitVisible(chromedp.CSS("details[open] input[name=name]")), chromedp.KeyEvent(kb.Escape),
		chromedp.WaitNotPresent(chromedp.CSS("details[data-rename][open]"))))
	if tag := chromium.Evaluate[string](t, b, `document.activeElement.tagName`); tag != "SUMMARY" {
		t.Errorf("after Escape the focus is on %s", tag)
	}
	b.Quiet(t)
}

func quoteJS(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
