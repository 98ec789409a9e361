package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"curfew/internal/need"
	"curfew/internal/testdb"
)

// The line that starts the demo app does, and the link leads to its page; on another address the next time, too.
func TestDev_App(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	data := filepath.Join(t.TempDir(), "data")
	for range 2 {
		addr := freeAddr(t)
		printed, stop := b.startDev(data, "--demo-addr", addr)
		issuer, stopApp := startApp(t, printed, addr)
		// The registration fits: the browser may ask from there.
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, issuer+"/oauth2/token", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "http://"+addr)
		r.Header.Set("Access-Control-Request-Method", "POST")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != "http://"+addr {
			t.Errorf("the page at %s may not ask: %d, %q", addr, res.StatusCode, got)
		}
		stopApp()
		stop()
	}
}

// freeAddr is an address that nobody listens on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startApp pastes the line that starts the demo, and waits for its page, which names the issuer.
func startApp(t *testing.T, printed []string, addr string) (issuer string, stop func()) {
	t.Helper()
	var line string
	for _, l := range printed {
		if strings.HasSuffix(l, "./cmd/curfew-demo") {
			line = l
		}
	}
	if line == "" || !strings.Contains(strings.Join(printed, "\n"), "open http://"+addr+" and sign in as demo") {
		t.Fatalf("no line, or no link: %q", printed)
	}
	shell := exec.CommandContext(t.Context(), need.Program(t, "bash", "curl"))
	shell.Dir, shell.Stdin = filepath.Join("..", ".."), strings.NewReader(line)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as in a terminal: Ctrl-C reaches the program below
	var stderr strings.Builder
	shell.Stderr = &stderr
	shell.WaitDelay = 10 * time.Second
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGINT)
		_ = shell.Wait()
	})
	t.Cleanup(stop)
	for range 600 {
		res, err := http.Get("http://" + addr + "/config.json")
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		defer res.Body.Close()
		var config struct {
			Issuer, Scope string
			ClientID      string `json:"client_id"`
		}
		if err := json.NewDecoder(res.Body).Decode(&config); err != nil || config.ClientID != demoWeb {
			t.Fatalf("%+v, %v", config, err)
		}
		page, err := http.Get("http://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer page.Body.Close()
		text, err := io.ReadAll(page.Body)
		if err != nil || !strings.Contains(string(text), "Sign in with Curfew") {
			t.Fatalf("%s, %v", text, err)
		}
		return config.Issuer, stop
	}
	t.Fatalf("the demo does not come up: %s", stderr.String())
	return "", nil
}
