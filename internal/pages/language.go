package pages

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
	bcp47 "golang.org/x/text/language"
)

// Lang is a language that the pages speak, as a BCP 47 tag: en, de.
type Lang string

// fallback is the language of those who ask for none that there is.
const fallback = "en"

// language is one file of texts.
type language struct {
	lang  Lang
	tag   bcp47.Tag
	texts map[string]text
}

// text is what stands under a key: one text, or its plural forms (CLDR: zero, one, two, few, many, other), which the
// value named n decides between.
type text struct {
	single string
	forms  map[string]string
}

func (t *text) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &t.single) == nil {
		return nil
	}
	if err := json.Unmarshal(b, &t.forms); err != nil {
		return err
	}
	if t.forms["other"] == "" {
		return errors.New(`plural forms without "other"`)
	}
	return nil
}

// readLanguages reads every file of texts, the fallback first.
func readLanguages(fsys fs.FS) ([]*language, error) {
	names, err := fs.Glob(fsys, "texts/*.json")
	if err != nil {
		return nil, err
	}
	var list []*language
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		l := &language{lang: Lang(strings.TrimSuffix(path.Base(name), ".json"))}
		if l.tag, err = bcp47.Parse(string(l.lang)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := json.Unmarshal(b, &l.texts); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if l.lang == fallback {
			list = append([]*language{l}, list...)
		} else {
			list = append(list, l)
		}
	}
	if len(list) == 0 || list[0].lang != fallback {
		return nil, fmt.Errorf("texts/%s.json is missing", fallback)
	}
	return list, nil
}

// Languages are those that the pages speak, the one of who asks for none of them first.
func (p *Pages) Languages() []Lang {
	list := make([]Lang, len(p.languages))
	for i, l := range p.languages {
		list[i] = l.lang
	}
	return list
}

// Language is the one that a request's Accept-Language (RFC 9110 section 12.5.4) likes best.
func (p *Pages) Language(r *http.Request) Lang {
	wanted, _, err := bcp47.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil || len(wanted) == 0 {
		return p.languages[0].lang
	}
	tags := make([]bcp47.Tag, len(p.languages))
	for i, l := range p.languages {
		tags[i] = l.tag
	}
	_, i, _ := bcp47.NewMatcher(tags).Match(wanted...)
	return p.languages[i].lang
}

func (p *Pages) language(lang Lang) *language {
	for _, l := range p.languages {
		if l.lang == lang {
			return l
		}
	}
	return p.languages[0]
}

func (l *language) has(key string) bool {
	_, ok := l.texts[key]
	return ok
}

// text is what stands under a key, with its {names} replaced. It takes names and values in turn. Everything is escaped
// but values of the type template.HTML, which come from this package alone.
func (l *language) text(key string, pairs ...any) (template.HTML, error) {
	t, ok := l.texts[key]
	if !ok {
		return "", fmt.Errorf("texts/%s.json has no %q", l.lang, key)
	}
	if len(pairs)%2 != 0 {
		return "", fmt.Errorf("the text %q: a name without a value", key)
	}
	pattern := t.single
	if t.forms != nil {
		pattern = t.forms["other"]
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == "n" {
				pattern = cmp.Or(t.forms[l.form(pairs[i+1])], pattern)
			}
		}
	}
	replace := make([]string, 0, len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		replace = append(replace, fmt.Sprintf("{%v}", pairs[i]), string(l.value(pairs[i+1])))
	}
	return template.HTML(strings.NewReplacer(replace...).Replace(template.HTMLEscapeString(pattern))), nil
}

// value is a value as it stands within a text.
func (l *language) value(v any) template.HTML {
	switch v := v.(type) {
	case template.HTML:
		return v
	case int:
		return template.HTML(template.HTMLEscapeString(l.number(int64(v))))
	case int64:
		return template.HTML(template.HTMLEscapeString(l.number(v)))
	}
	return template.HTML(template.HTMLEscapeString(fmt.Sprint(v)))
}

var forms = map[plural.Form]string{
	plural.Zero: "zero", plural.One: "one", plural.Two: "two",
	plural.Few: "few", plural.Many: "many", plural.Other: "other",
}

// form is the plural form that a number takes.
func (l *language) form(n any) string {
	switch n := n.(type) {
	case int:
		return forms[plural.Cardinal.MatchPlural(l.tag, n, 0, 0, 0, 0)]
	case int64:
		return forms[plural.Cardinal.MatchPlural(l.tag, int(n), 0, 0, 0, 0)]
	}
	return "other"
}

// number groups the digits: 10,482,113.
func (l *language) number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = digits[:1], digits[1:]
	}
	out := digits
	for i := len(digits) - 3; i > 0; i -= 3 {
		out = out[:i] + l.texts["number.group"].single + out[i:]
	}
	return sign + out
}
