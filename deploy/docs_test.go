package deploy_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The complete program of docs/resource-servers-go.md, in a module of its own that imports the package as the page
// says: it lets a token with the scope through, and not one that was signed out.
func TestGoPage(t *testing.T) {
	page := read(t, "../docs/resource-servers-go.md")
	whole := regexp.MustCompile("(?s)```go\n(package main.*?|// Command.*?)```").FindStringSubmatch(page)
	if whole == nil {
		t.Fatal("no complete program")
	}
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "orders")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(checkout, filepath.Join(dir, "..", "curfew")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(whole[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^    (go mod .*)$`).FindAllStringSubmatch(page, -1)
	if len(commands) != 2 {
		t.Fatalf("the page has %d commands", len(commands))
	}
	for _, c := range append(commands, []string{"", "go build -o orders ."}) {
		args := strings.Fields(c[1])
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c[1], err, out)
		}
	}

	c, addr := startCurfew(t), freeAddr(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "orders"))
	cmd.Env = []string{"ISSUER=" + c.url, "CLIENT_ID=api", "CLIENT_SECRET=" + c.apiSecret, "ADDR=" + addr}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready", func() bool { return status(t, "http://"+addr+"/readyz") == http.StatusOK })
	ask := func(token string, want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s, want %d", res.Status, want)
		}
	}
	good := c.signIn("orders settings")
	ask("", http.StatusUnauthorized)
	ask(c.signIn("profile"), http.StatusForbidden)
	ask(good, http.StatusOK)
	c.signOut(good, 1)
	ask(good, http.StatusUnauthorized)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// The pages say no variable that the gate does not have, and none is missing; links to files lead somewhere.
func TestPages(t *testing.T) {
	help, err := exec.CommandContext(t.Context(), binary, "gate", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	page := regexp.MustCompile("`(_[A-Z_]+)`").ReplaceAllString(read(t, "../docs/gate.md"), "`CURFEW_GATE$1`")
	page = regexp.MustCompile("`(_[A-Z_]+)`").ReplaceAllString(page, "`CURFEW_GATE$1`")
	variable := regexp.MustCompile(`CURFEW_(?:GATE|LOG)_[A-Z_]+`)
	said := strings.Join(variable.FindAllString(page, -1), " ") + " "
	for _, name := range variable.FindAllString(string(help), -1) {
		if !strings.Contains(said, name+" ") {
			t.Errorf("docs/gate.md does not say %s", name)
		}
	}
	for name := range strings.FieldsSeq(said) {
		if !strings.Contains(string(help), name) {
			t.Errorf("docs/gate.md says %s, which there is not", name)
		}
	}
	for _, name := range []string{"gate.md", "resource-servers.md", "resource-servers-go.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(read(t, "../docs/"+name), -1) {
			if _, err := os.Stat(filepath.Join("../docs", link[1])); err != nil && !strings.Contains(link[1], "resource-servers-node.md") &&
				!strings.Contains(link[1], "resource-servers-python.md") {
				t.Errorf("%s: %s: %v", name, link[1], err)
			}
		}
	}
}
