package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"curfew/internal/harness"
)

type faultsCommand struct {
	Only []string `help:"Names of faults; all by default."`
	Long bool     `help:"PostgreSQL is stopped for 30 s instead of 7."`

	Binary string `help:"A built cmd/curfew instead of this tree's." type:"existingfile"`
}

// Run implements the command.
func (c *faultsCommand) Run(ctx context.Context) error {
	binary, remove, err := harness.BuildProduct(ctx, c.Binary)
	if err != nil {
		return err
	}
	defer remove()
	failed, ran := 0, 0
	for _, f := range faults {
		if len(c.Only) > 0 && !slices.Contains(c.Only, f.name) {
			continue
		}
		ran++
		f.rig.Binary = binary
		report, problems, err := runFault(ctx, f, c.Long)
		switch {
		case errors.Is(err, errNotHere):
			fmt.Printf("%-18s not run: %v\n", f.name, err)
			continue
		case err != nil:
			problems = append(problems, err.Error())
		}
		fmt.Printf("%-18s %s\n", f.name, report)
		for _, p := range problems {
			fmt.Printf("  BROKEN: %s\n", p)
		}
		if len(problems) > 0 {
			failed++
		}
	}
	if ran == 0 {
		return fmt.Errorf("there is no such fault")
	}
	if failed > 0 {
		return fmt.Errorf("%d faults broke a promise", failed)
	}
	return nil
}

var errNotHere = errors.New("this machine does not allow it")

// recoveryBound is how soon after the end of a fault each node must serve again, without a restart.
const recoveryBound = 5 * time.Second

func runFault(ctx context.Context, f fault, long bool) (report string, problems []string, err error) {
	if f.rig.SQLiteDir == "tmpfs" {
		umount, err := mountSmall(&f.rig)
		if err != nil {
			return "", nil, err
		}
		defer umount()
	}
	r, err := newRig(ctx, f.rig)
	if err != nil {
		return "", nil, err
	}
	defer r.Close()
	st, err := newStorm(ctx, r, cmp.Or(f.crowd, 16), 150)
	if err != nil {
		return "", nil, err
	}
	var local []*resourceServer
	for _, n := range r.nodes {
		rs, err := newResourceServer(ctx, r, n)
		if err != nil {
			return "", nil, err
		}
		defer rs.close()
		local = append(local, rs)
	}
	run := &faultRun{storm: st, long: long, begun: time.Now()}
	watch := watchReady(ctx, r)
	st.begin(ctx)
	time.Sleep(700 * time.Millisecond)
	before := st.refreshes.Load()
	run.begun = time.Now()
	if err := f.inject(ctx, run); err != nil {
		st.end()
		return "", []string{r.logTails()}, fmt.Errorf("injecting the fault: %w", err)
	}
	slowest, err := recovered(ctx, st, run.over)
	if err != nil {
		problems = append(problems, err.Error())
	}
	time.Sleep(500 * time.Millisecond)
	st.end()
	problems = append(problems, st.verdict(ctx, local)...)
	problems = append(problems, watch.verdict(run, f.away)...)
	if len(problems) > 0 {
		problems = append(problems, r.logTails())
	}
	during := 0
	for _, at := range st.served {
		if at.After(run.begun) && at.Before(run.over) {
			during++
		}
	}
	return fmt.Sprintf("%d refreshes before it, %d during it, %d in all; %d requests without an answer or with 503; %d "+
		"sign-outs acknowledged; slowest answer %s; every node served again after %s",
		before, during, st.refreshes.Load(), st.missed.Load(), len(st.out), st.slowest.Round(time.Millisecond),
		slowest.Round(time.Millisecond)), problems, nil
}

// recovered asks every node for a sign-in until it gets one.
func recovered(ctx context.Context, st *storm, over time.Time) (slowest time.Duration, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range st.rig.nodes {
		wg.Go(func() {
			deadline := over.Add(20 * time.Second)
			for {
				asked, cancel := context.WithTimeout(ctx, 6*time.Second)
				_, a := st.rig.signIn(asked, n, fmt.Sprintf("10.8.0.%d", n.Number), stormClient, "storm-0", stormPassword, "")
				cancel()
				took := time.Since(over)
				good := !a.unknown() && a.status == 200 && harness.Ready(ctx, n.Public)
				if !good && time.Now().Before(deadline) {
					time.Sleep(20 * time.Millisecond)
					continue
				}
				mu.Lock()
				slowest = max(slowest, took)
				if !good {
					err = errors.Join(err, fmt.Errorf("node %d does not serve 20 s after the fault: %s", n.Number, a))
				} else if took > recoveryBound {
					err = errors.Join(err, fmt.Errorf("node %d served again after %s, more than %s", n.Number, took, recoveryBound))
				}
				mu.Unlock()
				return
			}
		})
	}
	wg.Wait()
	return slowest, err
}

// readyWatch is what /readyz of each node said, and when.
type readyWatch struct {
	mu   sync.Mutex
	seen []readySample
	stop context.CancelFunc
	wg   sync.WaitGroup
}

type readySample struct {
	node       int
	asked, got time.Time
	ready      bool
}

func watchReady(ctx context.Context, r *rig) *readyWatch {
	w := &readyWatch{}
	ctx, w.stop = context.WithCancel(ctx)
	for _, n := range r.nodes {
		w.wg.Go(func() {
			for ctx.Err() == nil {
				s := readySample{node: n.Number, asked: time.Now()}
				s.ready = harness.Ready(ctx, n.Public)
				s.got = time.Now()
				w.mu.Lock()
				w.seen = append(w.seen, s)
				w.mu.Unlock()
				sleep(ctx, 100*time.Millisecond)
			}
		})
	}
	return w
}

// verdict: while no refresh was served, no node said it could serve one. Served ones are told by their time, with a
// second for the beginning and the end of what stood in their way to be noticed.
func (w *readyWatch) verdict(f *faultRun, away bool) (problems []string) {
	w.stop()
	w.wg.Wait()
	if !away {
		return nil
	}
	lies, truths := 0, 0
	for _, s := range w.seen {
		// what ends the fault is over a little before it says so
		if s.asked.Before(f.begun.Add(time.Second)) || s.got.After(f.over.Add(-time.Second)) {
			continue
		}
		served := slices.ContainsFunc(f.served, func(at time.Time) bool {
			return at.After(s.asked.Add(-time.Second)) && at.Before(s.got.Add(time.Second)) && at.Before(f.over)
		})
		switch {
		case !s.ready:
			truths++
		case !served:
			lies++
		}
	}
	if lies > 0 {
		problems = append(problems, fmt.Sprintf("/readyz said ready %d times (and not ready %d times) while nothing could "+
			"be served", lies, truths))
	}
	return problems
}

func restart(ctx context.Context, r *rig) error {
	var err error
	for range 100 { // the children of a postmaster that was killed hold its memory for a moment
		if err = r.cluster.Run(ctx); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// withMovableClock moves the nodes' statement_timestamp() by a table: two seconds ahead at first.
func withMovableClock(r *rig, url string) (string, error) {
	err := harness.Exec(context.Background(), url,
		"CREATE SCHEMA fake", "CREATE TABLE fake.clock (ahead interval)", "INSERT INTO fake.clock VALUES ('2 seconds')",
		`CREATE FUNCTION fake.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
			'SELECT pg_catalog.statement_timestamp() + ahead FROM fake.clock'`)
	return url + "&search_path=fake,pg_catalog,public", err
}

// mountSmall gives SQLite a file system of a few megabytes.
func mountSmall(cfg *rigConfig) (umount func(), err error) {
	dir, err := os.MkdirTemp("", "curfew-small-")
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", dir).CombinedOutput(); err != nil {
		os.Remove(dir)
		return nil, fmt.Errorf("%w: mounting a small tmpfs: %v: %s", errNotHere, err, out)
	}
	cfg.SQLiteDir = dir
	return func() {
		_ = exec.Command("umount", "-l", dir).Run()
		_ = os.Remove(dir)
	}, nil
}

// fill writes until there is no room.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
}

// cutter is a proxy before PostgreSQL's socket that cuts connections in the middle of what they carry.
type cutter struct {
	listener net.Listener
	target   string

	mu       sync.Mutex
	low, top int // bytes after which a connection is cut; 0 for never
	open     map[net.Conn]struct{}
}

func throughProxy(r *rig, url string) (string, error) {
	dir, err := os.MkdirTemp("", "curfew-proxy-")
	if err != nil {
		return "", err
	}
	p := &cutter{target: filepath.Join(r.cluster.Dir, ".s.PGSQL.5432"), open: map[net.Conn]struct{}{}}
	if p.listener, err = net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432")); err != nil {
		return "", err
	}
	r.proxy = p
	r.closers = append(r.closers, func() {
		p.listener.Close()
		os.RemoveAll(dir)
	})
	go p.serve()
	return strings.Replace(url, escape(r.cluster.Dir), escape(dir), 1), nil
}

func (p *cutter) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.forward(conn)
	}
}

func (p *cutter) forward(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("unix", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.open[conn] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.open, conn)
		p.mu.Unlock()
	}()
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		buf := make([]byte, 8192)
		for carried := 0; ; {
			n, err := from.Read(buf)
			if limit := p.limit(); limit > 0 && carried+n > limit {
				_, _ = to.Write(buf[:max(0, min(n, limit-carried))])
				break
			}
			carried += n
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				break
			}
		}
		done <- struct{}{}
	}
	go pipe(server, conn)
	go pipe(conn, server)
	<-done
}

func (p *cutter) limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.top == 0 {
		return 0
	}
	return p.low + rand.IntN(p.top-p.low)
}

// cutAfter cuts each connection, now and from now on, when it has carried between low and top bytes one way.
func (p *cutter) cutAfter(low, top int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.low, p.top = low, top
}
