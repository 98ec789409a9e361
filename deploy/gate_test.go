package deploy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The gate's own answers, as a proxy gets them.
func TestGate(t *testing.T) {
	c := startCurfew(t)
	g := c.gate("CURFEW_GATE_SCOPE=orders")
	user, profile, job := c.signIn("orders settings"), c.signIn("profile"), c.jobToken()
	scopes := func(list string) string { return `Bearer error="insufficient_scope", scope="` + list + `"` }
	for _, tc := range []struct {
		name, method, target, token string
		status                      int
		challenge                   string
		headers                     []string
	}{
		{"good", "GET", "/check", user, 200, "", nil},
		{"any method", "BREW", "/check", user, 200, "", nil},
		{"no token", "GET", "/check", "", 401, "Bearer", nil},
		{"garbage", "GET", "/check", "x", 401, badToken, nil},
		{"an ID token", "GET", "/check", c.idToken(), 401, badToken, nil},
		{"the configured scope", "GET", "/check", profile, 403, scopes("orders"), nil},
		{"they add up", "GET", "/check?scope=a+orders&scope=b", user, 403, scopes("orders a b c d e"), []string{"c d", "a e"}},
		{"both are there", "GET", "/check?scope=settings", user, 200, "", []string{"orders"}},
		{"only by the header", "GET", "/check", job, 403, scopes("orders settings"), []string{"settings"}},
		{"Envoy's path and query are the client's", "GET", "/check/orders//x/../y?scope=nobody-has&a=%zz", user, 200, "", nil},
		{"Envoy with the header", "POST", "/check/", user, 403, scopes("orders x"), []string{"x"}},
		{"a parameter with a typing error", "GET", "/check?scopes=admin", user, 500, "", nil},
		{"a query that cannot be read", "GET", "/check?scope=%zz", user, 500, "", nil},
		{"no scope", "GET", "/check?scope=%22", user, 500, "", nil},
		{"no scope in the header", "GET", "/check", user, 500, "", []string{`a"b`}},
		{"another path", "GET", "/checks", user, 404, "", nil},
		{"nothing else takes a POST", "POST", "/metrics", user, 404, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+g.addr+tc.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.token != "" {
				r.Header.Set("Authorization", "Bearer "+tc.token)
			}
			for _, h := range tc.headers {
				r.Header.Add("X-Curfew-Require-Scope", h)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != tc.status || res.Header.Get("WWW-Authenticate") != tc.challenge {
				t.Errorf("%s %q", res.Status, res.Header.Get("WWW-Authenticate"))
			}
			for _, name := range []string{"X-Curfew-Subject", "X-Curfew-Client", "X-Curfew-Device", "X-Curfew-Scope"} {
				if _, there := res.Header[name]; there != (tc.status == 200) {
					t.Errorf("%s: %q", name, res.Header[name])
				}
			}
		})
	}
	if !strings.Contains(get(t, g, "/metrics"), "curfew_verify_connects_total 1\n") {
		t.Error("the verifier's counters are not there")
	}
	for _, line := range []string{
		`curfew_gate_check_seconds_count{status="500"} 4`, `curfew_gate_check_seconds_count{status="503"} 0`, `curfew_verify_tokens_total{result="revoked"} 0`,
		`curfew_gate_refusals_total{code="scope"} 4`, `curfew_gate_refusals_total{code="malformed"} 1`, `curfew_gate_refusals_total{code="no_token"} 1`,
		"curfew_verify_staleness_seconds ", "process_open_fds ",
	} {
		if !strings.Contains(get(t, g, "/metrics"), "\n"+line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
	g.stop()
	if n := strings.Count(g.said.String(), "asks for what cannot be asked for"); n != 1 || !strings.Contains(g.said.String(), `"msg":"stopped"`) {
		t.Errorf("the log: %s", &g.said)
	}
	if strings.Contains(g.said.String(), user) || strings.Contains(g.said.String(), c.apiSecret) {
		t.Error("the log has a secret")
	}
}

func get(t *testing.T, p *process, path string) string {
	t.Helper()
	res, err := http.Get("http://" + p.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %s", path, res.Status, err, text)
	}
	return string(text)
}

// A gate that has not heard from the feed is alive and not ready, and says 503 to what it may not judge.
func TestGate_NotFresh(t *testing.T) {
	g := blindGate(t)
	if s := status(t, "http://"+g.addr+"/healthz"); s != 200 {
		t.Errorf("/healthz: %d", s)
	}
	if s := status(t, "http://"+g.addr+"/readyz"); s != 503 {
		t.Errorf("/readyz: %d", s)
	}
}

// A body that is announced is not waited for.
func TestGate_ReadsNoBody(t *testing.T) {
	g := blindGate(t)
	for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked", "Content-Length: 10\r\nExpect: 100-continue"} {
		res, err := withoutBody(g.addr, length)
		for tries := 1; err != nil && tries < 5; tries++ { // a slow machine
			res, err = withoutBody(g.addr, length)
		}
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v, %v", length, res, err)
		}
	}
}

// withoutBody announces a body and sends none. It waits for less than the server's own limit for a request to arrive: a
// gate that reads bodies waits that long.
func withoutBody(addr, length string) (*http.Response, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(8 * time.Second))
	fmt.Fprintf(conn, "POST /check HTTP/1.1\r\nHost: gate\r\n%s\r\n\r\n", length)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		res.Body.Close()
	}
	return res, err
}
