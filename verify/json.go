package verify

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and arrays lie within each other; the outermost one is the first level.
const maxDepth = 32

// object is a JSON object that was read strictly, in the order of its members. encoding/json takes what readers in
// other languages do not, or take otherwise: the last of two members of one name, names in another case, half a pair of
// surrogates. Whoever wrote the token could then mean one thing to us and another to somebody else.
type object []member

type member struct {
	name  []byte // its escapes resolved
	value []byte // as it is written
}

// parseObject reads one JSON object, RFC 8259 and RFC 7493: in UTF-8, no name twice at any level, no half of a pair of
// surrogates, at most maxDepth levels.
func parseObject(text []byte) (object, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, ErrMalformed
	}
	r := jsonReader{text: text}
	r.space()
	if r.text[r.at] != '{' {
		return nil, ErrMalformed
	}
	o, ok := r.object(1)
	if !ok {
		return nil, ErrMalformed
	}
	return o, nil
}

// jsonReader goes through a text that is known to be JSON.
type jsonReader struct {
	text []byte
	at   int
}

func (r *jsonReader) space() {
	for r.at < len(r.text) && r.text[r.at] <= ' ' {
		r.at++
	}
}

// value passes over a value.
func (r *jsonReader) value(depth int) (ok bool) {
	switch r.text[r.at] {
	case '{':
		_, ok = r.object(depth)
		return ok
	case '[':
		return r.array(depth)
	case '"':
		_, ok = r.string()
		return ok
	}
	for r.at++; r.at < len(r.text); r.at++ { // a number, true, false or null
		if c := r.text[r.at]; c <= ' ' || c == ',' || c == ']' || c == '}' {
			break
		}
	}
	return true
}

func (r *jsonReader) object(depth int) (o object, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	if depth == 1 {
		o = make(object, 0, 16) // a token's claims
	}
	r.at++
	for {
		r.space()
		switch r.text[r.at] {
		case '}':
			r.at++
			return o, !o.doubled()
		case ',':
			r.at++
			r.space()
		}
		quoted, ok := r.string()
		if !ok {
			return nil, false
		}
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = []byte(unquote(quoted))
		}
		r.space()
		r.at++ // the colon
		r.space()
		begin := r.at
		if !r.value(depth + 1) {
			return nil, false
		}
		o = append(o, member{name, r.text[begin:r.at]})
	}
}

func (r *jsonReader) array(depth int) bool {
	if depth > maxDepth {
		return false
	}
	for r.at++; ; {
		r.space()
		switch r.text[r.at] {
		case ']':
			r.at++
			return true
		case ',':
			r.at++
		default:
			if !r.value(depth + 1) {
				return false
			}
		}
	}
}

// string passes over a string and returns it with its quotes; not ok if it has half a pair of surrogates.
func (r *jsonReader) string() (quoted []byte, ok bool) {
	begin, high := r.at, false // high: the escape before this was the first half of a pair
	for r.at++; r.text[r.at] != '"'; r.at++ {
		unit := rune(0)
		if r.text[r.at] == '\\' {
			if r.at++; r.text[r.at] == 'u' {
				n, _ := strconv.ParseUint(string(r.text[r.at+1:r.at+5]), 16, 16)
				unit = rune(n)
				r.at += 4
			}
		}
		if low := unit >= 0xdc00 && unit <= 0xdfff; low != high {
			return nil, false
		}
		high = unit >= 0xd800 && unit <= 0xdbff
	}
	r.at++
	return r.text[begin:r.at], !high
}

// doubled tells whether a name is there twice.
func (o object) doubled() bool {
	same := func(a, b member) bool { return bytes.Equal(a.name, b.name) }
	if len(o) > 32 {
		sorted := slices.SortedFunc(slices.Values(o), func(a, b member) int { return bytes.Compare(a.name, b.name) })
		return len(slices.CompactFunc(sorted, same)) < len(o)
	}
	for i := range o {
		for j := range i {
			if same(o[i], o[j]) {
				return true
			}
		}
	}
	return false
}

// get returns a member's value; the name is exact. nil if it is missing.
func (o object) get(name string) []byte {
	for i := range o {
		if string(o[i].name) == name {
			return o[i].value
		}
	}
	return nil
}

func unquote(quoted []byte) (s string) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	_ = json.Unmarshal(quoted, &s) // it is known to be a string
	return s
}

// fields reads the members of an object by their types, and notes whether one was wrong.
type fields struct {
	object
	wrong bool
}

// text is a string; "" if it is missing.
func (f *fields) text(name string) string {
	value := f.get(name)
	if value == nil {
		return ""
	}
	if value[0] != '"' {
		f.wrong = true
		return ""
	}
	return unquote(value)
}

// name is a string that is not empty.
func (f *fields) name(name string) string {
	s := f.text(name)
	f.wrong = f.wrong || s == ""
	return s
}

// number is a finite number.
func (f *fields) number(name string) float64 {
	x, err := strconv.ParseFloat(string(f.get(name)), 64)
	f.wrong = f.wrong || err != nil // "null" and "true" are no numbers, and JSON has neither "inf" nor "nan"
	return x
}

// integer is a whole number that a double holds exactly; by its value, so 1.0 is one.
func (f *fields) integer(name string) int64 {
	x := f.number(name)
	if x != math.Trunc(x) || math.Abs(x) >= 1<<53 {
		f.wrong = true
		return 0
	}
	return int64(x)
}

// optional reads a member only if it is there.
func optional[T any](f *fields, name string, read func(name string) T) (v T, there bool) {
	if f.get(name) == nil {
		return v, false
	}
	return read(name), true
}
