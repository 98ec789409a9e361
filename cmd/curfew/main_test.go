package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"curfew/internal/testdb"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "curfew-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "curfew")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := testdb.Main(m)
	os.RemoveAll(dir)
	os.Exit(code)
}

const (
	testSecret   = "5f0c2f3d7a9b4c1e8d6f0a2b4c6d8e0f1a3b5c7d9e0f2a4b6c8d0e1f3a5b7c9d"
	testPassword = "Waldgeist-17 im Regen"
)

// box runs the program in an environment of its own, and remembers everything that it ever wrote.
type box struct {
	t      *testing.T
	env    []string
	prefix []string // what the program is started by

	mu  sync.Mutex
	all bytes.Buffer
}

// newBox has a configuration with cheap hashing and addresses that the system chooses.
func newBox(t *testing.T, databaseURL string) *box {
	return &box{t: t, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"CURFEW_DATABASE_URL=" + databaseURL, "CURFEW_SECRET=" + testSecret,
		"CURFEW_PUBLIC_ADDR=127.0.0.1:0", "CURFEW_ADMIN_ADDR=127.0.0.1:0",
		"CURFEW_HASH_MEMORY=64", "CURFEW_HASH_TIME=1",
	}}
}

func (b *box) with(env ...string) *box {
	return &box{t: b.t, env: append(append([]string{}, b.env...), env...), prefix: b.prefix}
}

func (b *box) command(args ...string) *exec.Cmd {
	line := append(append(slices.Clone(b.prefix), binary), args...)
	cmd := exec.CommandContext(b.t.Context(), line[0], line[1:]...)
	cmd.Env = b.env
	cmd.Dir = b.t.TempDir()
	return cmd
}

func (b *box) remember(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all.WriteString(text)
}

// try runs a command to its end.
func (b *box) try(stdin string, args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	cmd := b.command(args...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		b.t.Fatalf("curfew %q: %v", args, err)
	}
	b.remember(out.String() + errs.String())
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// run runs a command that must succeed.
func (b *box) run(stdin string, args ...string) string {
	b.t.Helper()
	stdout, stderr, code := b.try(stdin, args...)
	if code != 0 {
		b.t.Fatalf("curfew %q: exit code %d: %s", args, code, stderr)
	}
	if stderr != "" {
		b.t.Fatalf("curfew %q: said on standard error: %s", args, stderr)
	}
	return stdout
}

// json runs a command with --json and decodes what it prints, strictly.
func (b *box) json(v any, stdin string, args ...string) {
	b.t.Helper()
	decode(b.t, b.run(stdin, append(args, "--json")...), v)
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%v in: %s", err, text)
	}
	if dec.More() {
		t.Fatalf("more than one JSON value: %s", text)
	}
}

// refuse runs a command that must fail with an exit code, and a message that has all the words.
func (b *box) refuse(code int, stdin string, args []string, words ...string) {
	b.t.Helper()
	stdout, stderr, got := b.try(stdin, args...)
	if got != code {
		b.t.Errorf("curfew %q: exit code %d, want %d: %s", args, got, code, stderr)
	}
	if stdout != "" {
		b.t.Errorf("curfew %q failed and wrote on standard output: %s", args, stdout)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			b.t.Errorf("curfew %q: the message has no %q: %s", args, w, stderr)
		}
	}
}

// running is a server process.
type running struct {
	t             *testing.T
	cmd           *exec.Cmd
	public, admin string // URLs
	log           *bytes.Buffer
	exited        chan struct{}
	err           error
}

// serve starts `curfew serve` and waits until it says where it listens.
func (b *box) serve() *running {
	b.t.Helper()
	r := &running{t: b.t, cmd: b.command("serve"), log: &bytes.Buffer{}, exited: make(chan struct{})}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(r.exited)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			b.remember(lines.Text() + "\n")
			r.log.WriteString(lines.Text() + "\n")
			var line struct {
				Msg, Listener, Addr string
				TLS                 bool
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				continue
			}
			at := "http://" + line.Addr
			if line.TLS {
				at = "https://" + line.Addr
			}
			switch {
			case line.Msg == "listening" && line.Listener == "public":
				r.public = at
			case line.Msg == "listening" && line.Listener == "admin":
				r.admin = at
			case line.Msg == "ready":
				close(ready)
			}
		}
		r.err = r.cmd.Wait()
	}()
	b.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.exited
	})
	select {
	case <-ready:
	case <-r.exited:
		b.t.Fatalf("curfew serve ended: %v\n%s", r.err, r.log)
	case <-time.After(time.Minute):
		b.t.Fatal("curfew serve did not come up")
	}
	return r
}

// stop sends SIGTERM and waits for the end.
func (r *running) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	r.wait()
	if r.err != nil {
		r.t.Fatalf("curfew serve after SIGTERM: %v\n%s", r.err, r.log)
	}
}

func (r *running) wait() {
	r.t.Helper()
	select {
	case <-r.exited:
	case <-time.After(time.Minute):
		r.t.Fatalf("curfew serve does not end")
	}
}

// do sends a request and gives back status and body.
func (r *running) do(method, address, token string, form url.Values) (int, string) {
	r.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, address, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

type tokens struct {
	Access   string `json:"access_token"`
	Refresh  string `json:"refresh_token"`
	DeviceID string `json:"device_id"`
	Error    string `json:"error"`
	Scope    string `json:"scope"`
	Type     string `json:"token_type"`
	Expires  int    `json:"expires_in"`
	Detail   string `json:"error_description"`
}

// token asks the token endpoint.
func (r *running) token(pairs ...string) (int, tokens) {
	r.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	status, text := r.do(http.MethodPost, r.public+"/oauth2/token", "", form)
	var got tokens
	decode(r.t, text, &got)
	return status, got
}

// signIn signs alice in with the client web.
func (r *running) signIn() tokens {
	r.t.Helper()
	status, got := r.token("grant_type", "password", "client_id", "web", "username", "alice", "password", testPassword)
	if status != http.StatusOK {
		r.t.Fatalf("sign-in: %d %+v", status, got)
	}
	return got
}

// furnish adds alice, an admin, and the clients web and api. It returns api's secret.
func (b *box) furnish() (secret string) {
	b.t.Helper()
	b.run("", "migrate")
	b.run(testPassword+"\n", "user", "add", "alice", "--password-stdin")
	b.run("", "client", "add", "web", "--public", "--grants", "password,refresh_token", "--scopes", "settings profile")
	var api struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	b.json(&api, "", "client", "add", "api", "--grants", "client_credentials", "--scopes", "revocations", "--introspect")
	return api.ClientSecret
}
