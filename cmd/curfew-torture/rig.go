package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"curfew/internal/harness"
	"curfew/internal/pgcluster"
)

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
	nodes    []*harness.Node
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
		if err := harness.Build(ctx, harness.Program, r.cfg.Binary, ""); err != nil {
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
	r.secret = harness.NewSecret()
	r.note(r.secret, "the server's secret")
	asked := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.http = &http.Client{Timeout: 12 * time.Second, CheckRedirect: asked, Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, MaxConnsPerHost: 512, IdleConnTimeout: 30 * time.Second,
	}}
	ports, err := harness.FreeAddresses(2 * cfg.Nodes)
	if err != nil {
		return nil, err
	}
	r.issuer = "http://" + ports[0]
	for i := range cfg.Nodes {
		r.nodes = append(r.nodes, r.product(r.nodeURL).NewNode(i, ports[2*i], ports[2*i+1]))
	}
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	running := r.nodes[:cfg.Nodes-cfg.Later]
	for _, n := range running {
		if err := n.Start(); err != nil {
			return nil, err
		}
	}
	for _, n := range running {
		if err := n.WaitReady(ctx, n.Public, 20*time.Second); err != nil {
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
	r.url, err = harness.CreateDatabase(ctx, r.cluster, "torture_"+strings.ToLower(rand.Text()[:8]))
	return err
}

// product is the installation as the nodes see it: the harness's settings, and those of the run.
func (r *rig) product(databaseURL string) harness.Product {
	p := harness.Product{Binary: r.cfg.Binary, Dir: r.dir, Settings: map[string]string{
		"ISSUER": r.issuer, "DATABASE_URL": databaseURL, "SECRET": r.secret, "REUSE_INTERVAL": "10m", "ACCESS_TTL": "15m",
		"LOG_LEVEL": "info", "TRUSTED_PROXIES": "127.0.0.1/32", "OUTBOUND_ALLOW": "127.0.0.0/8",
		"HASH_MEMORY": "64", "HASH_TIME": "1", "HASH_CONCURRENCY": "16", "HASH_QUEUE": "1000",
		"LIMIT_PER_ACCOUNT": "1000000", "LIMIT_PER_ACCOUNT_ADDRESS": "1000000", "LIMIT_PER_ADDRESS": "1000000",
		"LIMIT_PER_DEVICE": "1000000", "LIMIT_SIGN_INS": "1000000", "LIMIT_RENAMES": "1000000", "LIMIT_CODES": "1000000",
	}}
	if r.cfg.Traces != "" {
		p.Extra = []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.cfg.Traces, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_BSP_MAX_QUEUE_SIZE=1000000",
		}
	}
	return p.With(r.cfg.Env).With(r.extraEnv)
}

func (r *rig) logTails() string {
	var b strings.Builder
	for _, n := range r.nodes {
		fmt.Fprintf(&b, "\n--- the last of node %d's log:\n%s", n.Number, n.Log(3000))
	}
	return b.String()
}

// cli runs the product's command line against the same database; the answer of a --json command goes into out.
func (r *rig) cli(ctx context.Context, stdin string, out any, args ...string) error {
	return r.product(r.url).Run(ctx, stdin, out, args...)
}

// setUp migrates, and makes the clients that every run needs.
func (r *rig) setUp(ctx context.Context) error {
	r.stranger = "stranger"
	err := errors.Join(
		r.cli(ctx, "", nil, "migrate"),
		r.cli(ctx, "", &r.ops, "client", "add", "ops", "--grants", "client_credentials", "--scopes", "admin", "--json"),
		r.cli(ctx, "", &r.api, "client", "add", "api", "--grants", "client_credentials", "--scopes", "revocations",
			"--introspect", "--json"),
		r.cli(ctx, "", nil, "client", "add", r.stranger, "--public", "--grants", "password,refresh_token", "--scopes",
			"settings profile"),
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
func (r *rig) pick(i int) *harness.Node { return r.nodes[((i%len(r.nodes))+len(r.nodes))%len(r.nodes)] }

// Close ends what the rig started.
func (r *rig) Close() {
	for _, n := range r.nodes {
		n.Kill()
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
