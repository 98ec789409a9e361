package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"curfew/internal/harness"
)

// The arrows between the packages, docs/architecture.md.
func TestDependencies(t *testing.T) {
	store := []string{"curfew/models", "curfew/internal/password"}
	shown := append(slices.Clip(store), "curfew/internal/view")
	paged := append(slices.Clip(shown), "curfew/internal/pages")
	listener := append(slices.Clip(paged), "curfew/internal/web")
	for pkg, allowed := range map[string][]string{
		"curfew/internal/password": {},
		"curfew/models":            {"curfew/internal/password"},
		"curfew/internal/view":     store,
		"curfew/internal/revlog":   shown,
		"curfew/internal/web":      paged,
		"curfew/server":            append(slices.Clip(listener), "curfew/internal/revlog"),
		"curfew/internal/notify":   store,
		"curfew/admin":             append(slices.Clip(listener), "curfew/internal/notify"),
		"curfew/verify":            {},
		"curfew/verify/ginverify":  {"curfew/verify"},
		"curfew/internal/gate":     {"curfew/verify"},
		"curfew/internal/pages":    {},
		"curfew/internal/visit":    {},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for dep := range strings.Lines(string(out)) {
			dep = strings.TrimSpace(dep)
			if strings.HasPrefix(dep, "curfew/") && dep != pkg && !slices.Contains(allowed, dep) {
				t.Errorf("%s must not import %s", pkg, dep)
			}
			first, _, _ := strings.Cut(dep, "/")
			if pkg == "curfew/verify" && strings.Contains(first, ".") {
				t.Errorf("verify is to import the standard library only, not %s", dep)
			}
			if pkg == "curfew/internal/view" && strings.HasPrefix(dep, "github.com/gin-gonic") {
				t.Errorf("view is for the command line too, and must not know %s", dep)
			}
			if pkg == "curfew/models" && (dep == "net/http/httptest" || strings.HasPrefix(dep, "github.com/gin-gonic") ||
				strings.HasPrefix(dep, "github.com/go-oauth2")) {
				t.Errorf("models must not know %s", dep)
			}
		}
	}
}

// The program that is shipped has nothing of Gin's MessagePack, and whoever builds it says the tag.
func TestDependencies_Shipped(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", harness.Tags, harness.Program).Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "github.com/ugorji/") {
		t.Error("it has")
	}
	for _, file := range []string{"Makefile", "Dockerfile", "README.md", "test", ".ci/run"} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), harness.Tags) {
			t.Errorf("%s does not build with the tag %s", file, harness.Tags)
		}
	}
}
