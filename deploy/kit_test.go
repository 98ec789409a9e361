// Package deploy_test runs what is in this folder: the proxies with a real gate and a real `curfew serve`, and the files for
// operators with the programs that they are for.
package deploy_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"curfew/internal/need"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "curfew-deploy-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "curfew")
	if out, err := exec.Command("go", "build", "-o", binary, "curfew/cmd/curfew").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

const (
	password  = "Waldgeist-17 im Regen"
	jobSecret = "a-secret-that-is-long-enough"
)

// curfew is a real `curfew serve` on SQLite, with the user alice, the app web and the resource server api.
type curfew struct {
	t         testing.TB
	server    *process
	env       []string
	url       string
	apiSecret string
}

func startCurfew(t testing.TB) *curfew {
	t.Helper()
	c := &curfew{t: t, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "CURFEW_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "curfew.db"),
		"CURFEW_SECRET=" + strings.Repeat("5f0c2f3d", 8), "CURFEW_PUBLIC_ADDR=127.0.0.1:0", "CURFEW_ADMIN_ADDR=127.0.0.1:0",
		"CURFEW_HASH_MEMORY=64", "CURFEW_HASH_TIME=1", "CURFEW_ACCESS_TTL=1h", "CURFEW_LOG_LEVEL=info",
	}}
	c.command("", "migrate")
	c.command(password+"\n", "user", "add", "alice", "--password-stdin")
	c.command("", "client", "add", "web", "--public", "--grants", "password,refresh_token", "--scopes", "settings orders profile openid")
	c.command(jobSecret+"\n", "client", "add", "job", "--grants", "client_credentials", "--scopes", "orders", "--secret-stdin")
	var api struct {
		Secret string `json:"client_secret"`
	}
	out := c.command("", "client", "add", "api", "--grants", "client_credentials", "--scopes", "revocations orders", "--introspect", "--json")
	if err := json.Unmarshal([]byte(out), &api); err != nil {
		t.Fatal(err)
	}
	c.apiSecret = api.Secret
	c.server = start(t, c.env, "admin", binary, "serve")
	c.url = "http://" + c.server.addr
	return c
}

// command runs a curfew command that must succeed.
func (c *curfew) command(stdin string, args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), binary, args...)
	cmd.Env, cmd.Stdin = c.env, strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("curfew %q: %v: %s", args, err, &errs)
	}
	return string(out)
}

// token asks the token endpoint for an access token, and gives back the refresh token that came with it.
func (c *curfew) token(pairs ...string) (access, refresh string) {
	c.t.Helper()
	a := c.answer(pairs...)
	return a.Access, a.Refresh
}

// tokenAnswer is what the token endpoint answers with.
type tokenAnswer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

func (c *curfew) answer(pairs ...string) (answer tokenAnswer) {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	res, err := http.PostForm(c.url+"/oauth2/token", form)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Access == "" {
		c.t.Fatalf("token: %s %s", res.Status, text)
	}
	return answer
}

func (c *curfew) signIn(scope string) string {
	c.t.Helper()
	access, _ := c.token("grant_type", "password", "client_id", "web", "username", "alice", "password", password, "scope", scope)
	return access
}

func (c *curfew) idToken() string {
	c.t.Helper()
	return c.answer("grant_type", "password", "client_id", "web", "username", "alice", "password", password).ID
}

func (c *curfew) refreshToken() string {
	c.t.Helper()
	_, refresh := c.token("grant_type", "password", "client_id", "web", "username", "alice", "password", password)
	return refresh
}

// jobToken is a client's own: it has no device.
func (c *curfew) jobToken() string {
	c.t.Helper()
	access, _ := c.token("grant_type", "client_credentials", "client_id", "job", "client_secret", jobSecret, "scope", "orders")
	return access
}

// signOut ends all of a token's user's devices, and waits until subscribers have applied it.
func (c *curfew) signOut(token string, subscribers int) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodDelete, c.url+"/settings/devices?wait=10s", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Applied struct{ Acknowledged int } }
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil || res.StatusCode != http.StatusOK || answer.Applied.Acknowledged != subscribers {
		c.t.Fatalf("sign-out: %s %s", res.Status, text)
	}
}

// gate starts `curfew gate` and waits until it has heard from the feed.
func (c *curfew) gate(env ...string) *process {
	c.t.Helper()
	p := startGate(c.t, append([]string{
		"CURFEW_GATE_ISSUER=" + c.url, "CURFEW_GATE_CLIENT_ID=api", "CURFEW_GATE_CLIENT_SECRET=" + c.apiSecret,
	}, env...)...)
	eventually(c.t, "the gate is ready", func() bool { return status(c.t, "http://"+p.addr+"/readyz") == http.StatusOK })
	return p
}

// gateSocket starts a gate on a Unix socket. Its path, with nginx's prefix, is the process's address.
func (c *curfew) gateSocket() *process {
	c.t.Helper()
	dir, err := os.MkdirTemp("", "gate") // short: a socket's path has at most 107 characters
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's workers run as nobody, if root has started it
		c.t.Fatal(err)
	}
	path := filepath.Join(dir, "gate.sock")
	p := startGate(c.t, "CURFEW_GATE_ISSUER="+c.url, "CURFEW_GATE_CLIENT_ID=api", "CURFEW_GATE_CLIENT_SECRET="+c.apiSecret,
		"CURFEW_GATE_ADDR=unix:"+path)
	p.addr = "unix:" + path
	return p
}

func startGate(t testing.TB, env ...string) *process {
	t.Helper()
	return start(t, append([]string{"PATH=" + os.Getenv("PATH"), "CURFEW_GATE_ADDR=127.0.0.1:0"}, env...), "gate", binary, "gate")
}

// blindGate knows nothing and may not ask: everything it is asked is 503.
func blindGate(t testing.TB) *process {
	t.Helper()
	return startGate(t, "CURFEW_GATE_ISSUER=http://"+freeAddr(t), "CURFEW_GATE_CLIENT_ID=api", "CURFEW_GATE_CLIENT_SECRET=x", "CURFEW_GATE_WHEN_STALE=reject")
}

// process is a running program.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	addr   string
	admin  string // of `curfew serve`
	exited chan struct{}
	said   bytes.Buffer // whole once it has ended
}

// start runs a curfew server and reads where it listens; last is the listener that it names last.
func start(t testing.TB, env []string, last, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), exited: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = env, t.TempDir()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan map[string]string, 1)
	go func() {
		defer close(p.exited)
		at := map[string]string{}
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.said.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Listener, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "listening" {
				continue
			}
			if at[line.Listener] = line.Addr; line.Listener == last {
				listening <- at
			}
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	select {
	case at := <-listening:
		p.addr, p.admin = cmp.Or(at["gate"], at["public"]), at["admin"]
	case <-p.exited:
		t.Fatalf("%s %q ended: %s", name, args, &p.said)
	case <-time.After(time.Minute):
		t.Fatalf("%s %q does not listen", name, args)
	}
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stop sends SIGTERM and waits for the end.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Fatal("it does not end")
	}
}

// proxy is a real proxy with its configuration from the folder gate.
type proxy struct {
	*process
	t   testing.TB
	url string
}

// on is the same proxy for a part of the test.
func (p *proxy) on(t testing.TB) *proxy { return &proxy{p.process, t, p.url} }

// proxyKind says how a proxy is started on a folder that holds its configuration.
type proxyKind struct {
	name, program string
	dir           string   // of the files; empty: gate
	files         []string // the first is the configuration
	args          func(dir string) []string
	env           []string
}

var (
	nginx = proxyKind{name: "nginx", program: "nginx", files: []string{"nginx.conf"}, args: nginxArgs("nginx.conf")}
	njs   = proxyKind{
		name: "nginx-introspection", program: "nginx",
		files: []string{"nginx-introspection.conf", "introspection.js"}, args: nginxArgs("nginx-introspection.conf"),
	}
	caddy = proxyKind{name: "caddy", program: "caddy", files: []string{"Caddyfile"}, args: func(dir string) []string {
		return []string{"run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile"}
	}}
	haproxy = proxyKind{name: "haproxy", program: "haproxy", files: []string{"haproxy.cfg", "curfew.lua"}, args: func(dir string) []string {
		return []string{"-f", filepath.Join(dir, "haproxy.cfg")}
	}}
)

func nginxArgs(config string) func(dir string) []string {
	return func(dir string) []string {
		return []string{"-p", dir, "-c", filepath.Join(dir, config), "-g", "daemon off;"}
	}
}

// start runs the proxy on its configuration as it is, but for the addresses.
func (k proxyKind) start(t testing.TB, addresses ...string) *proxy {
	t.Helper()
	dir, own := t.TempDir(), freeAddr(t)
	for _, d := range []string{dir, filepath.Dir(dir)} { // nginx's workers run as nobody, if root has started it
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addresses = append(addresses, "127.0.0.1:8000", own)
	used := strings.Builder{}
	for _, name := range k.files {
		text, err := os.ReadFile(filepath.Join(cmp.Or(k.dir, "gate"), name))
		if err != nil {
			t.Fatal(err)
		}
		used.Write(text)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.NewReplacer(addresses...).Replace(string(text))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(addresses); i += 2 {
		if !strings.Contains(used.String(), addresses[i]) {
			t.Fatalf("%s: %q does not say %s", k.name, k.files, addresses[i])
		}
	}
	p := &proxy{&process{t: t, exited: make(chan struct{})}, t, "http://" + own}
	p.cmd = exec.Command(need.Program(t, k.program, k.program), k.args(dir)...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir}, k.env...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // with its workers
		<-p.exited
		if t.Failed() {
			t.Logf("%s said: %s", k.name, &p.said)
		}
	})
	eventually(t, k.name+" answers", func() bool {
		select {
		case <-p.exited:
			t.Fatalf("%s ended: %s", k.name, &p.said)
		default:
		}
		conn, err := net.Dial("tcp", own)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return p
}

// seen is what reached the app.
type seen struct {
	Method, URI string
	Header      http.Header
	Body        int64
}

// app is a server that says what reached it, with the status that ?status= asks for.
type app struct {
	*httptest.Server
	requests atomic.Int64
}

func startApp(t testing.TB) *app {
	a := &app{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			n = -1
		}
		w.Header().Set("X-App", "yes")
		var code int
		if _, err := fmt.Sscanf(r.FormValue("status"), "%d", &code); err == nil {
			w.WriteHeader(code)
		}
		_ = json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.Header, n})
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *app) addr() string { return strings.TrimPrefix(a.URL, "http://") }

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func status(t testing.TB, address string) int {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}
