package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"curfew/internal/harness"
)

// mutant is the product with one thing broken. It exists only in an overlay of the build: the source stays as it is,
// and no switch in the product can break it.
//
// The source marks what is broken: a line of its own, "// mutant: NAME" in Go or "-- mutant: NAME" in SQL, stands above
// the line that the mutant changes. A change says as little of that line as it can, so that renaming what stands in it
// breaks no mutant.
type mutant struct {
	name    string
	edits   []edit // one for each of its marks, in the order of the file
	noReuse bool   // it shows without a reuse interval, else with one
	crash   bool   // it shows when every node is killed while a receiver has not answered
}

// edit changes the line under a mark: what the expression finds becomes the text, in which $1 stands for a group.
// Without an expression the line goes away.
type edit struct {
	find *regexp.Regexp
	text string
}

// without is an edit that takes something out of the line.
func without(expression string) edit { return edit{find: regexp.MustCompile(expression)} }

func becomes(expression, text string) edit {
	return edit{find: regexp.MustCompile(expression), text: text}
}

// gone is an edit that takes the line away.
var gone = edit{}

var mutants = []mutant{
	{name: "rotation-read-then-write", edits: []edit{gone, gone}},
	{
		name:  "valid-from-is-the-clock-before-its-commit",
		edits: []edit{becomes(`RETURNING horizon,`, `RETURNING {now} + 1,`)},
	},
	{name: "refresh-ignores-the-horizon", edits: []edit{gone}},
	{
		name:  "strict-check-forgets-the-client",
		edits: []edit{becomes(`\+ \w+ \+`, "+ `{greatest}(d.valid_from, u.valid_from, r.valid_from)` +")},
	},
	{
		name:  "refresh-forgets-everyone",
		edits: []edit{becomes(`\+ \w+$`, "+ `{greatest}(d.valid_from, u.valid_from, c.valid_from)`")},
	},
	{name: "local-check-forgets-the-user", edits: []edit{becomes(`\|\| .* <= (\w+)$`, `|| $1 < 0`)}},
	{name: "whole-second-issue-times", edits: []edit{becomes(` = (.+)$`, ` = $1 / 1_000_000 * 1_000_000`)}},
	{
		name:  "events-without-order", // the numbers are taken outside the transaction
		edits: []edit{becomes(`(\w+)\.row\((\w+),`, `$1.row($1.db.WithContext($2.Statement.Context),`)},
	},
	{name: "replay-revokes-in-a-transaction-that-rolls-back", edits: []edit{becomes(`\w+\((\w+)\)$`, `$1`)}},
	{name: "reuse-unbounded-in-generations", edits: []edit{becomes(`:= .*$`, `:= true`)}},
	{name: "predecessor-always-gets-the-same-successor", edits: []edit{becomes(`:= .*$`, `:= true`)}},
	{name: "token-family-kept-at-sign-in", edits: []edit{becomes(`newFamily\(`, `nextRefreshID(`)}},
	{name: "reuse-unbounded-in-time", noReuse: true, edits: []edit{becomes(`:= .*$`, `:= true`)}},
	{name: "sign-in-does-not-look-at-the-password-again", edits: []edit{without(`\S+ != \S+ \|\| `)}},
	{name: "sign-in-does-not-look-whether-the-user-was-disabled", edits: []edit{without(` \|\| \S+ != 0`)}},
	{name: "retry-answered-by-a-plain-read", edits: []edit{without(` \{lock\}`)}},
	// Two lines: the client's version says the same once more.
	{name: "refresh-without-a-look-at-the-client", edits: []edit{gone, gone}},
	{name: "disabling-does-not-sign-out", edits: []edit{gone}},
	{name: "signing-in-again-makes-no-event", edits: []edit{becomes(`if (.*) \{`, `if false && $1 {`)}},
	{name: "audit-log-read-out-of-order", edits: []edit{without(` AND \S+ < \{oldest open\}`)}},
	{name: "id-token-is-an-access-token", edits: []edit{becomes(`= \w+\.idToken\(.*\); (.*)`, `= g.AccessToken, nil; $1`)}},
	{name: "logout-token-without-its-sid", edits: []edit{becomes(`Session: [^,]+,`, `Session: "",`)}},
	{name: "logout-token-with-another-sid", edits: []edit{becomes(`Session: \w+\.ID\.`, `Session: d.UserID.`)}},
	{
		name: "position-stored-before-the-answer", crash: true, edits: []edit{becomes(`told, err := `,
			`w.receiver.PosTX, w.receiver.PosID = e.At.TX, e.At.ID; w.save(); told, err := `)},
	},
	{name: "unanswered-notice-counts-as-told", edits: []edit{becomes(`if .* \{$`, `if true {`)}},
	{name: "code-spent-by-read-then-write", edits: []edit{without(` \{lock\}`), without(` AND used_at = 0`)}},
	{name: "replayed-code-leaves-its-device", edits: []edit{becomes(`\w+\((\w+)\)$`, `$1`)}},
	{
		name:  "code-ignores-the-end-of-its-session",
		edits: []edit{becomes(`\+ ?deviceValidFrom ?\+`, "+`{greatest}(u.valid_from, c.valid_from, r.valid_from)`+")},
	},
	{name: "code-issued-without-its-session", edits: []edit{without(`issued_at = @issued, `)}},
	{name: "children-of-a-signed-out-browser-stay", edits: []edit{becomes(`if (.*) \{`, `if false && $1 {`)}},
	{name: "code-of-another-client", edits: []edit{becomes(`case (.*):`, `case false && $1:`)}},
	{name: "code-without-its-verifier", edits: []edit{becomes(`case (.*):`, `case false && $1:`)}},
}

// mark finds the marks in a file: the names, and the line below.
var mark = regexp.MustCompile(`(?m)^[\t ]*(?://|--) mutant: ([a-z-]+)$`)

// marked are the mutants that a source marks, each once.
func marked(source []byte) (names []string) {
	for _, m := range mark.FindAllSubmatch(source, -1) {
		if name := string(m[1]); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// sources are the files of the product that may have marks, below the module's root.
func sources(root string) (files []string, err error) {
	for _, folder := range []string{"models", "verify", "internal/notify"} {
		found, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

// apply is the source with the mutant in it.
func (m mutant) apply(source []byte) ([]byte, error) {
	lines := strings.Split(string(source), "\n")
	edits := m.edits
	for i := range lines {
		if found := mark.FindStringSubmatch(lines[i]); found == nil || found[1] != m.name {
			continue
		}
		at := i + 1
		for at < len(lines) && mark.MatchString(lines[at]) { // several mutants of one line
			at++
		}
		if len(edits) == 0 || at == len(lines) {
			return nil, fmt.Errorf("mutant %s has more marks than edits", m.name)
		}
		was := lines[at]
		if e := edits[0]; e.find == nil {
			lines[at] = ""
		} else {
			lines[at] = e.find.ReplaceAllString(was, e.text)
		}
		if lines[at] == was {
			return nil, fmt.Errorf("mutant %s finds nothing to change in %q", m.name, was)
		}
		edits = edits[1:]
	}
	if len(edits) > 0 {
		return nil, fmt.Errorf("mutant %s lacks %d of its %d marks", m.name, len(edits), len(m.edits))
	}
	return []byte(strings.Join(lines, "\n")), nil
}

// mutated is the file with the mutant in it, and its name below the module's root.
func (m mutant) mutated(root string) (text []byte, file string, err error) {
	all, err := sources(root)
	if err != nil {
		return nil, "", err
	}
	path, source := "", []byte(nil)
	for _, name := range all {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, "", err
		}
		if !slices.Contains(marked(text), m.name) {
			continue
		}
		if path != "" {
			return nil, "", fmt.Errorf("mutant %s is marked in %s and in %s", m.name, path, name)
		}
		path, source = name, text
	}
	if path == "" {
		return nil, "", fmt.Errorf("mutant %s is marked nowhere", m.name)
	}
	if text, err = m.apply(source); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	file, err = filepath.Rel(root, path)
	return text, file, err
}

// overlay writes the mutated file and the list for `go build -overlay`. file is what was changed, below the module's
// root.
func (m mutant) overlay(root, dir string) (list, file string, err error) {
	text, file, err := m.mutated(root)
	if err != nil {
		return "", "", err
	}
	mutated := filepath.Join(dir, m.name+".go")
	if err := os.WriteFile(mutated, text, 0o600); err != nil {
		return "", "", err
	}
	list = filepath.Join(dir, m.name+".json")
	return list, filepath.ToSlash(file), harness.Overlay(list, map[string]string{filepath.Join(root, file): mutated})
}
