package deploy_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/internal/proc"
)

// What a request through nginx costs in CPU, nginx, app, gate and Curfew together: without a check, with auth_request
// to a 204 that nginx makes itself, to a 204 from a server beside it, to the gate, by TCP and by a Unix socket, and
// with introspection of each token. All are up at once and take turns; the ratios are medians of the rounds' own
// ratios. The app answers a constant from another nginx, so that the check is as large a part of the whole as it can
// be.
//
//	go test ./deploy -run '^$' -bench . -benchtime 15x
func BenchmarkCheck(b *testing.B) {
	c := startCurfew(b)
	g, s := c.gate(), c.gateSocket()
	token := c.signIn("orders")
	app, beside := startConstant(b, 200), startConstant(b, 204)

	text, err := os.ReadFile("gate/nginx.conf")
	if err != nil {
		b.Fatal(err)
	}
	variant := func(old, new string) proxyKind {
		b.Helper()
		if !strings.Contains(string(text), old) {
			b.Fatalf("nginx.conf does not say %q", old)
		}
		kind := nginx
		kind.args = func(dir string) []string {
			name := filepath.Join(dir, "nginx.conf")
			own, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(own), old, new)), 0o644); err != nil {
				b.Fatal(err)
			}
			return nginx.args(dir)
		}
		return kind
	}
	introspection := njs
	introspection.env = []string{"CURFEW_ISSUER=" + c.url, "CURFEW_CLIENT_ID=api", "CURFEW_CLIENT_SECRET=" + c.apiSecret}
	gateAt, appAt := []string{"127.0.0.1:8082", g.addr}, []string{"127.0.0.1:3000", app.addr}
	set := []*measured{
		{name: "none", proxy: variant("auth_request /_curfew/orders;", "auth_request off;").start(b, append(gateAt, appAt...)...)},
		{name: "204", proxy: variant("rewrite ^ /check break;", "return 204;").start(b, append(gateAt, appAt...)...)},
		{name: "204-beside", proxy: nginx.start(b, append([]string{"127.0.0.1:8082", beside.addr}, appAt...)...), more: []*process{beside}},
		{name: "gate", proxy: nginx.start(b, append(gateAt, appAt...)...), more: []*process{g}},
		{name: "gate-unix", proxy: nginx.start(b, append([]string{"127.0.0.1:8082", s.addr}, appAt...)...), more: []*process{s}},
		{name: "introspect", proxy: introspection.start(b, append([]string{"127.0.0.1:8080", c.server.addr}, appAt...)...), more: []*process{c.server}},
	}
	for _, m := range set { // connections are open, and the token has been seen
		m.more = append(m.more, app)
		m.round(b, token, 500)
	}
	for b.Loop() {
		for i, m := range set {
			set[i].cost = append(m.cost, m.round(b, token, 4000))
		}
	}
	b.ReportMetric(0, "ns/op") // a round, which says nothing
	for _, m := range set {
		b.ReportMetric(median(m.cost), "cpu-µs/"+m.name)
	}
	for _, pair := range [][2]int{{3, 0}, {3, 1}, {3, 2}, {4, 2}, {4, 3}, {5, 3}} {
		var ratios []float64
		for i, cost := range set[pair[0]].cost {
			ratios = append(ratios, cost/set[pair[1]].cost[i])
		}
		b.ReportMetric(median(ratios), set[pair[0]].name+"/"+set[pair[1]].name)
	}
}

// measured is one way to check, and what each round of it cost.
type measured struct {
	name  string
	proxy *proxy
	more  []*process
	cost  []float64 // µs of CPU for a request
}

func (m *measured) cpu() (sum time.Duration) {
	for _, p := range append(m.more, m.proxy.process) {
		sum += proc.CPUOfTree(p.cmd.Process.Pid)
	}
	return sum
}

// round sends requests, eight at a time, and says what one has cost.
func (m *measured) round(b *testing.B, token string, requests int) float64 {
	const workers = 8
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	before := m.cpu()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range requests / workers {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, m.proxy.url+"/orders", nil)
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+token)
				res, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Errorf("%s: %s", m.name, res.Status)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64((m.cpu() - before).Microseconds()) / float64(requests)
}

// startConstant is an nginx that answers everything with one status.
func startConstant(b *testing.B, status int) *process {
	dir := b.TempDir()
	config := fmt.Sprintf(`worker_processes auto; pid nginx.pid; error_log stderr; events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server { listen 127.0.0.1:8000; return %d; }
}`, status)
	name := filepath.Join(dir, "constant.conf")
	if err := os.WriteFile(name, []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	kind := proxyKind{name: "constant", program: "nginx", dir: dir, files: []string{"constant.conf"}, args: nginxArgs("constant.conf")}
	p := kind.start(b)
	p.addr = strings.TrimPrefix(p.url, "http://")
	return p.process
}

func median(list []float64) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}
