package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The arrows between the packages, docs/architecture.md.
func TestDependencies(t *testing.T) {
	for pkg, allowed := range map[string][]string{
		"curfew/internal/password": {},
		"curfew/models":            {"curfew/internal/password"},
		"curfew/verify":            {},
		"curfew/verify/ginverify":  {"curfew/verify"},
		"curfew/internal/web":      {"curfew/models", "curfew/internal/password"},
		"curfew/server":            {"curfew/models", "curfew/internal/password", "curfew/internal/web"},
		"curfew/admin":             {"curfew/models", "curfew/internal/password", "curfew/internal/web"},
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
			if pkg == "curfew/models" && (dep == "net/http/httptest" || strings.HasPrefix(dep, "github.com/gin-gonic") || strings.HasPrefix(dep, "github.com/go-oauth2")) {
				t.Errorf("models must not know %s", dep)
			}
		}
	}
}
