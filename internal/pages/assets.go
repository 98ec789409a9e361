package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
)

//go:embed templates
var templates embed.FS

//go:embed texts
var texts embed.FS

//go:embed assets
var files embed.FS

// AssetPrefix is where the pages expect [Pages.Assets], on both listeners.
const AssetPrefix = "/pages/"

// maxLogo is how long the file of a logo may be.
const maxLogo = 256 << 10

type asset struct {
	content     []byte
	contentType string
}

// assetSet has the files that pages load, under names that change with their content.
type assetSet struct {
	style, script, icon, logo string // addresses; logo is empty without one of the house's own
	byName                    map[string]asset
}

func newAssets(accent string, logo []byte) (set assetSet, err error) {
	set.byName = map[string]asset{}
	onLight, onDark, err := accents(accent)
	if err != nil {
		return set, err
	}
	read := func(name string) []byte {
		b, readErr := files.ReadFile("assets/" + name)
		err = errors.Join(err, readErr)
		return b
	}
	style := bytes.NewBuffer(read("style.css"))
	fmt.Fprintf(style, ":root{--accent:%s;--on-accent:%s}\n", onLight, lightest)
	fmt.Fprintf(style, "@media (prefers-color-scheme:dark){:root{--accent:%s;--on-accent:%s}}\n", onDark, dark)
	set.style = set.add("style.css", style.Bytes(), "text/css; charset=utf-8")
	set.script = set.add("app.js", read("app.js"), "text/javascript; charset=utf-8")
	icon := bytes.ReplaceAll(read("icon.svg"), []byte("#000000"), []byte(onLight.String()))
	set.icon = set.add("icon.svg", icon, "image/svg+xml")
	if err != nil || len(logo) == 0 {
		return set, err
	}
	ext, contentType := imageType(logo)
	if ext == "" || len(logo) > maxLogo {
		return set, fmt.Errorf("the logo: it takes an SVG, PNG, JPEG or WebP file of at most %d kB", maxLogo>>10)
	}
	set.logo = set.add("logo."+ext, logo, contentType)
	return set, nil
}

func (s *assetSet) add(name string, content []byte, contentType string) (address string) {
	sum := sha256.Sum256(content)
	base, ext, _ := strings.Cut(name, ".")
	name = base + "-" + hex.EncodeToString(sum[:8]) + "." + ext
	s.byName[name] = asset{content, contentType}
	return AssetPrefix + name
}

func imageType(b []byte) (ext, contentType string) {
	contentType = http.DetectContentType(b)
	switch contentType {
	case "image/png":
		return "png", contentType
	case "image/jpeg":
		return "jpg", contentType
	case "image/webp":
		return "webp", contentType
	}
	if bytes.Contains(b[:min(len(b), 1024)], []byte("<svg")) {
		return "svg", "image/svg+xml"
	}
	return "", ""
}

// Assets serves the style sheet, the module, the icon and the logo below [AssetPrefix]. A name changes with its
// content, so browsers keep the files for good.
func (p *Pages) Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		// An SVG may hold scripts.
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		a, ok := p.assets.byName[path.Base(r.URL.Path)]
		if !ok || path.Dir(r.URL.Path)+"/" != AssetPrefix {
			h.Set("Cache-Control", "no-store")
			http.Error(w, http.StatusText(http.StatusNotFound), http.StatusNotFound)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", a.contentType)
		h.Set("Content-Length", fmt.Sprint(len(a.content)))
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		if r.Method == http.MethodGet {
			_, _ = w.Write(a.content)
		}
	})
}
