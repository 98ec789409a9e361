package pages

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// constants are the string constants of the package models whose names begin with a prefix.
func constants(t *testing.T, prefix string) (values []string) {
	t.Helper()
	files, err := filepath.Glob("../../models/*.go")
	must(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				value, err := strconv.Unquote(lit.Value)
				must(t, err)
				values = append(values, value)
			}
			return true
		})
	}
	return values
}

// Every reason and every type of audit event that the store knows has its texts, in every language; and there is no
// text for one that it does not know.
func TestTexts_NamesOfTheStore(t *testing.T) {
	p := newPages(t, Config{})
	reasons, types := append(constants(t, "Reason"), constants(t, "EndedBy")...), constants(t, "Audit")
	if len(reasons) < 12 || len(types) < 20 {
		t.Fatalf("%d reasons and %d types: they are somewhere else", len(reasons), len(types))
	}
	known := map[string]bool{"ended.other": true, "ended.expired": true, "reason.expired": true}
	for _, l := range p.languages {
		for _, reason := range reasons {
			for _, key := range []string{"reason." + reason, "ended." + reason} {
				known[key] = true
				if !l.has(key) {
					t.Errorf("%s: there is no text %s", l.tag, key)
				}
			}
		}
		for _, kind := range types {
			keys := []string{"audit." + kind}
			known["event."+kind] = true
			// What is nobody's own stands in no user's account.
			switch of, _, _ := strings.Cut(kind, "_"); of {
			case "client", "keys", "subscriber", "webhook", "notices":
			default:
				keys = append(keys, "event."+kind)
			}
			for _, key := range keys {
				known[key] = true
				if !l.has(key) {
					t.Errorf("%s: there is no text %s", l.tag, key)
				}
			}
		}
		for _, key := range []string{"event.revoked_all", "audit.nobody", "audit.receipt", "audit.before", "audit.came"} {
			known[key] = true
		}
		for key := range l.texts {
			family, rest, _ := strings.Cut(key, ".")
			switch family {
			case "reason", "ended", "event", "audit":
				name, _, _ := strings.Cut(rest, ".")
				if !known[family+"."+name] {
					t.Errorf("%s: %s is of nothing that the store knows", l.tag, key)
				}
			}
		}
	}
}
