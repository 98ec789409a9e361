// Command gen writes the test vectors of package verify, tokens.json and feeds.json. Their form is in the README
// beside them.
//
// Everything comes from fixed seeds and a fixed clock, so that the same source gives the same bytes. The verdicts are
// written here by hand: no verifier is asked.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	issuer   = "https://id.example.com"
	audience = "https://api.example.com"
	// now is the clock of both files, in seconds since 1970.
	now = 1_795_209_600

	user   = "0197a1b2-0000-7000-8000-000000000001"
	device = "0197a1b2-0001-7000-8000-000000000001"
	client = "web"
)

func main() {
	dir := flag.String("dir", "verify/vectors", "the folder to write to")
	flag.Parse()
	files, err := generate()
	for name, content := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(*dir, name), content, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate makes the files by their names.
func generate() (map[string][]byte, error) {
	keys, err := newKeys()
	if err != nil {
		return nil, err
	}
	var tokens, feeds [][]any
	for _, t := range tokenTests(keys) {
		tokens = append(tokens, []any{t})
	}
	for _, t := range feedTests() {
		one := []any{t.feedTest}
		for _, s := range t.steps {
			one = append(one, s)
		}
		feeds = append(feeds, one)
	}
	tokenJSON, errTokens := encode(tokenFile{"tokens.schema.json", issuer, audience, keys.jwks(), now, codes()}, tokens)
	feedJSON, errFeeds := encode(feedFile{"feeds.schema.json", issuer, audience, now}, feeds)
	return map[string][]byte{"tokens.json": tokenJSON, "feeds.json": feedJSON}, errors.Join(errTokens, errFeeds)
}

// encode writes a file with a test, or a step of a transcript, on each line.
func encode(head any, tests [][]any) ([]byte, error) {
	var b bytes.Buffer
	line := func(v any) ([]byte, error) {
		b.Reset()
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err := e.Encode(v)
		return bytes.TrimSpace(bytes.Clone(b.Bytes())), err
	}
	out, err := line(head)
	if err != nil {
		return nil, err
	}
	out = append(out[:len(out)-1], `,"tests":[`...)
	for i, test := range tests {
		if i > 0 {
			out = append(out, ',')
		}
		for n, part := range test {
			text, err := line(part)
			if err != nil {
				return nil, err
			}
			switch {
			case n == 0 && len(test) > 1:
				text = append(text[:len(text)-1], `,"steps":[`...)
			case n > 0 && n < len(test)-1:
				text = append(text, ',')
			case n > 0:
				text = append(text, "]}"...)
			}
			out = append(append(append(out, '\n'), strings.Repeat(" ", min(n, 1))...), text...)
		}
	}
	return append(out, "\n]}\n"...), nil
}

// object is a JSON object of which each character is chosen: names may come twice, values may be no JSON at all.
type object []member

type member struct{ name, value string } // both as they are written, names without their quotes

// set returns the object with another value of a name, or with one more member.
func (o object) set(name, value string) object {
	next := append(object(nil), o...)
	for i := range next {
		if next[i].name == name {
			next[i].value = value
			return next
		}
	}
	return append(next, member{name, value})
}

// add returns the object with one more member, also where the name is there.
func (o object) add(name, value string) object {
	return append(append(object(nil), o...), member{name, value})
}

func (o object) without(name string) object {
	var next object
	for _, m := range o {
		if m.name != name {
			next = append(next, m)
		}
	}
	return next
}

func (o object) String() string {
	var b bytes.Buffer
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s":%s`, m.name, m.value)
	}
	return "{" + b.String() + "}"
}
