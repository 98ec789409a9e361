package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"curfew/internal/need"
	"curfew/internal/testdb"
)

// compressing are proxies that are told to compress whatever they can. %[1]s is where they listen, %[2]s the server.
var compressing = []struct {
	name, pkg string
	args      []string // with the file's name behind them
	config    string
}{
	{"caddy", "caddy", []string{"run", "--adapter", "caddyfile", "--config"}, `{
	admin off
	auto_https off
}
http://%[1]s {
	encode {
		gzip
		minimum_length 1
		match header Content-Type *
	}
	reverse_proxy %[2]s
}
`},
	{"haproxy", "haproxy", []string{"-db", "-f"}, `defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
frontend in
	bind %[1]s
	filter compression
	compression algo gzip
	compression type text/event-stream application/json
	default_backend out
backend out
	server one %[2]s
`},
	{"nginx", "nginx", []string{"-c"}, `daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
	gzip on; gzip_types *; gzip_proxied any; gzip_min_length 0; gzip_http_version 1.0;
	server {
		listen %[1]s;
		location / { proxy_pass http://%[2]s; proxy_http_version 1.1; proxy_read_timeout 60s; }
	}
}
`},
}

// Ensure a proxy that compresses leaves the feed alone: it would hold the events back until there are enough.
func TestFeed_BehindCompressingProxy(t *testing.T) {
	for _, p := range compressing {
		t.Run(p.name, func(t *testing.T) {
			program := need.Program(t, p.name, p.pkg)
			k := newKit(t, testdb.SQLite(t))
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address, dir := free.Addr().String(), t.TempDir()
			free.Close()
			file := filepath.Join(dir, "config")
			text := fmt.Sprintf(p.config, address, k.http.Listener.Addr())
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program, append(p.args, file)...)
			if p.name == "nginx" {
				cmd.Args = append(cmd.Args, "-p", dir)
			}
			cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			cmd.WaitDelay = 5 * time.Second
			var said strings.Builder
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
			for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				if conn, err := net.Dial("tcp", address); err == nil {
					conn.Close()
					break
				}
				if time.Now().After(end) {
					t.Fatalf("it does not come up: %s", said.String())
				}
			}
			ask := func(path string) *http.Response {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				t.Cleanup(cancel)
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Accept-Encoding", "gzip") // so net/http undoes nothing
				r.Header.Set("Authorization", "Bearer "+k.apiToken())
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { res.Body.Close() })
				return res
			}
			if got := ask("/healthz").Header.Get("Content-Encoding"); got != "gzip" {
				t.Fatalf("it does not compress at all: %q", got)
			}
			res := ask("/oauth2/revocations")
			if got := res.Header.Get("Content-Encoding"); res.StatusCode != http.StatusOK || got == "gzip" {
				t.Errorf("the feed: %d, Content-Encoding %q", res.StatusCode, got)
			}
			if m := (&reader{t: t, in: bufio.NewReader(res.Body)}).next(); m.kind != "heartbeat" {
				t.Errorf("the feed begins with %+v", m)
			}
		})
	}
}
