package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"curfew/internal/need"
	"curfew/internal/testdb"
)

// registration is a command of the pages for apps that registers a client.
var registration = regexp.MustCompile(`(?m)^    (curfew client add (?:.*\\\n)*.*)$`)

// Each registration that the pages for apps show works as it stands there.
func TestDocs_Registrations(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.run("", "migrate")
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "apps-*.md"))
	if err != nil || len(pages) != 5 {
		t.Fatalf("%q, %v", pages, err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := registration.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s registers no client", page)
		}
		for _, m := range found {
			if out := b.shell(m[1]); !strings.Contains(out, ": added") {
				t.Errorf("%s: %s: %s", filepath.Base(page), m[1], out)
			}
		}
	}
}

// shell runs a command of a page, as a reader would, to its end.
func (b *box) shell(command string) string {
	b.t.Helper()
	shell := exec.CommandContext(b.t.Context(), need.Program(b.t, "bash", "curl"))
	shell.Env = append(b.env, "CURFEW="+binary)
	shell.Stdin = strings.NewReader(`curfew() { "$CURFEW" "$@"; }; ` + command)
	out, err := shell.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}
