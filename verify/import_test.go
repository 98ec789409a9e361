package verify

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The example in the package's documentation builds, by either of the two ways to import the package that stand below
// it.
func TestDoc_ExampleBuilds(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "# A complete resource server\n//\n")
	block, _, _ := strings.Cut(rest, "\n//\n// ")
	program := strings.ReplaceAll(strings.ReplaceAll(block, "//\t", ""), "//\n", "\n")
	if !strings.HasPrefix(program, "package main") {
		t.Fatalf("no program is in the documentation:\n%s", program)
	}
	edit := []string{"mod", "edit", "-require=curfew@v0.0.0", "-replace=curfew=../curfew"}
	if !strings.Contains(string(doc), "\tgo "+strings.Join(edit, " ")+"\n") {
		t.Fatal("the documentation names another command than this test runs")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}

	t.Run("replace", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink(root, filepath.Join(dir, "curfew")); err != nil {
			t.Fatal(err)
		}
		shop := module(t, filepath.Join(dir, "shop"), program)
		run(t, shop, edit...)
		run(t, shop, "build", "-o", os.DevNull, ".")
	})
	t.Run("copy", func(t *testing.T) {
		shop := module(t, filepath.Join(t.TempDir(), "shop"), strings.Replace(program, `"curfew/verify"`,
			`"shop/verify"`, 1))
		if err := os.Mkdir(filepath.Join(shop, "verify"), 0o755); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob("*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(shop, "verify", name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run(t, shop, "build", "-o", os.DevNull, ".")
	})
}

// module makes a module of a program in a folder.
func module(t *testing.T, dir, program string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "mod", "init", "shop")
	return dir
}

func run(t *testing.T, dir string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOPROXY=off") // nothing is to be fetched
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
