package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

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
	bare     *process
	nodes    []*process
}

const (
	clientSecret = "benchmark-secret-of-no-value"
	password     = "correct horse battery staple"
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
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", r.binary, "curfew/cmd/curfew").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	r.secret = hex.EncodeToString(secret)
	// As installed, durable; more memory and longer checkpoints, as on any server that somebody set up.
	if r.cluster, err = pgcluster.Start(ctx, "shared_buffers=512MB", "max_wal_size=4GB", "checkpoint_timeout=15min", "wal_compression=lz4"); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r.bare, err = r.spawn("bare", nil, self, "bare", addr)
	if err != nil {
		return nil, err
	}
	r.bare.public = addr
	return r, r.bare.wait(ctx)
}

// Close ends everything and removes it.
func (r *rig) Close() error {
	for _, p := range r.nodes {
		p.stop()
		p.complain()
	}
	if r.bare != nil {
		r.bare.stop()
	}
	var err error
	if r.cluster != nil {
		err = r.cluster.Stop()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// process is one that the benchmark started.
type process struct {
	cmd           *exec.Cmd
	log           string
	public, admin string
	exited        chan struct{}
}

func (r *rig) spawn(name string, env []string, program string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(r.dir, name+".log"), exited: make(chan struct{})}
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, file, file
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is of the thread that forked
		defer file.Close()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.exited)
		}
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) stop() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// complain shows the first warnings of a node's log: whoever measures wants to know.
func (p *process) complain() {
	text, _ := os.ReadFile(p.log)
	n := 0
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `"level":"INFO"`) && n < 3 {
			n++
			progress("  from the node's log: %.500s", strings.TrimSpace(line))
		}
	}
}

// wait returns when the process answers /readyz.
func (p *process) wait(ctx context.Context) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		if c, err := dial(p.public); err == nil {
			status, _, err := c.do([]byte("GET /readyz HTTP/1.1\r\nHost: bench\r\n\r\n"))
			c.net.Close()
			if err == nil && status == 200 {
				return nil
			}
		}
		select {
		case <-p.exited:
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %s", p.cmd.Path, text)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not become ready", p.cmd.Path)
		}
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (r *rig) environment(url, public, admin string, extra ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CURFEW_") {
			env = append(env, kv)
		}
	}
	// The defaults, but for what follows: how long the benchmark's tokens live, and limits that it would run into from one address.
	return append(append(env,
		"CURFEW_DATABASE_URL="+url, "CURFEW_SECRET="+r.secret, "CURFEW_PUBLIC_ADDR="+public, "CURFEW_ADMIN_ADDR="+admin,
		"CURFEW_ISSUER=http://bench.localhost", "CURFEW_ACCESS_TTL=1h", "CURFEW_TRUSTED_PROXIES=127.0.0.1", "CURFEW_PPROF=true",
		"CURFEW_LOG_LEVEL="+r.logLevel, "CURFEW_LIMIT_PER_ADDRESS=1000000", "CURFEW_MAX_DEVICES_PER_USER=1000",
	), extra...)
}

// serve starts one more node on a database.
func (r *rig) serve(ctx context.Context, url string, extra ...string) (*process, error) {
	public, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := r.spawn(fmt.Sprintf("node%d", len(r.nodes)), r.environment(url, public, admin, extra...), r.binary, "serve")
	if err != nil {
		return nil, err
	}
	r.nodes = append(r.nodes, p)
	p.public, p.admin = public, admin
	return p, p.wait(ctx)
}

func (r *rig) cli(ctx context.Context, url, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, r.binary, args...)
	cmd.Env, cmd.Stdin = r.environment(url, "127.0.0.1:0", "127.0.0.1:0"), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("curfew %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// world is a database with devices in it and a node that serves it.
type world struct {
	rig     *rig
	name    string
	url     string
	devices int
	users   int
	node    *process
	db      *pgx.Conn
	refresh []uuid.UUID // refresh ids, by device
	minter  *minter
	pgCPU   float64 // microseconds of a transaction of the last pgbench, its own and the database's
}

// perUser is how many devices a user has.
const perUser = 10

// newWorld makes a database and fills it: users, and for each of them ten devices, each with an address of its own.
func (r *rig) newWorld(ctx context.Context, name string, devices int) (w *world, err error) {
	w = &world{rig: r, name: name, devices: devices, users: max(1, devices/perUser)}
	admin, err := pgx.Connect(ctx, r.cluster.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, err
	}
	w.url = r.cluster.URL(name)
	if err := r.setUp(ctx, w.url); err != nil {
		return nil, err
	}
	if w.db, err = pgx.Connect(ctx, w.url); err != nil {
		return nil, err
	}
	begin := time.Now()
	for _, statement := range w.filling() {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	if w.minter, err = newMinter(r.secret); err != nil {
		return nil, err
	}
	if w.node, err = r.serve(ctx, w.url); err != nil {
		return nil, err
	}
	progress("%s: %d devices of %d users in %s", name, devices, w.users, time.Since(begin).Round(time.Second))
	return w, nil
}

// setUp migrates and makes the clients and the user whose password everybody has.
func (r *rig) setUp(ctx context.Context, url string) error {
	return errors.Join(
		r.cli(ctx, url, "", "migrate"),
		r.cli(ctx, url, "", "client", "add", "web", "--public", "--grants", "password,refresh_token", "--scopes", "settings profile"),
		r.cli(ctx, url, clientSecret, "client", "add", "api", "--grants", "client_credentials", "--scopes", "revocations", "--introspect", "--secret-stdin"),
		r.cli(ctx, url, clientSecret, "client", "add", "ops", "--grants", "client_credentials", "--scopes", "admin", "--secret-stdin"),
		r.cli(ctx, url, password, "user", "add", "bench", "--password-stdin"),
	)
}

func agentSQL(n string) string {
	return fmt.Sprintf("(ARRAY['%s'])[%s %% %d + 1]", strings.Join(userAgents, "','"), n, len(userAgents))
}

// deviceRows inserts devices from and to inclusive; ends is when they expire, in SQL.
func deviceRows(from, to, users int, ends string) string {
	return fmt.Sprintf(`INSERT INTO devices (id, user_id, refresh_id, previous_refresh_id, rotated_at, issued_at, signed_in_at, valid_from,
			expires_at, ends_at, last_seen_at, created_at, client_id, name, scope, ip, user_agent)
		SELECT %s, %s, gen_random_uuid(), gen_random_uuid(), t, t, t, 0, %s, 9223372036854775807, t, t, 'web',
			(ARRAY['Chrome on Windows','Firefox on Linux','Anna''s iPhone','Pixel 10'])[n %% 4 + 1], 'settings profile',
			'10.' || (n >> 16 & 255) || '.' || (n >> 8 & 255) || '.' || (n & 255), %s
		FROM generate_series(%d::bigint, %d) n, (SELECT greatest((extract(epoch FROM now()) * 1e6)::bigint, valid_from + 1) AS t FROM clients WHERE id = 'web') clock`,
		fmt.Sprintf(deviceIDSQL, "n"), fmt.Sprintf(userIDSQL, fmt.Sprintf("n %% %d", users)), ends, agentSQL("n"), from, to)
}

const alive30Days = "t + 30 * 86400000000"

func (w *world) filling() []string {
	return []string{
		"SET synchronous_commit = off",
		fmt.Sprintf(`INSERT INTO users SELECT %s, 'user' || n, 'user' || n, password_hash, 1, false, 0, 0, created_at, updated_at
			FROM generate_series(0::bigint, %d) n, (SELECT * FROM users WHERE username_key = 'bench') b`, fmt.Sprintf(userIDSQL, "n"), w.users-1),
		deviceRows(0, w.devices-1, w.users, alive30Days),
		"RESET synchronous_commit",
		"VACUUM (ANALYZE) devices", "VACUUM (ANALYZE) users", "ANALYZE", "CHECKPOINT",
	}
}

// load reads the refresh ids of the devices, which pgbench changes too.
func (w *world) load(ctx context.Context) error {
	rows, err := w.db.Query(ctx, fmt.Sprintf("SELECT refresh_id FROM devices WHERE id >= %s AND id < %s ORDER BY id",
		fmt.Sprintf(deviceIDSQL, "0"), fmt.Sprintf(deviceIDSQL, fmt.Sprint(w.devices))))
	if err != nil {
		return err
	}
	if w.refresh == nil {
		w.refresh = make([]uuid.UUID, w.devices)
	}
	n := 0
	var id [16]byte
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return err
		}
		w.refresh[n] = id
		n++
	}
	if n != w.devices && rows.Err() == nil {
		return fmt.Errorf("%s has %d devices, not %d", w.name, n, w.devices)
	}
	return rows.Err()
}

// lost counts the devices whose refresh id in the database is not the one that its client got last.
func (w *world) lost(ctx context.Context) (int, error) {
	had := bytes.Clone(flatten(w.refresh))
	if err := w.load(ctx); err != nil {
		return 0, err
	}
	lost := 0
	for i, now := range w.refresh {
		if !bytes.Equal(had[16*i:16*i+16], now[:]) {
			lost++
		}
	}
	return lost, nil
}

func flatten(ids []uuid.UUID) []byte {
	out := make([]byte, 0, 16*len(ids))
	for _, id := range ids {
		out = append(out, id[:]...)
	}
	return out
}

// number reads one number.
func (w *world) number(ctx context.Context, query string) (n float64, err error) {
	err = w.db.QueryRow(ctx, "SELECT ("+query+")::float8").Scan(&n)
	return n, err
}

// revive undoes every sign-out.
func (w *world) revive(ctx context.Context) error {
	for _, statement := range []string{
		"UPDATE realm SET valid_from = 0", "UPDATE users SET valid_from = 0 WHERE valid_from > 0", "UPDATE clients SET valid_from = 0",
		"UPDATE devices SET valid_from = 0 WHERE valid_from > 0",
	} {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// restart puts a new node in the place of the world's: the old one's database connections end, and with that report what
// they did.
func (w *world) restart(ctx context.Context) (err error) {
	w.node.stop()
	w.node, err = w.rig.serve(ctx, w.url)
	return err
}

// stop ends the world's node.
func (w *world) stop(ctx context.Context) {
	w.node.stop()
	w.db.Close(ctx)
}

// measure runs a load on nodes and adds what it cost them.
func (r *rig) measure(ctx context.Context, name string, l load, nodes ...*process) (figures, error) {
	for _, p := range nodes {
		l.addrs = append(l.addrs, p.public)
	}
	return r.measureAt(ctx, name, l, nodes...)
}

func (r *rig) measureAt(ctx context.Context, name string, l load, nodes ...*process) (f figures, err error) {
	server := func() (sum time.Duration) {
		for _, p := range nodes {
			sum += proc.CPUOfTree(p.pid())
		}
		return sum
	}
	if r.profiles != "" && len(nodes) == 1 && nodes[0].admin != "" {
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
	f.ServerCPU, f.DBCPU, f.LoadCPU = each(server()-s), each(proc.CPUOfTree(r.cluster.PID())-d), each(proc.CPU(os.Getpid())-g)
	for _, p := range nodes {
		f.RSS = max(f.RSS, proc.MemoryOfTree(p.pid(), true))
	}
	progress("  %s", f)
	return f, nil
}

// stolenPercent is the share of the CPUs that the host has given to others since a moment.
func stolenPercent(before time.Duration, begin time.Time) float64 {
	return 100 * (proc.Stolen() - before).Seconds() / time.Since(begin).Seconds() / float64(runtime.NumCPU())
}

// profile writes the CPU profile of a node under a load.
func (r *rig) profile(p *process, name string, d time.Duration) error {
	res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.admin, max(1, int(d.Seconds()))))
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
