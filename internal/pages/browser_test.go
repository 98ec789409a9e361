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
	"sync"
	"testing"

	"github.com/chromedp/cdproto/page"
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
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{pages: newPages(t, Config{})}
	mux := http.NewServeMux()
	mux.Handle("GET "+AssetPrefix, s.pages.Assets())
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// In a browser, under the policy that is really sent, no page breaks a rule of axe's, says anything to the console,
// asks another host or is wider than its screen: also with the longest names, the longer language and in rare states.
// The pages as they are served, without JavaScript too, are walked by TestWalk of the packages server and admin.
func TestBrowser_EveryPage(t *testing.T) {
	site := newSite(t)
	w := chromium.NewWalk(t, chromium.NewTab(t, chromium.Start(t), site.URL), true, nil)
	for _, sample := range samples() {
		t.Run(sample.name, func(t *testing.T) {
			if *screenshots != "" {
				w.Go(t, "/en/"+sample.name)
				pictures(t, w.Tab, sample.name)
				return
			}
			w.Open(t, "/de/"+sample.name)
		})
	}
}

func pictures(t *testing.T, b *chromium.Tab, name string) {
	t.Helper()
	must(t, os.MkdirAll(*screenshots, 0o755))
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 360} {
			b.Look(t, scheme, width)
			height := chromium.Evaluate[int64](t, b, `document.documentElement.scrollHeight`)
			must(t, chromedp.Do(b.Context, chromedp.EmulateViewport(width, height)))
			shot, err := chromedp.Call(b.Context, page.CaptureScreenshot, page.CaptureScreenshotParams{
				Format: page.CaptureScreenshotFormatWebp, Quality: new(int64(60)), CaptureBeyondViewport: new(true),
			})
			must(t, err)
			file := filepath.Join(*screenshots, fmt.Sprintf("%s-%s-%d.webp", name, scheme, width))
			must(t, os.WriteFile(file, shot.Data, 0o644))
		}
	}
}
