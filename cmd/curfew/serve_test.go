package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"curfew/internal/testdb"
)

// follower reads the revocation feed as a resource server does.
type follower struct {
	t     *testing.T
	lines chan string
	close context.CancelFunc
}

// follow opens the feed, and waits until it has begun. An acknowledging follower says that it has applied each event.
func (r *running) follow(token, subscriber string, acknowledge bool) *follower {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{t: r.t, lines: make(chan string, 1000), close: cancel}
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.public+"/oauth2/revocations?subscriber="+subscriber, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("the feed: %s", res.Status)
	}
	go func() {
		defer close(f.lines)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if seq, ok := strings.CutPrefix(lines.Text(), "id: "); ok && acknowledge {
				body := fmt.Sprintf(`{"subscriber":%q,"seq":%s}`, subscriber, seq)
				ack, err := http.NewRequestWithContext(ctx, http.MethodPost, r.public+"/oauth2/revocations/ack",
					strings.NewReader(body))
				if err != nil {
					return
				}
				ack.Header.Set("Authorization", "Bearer "+token)
				ack.Header.Set("Content-Type", "application/json")
				if res, err := http.DefaultClient.Do(ack); err == nil {
					res.Body.Close()
				}
			}
			f.lines <- lines.Text()
		}
	}()
	f.await("event: heartbeat")
	return f
}

// await reads up to a line, and gives back the one after it.
func (f *follower) await(want string) (next string) {
	f.t.Helper()
	for line := range f.lines {
		if line == want {
			return <-f.lines
		}
	}
	f.t.Fatalf("the feed ended before %q", want)
	return ""
}

// Ensure SIGTERM loses no request that has begun, ends the streams with a word, and ends the process with code 0.
func TestServe_Drain(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		apiSecret := b.furnish()
		r := b.serve()
		_, api := r.token("grant_type", "client_credentials", "client_id", "api", "client_secret", apiSecret)
		stream := r.follow(api.Access, "one", false)
		alice := r.signIn()

		// It waits for an acknowledgement that does not come.
		type answer struct {
			status int
			body   string
		}
		answered := make(chan answer, 1)
		go func() {
			status, body := r.do(http.MethodDelete, r.public+"/settings/devices?wait=10s", alice.Access, nil)
			answered <- answer{status, body}
		}()
		stream.await("event: revocation") // so the request is being worked on
		r.stop()

		got := <-answered
		if got.status != http.StatusOK || !strings.Contains(got.body, `"applied"`) {
			t.Errorf("the request that was under way: %d %s", got.status, got.body)
		}
		if data := stream.await("event: close"); !strings.Contains(data, "shutting_down") {
			t.Errorf("the stream's last word: %s", data)
		}
		if _, err := http.Get(r.public + "/healthz"); err == nil {
			t.Error("it still answers")
		}
		if !strings.Contains(r.log.String(), `"msg":"stopped"`) {
			t.Errorf("the log does not end with stopped: %s", r.log)
		}
	})
}

// Ensure a reader of the feed that reads nothing does not hold a stop up beyond its time limit.
func TestServe_StalledReader(t *testing.T) {
	url := testdb.SQLite(t)
	b := newBox(t, url).with("CURFEW_SHUTDOWN_TIMEOUT=1s")
	secret := b.furnish()
	const events = 60_000 // more than the buffers of two sockets hold
	execute(t, url, fmt.Sprintf(`WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < %d)
			INSERT INTO revocations SELECT seq, 'device', 'd' || seq, 1, 'revoked', 'admin', 'cli', 1, 9000000000000000 FROM n`, events), fmt.Sprintf(`UPDATE realm SET last_seq = %d`, events))
	r := b.serve()
	_, api := r.token("grant_type", "client_credentials", "client_id", "api", "client_secret", secret)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /oauth2/revocations?subscriber=stuck HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
		api.Access)
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 200 OK"))); err != nil {
		t.Fatal(err)
	}
	r.stop()
	for _, want := range []string{"revocation streams were cut off", `"msg":"stopped"`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log has no %s: %s", want, r.log)
		}
	}
	if strings.Contains(r.log.String(), "panic") {
		t.Errorf("%s", r.log)
	}
}

// Ensure load balancers get the time that was asked for: not ready, but answering.
func TestServe_ShutdownDelay(t *testing.T) {
	b := newBox(t, testdb.SQLite(t)).with("CURFEW_SHUTDOWN_DELAY=10m")
	b.furnish()
	r := b.serve()
	if status, body := r.do(http.MethodGet, r.public+"/readyz", "", nil); status != http.StatusOK {
		t.Fatalf("before: %d %s", status, body)
	}
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for ready := true; ready; {
		status, body := r.do(http.MethodGet, r.admin+"/readyz", "", nil)
		if ready = status == http.StatusOK; !ready && (status != http.StatusServiceUnavailable ||
			!strings.Contains(body, "this node is stopping")) {
			t.Errorf("not ready: %d %s", status, body)
		}
	}
	// It is an answer like every other one.
	res, err := http.Get(r.public + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for _, name := range []string{
		"X-Request-Id", "X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Referrer-Policy",
		"Retry-After",
	} {
		if res.Header.Get(name) == "" {
			t.Errorf("not ready: no %s", name)
		}
	}
	if h := res.Header; h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("not ready: %v", h)
	}
	if status, body := r.do(http.MethodPost, r.public+"/readyz", "", nil); status != http.StatusMethodNotAllowed {
		t.Errorf("POST while it drains: %d %s", status, body)
	}
	if _, metrics := r.do(http.MethodGet, r.admin+"/metrics", "", nil); !strings.Contains(metrics,
		`curfew_http_request_seconds_count{listener="public",method="GET",route="/readyz",status="503"} 1`) {
		t.Errorf("it is not measured: %s", metrics)
	}
	r.signIn()
	if status, _ := r.do(http.MethodGet, r.public+"/healthz", "", nil); status != http.StatusOK {
		t.Errorf("health while it drains: %d", status)
	}
	// The second signal kills.
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.wait()
	if r.err == nil {
		t.Error("the second signal did not kill it")
	}
}

// Ensure a node does not run on a schema that is behind: on PostgreSQL others may be using it.
func TestServe_OldSchema(t *testing.T) {
	url := testdb.Postgres(t)
	b := newBox(t, url)
	b.refuse(1, "", []string{"serve"}, "curfew migrate")
	b.run("", "migrate")
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	exec := func(statement string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE newest AS SELECT * FROM goose_db_version ORDER BY version_id DESC LIMIT 1`)
	exec(`DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`)
	b.refuse(1, "", []string{"serve"}, "curfew migrate")
	b.refuse(1, "", []string{"user", "list"}, "curfew migrate")
	// A schema that is ahead is the rolling upgrade: old nodes go on.
	exec(`INSERT INTO goose_db_version SELECT * FROM newest`)
	exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	b.serve().stop()
}

// Ensure a taken address, and a database that is away, are said and stop the start.
func TestServe_CannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	b := newBox(t, testdb.SQLite(t))
	b.with("CURFEW_ADMIN_ADDR="+taken.Addr().String()).refuse(1, "", []string{"serve"}, "CURFEW_ADMIN_ADDR",
		"address already in use")
	b.with("CURFEW_DATABASE_URL=postgres://curfew:hunter2@127.0.0.1:1/curfew").refuse(1, "", []string{"serve"},
		"unavailable")
}

// Ensure a wrong secret does not start: it could read no signing key, and would know no token.
func TestServe_WrongSecret(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.furnish()
	other := strings.Repeat("ab", 32)
	b.with("CURFEW_SECRET="+other).refuse(1, "", []string{"serve"}, "secret")
	r := b.serve()
	alice := r.signIn()
	r.stop()
	// The change of a secret: the new one first, the older one after it. Nobody notices.
	r = b.with("CURFEW_SECRET=" + other + "," + testSecret).serve()
	status, again := r.token("grant_type", "refresh_token", "client_id", "web", "refresh_token", alice.Refresh)
	if status != http.StatusOK {
		t.Fatalf("refresh while the secret changes: %d %+v", status, again)
	}
	r.stop()
	r = b.with("CURFEW_SECRET=" + other).serve()
	if status, got := r.token("grant_type", "refresh_token", "client_id", "web", "refresh_token",
		again.Refresh); status != http.StatusOK {
		t.Errorf("refresh after the change: %d %+v", status, got)
	}
}

// Ensure traces are sent when they are asked for, named after routes, and hold nothing else that a client has said.
func TestServe_Traces(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, body...)
	}))
	defer collector.Close()
	b := newBox(t, testdb.SQLite(t)).with("OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL)
	b.furnish()
	r := b.serve()
	alice := r.signIn()
	r.do(http.MethodDelete, r.public+"/settings/devices/current?wait=17ms", alice.Access, nil)
	r.do(http.MethodGet, r.public+"/no/such/place?password=hunter2", "", nil)
	r.do(http.MethodGet, r.public+"/healthz", "", nil)
	const parent = "0af7651916cd43dd8448eb211c80319c"
	for _, address := range []string{r.public, r.admin} {
		req, err := http.NewRequestWithContext(t.Context(), "BREW", address+"/devices/secret-path", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "secret-host"
		req.Header = http.Header{
			"User-Agent": {"secret-agent"}, "X-Forwarded-For": {"203.0.113.99"}, "X-Request-Id": {"secret-request"},
			"Traceparent": {"00-" + parent + "-b7ad6b7169203331-01"}, "Tracestate": {"secret=state"},
			"Baggage": {"secret=baggage"},
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	r.stop()
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{
		"POST /oauth2/token", "DELETE /settings/devices/:id", "unmatched", "service.name",
		"curfew",
	} {
		if !strings.Contains(string(got), name) {
			t.Errorf("the traces have no %q", name)
		}
	}
	if id, _ := hex.DecodeString(parent); !bytes.Contains(got, id) {
		t.Error("the traces do not say where they come from")
	}
	for _, secret := range []string{
		"hunter2", "17ms", alice.Access, alice.Refresh, testPassword, "healthz",
		"secret", "203.0.113.99", "BREW", "/no/such/place", "/devices/current", "127.0.0.1",
	} {
		if strings.Contains(string(got), secret) {
			t.Errorf("the traces hold %q", secret)
		}
	}
}

// Ensure mistyped variables, and what is seldom meant, are said in the log.
func TestServe_Warnings(t *testing.T) {
	b := newBox(t, testdb.SQLite(t)).with("CURFEW_ADMIN_ADDR=0.0.0.0:0", "CURFEW_ISSUER=http://id.example.com",
		"CURFEW_LOGLEVEL=debug")
	r := b.serve()
	r.stop()
	for _, want := range []string{
		"CURFEW_LOGLEVEL is not known", "CURFEW_LOG_LEVEL", "keep its network private",
		"the issuer is not https",
	} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log has no %q: %s", want, r.log)
		}
	}
}
