// Command curfew-feedbench measures the revocation feed with real servers: two nodes of `curfew serve` on a throwaway
// PostgreSQL with durable commits, verifiers of package verify and plain readers of the feed over loopback.
//
//	go run ./cmd/curfew-feedbench
//
// It prints how long it takes from a sign-out to the refusal at a local verifier, with ten verifiers and with a thousand
// streams, through the node that signed out and through the other; what a thousand idle streams cost a node; and how long
// signing everyone out takes with a thousand and with a million devices.
//
// A refusal's time is counted twice: from the event's created_at, which PostgreSQL notes before the commit, so that the
// commit's own flush is in it; and from when the sign-out's answer had been read, which is after the commit. The truth
// lies between; the targets are held against the first.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/internal/pgcluster"
	"curfew/internal/proc"
	"curfew/verify"
)

var (
	binary    = flag.String("curfew", "", "the server's binary; default: built from this module")
	streams   = flag.Int("streams", 1000, "streams on one node, the verifiers among them")
	verifiers = flag.Int("verifiers", 10, "verifiers among the streams")
	signOuts  = flag.Int("signouts", 200, "sign-outs of one measurement")
	every     = flag.Duration("every", 50*time.Millisecond, "time from one sign-out to the next")
	rest      = flag.Duration("idle", time.Minute, "how long the streams are idle before the node's memory is read")
	profile   = flag.String("heap", "", "where to write a heap profile of the node with the idle streams, in text form")
	devices   = flag.Int("devices", 1_000_000, "the larger number of devices for signing everyone out")
)

const (
	password  = "correct horse battery"
	apiSecret = "feedbench-secret-of-the-resource-servers"
	// look is how often the verifiers are asked whether they refuse a token yet; it bounds what the measurement adds.
	look = 200 * time.Microsecond
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "curfew-feedbench:", err)
		os.Exit(1)
	}
}

// rig is everything that runs.
type rig struct {
	dir     string
	binary  string
	env     []string
	cluster *pgcluster.Cluster
	nodes   [2]*node
	http    *http.Client
}

// node is one `curfew serve`.
type node struct {
	public, admin string
	cmd           *exec.Cmd
	ended         chan error
}

// row is one line of the table.
type row struct {
	name, p50, p99, worst, goal string
}

func run(ctx context.Context) (err error) {
	if *verifiers < 1 || *streams < *verifiers || *signOuts < 1 || *devices < 1000 {
		return errors.New("there must be a verifier, no more verifiers than streams, a sign-out and a thousand devices")
	}
	r := &rig{binary: *binary, http: &http.Client{Timeout: 30 * time.Second}}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.serve(ctx); err != nil {
		return err
	}
	fmt.Printf("%s, %s, load %s\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"), proc.Machine(), loadAverage())

	var rows []row
	rs, err := r.verifiers(ctx)
	if err != nil {
		return err
	}
	closeAll := sync.OnceFunc(func() {
		for _, v := range rs {
			v.Close()
		}
	})
	defer closeAll()
	measure := func(name string, at *node, readers []*reader, goal string) error {
		one, err := r.refusals(ctx, name, at, rs, readers, goal)
		rows = append(rows, one...)
		return err
	}
	ten := fmt.Sprintf("%d verifiers", len(rs))
	if err := measure(ten+", same node", r.nodes[0], nil, "p50 ≤ 10 ms"); err != nil {
		return err
	}
	if err := measure(ten+", other node", r.nodes[1], nil, "p50 ≤ 10 ms"); err != nil {
		return err
	}

	node := r.nodes[0].cmd.Process.Pid
	before := proc.Memory(node, "VmRSS")
	readers, err := r.readers(ctx, *streams-len(rs))
	if err != nil {
		return err
	}
	defer func() {
		for _, one := range readers {
			one.close()
		}
	}()
	sleep(ctx, *rest)
	idle := proc.Memory(node, "VmRSS")
	if *profile != "" {
		if err := r.heapProfile(ctx); err != nil {
			return err
		}
	}
	many := fmt.Sprintf("%d streams", *streams)
	if err := measure(many+", same node", r.nodes[0], readers, "p99 ≤ 50 ms"); err != nil {
		return err
	}
	if err := measure(many+", other node", r.nodes[1], readers, "p99 ≤ 50 ms"); err != nil {
		return err
	}
	for _, one := range readers {
		one.close()
	}
	closeAll()

	everyone, err := r.everyone(ctx)
	if err != nil {
		return err
	}
	rows = append(rows, everyone...)

	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "milliseconds\tp50\tp99\tworst\ttarget")
	for _, one := range rows {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", one.name, one.p50, one.p99, one.worst, one.goal)
	}
	_ = out.Flush()
	fmt.Printf("\n%d idle streams more cost the node %.1f MB of RSS (%.1f before, %.1f with them), %.1f kB each; target: 40 MB for 1000\n",
		len(readers), idle-before, before, idle, (idle-before)*1024/float64(max(1, len(readers))))
	return nil
}

// prepare builds the server, makes the database, and reserves two nodes' addresses.
func (r *rig) prepare(ctx context.Context) error {
	var err error
	if r.dir, err = os.MkdirTemp("", "curfew-feedbench-"); err != nil {
		return err
	}
	if r.binary == "" {
		r.binary = filepath.Join(r.dir, "curfew")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", r.binary, "curfew/cmd/curfew").CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	if r.cluster, err = pgcluster.Start(ctx); err != nil {
		return err
	}
	var addrs [4]string
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		addrs[i] = l.Addr().String()
		defer l.Close()
	}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CURFEW_") {
			r.env = append(r.env, kv)
		}
	}
	r.env = append(r.env, "CURFEW_DATABASE_URL="+r.cluster.URL("postgres"), "CURFEW_SECRET="+strings.Repeat("5a", 32),
		"CURFEW_ISSUER=http://"+addrs[0], "CURFEW_ACCESS_TTL=1h", "CURFEW_MAX_DEVICES_PER_USER=1000", "CURFEW_HASH_MEMORY=8", "CURFEW_HASH_TIME=1",
		"CURFEW_LOG_LEVEL=warn", "CURFEW_PPROF=true")
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"migrate"}},
		{apiSecret, []string{"client", "add", "api", "--grants", "client_credentials", "--scopes", "revocations", "--secret-stdin"}},
		{"", []string{"client", "add", "web", "--public", "--grants", "password,refresh_token", "--scopes", "settings admin"}},
		{password, []string{"user", "add", "root", "--admin", "--password-stdin"}},
	} {
		cmd := exec.CommandContext(ctx, r.binary, c.args...)
		cmd.Env, cmd.Stdin = r.env, strings.NewReader(c.stdin+"\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("curfew %s: %w: %s", strings.Join(c.args, " "), err, out)
		}
	}
	for i := range r.nodes {
		n := &node{public: addrs[2*i], admin: addrs[2*i+1], ended: make(chan error, 1)}
		n.cmd = exec.Command(r.binary, "serve")
		n.cmd.Env = append(slices.Clone(r.env), "CURFEW_PUBLIC_ADDR="+n.public, "CURFEW_ADMIN_ADDR="+n.admin)
		n.cmd.Stderr = os.Stderr
		r.nodes[i] = n
	}
	return nil
}

// serve runs the nodes.
func (r *rig) serve(ctx context.Context) error {
	for _, n := range r.nodes {
		if err := n.cmd.Start(); err != nil {
			return err
		}
		go func() { n.ended <- n.cmd.Wait() }()
		for {
			res, err := r.http.Get("http://" + n.public + "/readyz")
			if err == nil {
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					break
				}
			}
			select {
			case err := <-n.ended:
				n.ended <- err
				return fmt.Errorf("curfew serve ended: %w", err)
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func (r *rig) stop() error {
	for _, n := range r.nodes {
		if n != nil && n.cmd.Process != nil {
			_ = n.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-n.ended:
			case <-time.After(30 * time.Second):
				_ = n.cmd.Process.Kill()
			}
		}
	}
	var err error
	if r.cluster != nil {
		err = r.cluster.Stop()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// call sends a request and reads a JSON answer.
func (r *rig) call(ctx context.Context, method, u, token string, form url.Values, answer any) error {
	q, err := http.NewRequestWithContext(ctx, method, u, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := r.http.Do(q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, u, res.Status, b)
	}
	return json.Unmarshal(b, answer)
}

func (r *rig) token(ctx context.Context, n *node, form url.Values) (string, error) {
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err := r.call(ctx, http.MethodPost, "http://"+n.public+"/oauth2/token", "", form, &answer)
	return answer.AccessToken, err
}

func (r *rig) signIn(ctx context.Context, n *node, scope string) (string, error) {
	return r.token(ctx, n, url.Values{
		"grant_type": {"password"}, "client_id": {"web"}, "username": {"root"}, "password": {password}, "scope": {scope},
	})
}

// signedOut is what the answer to a sign-out says.
type signedOut struct {
	Revocation struct {
		Seq       int64     `json:"seq"`
		CreatedAt time.Time `json:"created_at"`
	} `json:"revocation"`
}

// verifiers starts those that will refuse.
func (r *rig) verifiers(ctx context.Context) ([]*verify.Verifier, error) {
	var all []*verify.Verifier
	for i := range *verifiers {
		v, err := verify.New(verify.Config{
			Issuer: "http://" + r.nodes[0].public, ClientID: "api", ClientSecret: apiSecret, Subscriber: fmt.Sprintf("verifier-%d", i),
			WhenStale: verify.StaleReject, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	for _, v := range all {
		for v.Staleness() > time.Minute {
			if !sleep(ctx, 10*time.Millisecond) {
				return all, ctx.Err()
			}
		}
	}
	return all, nil
}

// reader is a stream that is read, and that notes when each event came.
type reader struct {
	conn  net.Conn
	ready chan struct{} // closed at the first heartbeat

	mu   sync.Mutex
	came map[int64]time.Time
}

func (r *rig) readers(ctx context.Context, n int) ([]*reader, error) {
	token, err := r.token(ctx, r.nodes[0], url.Values{
		"grant_type": {"client_credentials"}, "scope": {"revocations"}, "client_id": {"api"}, "client_secret": {apiSecret},
	})
	if err != nil {
		return nil, err
	}
	var all []*reader
	for i := range n {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.nodes[0].public)
		if err != nil {
			return all, err
		}
		one := &reader{conn: conn, ready: make(chan struct{}), came: map[int64]time.Time{}}
		if _, err := fmt.Fprintf(conn, "GET /oauth2/revocations?subscriber=reader-%d&after=999999999 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n",
			i, r.nodes[0].public, token); err != nil {
			return all, err
		}
		go one.read()
		all = append(all, one)
		if i%50 == 49 { // as they would come: not all in one millisecond
			select {
			case <-one.ready:
			case <-time.After(30 * time.Second):
				return all, errors.New("a stream does not begin")
			}
		}
	}
	for _, one := range all {
		select {
		case <-one.ready:
		case <-time.After(30 * time.Second):
			return all, errors.New("a stream does not begin")
		}
	}
	return all, nil
}

func (s *reader) read() {
	lines, begun := bufio.NewReaderSize(s.conn, 1<<10), false
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			seq, _ := strconv.ParseInt(string(bytes.TrimSpace(id)), 10, 64)
			s.mu.Lock()
			s.came[seq] = time.Now()
			s.mu.Unlock()
		} else if !begun && bytes.HasPrefix(line, []byte("event: heartbeat")) {
			begun = true
			close(s.ready)
		}
	}
}

func (s *reader) close() { s.conn.Close() }

// refusals signs devices out at one node, one after the other, and measures when each verifier refuses.
func (r *rig) refusals(ctx context.Context, name string, at *node, rs []*verify.Verifier, readers []*reader, goal string) ([]row, error) {
	tokens := make([]string, *signOuts)
	for i := range tokens {
		var err error
		if tokens[i], err = r.signIn(ctx, at, "settings"); err != nil {
			return nil, err
		}
		for _, v := range rs { // so that what is measured is the feed, and not a signature
			if _, err := v.Verify(ctx, tokens[i]); err != nil {
				return nil, err
			}
		}
	}
	var fromEvent, fromAnswer, atReaders []time.Duration
	created := map[int64]time.Time{}
	for _, token := range tokens {
		refused := make([]time.Time, len(rs))
		var failed atomic.Pointer[error]
		var looking sync.WaitGroup
		looking.Go(func() {
			for left := len(rs); left > 0 && ctx.Err() == nil; time.Sleep(look) {
				for i, v := range rs {
					if !refused[i].IsZero() {
						continue
					}
					_, err := v.Verify(ctx, token)
					switch {
					case errors.Is(err, verify.ErrRevoked):
						refused[i] = time.Now()
						left--
					case err != nil:
						failed.Store(&err)
						return
					}
				}
			}
		})
		began := time.Now()
		var out signedOut
		if err := r.call(ctx, http.MethodDelete, "http://"+at.public+"/settings/devices/current", token, nil, &out); err != nil {
			return nil, err
		}
		answered := time.Now()
		looking.Wait()
		if err := failed.Load(); err != nil {
			return nil, *err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		created[out.Revocation.Seq] = out.Revocation.CreatedAt
		for _, t := range refused {
			fromEvent = append(fromEvent, t.Sub(out.Revocation.CreatedAt))
			fromAnswer = append(fromAnswer, max(0, t.Sub(answered)))
		}
		sleep(ctx, *every-time.Since(began))
	}
	rows := []row{
		line(name+", from the event", fromEvent, goal),
		line(name+", from the answer", fromAnswer, ""),
	}
	if len(readers) == 0 {
		return rows, nil
	}
	sleep(ctx, time.Second)
	missing := 0
	for _, one := range readers {
		one.mu.Lock()
		for seq, t := range created {
			if came, ok := one.came[seq]; ok {
				atReaders = append(atReaders, came.Sub(t))
			} else {
				missing++
			}
		}
		one.mu.Unlock()
	}
	if missing > 0 {
		return nil, fmt.Errorf("%d events of %d did not come to a reader within a second", missing, len(created)*len(readers))
	}
	return append(rows, line(fmt.Sprintf("%s, arrival at the %d plain readers, from the event", name, len(readers)), atReaders, goal)), nil
}

// everyone signs everyone out, with few and with many devices.
func (r *rig) everyone(ctx context.Context) ([]row, error) {
	db, err := pgx.Connect(ctx, r.cluster.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer db.Close(context.WithoutCancel(ctx))
	var rows []row
	for _, total := range []int{1000, *devices} {
		// Signed in, of one client, each of its own user, as far as a sign-out of everyone could care.
		if _, err := db.Exec(ctx, `INSERT INTO devices (id, user_id, refresh_id, previous_refresh_id, rotated_at, issued_at, signed_in_at, valid_from, expires_at,
			ends_at, last_seen_at, created_at, client_id, name, scope, ip, user_agent)
			SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), t, t, t, 0, t + 2592000000000, t + 2592000000000, t, t, 'web', 'phone',
			'settings', '192.0.2.1', 'bench' FROM generate_series((SELECT count(*) FROM devices) + 1, $1), (SELECT (extract(epoch FROM now()) * 1e6)::bigint AS t) AS clock`,
			total); err != nil {
			return nil, err
		}
		if _, err := db.Exec(ctx, "VACUUM ANALYZE devices"); err != nil {
			return nil, err
		}
		if _, err := db.Exec(ctx, "CHECKPOINT"); err != nil {
			return nil, err
		}
		var count int
		if err := db.QueryRow(ctx, "SELECT count(*) FROM devices").Scan(&count); err != nil {
			return nil, err
		}
		var took []time.Duration
		for range 51 {
			token, err := r.signIn(ctx, r.nodes[0], "admin")
			if err != nil {
				return nil, err
			}
			began := time.Now()
			var out signedOut
			if err := r.call(ctx, http.MethodDelete, "http://"+r.nodes[0].admin+"/admin/devices?confirm=everyone", token, nil, &out); err != nil {
				return nil, err
			}
			took = append(took, time.Since(began))
		}
		rows = append(rows, line(fmt.Sprintf("everyone signed out, %d devices, request and answer", count), took, "the same"))
	}
	return rows, nil
}

func line(name string, d []time.Duration, goal string) row {
	slices.Sort(d)
	ms := func(q float64) string {
		return strconv.FormatFloat(d[min(len(d)-1, int(q*float64(len(d))))].Seconds()*1000, 'f', 1, 64)
	}
	return row{fmt.Sprintf("%s (%d)", name, len(d)), ms(0.5), ms(0.99), ms(1), goal}
}

// heapProfile writes what the first node's memory holds.
func (r *rig) heapProfile(ctx context.Context) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.nodes[0].admin+"/debug/pprof/heap?debug=1&gc=1", nil)
	if err != nil {
		return err
	}
	res, err := r.http.Do(q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("the heap profile: %s", res.Status))
	}
	return os.WriteFile(*profile, b, 0o600)
}

// loadAverage tells how many others used the machine.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:min(3, len(strings.Fields(string(b))))], " ")
}

// sleep tells whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(0, d)):
		return true
	}
}
