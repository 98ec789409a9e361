package pages

import (
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

	"github.com/chromedp/chromedp"

	"curfew/internal/chromium"
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// In a browser, under the policy that is really sent, no page breaks a rule of axe's, says anything to the console,
// asks another host or is wider than its screen: light and dark, on a phone and a desk, with JavaScript and without.
func TestBrowser_EveryPage(t *testing.T) {
	source := chromium.Axe(t)
	site := newSite(t)
	browser := chromium.Start(t)
	b := chromium.NewTab(t, browser, site.URL)
	// Of axe's rules only the contrast depends on the colours: the others are run once a width.
	every, contrast := fmt.Sprintf(chromium.RunAxe, ""), fmt.Sprintf(chromium.RunAxe, "runOnly: ['color-contrast']")
	looks := []struct {
		scheme string
		width  int64
		rules  string
	}{{"light", 1280, every}, {"dark", 1280, contrast}, {"light", 360, contrast}, {"dark", 360, every}}
	for _, sample := range samples() {
		t.Run(sample.name, func(t *testing.T) {
			for i, scripts := range []bool{true, false} {
				lang := site.pages.Languages()[i] // with scripts in one language, without in the other
				b.Look(t, "light", 1280)
				site.keepStill(!scripts)
				must(t, chromedp.Do(b.Context, chromedp.Navigate(fmt.Sprintf("%s/%s/%s", site.URL, lang, sample.name))))
				chromium.Evaluate[chromedp.Void](t, b, source)
				for _, look := range looks {
					b.Look(t, look.scheme, look.width)
					where := fmt.Sprintf("%s, %s, %d pixels, scripts %t", lang, look.scheme, look.width, scripts)
					for _, v := range chromium.Evaluate[[]string](t, b, look.rules, chromedp.EvalAwaitPromise) {
						t.Errorf("%s: %s", where, v)
					}
					if wide := chromium.Evaluate[int64](t, b, `document.documentElement.scrollWidth`); wide > look.width {
						t.Errorf("%s: the page is %d wide", where, wide)
					}
					if *screenshots != "" {
						picture(t, b, fmt.Sprintf("%s-%s-%s-%d.png", lang, sample.name, look.scheme, look.width))
					}
				}
				b.Quiet(t)
			}
		})
	}
}

func picture(t *testing.T, b *chromium.Tab, name string) {
	t.Helper()
	png, err := chromedp.Run(b.Context, chromedp.FullScreenshot(100))
	must(t, err)
	must(t, os.MkdirAll(*screenshots, 0o755))
	must(t, os.WriteFile(filepath.Join(*screenshots, name), png, 0o644))
}
