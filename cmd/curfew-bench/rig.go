package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"curfew/internal/harness"
	"curfew/internal/pgcluster"
	"curfew/internal/proc"
)

// rig is what the benchmark starts: the product's binary, a cluster, and worlds in it.
type rig struct {
	dir      string
	binary   string
	secret   string
	logLevel string
	profiles string // a folder, if wanted
	cluster  *pgcluster.Cluster
	bare     *harness.Node // this program with a route that does nothing, in the place of the product
	nodes    []*harness.Node
}

const (
	clientSecret = "benchmark-secret-of-no-value"
	password     = "correct horse battery staple"
	boss         = "boss" // an admin
)

func newRig(ctx context.Context, logLevel string) (_ *rig, err error) {
	r := &rig{logLevel: logLevel}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "curfew-bench-"); err != nil {
		return nil, err
	}
	r.binary = filepath.Join(r.dir, "curfew")
	if err := harness.Build(ctx, harness.Program, r.binary, ""); err != nil {
		return nil, err
	}
	r.secret = harness.NewSecret()
	// As installed, durable; more memory and longer checkpoints, as on any server that somebody set up.
	r.cluster, err = pgcluster.Start(ctx, "shared_buffers=512MB", "max_wal_size=4GB", "checkpoint_timeout=15min",
		"wal_compression=lz4")
	if err != nil {
		return nil, err
	}
	addresses, err := harness.FreeAddresses(1)
	if err != nil {
		return nil, err
	}
	bare, err := r.startSelf("bare", addresses[0])
	if err != nil {
		return nil, err
	}
	r.bare = &harness.Node{Process: bare, Public: addresses[0]}
	return r, bare.WaitReady(ctx, addresses[0], 20*time.Second)
}

// startSelf runs a hidden command of this program.
func (r *rig) startSelf(args ...string) (*harness.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return harness.Start(filepath.Join(r.dir, args[0]+".log"), nil, self, args...)
}

// Close ends everything and removes it.
func (r *rig) Close() error {
	for _, n := range r.nodes {
		n.Stop()
		complain(n)
	}
	if r.bare != nil {
		r.bare.Stop()
	}
	var err error
	if r.cluster != nil {
		err = r.cluster.Stop()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// complain shows the first warnings of a node's log: whoever measures wants to know.
func complain(n *harness.Node) {
	shown := 0
	for line := range strings.Lines(n.Log(math.MaxInt)) {
		if !strings.Contains(line, `"level":"INFO"`) && shown < 3 {
			shown++
			progress("  from the node's log: %.500s", strings.TrimSpace(line))
		}
	}
}

// product is the installation on a database. The defaults, but for what follows: how long the benchmark's tokens live,
// limits that it would run into from one address, and that it may tell this machine what happens.
func (r *rig) product(url string) harness.Product {
	return harness.Product{Binary: r.binary, Dir: r.dir, Settings: map[string]string{
		"DATABASE_URL": url, "SECRET": r.secret, "ISSUER": "http://bench.localhost", "ACCESS_TTL": "1h",
		"TRUSTED_PROXIES": "127.0.0.1", "PPROF": "true", "LOG_LEVEL": r.logLevel,
		"LIMIT_PER_ADDRESS": "1000000", "LIMIT_SIGN_INS": "1000000", "MAX_DEVICES_PER_USER": "1000",
		"OUTBOUND_ALLOW": "127.0.0.0/8",
	}}
}

// serve starts one more node on a database.
func (r *rig) serve(ctx context.Context, url string) (*harness.Node, error) {
	addresses, err := harness.FreeAddresses(2)
	if err != nil {
		return nil, err
	}
	return r.start(ctx, r.product(url), addresses[0], addresses[1])
}

func (r *rig) start(ctx context.Context, p harness.Product, public, admin string) (*harness.Node, error) {
	n := p.NewNode(len(r.nodes), public, admin)
	if err := n.Start(); err != nil {
		return nil, err
	}
	r.nodes = append(r.nodes, n)
	return n, n.WaitReady(ctx, public, 20*time.Second)
}

// measure runs a load on nodes and adds what it cost them.
func (r *rig) measure(ctx context.Context, name string, l load, nodes ...*harness.Node) (figures, error) {
	for _, p := range nodes {
		l.addrs = append(l.addrs, p.Public)
	}
	return r.measureAt(ctx, name, l, nodes...)
}

func (r *rig) measureAt(ctx context.Context, name string, l load, nodes ...*harness.Node) (f figures, err error) {
	server := func() (sum time.Duration) {
		for _, p := range nodes {
			sum += proc.CPUOfTree(p.PID())
		}
		return sum
	}
	if r.profiles != "" && len(nodes) == 1 && nodes[0].Admin != "" {
		done := make(chan error, 1)
		go func() { done <- r.profile(nodes[0], name, l.duration) }()
		defer func() { err = errors.Join(err, <-done) }()
	}
	stolen, begin := proc.Stolen(), time.Now()
	s, d, g := server(), proc.CPUOfTree(r.cluster.PID()), proc.CPU(os.Getpid())
	if f, err = l.run(ctx); err != nil {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	f.Name = name
	f.Stolen = stolenPercent(stolen, begin)
	each := func(t time.Duration) float64 { return float64(t.Microseconds()) / float64(max(1, f.Requests)) }
	f.ServerCPU, f.DBCPU, f.LoadCPU = each(server()-s), each(proc.CPUOfTree(r.cluster.PID())-d),
		each(proc.CPU(os.Getpid())-g)
	for _, p := range nodes {
		f.RSS = max(f.RSS, proc.MemoryOfTree(p.PID(), true))
	}
	progress("  %s", f)
	return f, nil
}

// stolenPercent is the share of the CPUs that the host has given to others since a moment.
func stolenPercent(before time.Duration, begin time.Time) float64 {
	return 100 * (proc.Stolen() - before).Seconds() / time.Since(begin).Seconds() / float64(runtime.NumCPU())
}

// profile writes the CPU profile of a node under a load.
func (r *rig) profile(p *harness.Node, name string, d time.Duration) error {
	res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.Admin, max(1, int(d.Seconds()))))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	file := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	return os.WriteFile(filepath.Join(r.profiles, file+".pprof"), text, 0o644)
}
