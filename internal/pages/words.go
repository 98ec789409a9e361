package pages

import (
	"fmt"
	"html"
	"html/template"
	"net/url"
	"strings"
	"time"
	"unicode"
)

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

// funcs are what the templates of one language may call.
func (p *Pages) funcs(l *language) template.FuncMap {
	return template.FuncMap{
		"t":        l.text,
		"has":      l.has,
		"number":   l.value,
		"ago":      func(t time.Time) template.HTML { return l.timeElement(t, l.ago(p.now(), t)) },
		"at":       func(t time.Time) template.HTML { return l.timeElement(t, l.moment(t)) },
		"date":     func(t time.Time) template.HTML { return l.timeElement(t, l.date(t)) },
		"duration": l.duration,
		"strong":   wrap("strong"),
		"code":     wrap("code"),
		"icon":     deviceIcon,
		"problem":  l.problem,
		"receipt":  func(r *Receipt) ReceiptState { return p.receiptState(l, r) },
		"ended":    func(e Ended) (template.HTML, error) { return p.endedSentence(l, e) },
		"event":    func(e Event) (template.HTML, error) { return p.eventSentence(l, e) },
		"audit":    l.auditSentence,
		"named":    l.named,
		"clock":    func(t time.Time) template.HTML { return l.timeElement(t, t.UTC().Format("15:04")) },
		"millis":   func(d time.Duration) string { return l.number(max(1, d.Milliseconds())) },
		"how":      how,
		"howEnd":   func(api string, f DeviceFilter) lines { return howEnd(api, f.values()) },
		"howList": func(api, list string, f interface{ values() url.Values }) lines {
			return howList(api, list, f.values())
		},
		"howUsers": func(api, prefix string) lines { return howList(api, "users", nonEmpty("prefix", prefix)) },
		"join":     strings.Join,
		"dict":     dict,
	}
}

// dict makes a map of names and values in turn, for a template that takes several values.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: a name without a value")
	}
	return m, nil
}

// wrap makes an element of a value, for use within a text.
func wrap(element string) func(v any) template.HTML {
	return func(v any) template.HTML {
		return template.HTML("<" + element + ">" + template.HTMLEscapeString(fmt.Sprint(v)) + "</" + element + ">")
	}
}

// timeElement says a time in words, with the exact one behind. The module puts the title into the reader's time zone.
func (l *language) timeElement(t time.Time, words string) template.HTML {
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.Format("2006-01-02T15:04:05.000Z"),
		template.HTMLEscapeString(l.moment(t)+" UTC"), template.HTMLEscapeString(words)))
}

// plain is a text for where no element may stand.
func (l *language) plain(key string, pairs ...any) string {
	s, err := l.text(key, pairs...)
	if err != nil {
		return key
	}
	return html.UnescapeString(string(s))
}

// date is 3 November 2026.
func (l *language) date(t time.Time) string {
	t = t.UTC()
	month := l.plain(fmt.Sprintf("month.%d", int(t.Month())))
	return l.plain("time.date", "day", t.Day(), "month", month, "year", t.Format("2006"))
}

// moment is a date with the time of day, to the second.
func (l *language) moment(t time.Time) string {
	return l.plain("time.moment", "date", l.date(t), "clock", t.UTC().Format("15:04:05"))
}

// ago says a time in words, seen from now: what is near is relative, what is far a date.
func (l *language) ago(now, t time.Time) string {
	d := now.Sub(t)
	future := d < 0
	key := "time.ago"
	if future {
		d, key = -d, "time.in"
	}
	switch {
	case d < 45*time.Second && !future:
		return l.plain("time.now")
	case d < 45*time.Second:
		return l.plain("time.soon")
	case d >= 31*24*time.Hour:
		return l.date(t)
	}
	return l.plain(key, "duration", l.span(d, key))
}

// span is a rounded duration. In German its case depends on the word before it, hence the forms "ago" and "in".
func (l *language) span(d time.Duration, key string) string {
	unit, n := "minutes", int((d+30*time.Second)/time.Minute)
	switch {
	case d >= 36*time.Hour:
		unit, n = "days", int((d+12*time.Hour)/(24*time.Hour))
	case d >= 90*time.Minute:
		unit, n = "hours", int((d+30*time.Minute)/time.Hour)
	}
	return l.plain(key+"."+unit, "n", max(n, 1))
}

// duration is how long something still takes, rounded up so that it is true: 4 minutes.
func (l *language) duration(d time.Duration) string {
	ceil := func(unit time.Duration) int { return max(1, int((d+unit-1)/unit)) }
	switch {
	case d <= 90*time.Second:
		return l.plain("duration.seconds", "n", ceil(time.Second))
	case d <= 90*time.Minute:
		return l.plain("duration.minutes", "n", ceil(time.Minute))
	case d <= 48*time.Hour:
		return l.plain("duration.hours", "n", ceil(time.Hour))
	}
	return l.plain("duration.days", "n", ceil(24*time.Hour))
}

// deviceIcon is the name of the drawing for what a person would call a platform: "Safari on iPhone".
func deviceIcon(platform string) string {
	s := strings.ToLower(platform)
	any := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(s, w) {
				return true
			}
		}
		return false
	}
	switch {
	case any("ipad", "tablet", "kindle"):
		return "tablet"
	case any("iphone", "ipod", "android", "pixel", "phone", "galaxy", "sm-"):
		return "phone"
	case any("curl", "wget", "go-http", "python", "okhttp", "node", "java", "cli", "postman"):
		return "terminal"
	case any("windows", "mac", "linux", "chrome", "bsd", "firefox", "safari", "edge", "opera"):
		return "laptop"
	}
	return "unknown"
}
