package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Each mutant still fits the source that it breaks: whoever changes that text changes the mutant too.
func TestMutants_Fit(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants are called %s", m.name)
		}
		names[m.name] = true
		overlay, err := m.overlay(root, t.TempDir())
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := os.Stat(overlay); err != nil || filepath.Ext(overlay) != ".json" {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	for name := range extra {
		if !names[name] {
			t.Errorf("extra source for %s, which there is not", name)
		}
	}
}
