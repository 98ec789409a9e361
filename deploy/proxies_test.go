package deploy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// ask sends a request through a proxy. headers are pairs; the same name twice is sent twice, and in its own spelling.
func (p *proxy) ask(method, target, token string, body io.Reader, headers ...string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+target, body)
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, string(text)
}

// reached asks for what must come through, and gives back what the app saw.
func (p *proxy) reached(method, target, token string, body io.Reader, headers ...string) (s seen) {
	p.t.Helper()
	res, text := p.ask(method, target, token, body, headers...)
	if res.StatusCode != http.StatusOK || res.Header.Get("X-App") == "" {
		p.t.Fatalf("%s %s: %s %v %s", method, target, res.Status, res.Header, text)
	}
	if method != http.MethodHead {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			p.t.Fatalf("%s %s: %v: %s", method, target, err, text)
		}
	}
	return s
}

// refused asks for what must not come through.
func (p *proxy) refused(a *app, target, token string, status int, challenge string, headers ...string) {
	p.t.Helper()
	before := a.requests.Load()
	res, text := p.ask(http.MethodPost, target, token, strings.NewReader("x=y"), headers...)
	if res.StatusCode != status || res.Header.Get("WWW-Authenticate") != challenge || len(res.Header.Values("WWW-Authenticate")) > 1 {
		p.t.Errorf("%s: %s %q, want %d %q; %s", target, res.Status, res.Header.Values("WWW-Authenticate"), status, challenge, text)
	}
	if status == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
		p.t.Errorf("%s: 503 without Retry-After", target)
	}
	if n := a.requests.Load() - before; n != 0 || res.Header.Get("X-App") != "" {
		p.t.Errorf("%s: %d requests reached the app", target, n)
	}
}

const (
	badToken = `Bearer error="invalid_token"`
	badScope = `Bearer error="insufficient_scope", scope="orders"`
)

// The same through a socket, which nginx takes for the gate's address.
func TestProxies_Socket(t *testing.T) {
	c, a := startCurfew(t), startApp(t)
	gate := c.gateSocket()
	p := nginx.start(t, "127.0.0.1:8082", gate.addr, "127.0.0.1:3000", a.addr())
	job := guards(t, p, a, c, 1)
	gate.stop()
	p.refused(a, "/orders", job, 503, "")
}

// Each proxy with a gate: what comes through, what does not and how it is told, what the app is told and by whom, the
// sign-out, and a gate that is away or knows nothing.
func TestProxies(t *testing.T) {
	for _, kind := range []proxyKind{nginx, caddy, haproxy} {
		t.Run(kind.name, func(t *testing.T) {
			c, a := startCurfew(t), startApp(t)
			gate := c.gate("CURFEW_GATE_SUBSCRIBER=gate-1")
			p := kind.start(t, "127.0.0.1:8082", gate.addr, "127.0.0.1:3000", a.addr())
			job := guards(t, p, a, c, 1)
			t.Run("the gate is away", func(t *testing.T) {
				p := p.on(t)
				gate.stop()
				p.refused(a, "/orders", job, 503, "")
				p.reached(http.MethodGet, "/public/x", "", nil)
			})
			t.Run("the gate may not judge", func(t *testing.T) {
				blind := kind.start(t, "127.0.0.1:8082", blindGate(t).addr, "127.0.0.1:3000", a.addr())
				blind.refused(a, "/orders", job, 503, "")
				blind.refused(a, "/orders", "", 401, "Bearer")
			})
		})
	}
}

// nginx that asks Curfew itself behaves like the one with a gate.
func TestIntrospection(t *testing.T) {
	c, a := startCurfew(t), startApp(t)
	kind := njs
	kind.env = []string{"CURFEW_ISSUER=" + c.url, "CURFEW_CLIENT_ID=api", "CURFEW_CLIENT_SECRET=" + c.apiSecret}
	p := kind.start(t, "127.0.0.1:8080", c.server.addr, "127.0.0.1:3000", a.addr())
	job := guards(t, p, a, c, 0)
	t.Run("tokens for others", func(t *testing.T) {
		elsewhere := kind
		elsewhere.env = append(slices.Clone(kind.env), "CURFEW_ISSUER=https://other.test")
		elsewhere.start(t, "127.0.0.1:8080", c.server.addr, "127.0.0.1:3000", a.addr()).refused(a, "/orders", job, 401, badToken)
		p.on(t).refused(a, "/", c.refreshToken(), 401, badToken)
	})
	t.Run("Curfew is away", func(t *testing.T) {
		c.server.stop()
		p.on(t).refused(a, "/orders", job, 503, "")
	})
}

// guards is what every proxy is held to. It ends with a sign-out, which subscribers apply; a client's token outlives it.
func guards(t *testing.T, p *proxy, a *app, c *curfew, subscribers int) (job string) {
	good, other, job := c.signIn("orders settings"), c.signIn("profile"), c.jobToken()
	t.Run("verdicts", func(t *testing.T) {
		p := p.on(t)
		p.refused(a, "/", "", 401, "Bearer")
		p.refused(a, "/", "nonsense", 401, badToken)
		p.refused(a, "/", c.idToken(), 401, badToken)
		p.refused(a, "/orders", c.idToken(), 401, badToken)
		p.refused(a, "/orders", "", 401, "Bearer")
		p.refused(a, "/orders", other, 403, badScope)
		p.refused(a, "/orders/1?scope=", other, 403, badScope)
		p.refused(a, "/", "", 401, "Bearer", "Authorization", "Basic YTpi")
		p.reached(http.MethodGet, "/", other, nil)
		p.reached(http.MethodGet, "/?scope=admin&x=%zz", other, nil)
		p.reached(http.MethodGet, "/public/x", "", nil)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if s := p.reached(method, "/orders/1?a=b%20c", good, nil); method != "HEAD" && (s.Method != method || s.URI != "/orders/1?a=b%20c") {
				t.Errorf("the app saw %s %s", s.Method, s.URI)
			}
		}
	})
	t.Run("two authorizations", func(t *testing.T) {
		p, before := p.on(t), a.requests.Load()
		res, text := p.ask(http.MethodGet, "/orders", "", nil, "Authorization", "Bearer "+good, "Authorization", "Bearer "+good)
		if (res.StatusCode != 400 && res.StatusCode != 401) || a.requests.Load() != before {
			t.Errorf("%s %s", res.Status, text)
		}
	})
	t.Run("bodies", func(t *testing.T) {
		p, large := p.on(t), bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16)
		if s := p.reached(http.MethodPost, "/orders", good, bytes.NewReader(large)); s.Body != int64(len(large)) {
			t.Errorf("the app got %d bytes", s.Body)
		}
		if s := p.reached(http.MethodPost, "/orders", good, io.MultiReader(bytes.NewReader(large))); s.Body != int64(len(large)) { // in chunks
			t.Errorf("the app got %d bytes in chunks", s.Body)
		}
	})
	t.Run("what the app is told", func(t *testing.T) { told(t, p.on(t), good, job) })
	t.Run("the app's own errors", func(t *testing.T) {
		p := p.on(t)
		for _, code := range []int{401, 403, 404, 500, 503} {
			res, text := p.ask(http.MethodGet, fmt.Sprintf("/orders?status=%d", code), good, nil)
			if res.StatusCode != code || res.Header.Get("X-App") == "" || res.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%d: %s %v %s", code, res.Status, res.Header, text)
			}
		}
	})
	t.Run("the gate is not reachable", func(t *testing.T) {
		p := p.on(t)
		for _, target := range []string{
			"/_curfew", "/_curfew/", "/_curfew/orders", "/_introspect", "/check", "/check/", "/check?scope=x", "/metrics", "/healthz", "/readyz",
		} {
			res, text := p.ask(http.MethodGet, target, good, nil)
			if res.Header.Get("X-App") == "" && res.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s %v %s", target, res.Status, res.Header, text)
			}
			if strings.Contains(text, "curfew_gate") || res.Header.Get("X-Curfew-Subject") != "" {
				t.Errorf("%s: the gate's own answer: %v %s", target, res.Header, text)
			}
		}
	})
	t.Run("other spellings of a path", func(t *testing.T) { spellings(t, p.on(t), a) })
	t.Run("sign-out", func(t *testing.T) {
		p := p.on(t)
		c.signOut(good, subscribers)
		p.refused(a, "/orders", good, 401, badToken)
		p.refused(a, "/", other, 401, badToken)
		p.reached(http.MethodGet, "/orders", job, nil)
	})
	return job
}

// told: the four headers are the gate's, whatever the client sends, also where no token is needed.
func told(t *testing.T, p *proxy, good, job string) {
	forged := []string{"X-Curfew-Require-Scope", "forged"}
	for _, name := range []string{"Subject", "Client", "Device", "Scope"} {
		for _, spelling := range []string{"X-Curfew-", "x-curfew-", "X-CURFEW-", "X_Curfew_", "x_curfew-", "X-Curfew_"} {
			forged = append(forged, spelling+name, "forged")
		}
	}
	own := func(s seen) map[string]string {
		t.Helper()
		out := map[string]string{}
		for name, values := range s.Header {
			plain := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
			if !strings.HasPrefix(plain, "x-curfew-") {
				continue
			}
			if len(values) != 1 || strings.Contains(values[0], "forged") {
				t.Errorf("the app was told %s: %q", name, values)
			}
			if values[0] != "" {
				out[strings.TrimPrefix(plain, "x-curfew-")] = values[0]
			}
		}
		return out
	}
	for _, headers := range [][]string{nil, forged} {
		got := own(p.reached(http.MethodGet, "/orders", good, nil, headers...))
		if len(got) != 4 || len(got["subject"]) != 36 || got["client"] != "web" || len(got["device"]) != 36 || got["scope"] != "orders settings" {
			t.Errorf("a user's token: %v", got)
		}
		got = own(p.reached(http.MethodGet, "/orders", job, nil, headers...))
		if len(got) != 3 || got["subject"] != "job" || got["client"] != "job" || got["scope"] != "orders" {
			t.Errorf("a client's token, which has no device: %v", got)
		}
		if got = own(p.reached(http.MethodGet, "/public/x", "", nil, headers...)); len(got) != 0 {
			t.Errorf("no token: %v", got)
		}
	}
}

// spellings: what an app may read as a protected path is protected, and told so or refused.
func spellings(t *testing.T, p *proxy, a *app) {
	for _, target := range []string{
		"/public/../orders", "/public/%2e%2e/orders", "/public/..%2forders", "/public/%2E%2E%2Forders", "//orders", "/./orders", "/public//../orders",
		"/public/x/../../orders", "/orders?/public/", "/public", "/publicorders", "/orders;/public/",
	} {
		before := a.requests.Load()
		addr := strings.TrimPrefix(p.url, "http://")
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, addr)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		conn.Close()
		if a.requests.Load() != before || !slices.Contains([]int{301, 400, 401, 404}, res.StatusCode) {
			t.Errorf("%s without a token: %s, and the app was reached %d times", target, res.Status, a.requests.Load()-before)
		}
	}
}
