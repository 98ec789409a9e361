package pages

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"curfew/internal/need"
)

var screenshots = flag.String("screenshots", "", "a folder to write a picture of each page to")

// site serves every sample at /LANG/NAME, and notes the forms that come in.
type site struct {
	*httptest.Server
	pages *Pages

	mu    sync.Mutex
	posts []url.Values // with the path as "path"
	asked int          // how often for the receipt
	still bool         // the module is served empty: what a browser without JavaScript makes of the page
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{pages: newPages(t, Config{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+AssetPrefix, func(w http.ResponseWriter, r *http.Request) {
		if s.isStill() && strings.HasSuffix(r.URL.Path, ".js") {
			w.Header().Set("Content-Type", "text/javascript")
			return
		}
		s.pages.Assets().ServeHTTP(w, r)
	})
	for _, lang := range s.pages.Languages() {
		for _, sample := range samples() {
			mux.HandleFunc(fmt.Sprintf("GET /%s/%s", lang, sample.name), func(w http.ResponseWriter, _ *http.Request) {
				if err := s.pages.Render(w, http.StatusOK, lang, sample.page); err != nil {
					t.Error(err)
				}
			})
		}
	}
	mux.HandleFunc("GET /account/receipts/4711", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		s.asked++
		asked := s.asked
		s.mu.Unlock()
		r := receiptPartly()
		if asked > 1 {
			r = receiptDone()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.pages.ReceiptState("en", *r))
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		form := r.PostForm
		form.Set("path", r.URL.Path)
		s.mu.Lock()
		s.posts = append(s.posts, form)
		s.mu.Unlock()
		if err := s.pages.Render(w, http.StatusOK, "en", SignedOut{}); err != nil {
			t.Error(err)
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *site) lastPost() url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.posts) == 0 {
		return nil
	}
	return s.posts[len(s.posts)-1]
}

func (s *site) isStill() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.still
}

func (s *site) keepStill(still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.still = still
}

// startBrowser starts a headless Chromium.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	program := need.Program(t, "chromium", "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.DisableGPU,
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

// tab is a page of the browser that notes what should not be.
type tab struct {
	context.Context
	origin string

	mu       sync.Mutex
	messages []string // of the console
	foreign  []string // requests to other hosts
}

func newTab(t *testing.T, browser context.Context, origin string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	b := &tab{Context: ctx, origin: origin}
	must(t, chromedp.Do(ctx))
	must(t, chromedp.Listen(ctx, b.note))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	must(t, err)
	_, err = chromedp.Call(ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true})
	must(t, err)
	return b
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.messages = append(b.messages, string(e.Entry.Level)+": "+e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.origin+"/") && !strings.HasPrefix(e.Request.URL, "about:") {
			b.foreign = append(b.foreign, e.Request.URL)
		}
	}
}

// quiet fails if the page said something to the console, or asked another host for something.
func (b *tab) quiet(t *testing.T) {
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

func (b *tab) scripts(t *testing.T, on bool) {
	t.Helper()
	_, err := chromedp.Call(b.Context, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: !on})
	must(t, err)
}

func (b *tab) look(t *testing.T, scheme string, width int64) {
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

func evaluate[T any](t *testing.T, b *tab, script string, options ...chromedp.EvaluateOption) T {
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

// axe is the source of axe-core, the accessibility checker.
func axe(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal("the pages are checked with axe-core: npm ci --prefix internal/pages/testdata --ignore-scripts")
	}
	return string(b)
}

const runAxe = `axe.run(document, {resultTypes: ['violations'], %s}).then((r) => r.violations.map((v) =>
	v.id + ' (' + v.help + '): ' +
	v.nodes.map((n) => n.html + ' ' + n.any.map((a) => a.message).join(' ')).join(' | ')))`

// In a browser, under the policy that is really sent, no page breaks a rule of axe's, says anything to the console,
// asks another host or is wider than its screen: light and dark, on a phone and a desk, with JavaScript and without.
func TestBrowser_EveryPage(t *testing.T) {
	source := axe(t)
	site := newSite(t)
	browser := startBrowser(t)
	b := newTab(t, browser, site.URL)
	// Of axe's rules only the contrast depends on the colours: the others are run once a width.
	every, contrast := fmt.Sprintf(runAxe, ""), fmt.Sprintf(runAxe, "runOnly: ['color-contrast']")
	looks := []struct {
		scheme string
		width  int64
		rules  string
	}{{"light", 1280, every}, {"dark", 1280, contrast}, {"light", 360, contrast}, {"dark", 360, every}}
	for _, sample := range samples() {
		t.Run(sample.name, func(t *testing.T) {
			for i, scripts := range []bool{true, false} {
				lang := site.pages.Languages()[i] // with scripts in one language, without in the other
				b.look(t, "light", 1280)
				site.keepStill(!scripts)
				must(t, chromedp.Do(b.Context, chromedp.Navigate(fmt.Sprintf("%s/%s/%s", site.URL, lang, sample.name))))
				evaluate[chromedp.Void](t, b, source)
				for _, look := range looks {
					b.look(t, look.scheme, look.width)
					where := fmt.Sprintf("%s, %s, %d pixels, scripts %t", lang, look.scheme, look.width, scripts)
					for _, v := range evaluate[[]string](t, b, look.rules, chromedp.EvalAwaitPromise) {
						t.Errorf("%s: %s", where, v)
					}
					if wide := evaluate[int64](t, b, `document.documentElement.scrollWidth`); wide > look.width {
						t.Errorf("%s: the page is %d wide", where, wide)
					}
					if *screenshots != "" {
						picture(t, b, fmt.Sprintf("%s-%s-%s-%d.png", lang, sample.name, look.scheme, look.width))
					}
				}
				b.quiet(t)
			}
		})
	}
}

func picture(t *testing.T, b *tab, name string) {
	t.Helper()
	png, err := chromedp.Run(b.Context, chromedp.FullScreenshot(100))
	must(t, err)
	must(t, os.MkdirAll(*screenshots, 0o755))
	must(t, os.WriteFile(filepath.Join(*screenshots, name), png, 0o644))
}
