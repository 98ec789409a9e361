package view

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"curfew/models"
)

// FuzzPlatform: any user agent gets a name that a device can have, so no sign-in fails because of one.
func FuzzPlatform(f *testing.F) {
	for _, ua := range []string{
		"", "K", "okhttp/4.12.0", "curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
		"(((((", ";;;;", "/", " / ", "Android", "a/b (c; d", "\x00\xff",
	} {
		f.Add(ua)
	}
	f.Fuzz(func(t *testing.T, ua string) {
		name := Platform(ua)
		if strings.TrimSpace(name) != name || name == "" || utf8.RuneCountInString(name) > models.MaxName ||
			!utf8.ValidString(name) ||
			strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q is called %q", ua, name)
		}
	})
}
