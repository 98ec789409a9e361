package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The README names every command and every page.
func TestDocs_Map(t *testing.T) {
	root := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"cmd/*", "docs/*", "internal/*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d, %v", pattern, len(found), err)
		}
		for _, path := range found {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(readme), filepath.ToSlash(name)) {
				t.Errorf("README.md does not name %s", name)
			}
		}
	}
}

// sourceFile is a file of the source that a page names.
var sourceFile = regexp.MustCompile("`((?:admin|cmd|internal|models|server|verify)/[a-z0-9_/.-]+\\.go)")

// The files that the pages name are there.
func TestDocs_Files(t *testing.T) {
	root := filepath.Join("..", "..")
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d, %v", pattern, len(found), err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range sourceFile.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, string(m[1]))); err != nil {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
	}
}

// testName is a test that a page names, perhaps with a subtest, whose name may end in a star.
var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)(?:/([^`*]+)(\\*?))?`")

// The tests that the pages name are there.
func TestDocs_Tests(t *testing.T) {
	root := filepath.Join("..", "..")
	var tests strings.Builder
	for _, pattern := range []string{"*/*_test.go", "*/*/*_test.go"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d, %v", pattern, len(found), err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob(filepath.Join(root, "docs", "decisions", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range append(pages, decisions...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testName.FindAllSubmatch(text, -1) {
			named++
			sub := `"` + string(m[2])
			if len(m[3]) == 0 {
				sub += `"`
			}
			if !strings.Contains(tests.String(), "func "+string(m[1])+"(") ||
				len(m[2]) > 0 && !strings.Contains(tests.String(), sub) {
				t.Errorf("%s names %s, which there is not", page, m[0])
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d names were found", named)
	}
}
