package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// maxBody bounds a JSON body.
const maxBody = 64 << 10

// BindJSON reads a JSON body strictly: its type, its size, an object, no field that is not known by exactly that name,
// none twice, nothing behind it. dst points to a struct of plain fields.
func BindJSON(c *gin.Context, dst any) error {
	if ct, _, err := mime.ParseMediaType(c.GetHeader("Content-Type")); err != nil || ct != "application/json" {
		return &Problem{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Detail: "the Content-Type must be application/json",
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Problem{
			Status: http.StatusRequestEntityTooLarge, Code: "too_large",
			Detail: "the body must have at most " + strconv.Itoa(maxBody) + " bytes",
		}
	}
	if err != nil {
		return Invalid("the body could not be read")
	}
	if !isText(string(body)) {
		return Invalid("the body is not UTF-8 text without NUL and without half a surrogate pair")
	}
	if !strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "{") { // the decoder takes null for an empty one
		return Invalid("the body must be a JSON object")
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	err = dec.Decode(dst)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its own words name our types
		return Invalid("the body: a %s is no value for %s", wrong.Value, cmp.Or(wrong.Field, "it"))
	}
	if err != nil {
		return Invalid("the body: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Invalid("the body goes on after its JSON value")
	}
	return checkNames(body, dst)
}

// BindName reads the body of a request that names a thing: {"name": "…"}.
func BindName(c *gin.Context) (string, error) {
	var in struct {
		Name *string `json:"name"`
	}
	if err := BindJSON(c, &in); err != nil {
		return "", err
	}
	if in.Name == nil {
		return "", Invalid("name is missing")
	}
	return *in.Name, nil
}

// isText tells whether a JSON text is UTF-8 and escapes nothing that is no text: no database takes a NUL, and half of a
// surrogate pair would be replaced. A backslash outside of a string is the decoder's to refuse.
func isText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for i := 0; i < len(s); {
		switch u := escaped(s[i:]); {
		case s[i] != '\\':
			i++
		case u == 0:
			return false
		case utf16.IsSurrogate(u):
			if utf16.DecodeRune(u, escaped(s[i+6:])) == utf8.RuneError {
				return false
			}
			i += 12
		case u > 0:
			i += 6
		default: // of two backslashes the second escapes nothing
			i += 2
		}
	}
	return true
}

// escaped is the UTF-16 unit of an escape \uXXXX at the start of s; -1 if there is none.
func escaped(s string) rune {
	if len(s) < 6 || s[:2] != `\u` {
		return -1
	}
	u, err := strconv.ParseUint(s[2:6], 16, 16)
	if err != nil {
		return -1
	}
	return rune(u)
}

// checkNames finds a field of a decoded object that is there more than once, since one reader takes the first and
// another the last, and one that differs in case from what the decoder took it for.
func checkNames(object []byte, dst any) error {
	known := map[string]bool{} // and whether it was seen
	t := reflect.TypeOf(dst).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		known[name] = false
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		seen, ok := known[name]
		switch {
		case !ok:
			return Invalid("the body: unknown field %q", shorten(name))
		case seen:
			return Invalid("the body: the field %s is there more than once", name)
		}
		known[name] = true
		if err := dec.Decode(new(json.RawMessage)); err != nil {
			return err
		}
	}
	return nil
}

// shorten makes a stranger's text fit to be quoted.
func shorten(s string) string {
	if s = strings.ToValidUTF8(s, "?"); len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
