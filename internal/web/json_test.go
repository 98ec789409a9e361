package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
)

// bind reads a body with one field.
func bind(body string) (name string, err error) {
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	c.Request.Header.Set("Content-Type", "application/json")
	var in struct {
		Name string `json:"name"`
	}
	err = web.BindJSON(c, &in)
	return in.Name, err
}

// Ensure that a text which is accepted is the one that was sent, whatever is escaped in it.
func TestBindJSON_Text(t *testing.T) {
	for body, want := range map[string]string{
		`{"name":"a\\u0000b"}`:                `a\u0000b`,
		`{"name":"\\\\u0000"}`:                `\\u0000`,
		`{"name":"\\ud800"}`:                  `\ud800`,
		`{"name":"\ud83d\udd0b battery"}`:     "🔋 battery",
		`{"name":"\uD83D\uDD0B\ud83d\uDD0b"}`: "🔋🔋",
		`{"name":"\ufffd \u0001 \u00e9\n"}`:   "\ufffd \x01 é\n",
		`{"name":"🔋 \" \\"}`:                  `🔋 " \`,
		`{"n\u0061me":"x"}`:                   "x",
	} {
		if got, err := bind(body); err != nil || got != want {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	for _, body := range []string{
		`{"name":"a\u0000b"}`, `{"name":"\\\u0000"}`, `{"\u0000":1}`, "{\"name\":\"a\x00b\"}", "{\"name\":\"\xff\"}",
		`{"name":"\ud800 battery"}`, `{"name":"\udd0b"}`, `{"name":"\ud83d\ud83d\udd0b"}`, `{"name":"\ud83d\\udd0b"}`,
		`{"name":"\ud83dx\udd0b"}`,
		`{"name":"\uDD0B\uD83D"}`, `{"name":"\uDFFF"}`, `{"name":"\ud83d"}`, `{"name":"\ud83d`, `{"name":"\`,
		`{"name":"\u00`, `{\u0061}`, `{"name":"\ud83d\u00g0"}`,
	} {
		if got, err := bind(body); err == nil {
			t.Errorf("%s: accepted as %q", body, got)
		}
	}
}

// Whatever is accepted is text, and holds a replacement character only if one was sent.
func FuzzBindJSON(f *testing.F) {
	for _, seed := range []string{
		`x`, `\\u0000`, `\u0000`, `\ud800`, `\ud83d\udd0b`, `\ud83d\\udd0b`, `\ufffd`, "\ufffd", `\`, `","name":"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := bind(`{"name":"` + text + `"}`)
		if err != nil {
			return
		}
		if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
			t.Errorf("%q became %q", text, name)
		}
		sent := strings.ContainsRune(text, utf8.RuneError) || strings.Contains(strings.ToLower(text), `\ufffd`)
		if strings.ContainsRune(name, utf8.RuneError) && !sent {
			t.Errorf("%q was replaced: %q", text, name)
		}
	})
}
