package verify

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// FuzzParseObject: what is read strictly is JSON of which encoding/json says the same; and what encoding/json writes of
// it, where no name is twice, is read.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":1,"a":1}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1},{"b":1}]}`,
		`{"\u0061":1,"a":2}`, `{"":0}`, `[]`, `null`, `{"a":"\ud83d\ude00"}`,
		`{"a":"\ud83d"}`, `{"a":"\ude00"}`, `{"a":"\\ud83d"}`, `{"a":"\"}"}`, `{"a":tru}`, `{"a":-0.5e+7 ,"b":[ ]}`,
		"{\"a\":\"\xff\"}", `{"a":1}x`, `{"a":"` + strings.Repeat(`\\`, 9) + `"}`,
		`{"x":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`, `{"x":` + strings.Repeat("[", 32) +
			strings.Repeat("]", 32) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseObject(text)
		var std map[string]json.RawMessage
		if errStd := json.Unmarshal(text, &std); errStd != nil || std == nil {
			if err == nil {
				t.Fatalf("%q is no object: %v", text, errStd)
			}
			return
		}
		if err != nil {
			return
		}
		if len(o) != len(std) {
			t.Fatalf("%q has %d members, not %d", text, len(std), len(o))
		}
		for _, m := range o {
			if want, ok := std[string(m.name)]; !ok || !bytes.Equal(m.value, want) ||
				!bytes.Equal(o.get(string(m.name)), want) {
				t.Fatalf("%q: %s is %q, not %q", text, m.name, want, m.value)
			}
			if m.value[0] == '"' {
				var s string
				if err := json.Unmarshal(m.value, &s); err != nil || s != unquote(m.value) {
					t.Fatalf("%q is %q, not %q", m.value, s, unquote(m.value))
				}
			}
		}
		again, err := json.Marshal(std)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := parseObject(again); err != nil || len(o) != len(std) {
			t.Fatalf("%q, which says the same as %q: %v", again, text, err)
		}
	})
}

// Many names cost no more than they have to: they are compared before the signature is.
func TestParseObject_ManyNames(t *testing.T) {
	names := map[string]int{}
	for n := range 900 {
		names[strings.Repeat("x", n%7)+string(rune('a'+n%26))+string(rune('a'+n/26))] = n
	}
	text, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseObject(text)
	if err != nil || len(o) != len(names) {
		t.Fatalf("%d members of %d: %v", len(o), len(names), err)
	}
	last := slices.Max(slices.Collect(maps.Keys(names)))
	if _, err := parseObject(append(text[:len(text)-1], `,"`+last+`":0}`...)); err == nil {
		t.Fatal("a name twice among many was not seen")
	}
}
