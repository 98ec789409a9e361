package models

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A constant that is not in its list could not be asked for.
func TestEnumerations_Complete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			constant := spec.Names[0].Name
			value, err := strconv.Unquote(literal.Value)
			switch {
			case err != nil:
				t.Error(err)
			case strings.HasPrefix(constant, "Reason"):
				found["reasons"]++
				if !slices.Contains(Reasons, Reason(value)) {
					t.Errorf("%s is not in Reasons", constant)
				}
			case strings.HasPrefix(constant, "Audit"):
				found["types"]++
				if !slices.Contains(AuditTypes, value) {
					t.Errorf("%s is not in AuditTypes", constant)
				}
			}
			return true
		})
	}
	if found["reasons"] != len(Reasons) || found["types"] != len(AuditTypes) {
		t.Errorf("%v constants for %d reasons and %d types", found, len(Reasons), len(AuditTypes))
	}
}
