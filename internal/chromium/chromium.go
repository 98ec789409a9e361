// Package chromium looks at pages in a headless Chromium, for the tests of whoever serves pages: what they say to the
// console, whom they ask, and what axe-core finds.
package chromium

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"curfew/internal/harness"
	"curfew/internal/need"
)

// StartsWithin is how long a Chromium may take to start on a machine that is busy; chromedp's own bound is 20 s.
const StartsWithin = 2 * time.Minute

// Start starts a headless Chromium. With -short the test is skipped: a page has nothing for the race detector.
func Start(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out what a browser sees")
	}
	program := need.Program(t, "chromium", "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.WSURLReadTimeout(StartsWithin),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("force-color-profile", "srgb"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// Tab is a page of the browser that notes what should not be.
type Tab struct {
	context.Context
	origin string
	Clicks int // by [Tab.Click]

	mu       sync.Mutex
	messages []string // of the console
	foreign  []string // requests to other hosts
	page     string   // the address that was loaded last
}

// NewTab opens a tab; what it loads comes from the origin alone.
func NewTab(t *testing.T, browser context.Context, origin string) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	b := &Tab{Context: ctx, origin: origin}
	must(t, chromedp.Do(ctx))
	must(t, chromedp.Listen(ctx, b.note))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	must(t, err)
	_, err = chromedp.Call(ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true})
	must(t, err)
	return b
}

func (b *Tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceNetwork && e.Entry.URL == b.page {
			return // the page itself is an error's, 4xx: that is what it is to be
		}
		b.messages = append(b.messages, string(e.Entry.Level)+": "+e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if e.Type == network.ResourceTypeDocument {
			b.page = e.Request.URL
		}
		if !strings.HasPrefix(e.Request.URL, b.origin+"/") && !strings.HasPrefix(e.Request.URL, "about:") {
			b.foreign = append(b.foreign, e.Request.URL)
		}
	}
}

// Quiet fails if the page said something to the console, or asked another host for something.
func (b *Tab) Quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		t.Errorf("console: %s", m)
	}
	for _, u := range b.foreign {
		t.Errorf("a request to another host: %s", u)
	}
	b.messages, b.foreign = nil, nil
}

// Scripts turns JavaScript on or off.
func (b *Tab) Scripts(t *testing.T, on bool) {
	t.Helper()
	_, err := chromedp.Call(b.Context, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: !on})
	must(t, err)
}

// Look sets the colour scheme and the width.
func (b *Tab) Look(t *testing.T, scheme string, width int64) {
	t.Helper()
	_, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"},
		},
	})
	must(t, err)
	must(t, chromedp.Do(b.Context, chromedp.EmulateViewport(width, 800)))
}

// Go loads an address of the origin's.
func (b *Tab) Go(t *testing.T, address string) {
	t.Helper()
	must(t, chromedp.Do(b.Context, chromedp.Navigate(b.origin+address)))
}

// At is the path of the page that is shown, once it is there.
func (b *Tab) At(t *testing.T) (path string) {
	t.Helper()
	b.until(t, "a page", func() bool {
		state, err := chromedp.Run(b.Context, chromedp.Evaluate[string](`document.readyState + ' ' + location.pathname`))
		ready := false
		path, ready = strings.CutPrefix(state, "complete ")
		return err == nil && ready
	})
	return path
}

// Leave does what leads to another page, and waits until that one is there.
func (b *Tab) Leave(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	Evaluate[chromedp.Void](t, b, `document.documentElement.dataset.left = 'no'`)
	ctx, cancel := context.WithTimeout(b.Context, time.Minute) // a click waits for what is not there
	defer cancel()
	must(t, chromedp.Do(ctx, steps...))
	b.until(t, "another page", func() bool { // between two pages there is none to be asked
		gone, err := chromedp.Run(b.Context, chromedp.Evaluate[bool](
			`document.readyState === 'complete' && !document.documentElement.dataset.left`))
		return err == nil && gone
	})
}

// Click clicks what leads to another page, and counts it.
func (b *Tab) Click(t *testing.T, selector string) {
	t.Helper()
	b.Clicks++
	b.Leave(t, chromedp.Click(chromedp.CSS(selector)))
}

// Press presses the key of a letter, as a keyboard does: a page that takes it for itself keeps it out of a field.
func (b *Tab) Press(t *testing.T, letter string) {
	t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		key := input.DispatchKeyEventParams{Type: kind, Key: letter}
		if kind == input.DispatchKeyEventTypeKeyDown {
			key.Text = letter
		}
		_, err := chromedp.Call(b.Context, input.DispatchKeyEvent, key)
		must(t, err)
	}
}

// Enter types, presses Enter, and waits for the page that this leads to.
func (b *Tab) Enter(t *testing.T, keys string) {
	t.Helper()
	b.Leave(t, chromedp.KeyEvent(keys+kb.Enter))
}

// TabTo presses the Tab key until the element has the focus, and fails where the focus does not show.
func (b *Tab) TabTo(t *testing.T, selector string) {
	t.Helper()
	const focus = `[document.activeElement.matches(%q), getComputedStyle(document.activeElement).outlineStyle !== 'none']`
	for range 200 {
		must(t, chromedp.Do(b.Context, chromedp.KeyEvent(kb.Tab)))
		is := Evaluate[[]bool](t, b, fmt.Sprintf(focus, selector))
		if is[0] && !is[1] {
			t.Errorf("the focus does not show on %s", selector)
		}
		if is[0] {
			return
		}
	}
	t.Fatalf("the Tab key does not reach %s", selector)
}

// Wants waits until an element has a text.
func (b *Tab) Wants(t *testing.T, selector, text string) {
	t.Helper()
	b.until(t, selector+" with "+text, func() bool {
		is, err := chromedp.Run(b.Context, chromedp.Evaluate[string](fmt.Sprintf(
			`document.readyState === 'complete' && document.querySelector(%q)?.innerText || ''`, selector)))
		return err == nil && strings.Contains(is, text)
	})
}

// until waits for what the tab is going to show.
func (b *Tab) until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			is, _ := chromedp.Run(b.Context, chromedp.Evaluate[string](`location.href + ' ' + document.body.innerText`))
			t.Fatalf("waited for %s, there is %s", what, is)
		}
	}
}

// Evaluate is what a script in the page finds.
func Evaluate[T any](t *testing.T, b *Tab, script string, options ...chromedp.EvaluateOption) T {
	t.Helper()
	v, err := chromedp.Run(b.Context, chromedp.Evaluate[T](script, options...))
	must(t, err)
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Axe is the source of axe-core, the accessibility checker.
func Axe(t *testing.T) string {
	t.Helper()
	root, err := harness.Root(t.Context())
	must(t, err)
	b, err := os.ReadFile(filepath.Join(root, "internal/pages/testdata/node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal("the pages are checked with axe-core: npm ci --prefix internal/pages/testdata --ignore-scripts")
	}
	return string(b)
}

// RunAxe is the script that checks a page; %s takes more options.
const RunAxe = `axe.run(document, {resultTypes: ['violations'], %s}).then((r) => r.violations.map((v) =>
	v.id + ' (' + v.help + '): ' +
	v.nodes.map((n) => n.html + ' ' + n.any.map((a) => a.message).join(' ')).join(' | ')))`
