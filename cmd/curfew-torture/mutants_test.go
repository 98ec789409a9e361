package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"curfew/internal/harness"
)

// Each mutant changes the one place that the source marks for it, and what comes out compiles. Each mark is a mutant's.
func TestMutants_Fit(t *testing.T) {
	root, err := harness.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names, packages := map[string]bool{}, map[string]*source{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants are called %s", m.name)
		}
		names[m.name] = true
		t.Run(m.name, func(t *testing.T) {
			text, file, err := m.mutated(root)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Dir(file)
			if packages[dir] == nil {
				packages[dir] = load(t, "./"+filepath.ToSlash(dir), root)
			}
			if err := packages[dir].check(filepath.Base(file), text); err != nil {
				t.Errorf("it does not compile: %v", err)
			}
		})
	}
	files, err := sources(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range marked(source) {
			if !names[name] {
				t.Errorf("%s marks a mutant %s, which there is not", file, name)
			}
		}
		if n := bytes.Count(source, []byte("mutant:")); n != len(mark.FindAll(source, -1)) {
			t.Errorf("%s: of %d marks some are no line of their own, or misspelt", file, n)
		}
	}
}

// A mutant that does not fit is an error, whatever is wrong with its marks.
func TestMutant_Apply(t *testing.T) {
	m := mutant{name: "a", edits: []edit{gone, without(` AND y`)}}
	for _, tc := range []struct{ name, source, want string }{
		{"both", "-- mutant: a\nx\n\t// mutant: a\n// mutant: b\nz AND y", "-- mutant: a\n\n\t// mutant: a\n// mutant: b\nz"},
		{"one too few", "// mutant: a\nx", ""},
		{"one too many", "// mutant: a\nx\n// mutant: a\nz AND y\n// mutant: a\nx", ""},
		{"nothing to change", "// mutant: a\nx\n// mutant: a\nz", ""},
		{"at the end", "// mutant: a\nx\n// mutant: a", ""},
	} {
		got, err := m.apply([]byte(tc.source))
		if string(got) != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
	if got := marked([]byte(strings.Repeat("// mutant: a\n", 2) + "x := 1 // mutant: b\n")); len(got) != 1 ||
		got[0] != "a" {
		t.Errorf("marked: %q", got)
	}
}

// source is a package of the product, to be type-checked with one of its files changed. That takes a second where
// building it takes ten.
type source struct {
	path   string
	dir    string
	files  []string
	export map[string]string // the compiled form of what it imports, by import path
}

func load(t *testing.T, pattern, root string) *source {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export",
		pattern)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	s := &source{export: map[string]string{}}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		s.export[p.ImportPath] = p.Export
		s.path, s.dir, s.files = p.ImportPath, p.Dir, p.GoFiles // the package itself comes last
	}
	return s
}

// check type-checks the package with another text in one file's place.
func (s *source) check(changed string, text []byte) error {
	set, parsed := token.NewFileSet(), []*ast.File{}
	for _, name := range s.files {
		var from any
		if name == changed {
			from = text
		}
		f, err := parser.ParseFile(set, filepath.Join(s.dir, name), from, 0)
		if err != nil {
			return err
		}
		parsed = append(parsed, f)
	}
	compiled := func(path string) (io.ReadCloser, error) { return os.Open(s.export[path]) }
	_, err := (&types.Config{Importer: importer.ForCompiler(set, "gc", compiled)}).Check(s.path, set, parsed, nil)
	return err
}
