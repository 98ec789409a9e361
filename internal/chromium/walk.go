package chromium

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Walk goes from page to page and checks each of them: with JavaScript or without, light and dark, as wide as a phone
// and as a desk, by the keyboard. It knows the listener's routes, so a page that nobody has led it to is missed.
type Walk struct {
	*Tab
	scripts bool
	axe     string
	routes  map[string]bool // patterns of the listener's pages, and whether one was checked
	links   []string        // to pages, as the pages had them
}

// NewWalk opens a tab for a walk. The routes are the patterns of all pages of the listener.
func NewWalk(t *testing.T, b *Tab, scripts bool, routes []string) *Walk {
	t.Helper()
	b.Scripts(t, scripts)
	w := &Walk{Tab: b, scripts: scripts, axe: Axe(t), routes: map[string]bool{}}
	for _, r := range routes {
		w.routes[r] = false
	}
	return w
}

// Of axe's rules only the contrast depends on the colours: the others are run once a width.
var looks = []struct {
	scheme string
	width  int64
	rules  string
}{
	{"light", 1280, fmt.Sprintf(RunAxe, "")},
	{"dark", 1280, fmt.Sprintf(RunAxe, "runOnly: ['color-contrast']")},
	{"light", 360, fmt.Sprintf(RunAxe, "runOnly: ['color-contrast']")},
	{"dark", 360, fmt.Sprintf(RunAxe, "")},
}

// Page checks the page that the tab shows, in every look.
func (w *Walk) Page(t *testing.T, where string) {
	t.Helper()
	where = fmt.Sprintf("%s, scripts %t", where, w.scripts)
	at := w.At(t)
	if r := w.route(at); r != "" {
		w.routes[r] = true
	}
	if !w.scripts {
		// The page's own module has not run, and will not now. What checks it is a script too.
		w.Scripts(t, true)
		defer w.Scripts(t, false)
	}
	Evaluate[chromedp.Void](t, w.Tab, w.axe)
	for _, look := range looks {
		w.Look(t, look.scheme, look.width)
		where := fmt.Sprintf("%s, %s, %d pixels", where, look.scheme, look.width)
		for _, v := range Evaluate[[]string](t, w.Tab, look.rules, chromedp.EvalAwaitPromise) {
			t.Errorf("%s: %s", where, v)
		}
		if wide := Evaluate[int64](t, w.Tab, `document.documentElement.scrollWidth`); wide > look.width {
			t.Errorf("%s: the page is %d wide", where, wide)
		}
	}
	if w.scripts { // else it stays as narrow as a phone
		w.Look(t, "light", 1280)
	}
	w.keyboard(t, where)
	w.links = append(w.links, Evaluate[[]string](t, w.Tab,
		`[...document.links].filter((a) => a.origin === location.origin && a.getAttribute('href')[0] !== '#')
			.map((a) => a.pathname + a.search)`)...)
	w.Quiet(t)
}

// remember notes each element that gets the focus, and whether a reader can see that it has it.
const remember = `globalThis.seen = new Set(); globalThis.unseen = [];
	addEventListener('focusin', (e) => {
		seen.add(e.target);
		const style = getComputedStyle(e.target);
		if (style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2) unseen.push(e.target.outerHTML);
	});
	globalThis.usable = () => [...document.querySelectorAll(
		'a[href], button, input, select, textarea, summary, [tabindex="0"]')]
		.filter((e) => e.checkVisibility() && e.type !== 'hidden' && e.tabIndex >= 0)
		.filter((e) => !e.closest('dialog:not([open])'));
	document.activeElement.blur(); usable().length`

// keyboard goes through the page with the Tab key: it reaches whatever can be used, and the focus shows.
func (w *Walk) keyboard(t *testing.T, where string) {
	t.Helper()
	n := Evaluate[int](t, w.Tab, remember)
	must(t, chromedp.Do(w.Context, chromedp.KeyEvent(strings.Repeat(kb.Tab, n+2))))
	for _, e := range Evaluate[[]string](t, w.Tab, `usable().filter((e) => !seen.has(e)).map((e) => e.outerHTML)`) {
		t.Errorf("%s: the Tab key does not reach %s", where, e)
	}
	for _, e := range Evaluate[[]string](t, w.Tab, `unseen`) {
		t.Errorf("%s: the focus does not show on %s", where, e)
	}
}

// Open goes to an address of the listener's and checks the page that it leads to.
func (w *Walk) Open(t *testing.T, address string) {
	t.Helper()
	w.Go(t, address)
	w.Page(t, address)
}

// Follow goes wherever the pages have led and no page was checked, until there is nothing new, and fails for each route
// that nothing led to.
func (w *Walk) Follow(t *testing.T) {
	t.Helper()
	for len(w.links) > 0 {
		address := w.links[0]
		w.links = w.links[1:]
		path, _, _ := strings.Cut(address, "?")
		r := w.route(path)
		if r == "" {
			t.Errorf("a link to %s, which is no page", address)
		} else if !w.routes[r] {
			w.routes[r] = true
			w.Open(t, address)
		}
	}
	for r, seen := range w.routes {
		if !seen {
			t.Errorf("scripts %t: nothing has led to a page of %s", w.scripts, r)
		}
	}
}

// route is the pattern that a path belongs to: of two, the one with less left open.
func (w *Walk) route(path string) (found string) {
	most, parts := -1, strings.Split(path, "/")
	for pattern := range w.routes {
		same, fits := 0, true
		names := strings.Split(pattern, "/")
		for i, name := range names {
			switch {
			case len(names) != len(parts):
				fits = false
			case name == parts[i]:
				same++
			case !strings.HasPrefix(name, ":"):
				fits = false
			}
		}
		if fits && same > most {
			found, most = pattern, same
		}
	}
	return found
}
