package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/internal/pgcluster"
)

// buildPackage compiles one of the module's commands. overlay, if not empty, is a file for `go build -overlay`.
func buildPackage(ctx context.Context, pkg, out, overlay string) error {
	args := []string{"build", "-o", out}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	text, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// buildOnce compiles cmd/curfew for several rigs, unless it is given already built.
func buildOnce(ctx context.Context, given string) (binary string, remove func(), err error) {
	if given != "" {
		return given, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "curfew-build-")
	if err != nil {
		return "", nil, err
	}
	binary = filepath.Join(dir, "curfew")
	if err := buildPackage(ctx, "curfew/cmd/curfew", binary, ""); err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return binary, func() { os.RemoveAll(dir) }, nil
}

// rigConfig says what is put up for a run.
type rigConfig struct {
	Binary   string // a built cmd/curfew; built when empty
	Database string // postgres or sqlite
	Nodes    int
	Later    int               // so many of the nodes are not started yet
	Settings []string          // lines of postgresql.conf; default without durability
	Env      map[string]string // CURFEW_ variables without the prefix
	Traces   string            // where the nodes send their traces, by OTLP over HTTP; nowhere by default
	// URL changes the database's URL for the nodes: a proxy, a pooler, a search path. The harness itself goes straight.
	URL func(r *rig, url string) (string, error)
	// SQLite's file is put there instead of into the run's own folder.
	SQLiteDir string
	// Cluster is used instead of a new one, with a new database in it.
	Cluster *pgcluster.Cluster
}

// rig is a database with `curfew serve` processes on it, and credentials to drive them.
type rig struct {
	cfg      rigConfig
	dir      string
	cluster  *pgcluster.Cluster // nil on SQLite
	shared   bool               // the cluster is somebody else's
	standby  *pgcluster.Cluster // nil without one
	proxy    *cutter            // nil without one
	extraEnv map[string]string  // CURFEW_ variables that came with the URL
	url      string             // the database, straight
	nodeURL  string             // as the nodes see it
	issuer   string
	secret   string
	nodes    []*node
	http     *http.Client
	ops      credentials // its own token has the scope admin
	admin    *adminToken
	api      credentials // may introspect and follow the feed
	stranger string      // a public client that owns nothing
	closers  []func()

	mu      sync.Mutex
	secrets map[string]string // every secret that was used, and what it was
	errors  [][]byte          // bodies of answers that were errors
}

type credentials struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// node is one `curfew serve` process.
type node struct {
	number        int
	public, admin string // host:port
	binary        string
	env           []string
	logPath       string
	process       *exec.Cmd
	exited        chan struct{}
}

func newRig(ctx context.Context, cfg rigConfig) (_ *rig, err error) {
	r := &rig{cfg: cfg, secrets: map[string]string{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w%s", err, r.logTails())
			r.Close()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "curfew-torture-"); err != nil {
		return nil, err
	}
	if cfg.Binary == "" {
		r.cfg.Binary = filepath.Join(r.dir, "curfew")
		if err := buildPackage(ctx, "curfew/cmd/curfew", r.cfg.Binary, ""); err != nil {
			return nil, err
		}
	}
	if err := r.openDatabase(ctx); err != nil {
		return nil, err
	}
	r.nodeURL = r.url
	if cfg.URL != nil {
		if r.nodeURL, err = cfg.URL(r, r.url); err != nil {
			return nil, err
		}
	}
	random := make([]byte, 32)
	rand.Read(random)
	r.secret = hex.EncodeToString(random)
	r.note(r.secret, "the server's secret")
	r.http = &http.Client{Timeout: 12 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 512, IdleConnTimeout: 30 * time.Second}}
	ports, err := freePorts(2 * cfg.Nodes)
	if err != nil {
		return nil, err
	}
	r.issuer = "http://" + ports[0]
	for i := range cfg.Nodes {
		r.nodes = append(r.nodes, r.newNode(i, ports[2*i], ports[2*i+1], r.cfg.Binary, r.nodeURL))
	}
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	running := r.nodes[:cfg.Nodes-cfg.Later]
	for _, n := range running {
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	for _, n := range running {
		if err := r.waitReady(ctx, n, 20*time.Second); err != nil {
			return nil, err
		}
	}
	r.admin = &adminToken{rig: r}
	return r, nil
}

func (r *rig) openDatabase(ctx context.Context) (err error) {
	if r.cfg.Database == "sqlite" {
		dir := r.cfg.SQLiteDir
		if dir == "" {
			dir = r.dir
		}
		r.url = "sqlite:" + filepath.Join(dir, "curfew.db")
		return nil
	}
	if r.cluster = r.cfg.Cluster; r.cluster != nil {
		r.shared = true
	} else {
		settings := r.cfg.Settings
		if settings == nil {
			settings = []string{"fsync=off", "full_page_writes=off", "synchronous_commit=off"}
		}
		if r.cluster, err = pgcluster.Start(ctx, settings...); err != nil {
			return err
		}
	}
	name := "torture_" + strings.ToLower(rand.Text()[:8])
	if err := r.sql(ctx, r.cluster.URL("postgres"), "CREATE DATABASE "+name); err != nil {
		return err
	}
	r.url = r.cluster.URL(name)
	return nil
}

// sql runs statements on a connection of its own.
func (r *rig) sql(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func freePorts(n int) (addresses []string, err error) {
	var open []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		addresses = append(addresses, l.Addr().String())
	}
	for _, l := range open {
		l.Close()
	}
	return addresses, nil
}

func (r *rig) newNode(number int, public, admin, binary, databaseURL string) *node {
	env := map[string]string{
		"PUBLIC_ADDR": public, "ADMIN_ADDR": admin, "ISSUER": r.issuer, "DATABASE_URL": databaseURL, "SECRET": r.secret,
		"REUSE_INTERVAL": "10m", "ACCESS_TTL": "15m", "LOG_LEVEL": "info", "TRUSTED_PROXIES": "127.0.0.1/32",
		"HASH_MEMORY": "64", "HASH_TIME": "1", "HASH_CONCURRENCY": "16", "HASH_QUEUE": "1000",
		"LIMIT_PER_ACCOUNT": "1000000", "LIMIT_PER_ACCOUNT_ADDRESS": "1000000", "LIMIT_PER_ADDRESS": "1000000",
	}
	maps.Copy(env, r.cfg.Env)
	maps.Copy(env, r.extraEnv)
	n := &node{number: number, public: public, admin: admin, binary: binary, logPath: filepath.Join(r.dir, fmt.Sprintf("node%d.log", number))}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CURFEW_") {
			n.env = append(n.env, kv)
		}
	}
	for k, v := range env {
		n.env = append(n.env, "CURFEW_"+k+"="+v)
	}
	if r.cfg.Traces != "" {
		n.env = append(n.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+r.cfg.Traces, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_BSP_MAX_QUEUE_SIZE=1000000")
	}
	return n
}

func (n *node) start() error {
	logFile, err := os.OpenFile(n.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n.process = exec.Command(n.binary, "serve")
	n.process.Env, n.process.Stdout, n.process.Stderr = n.env, logFile, logFile
	n.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	n.exited = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is of the thread that forked
		defer logFile.Close()
		err := n.process.Start()
		started <- err
		if err == nil {
			_ = n.process.Wait()
			close(n.exited)
		}
	}()
	return <-started
}

func (n *node) signal(sig syscall.Signal) error { return n.process.Process.Signal(sig) }

func (n *node) kill() {
	if n.process == nil || n.process.Process == nil {
		return
	}
	_ = n.signal(syscall.SIGCONT)
	_ = n.signal(syscall.SIGKILL)
	<-n.exited
}

// stop ends the node as an operator does.
func (n *node) stop() {
	_ = n.signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(20 * time.Second):
		n.kill()
	}
}

func (r *rig) waitReady(ctx context.Context, n *node, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		if r.ready(ctx, n) {
			return nil
		}
		select {
		case <-n.exited:
			return fmt.Errorf("node %d ended: %s", n.number, n.logTail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("node %d is not ready after %s", n.number, limit)
		}
	}
}

// ready is what /readyz says.
func (r *rig) ready(ctx context.Context, n *node) bool {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.public+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := r.http.Do(req)
	if err != nil {
		return false
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (n *node) logTail() string {
	text, _ := os.ReadFile(n.logPath)
	if len(text) > 3000 {
		text = text[len(text)-3000:]
	}
	return string(text)
}

func (r *rig) logTails() string {
	var b strings.Builder
	for _, n := range r.nodes {
		fmt.Fprintf(&b, "\n--- the last of node %d's log:\n%s", n.number, n.logTail())
	}
	return b.String()
}

// cli runs the product's command line against the same database; the answer of a --json command goes into out.
func (r *rig) cli(ctx context.Context, stdin string, out any, args ...string) error {
	n := r.newNode(99, "127.0.0.1:0", "127.0.0.1:0", r.cfg.Binary, r.url)
	cmd := exec.CommandContext(ctx, n.binary, args...)
	cmd.Env, cmd.Stdin = n.env, strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("curfew %s: %w: %s%s", strings.Join(args, " "), err, stderr.Bytes(), text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("curfew %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return nil
}

// setUp migrates, and makes the clients that every run needs.
func (r *rig) setUp(ctx context.Context) error {
	r.stranger = "stranger"
	err := errors.Join(
		r.cli(ctx, "", nil, "migrate"),
		r.cli(ctx, "", &r.ops, "client", "add", "ops", "--grants", "client_credentials", "--scopes", "admin", "--json"),
		r.cli(ctx, "", &r.api, "client", "add", "api", "--grants", "client_credentials", "--scopes", "revocations", "--introspect", "--json"),
		r.cli(ctx, "", nil, "client", "add", r.stranger, "--public", "--grants", "password,refresh_token", "--scopes", "settings profile"),
	)
	r.note(r.ops.Secret, "a client secret")
	r.note(r.api.Secret, "a client secret")
	return err
}

// note remembers a secret that was used.
func (r *rig) note(secret, what string) {
	if secret == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[secret] = what
}

func (r *rig) noteError(body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errors) < 20000 {
		r.errors = append(r.errors, body)
	}
}

// pick is a node of the rig.
func (r *rig) pick(i int) *node { return r.nodes[((i%len(r.nodes))+len(r.nodes))%len(r.nodes)] }

// Close ends what the rig started.
func (r *rig) Close() {
	for _, n := range r.nodes {
		n.kill()
	}
	for _, fn := range slices.Backward(r.closers) {
		fn()
	}
	if r.cluster != nil && !r.shared {
		_ = r.cluster.Stop()
	}
	if r.dir != "" {
		_ = os.RemoveAll(r.dir)
	}
}

func form(kv ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] != "" {
			v.Set(kv[i], kv[i+1])
		}
	}
	return v
}
