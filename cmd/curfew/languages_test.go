package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"curfew/internal/need"
	"curfew/internal/proc"
	"curfew/internal/testdb"
	"curfew/internal/visit"
)

// What a newcomer does with the pages for resource servers: a route in Express, one in FastAPI and one in Go, each as
// it stands on its page, and one sign-out, whose receipt counts all three.
func TestRevoke_ThreeLanguages(t *testing.T) {
	public := freeAddr(t)
	b := newBox(t, testdb.SQLite(t)).with("CURFEW_PUBLIC_ADDR="+public, "CURFEW_ISSUER=http://"+public)
	secret := b.furnish()
	b.run("", "client", "set", "web", "--scopes", "settings profile orders")
	server := b.serve()
	apps := map[string]string{
		"Express": startExpress(t, server.public, secret),
		"FastAPI": startFastAPI(t, server.public, secret),
		"Go":      startOrders(t, server.public, secret),
	}
	for try := 1; ; try++ { // until all of them follow the feed
		text := b.run("", "revoke", "device", server.signIn().DeviceID, "--wait=2s")
		if strings.Contains(text, "applied at 3 of 3 servers") {
			break
		}
		if try == 60 {
			t.Fatalf("not all of them appear in a receipt: %s", text)
		}
	}
	got := server.signIn()
	for name, at := range apps {
		if status, text := server.do(http.MethodGet, at, got.Access, nil); status != http.StatusOK {
			t.Errorf("%s: %d %s, want 200", name, status, text)
		}
	}
	if text := b.run("", "revoke", "device", got.DeviceID); !strings.Contains(text, "applied at 3 of 3 servers") {
		t.Errorf("the receipt: %s", text)
	}
	for name, at := range apps {
		if status, text := server.do(http.MethodGet, at, got.Access, nil); status != http.StatusUnauthorized {
			t.Errorf("%s after the sign-out: %d %s, want 401", name, status, text)
		}
	}
}

// codeOf is the program that stands on a page, after a line that names it.
func codeOf(t *testing.T, page, begin string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)" + regexp.QuoteMeta(begin) + "\n(.*?)```").FindStringSubmatch(string(text))
	if m == nil {
		t.Fatalf("%s has no program after %q", page, begin)
	}
	return m[1]
}

// startExpress runs the page's program beside the package and what it is tested with; it returns the route's URL.
func startExpress(t *testing.T, issuer, secret string) string {
	dir, addr := t.TempDir(), freeAddr(t)
	modules := filepath.Join(dir, "node_modules")
	if err := os.Mkdir(modules, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"curfew-verify": ".", "express": "node_modules/express"} {
		path, err := filepath.Abs(filepath.Join("..", "..", "verify", "js", path))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v: `tools/setup` installs it", err)
		}
		if err := os.Symlink(path, filepath.Join(modules, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeProgram(t, dir, "express.mjs", codeOf(t, "resource-servers-node.md", "<!-- run: express.js -->\n```js"))
	_, port, _ := strings.Cut(addr, ":")
	return startServer(t, dir, addr, []string{"ISSUER=" + issuer, "CLIENT_SECRET=" + secret, "PORT=" + port},
		need.Program(t, "node", "node"), "express.mjs")
}

func startFastAPI(t *testing.T, issuer, secret string) string {
	dir, addr := t.TempDir(), freeAddr(t)
	code := codeOf(t, "resource-servers-python.md", "```python\n# orders_fastapi.py")
	writeProgram(t, dir, "orders_fastapi.py", strings.ReplaceAll(code, "https://id.example.com", issuer))
	path, err := filepath.Abs(filepath.Join("..", "..", "verify", "python"))
	if err != nil {
		t.Fatal(err)
	}
	python := "/usr/bin/python3" // Debian's packages belong to Debian's Python
	if _, err := os.Stat("/usr/bin/apt-get"); err != nil {
		python = need.Program(t, "python3", "python3")
	}
	_, port, _ := strings.Cut(addr, ":")
	env := []string{"CLIENT_SECRET=" + secret, "PYTHONPATH=" + path, "PYTHONDONTWRITEBYTECODE=1", "no_proxy=*"}
	return startServer(t, dir, addr, env, python, "-m", "uvicorn", "--port", port, "orders_fastapi:app")
}

func startOrders(t *testing.T, issuer, secret string) string {
	dir, addr := t.TempDir(), freeAddr(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../../docs/examples/orders")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	env := []string{"ISSUER=" + issuer, "CLIENT_ID=api", "CLIENT_SECRET=" + secret, "ADDR=" + addr}
	return startServer(t, dir, addr, env, filepath.Join(dir, "orders"))
}

func writeProgram(t *testing.T, dir, name, code string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startServer starts a program and waits until it refuses who brings no token. It ends with the test.
func startServer(t *testing.T, dir, addr string, env []string, program string, args ...string) string {
	t.Helper()
	at := "http://" + addr + "/orders"
	if status := startProgram(t, dir, at, env, program, args...); status != http.StatusUnauthorized {
		t.Fatalf("%s without a token: %d, want 401", program, status)
	}
	return at
}

// startProgram starts one and waits until it answers at an address, with that status. It ends with the test.
func startProgram(t *testing.T, dir, at string, env []string, program string, args ...string) (status int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	exited, err := proc.Start(cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // some have children to end
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("%s says: %s", program, said)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		page, err := visit.New().Get(ctx, at)
		if err == nil {
			return page.Status
		}
		select {
		case <-exited:
			t.Fatalf("%s ended: %s", program, said)
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v: %s", program, err, said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
