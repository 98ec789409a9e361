package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curfew/internal/testdb"
)

// The look of the pages comes from the environment, and they can be turned off.
func TestServe_Pages(t *testing.T) {
	logo := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBox(t, testdb.SQLite(t))
	b.run("", "migrate")
	server := b.with("CURFEW_PAGES_NAME=The House", "CURFEW_PAGES_LOGO="+logo, "CURFEW_PAGES_ACCENT=#006400").serve()
	status, page := server.do("GET", server.public+"/sign-in", "", nil)
	if status != http.StatusOK || !strings.Contains(page, "The House") || !strings.Contains(page, "/pages/logo-") {
		t.Errorf("%d %s", status, page)
	}
	server.stop()
	server = b.with("CURFEW_PAGES=off").serve()
	if status, body := server.do("GET", server.public+"/sign-in", "", nil); status != http.StatusNotFound {
		t.Errorf("%d %s", status, body)
	}
	server.stop()
}
