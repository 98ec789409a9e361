package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/internal/testdb"
)

// The receivers of docs/webhooks.md are what the page shows, take our messages, and nobody else's.
func TestWebhook_ExampleReceivers(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, interpreter := range map[string]string{"receiver.mjs": "node", "receiver.py": "python3"} {
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join(root, "docs", "examples", "webhooks", name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(page, source) {
				t.Error("docs/webhooks.md shows another one")
			}
			// Beside its package, where Node looks for it.
			copied := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(copied, source, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(root, "clients", "node_modules"), filepath.Join(filepath.Dir(copied), "node_modules")); err != nil {
				t.Fatal(err)
			}
			useReceiver(t, interpreter, copied)
		})
	}
}

// output collects what a program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func useReceiver(t *testing.T, interpreter, file string) {
	url := testdb.SQLite(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	run := func(args ...string) (string, int) {
		t.Helper()
		var out, errs bytes.Buffer
		p := &program{ctx: t.Context(), stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: []string{
			"CURFEW_DATABASE_URL=" + url, "CURFEW_SECRET=" + strings.Repeat("5a", 32), "CURFEW_OUTBOUND_ALLOW=127.0.0.0/8",
		}}
		code := p.run(args)
		return out.String() + errs.String(), code
	}
	run("migrate")
	text, code := run("webhook", "add", "http://"+addr+"/", "--json")
	var made struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(text), &made); err != nil || code != 0 {
		t.Fatalf("%s", text)
	}
	printed := &output{}
	receiver := exec.CommandContext(t.Context(), interpreter, file)
	_, port, _ := net.SplitHostPort(addr)
	receiver.Env = append(os.Environ(), "WEBHOOK_SECRET="+made.Secret, "PORT="+port)
	receiver.Stdout, receiver.Stderr = printed, printed
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receiver.Process.Kill(); receiver.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not listen: %s", printed)
		}
	}
	if text, code := run("webhook", "test", made.ID); code != 0 {
		t.Fatalf("%s; %s", text, printed)
	}
	if !strings.Contains(printed.String(), "webhook.test") {
		t.Errorf("%s", printed)
	}
	// A message of somebody else, and one that is rotated: both signatures are there, so the old secret still fits.
	res, err := http.Post("http://"+addr+"/", "application/json", strings.NewReader(`{"type":"forged","data":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized || strings.Contains(printed.String(), "forged") {
		t.Errorf("%s; %s", res.Status, printed)
	}
	if text, code := run("webhook", "rotate", made.ID, "--json"); code != 0 || !strings.Contains(text, "whsec_") {
		t.Fatalf("%s", text)
	}
	if text, code := run("webhook", "test", made.ID, "--json"); code != 0 || !strings.Contains(text, `"ok":true`) {
		t.Errorf("%s", text)
	}
	if text, _ := run("webhook", "list"); !strings.Contains(text, made.ID) || strings.Contains(text, "whsec_") {
		t.Errorf("%s", text)
	}
	if text, code := run("webhook", "delete", made.ID); code != 0 {
		t.Errorf("%s", text)
	}
	if text, code := run("webhook", "test", made.ID); code != 1 || !strings.Contains(text, "there is no webhook") {
		t.Errorf("%d %s", code, text)
	}
}
