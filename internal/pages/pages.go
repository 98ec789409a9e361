package pages

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Config is how a house makes the pages its own. The zero value is Curfew's own look.
type Config struct {
	// Name stands at the top of each page and in its title. Default: Curfew.
	Name string
	// Logo is the content of an image file (SVG, PNG, JPEG or WebP, 256 kB at most), shown beside the name at a height
	// of 28 pixels. Default: a drawn mark in the accent colour.
	Logo []byte
	// Accent is the colour of buttons, links and the mark, as #rrggbb. White text on it must be legible: a contrast of
	// 4.5 (WCAG 2.2, 1.4.3). The colour for dark screens is made from it. Default: #3d4bb8.
	Accent string
	// Now is the clock for "2 minutes ago". Default: time.Now.
	Now func() time.Time
}

// MaxName is how many characters the name of a house has at most.
const MaxName = 40

// Pages renders pages. It is safe for concurrent use.
type Pages struct {
	name      string
	now       func() time.Time
	languages []*language
	assets    assetSet
	templates map[Lang]map[string]*template.Template
}

// Page is one of the structs of this package that describe a page, for example [SignIn].
type Page interface {
	frame() frame
}

// frame is what the layout has to know of a page.
type frame struct {
	name    string // of the template
	shell   string // plain: one column in the middle; account, console: with navigation
	section string // of the navigation
	user    string // who is signed in
	csp     Kind
}

// New checks the configuration and reads the templates and texts.
func New(cfg Config) (*Pages, error) {
	p := &Pages{name: strings.TrimSpace(cfg.Name), now: cfg.Now, templates: map[Lang]map[string]*template.Template{}}
	if p.name == "" {
		p.name = "Curfew"
	}
	if n := utf8.RuneCountInString(p.name); n > MaxName || !utf8.ValidString(p.name) ||
		strings.ContainsFunc(p.name, notPrintable) {
		return nil, fmt.Errorf("the name of the pages: it takes up to %d printable characters", MaxName)
	}
	if p.now == nil {
		p.now = time.Now
	}
	var err error
	if p.assets, err = newAssets(cfg.Accent, cfg.Logo); err != nil {
		return nil, err
	}
	if p.languages, err = readLanguages(texts); err != nil {
		return nil, err
	}
	for _, l := range p.languages {
		if p.templates[l.lang], err = p.parse(l); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// parse reads the templates for one language: a set for each page, all with the shared ones.
func (p *Pages) parse(l *language) (map[string]*template.Template, error) {
	shared, err := template.New("").Funcs(p.funcs(l)).
		ParseFS(templates, "templates/layout.html", "templates/parts.html", "templates/console.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		return nil, err
	}
	sets := map[string]*template.Template{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || name == "parts" || name == "console" {
			continue
		}
		set, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if sets[name], err = set.ParseFS(templates, file); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// view is what the layout takes.
type view struct {
	Page                 Page
	Lang                 Lang
	Brand                string
	Shell, Section, User string
	Style, Script        string // addresses of the assets
	Icon, Logo           string
}

// Render writes a page with its headers. The page is complete before the first byte is written: an error leaves w
// alone.
func (p *Pages) Render(w http.ResponseWriter, status int, lang Lang, page Page) error {
	sets, ok := p.templates[lang]
	if !ok {
		lang, sets = p.languages[0].lang, p.templates[p.languages[0].lang]
	}
	f := page.frame()
	v := view{
		Page: page, Lang: lang, Brand: p.name, Shell: f.shell, Section: f.section, User: f.user,
		Style: p.assets.style, Script: p.assets.script, Icon: p.assets.icon, Logo: p.assets.logo,
	}
	set := sets[f.name]
	if set == nil {
		return fmt.Errorf("page %s has no template", f.name)
	}
	var out bytes.Buffer
	if err := set.ExecuteTemplate(&out, "layout", v); err != nil {
		return fmt.Errorf("page %s: %w", f.name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(lang))
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language, Cookie")
	setSecurityHeaders(h, f.csp)
	w.WriteHeader(status)
	_, err := w.Write(out.Bytes())
	return err
}
