package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"curfew/internal/chromium"
	"curfew/internal/need"
)

// window is one of a headless Chromium that notes what should not be: a message on the console (a violation of the
// policy is one), a request to another host.
type window struct {
	context.Context
	t   *testing.T
	url string

	mu    sync.Mutex
	wrong []string
}

// newWindow starts a browser of its own, with JavaScript or without.
func newWindow(t *testing.T, url string, scripts bool) *window {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need.Program(t, "chromium", "chromium")), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(chromium.StartsWithin),
		chromedp.Flag("disable-background-networking", true))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &window{Context: ctx, t: t, url: url}
	b.do()
	b.must(chromedp.Listen(ctx, b.note))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	b.must(err)
	_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts})
	b.must(err)
	return b
}

func (b *window) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *window) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.must(chromedp.Do(b.Context, steps...))
}

func (b *window) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.wrong = append(b.wrong, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.wrong = append(b.wrong, string(e.Entry.Level)+": "+e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.url+"/") && !strings.HasPrefix(e.Request.URL, "about:") {
			b.wrong = append(b.wrong, "a request to another host: "+e.Request.URL)
		}
	}
}

// quiet fails for what should not have been.
func (b *window) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		b.t.Error(w)
	}
}

// wants waits until an element has a text. Between two pages there is none.
func (b *window) wants(selector, text string) {
	b.t.Helper()
	var last string
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		last, err = chromedp.Run(b.Context, chromedp.Evaluate[string](
			`document.readyState === 'complete' && document.querySelector('`+selector+`')?.innerText || ''`))
		if strings.Contains(last, text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("%s: %q, %v, want %q", selector, last, err, text)
}

// tabTo presses the Tab key until the element has the focus, and says how often.
func (b *window) tabTo(selector string) (n int) {
	b.t.Helper()
	for n = 1; n < 60; n++ {
		b.do(chromedp.KeyEvent(kb.Tab))
		there, err := chromedp.Run(b.Context, chromedp.Evaluate[bool](`document.activeElement.matches('`+selector+`')`))
		b.must(err)
		if there {
			return n
		}
	}
	b.t.Fatalf("the Tab key does not reach %s", selector)
	return 0
}

// Somebody whose phone is stolen: a real browser against the real server, by the keyboard alone as far as the phone is
// out, with JavaScript and without; then the password, and everything.
func TestBrowser_Account(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts %t", scripts), func(t *testing.T) {
			forEachBrowser(t, func(t *testing.T, k *kit) {
				ack := func(seq int64) {
					k.bearer("POST", "/oauth2/revocations/ack", k.apiToken(), fmt.Sprintf(`{"subscriber":"orders","seq":%d}`, seq))
				}
				ack(0)
				phone, laptop := k.signIn("anna", "device_name", "Phone"), k.signIn("anna", "device_name", "Laptop")
				b := newWindow(t, k.url, scripts)
				b.do(chromedp.Navigate(k.url + "/account"))
				b.wants("h1", "Sign in")
				b.do(chromedp.KeyEvent("anna" + kb.Tab + testPassword + kb.Enter))
				b.wants("h1", "Your devices")
				b.tabTo(`form[action="/account/end"]:has([value="` + phone.str("device_id") + `"]) button`)
				b.do(chromedp.KeyEvent(kb.Enter))
				b.wants(".receipt", "0 of 1 service confirmed so far.")
				if k.active(phone.str("access_token")) || !k.active(laptop.str("access_token")) {
					t.Error("not the phone alone is out")
				}
				ack(int64(k.count("SELECT max(seq) FROM revocations")))
				if !scripts {
					b.tabTo("[data-receipt=reload] a")
					b.do(chromedp.KeyEvent(kb.Enter))
				}
				b.wants(".receipt.done", "Out. 1 of 1 service confirmed, slowest")
				b.wants(".ended", "You signed it out.")

				b.tabTo(".device:not(.child) summary")
				b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("details[open] input[name=name]")))
				b.tabTo("input[name=name]")
				b.do(chromedp.SetValue(chromedp.CSS("details[open] input[name=name]"), "Desk"), chromedp.KeyEvent(kb.Enter))
				b.wants(".here", "Desk")
				b.wants(".notice", "The new name is saved.")

				b.do(chromedp.Navigate(k.url + "/account/security"))
				b.wants(".events", "A new device, Laptop, signed in to web from 127.0.0.1.")
				b.do(chromedp.Click(chromedp.CSS(`form[action="/account/not-me"] button`)))
				b.wants(".notice", "That device is signed out.")
				if k.active(laptop.str("access_token")) {
					t.Error("the laptop is not out")
				}
				b.do(chromedp.SendKeys(chromedp.CSS("#current_password"), testPassword),
					chromedp.SendKeys(chromedp.CSS("#new_password"), "a better one it is"+kb.Enter))
				b.wants(".notice", "Your password is changed")
				b.do(chromedp.Click(chromedp.CSS(`nav a[href="/account"]`)), chromedp.Click(chromedp.CSS(`a[href="/account/end-everywhere"]`)))
				b.wants("h1", "Sign out everywhere")
				b.do(chromedp.SendKeys(chromedp.CSS("#password"), "a better one it is"+kb.Enter))
				b.wants("h1", "You are signed out")
				b.do(chromedp.Navigate(k.url + "/account"))
				b.wants("h1", "Sign in")
				b.quiet()
			})
		})
	}
}
