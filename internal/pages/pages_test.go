package pages

import (
	"fmt"
	"html"
	"io/fs"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
	"time"
)

func newPages(t *testing.T, cfg Config) *Pages {
	t.Helper()
	cfg.Now = func() time.Time { return clock }
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func render(t *testing.T, p *Pages, lang Lang, page Page) string {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Render(w, 200, lang, page); err != nil {
		t.Fatal(err)
	}
	return w.Body.String()
}

// hostile is what a device, a client or a user agent may be called to do harm.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(1)>` + "`${}{{.}}" + `javascript:alert(1)//`

// poison replaces every string below v by the hostile one, but for those that the pages themselves decide by.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			poison(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.Struct:
		if _, isTime := v.Interface().(time.Time); isTime {
			return
		}
		for i := range v.NumField() {
			poison(v.Field(i))
		}
	case reflect.String:
		if v.CanSet() && v.String() != "" {
			v.SetString(hostile)
		}
	}
}

var (
	dangerous = regexp.MustCompile(`(?i)<script>|<img src=x|<[a-z][^>]*\sonerror=`)
	element   = regexp.MustCompile(`<(script|style)\b[^>]*>`)
)

// Whatever a string holds, it stays text.
func TestRender_Hostile(t *testing.T) {
	p := newPages(t, Config{})
	for _, lang := range p.Languages() {
		for _, s := range samples() {
			page := reflect.New(reflect.TypeOf(s.page))
			page.Elem().Set(reflect.ValueOf(s.page))
			poison(page.Elem())
			out := render(t, p, lang, page.Elem().Interface().(Page))
			text := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(out, `""`) // what is quoted is an attribute's value
			if m := dangerous.FindString(text); m != "" {
				t.Errorf("%s, %s: markup got through: %s", lang, s.name, m)
			}
			if m := regexp.MustCompile(`(?i)(href|action|src)="\s*javascript:`).FindString(out); m != "" {
				t.Errorf("%s, %s: a script as an address: %s", lang, s.name, m)
			}
			if strings.Contains(html.UnescapeString(text), "{{.}}") && !strings.Contains(out, "alert(1)") {
				t.Errorf("%s, %s: the sample did not reach the page", lang, s.name)
			}
		}
	}
}

// The policy allows nothing inline, so nothing may be.
func TestRender_NothingInline(t *testing.T) {
	p := newPages(t, Config{Name: "Example", Logo: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)})
	for _, s := range samples() {
		out := render(t, p, "en", s.page)
		for _, tag := range element.FindAllString(out, -1) {
			if !strings.Contains(tag, ` src="/pages/`) {
				t.Errorf("%s: %s", s.name, tag)
			}
		}
		if m := regexp.MustCompile(`<[a-z][^>]* (style|on[a-z]+)=`).FindString(out); m != "" {
			t.Errorf("%s: inline: %s", s.name, m)
		}
		if m := regexp.MustCompile(`(src|href|action)="(https?:)?//[^"]*`).FindString(out); m != "" {
			t.Errorf("%s: another host: %s", s.name, m)
		}
		if !strings.Contains(out, p.assets.logo) || !strings.Contains(out, "Example") {
			t.Errorf("%s: without the house's name and logo", s.name)
		}
	}
}

// Every page has a template, and every template a sample: the other tests reach all of them.
func TestSamples_Complete(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range samples() {
		seen[s.page.frame().name] = true
	}
	for name := range newPages(t, Config{}).templates["en"] {
		if !seen[name] {
			t.Errorf("templates/%s.html has no sample", name)
		}
	}
}

// All languages have the same keys, with the same names to fill in.
func TestTexts_SameKeys(t *testing.T) {
	list, err := readLanguages(texts)
	if err != nil {
		t.Fatal(err)
	}
	names := func(x text) string {
		all := x.single + fmt.Sprint(x.forms)
		found := regexp.MustCompile(`\{[a-z]+\}`).FindAllString(all, -1)
		slices.Sort(found)
		return strings.Join(slices.Compact(found), " ")
	}
	for _, l := range list[1:] {
		for key, x := range list[0].texts {
			y, ok := l.texts[key]
			switch {
			case !ok:
				t.Errorf("texts/%s.json has no %q", l.lang, key)
			case (x.forms == nil) != (y.forms == nil) || names(x) != names(y):
				t.Errorf("texts/%s.json: %q takes %q, not %q", l.lang, key, names(x), names(y))
			}
		}
		for key := range l.texts {
			if !list[0].has(key) {
				t.Errorf("texts/%s.json has %q, and texts/%s.json has not", l.lang, key, list[0].lang)
			}
		}
	}
}

var (
	literal = regexp.MustCompile(`\p{L}`)
	readOut = regexp.MustCompile(`(?:aria-label|title|alt|placeholder)="([^"]*)"`)
)

// Every text is in texts/: the templates hold none, neither between the tags nor in attributes that are read out.
func TestTemplates_NoLiteralText(t *testing.T) {
	p := newPages(t, Config{})
	names, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		source, err := fs.ReadFile(templates, name)
		if err != nil {
			t.Fatal(err)
		}
		trees, err := parse.Parse(name, string(source), "", "", p.funcs(p.languages[0]), map[string]any{
			"and": 0, "or": 0, "not": 0, "eq": 0, "ne": 0, "gt": 0, "ge": 0, "lt": 0, "print": 0, "len": 0,
			"index": 0, "printf": 0,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, tree := range trees {
			var b strings.Builder
			flatten(&b, tree.Root)
			markup := b.String()
			for _, m := range readOut.FindAllStringSubmatch(markup, -1) {
				if literal.MatchString(m[1]) {
					t.Errorf("%s: literal text in an attribute: %q", name, m[0])
				}
			}
			for _, between := range regexp.MustCompile(`<[^>]*>`).Split(markup, -1) {
				if literal.MatchString(between) {
					t.Errorf("%s: literal text: %q", name, between)
				}
			}
		}
	}
}

// flatten writes the text nodes of a template, with a mark for whatever is filled in.
func flatten(b *strings.Builder, n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, c := range n.Nodes {
				flatten(b, c)
			}
		}
	case *parse.TextNode:
		b.Write(n.Text)
	case *parse.IfNode:
		flatten(b, n.List)
		flatten(b, n.ElseList)
	case *parse.RangeNode:
		flatten(b, n.List)
		flatten(b, n.ElseList)
	case *parse.WithNode:
		flatten(b, n.List)
		flatten(b, n.ElseList)
	default:
		b.WriteString("·")
	}
}

func TestLanguage(t *testing.T) {
	p := newPages(t, Config{})
	for header, want := range map[string]Lang{
		"": "en", "de": "de", "de-AT,de;q=0.9,en;q=0.5": "de", "en-GB,de;q=0.8": "en", "fr,de;q=0.2": "de",
		"fr, en;q=0.1, de;q=0.4": "de",
		"zh-CN":                  "en", "*": "en", "de;q=0, en": "en", ";;;": "en", strings.Repeat("de,", 5000): "de",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", header)
		if got := p.Language(r); got != want {
			t.Errorf("Accept-Language %.40q: %s, want %s", header, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	p := newPages(t, Config{})
	en, de := p.language("en"), p.language("de")
	for _, tc := range []struct{ got, want string }{
		{en.ago(clock, clock), "just now"},
		{en.ago(clock, clock.Add(-2*time.Minute)), "2 minutes ago"},
		{en.ago(clock, clock.Add(-61*time.Second)), "1 minute ago"},
		{en.ago(clock, clock.Add(-3*hour)), "3 hours ago"},
		{en.ago(clock, clock.Add(29*day)), "in 29 days"},
		{en.ago(clock, clock.Add(-200*day)), "11 May 2026"},
		{de.ago(clock, clock.Add(-2*day)), "vor 2 Tagen"},
		{de.ago(clock, clock.Add(-200*day)), "11. Mai 2026"},
		{en.duration(230 * time.Second), "4 minutes"},
		{en.duration(0), "1 second"},
		{de.duration(time.Minute), "60 Sekunden"},
		{en.number(10482113), "10,482,113"},
		{de.number(-1234), "-1.234"},
		{en.number(999), "999"},
		{p.ReceiptState("en", *receiptDone()).Text, "Out. 4 of 4 services confirmed, slowest 18 ms."},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

// A reason, an event, an error or a problem that nobody has written a text for is no reason to show nothing.
func TestRender_UnknownCodes(t *testing.T) {
	p := newPages(t, Config{})
	for _, page := range []Page{
		Error{Code: "new"},
		SignIn{Problem: &Problem{Code: "new"}},
		Account{Ended: []Ended{{Name: "x", Reason: "new"}}, Notice: "new"},
		Security{Events: []Event{{Type: "new"}}},
	} {
		render(t, p, "de", page)
	}
	render(t, p, "xx", Error{}) // a language that there is not
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{
		{Accent: "blue"},
		{Accent: "#12345"},
		{Accent: "#ffdd00"}, // nobody can read white on yellow
		{Name: strings.Repeat("x", 41)},
		{Name: "a\x00b"},
		{Logo: []byte("GIF89a")},
		{Logo: append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, maxLogo)...)},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("accepted: %.60v", cfg)
		} else {
			t.Log(err)
		}
	}
	for _, accent := range []string{"#000000", "#b3261e", "#1c6a45", "#3d4bb8"} {
		_, onDark, err := accents(accent)
		if err != nil || contrast(onDark, dark) < minContrast {
			t.Errorf("%s on dark: %v, %v", accent, onDark, err)
		}
	}
	if contrast(rgb{}, lightest) < 20.9 {
		t.Error("black on white is 21")
	}
}

func TestAssets(t *testing.T) {
	p := newPages(t, Config{Accent: "#1c6a45"})
	get := func(method, address string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		p.Assets().ServeHTTP(w, httptest.NewRequest(method, address, nil))
		return w
	}
	for _, address := range []string{p.assets.style, p.assets.script, p.assets.icon} {
		w := get("GET", address)
		if w.Code != 200 || w.Body.Len() == 0 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %v", address, w.Code, w.Header())
		}
	}
	if css := get("GET", p.assets.style).Body.String(); !strings.Contains(css, "--accent:#1c6a45") ||
		strings.Contains(css, "url(") {
		t.Error("the style sheet lacks the accent colour, or loads something")
	}
	if n := get("GET", p.assets.script).Body.Len(); n >= 12<<10 {
		t.Errorf("the module has %d bytes", n)
	}
	for address, want := range map[string]int{
		"/pages/style.css": 404, "/pages/../assets/style.css": 404,
		"/pages/": 404, "/x" + p.assets.style: 404,
	} {
		if w := get("GET", address); w.Code != want || strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d", address, w.Code)
		}
	}
	if w := get("POST", p.assets.style); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
	if w := get("HEAD", p.assets.style); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: %d", w.Code)
	}
	if other := newPages(t, Config{}); other.assets.style == p.assets.style || other.assets.script != p.assets.script {
		t.Error("a name must change with its content, and only then")
	}
}

func TestCSP(t *testing.T) {
	p := newPages(t, Config{})
	for _, tc := range []struct {
		page   Page
		action bool
	}{
		{SignIn{}, false},
		{Continue{}, false},
		{SignOut{}, false},
		{SignIn{Console: true}, true},
		{Error{}, true},
		{Account{}, true},
		{Security{}, true},
	} {
		w := httptest.NewRecorder()
		if err := p.Render(w, 200, "en", tc.page); err != nil {
			t.Fatal(err)
		}
		h := w.Header()
		policy := h.Get("Content-Security-Policy")
		if strings.Contains(policy, "form-action") != tc.action || strings.Contains(policy, "unsafe") ||
			!strings.HasPrefix(policy, "default-src 'none';") {
			t.Errorf("%T: %s", tc.page, policy)
		}
		if h.Get("Referrer-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%T: %v", tc.page, h)
		}
	}
}
