package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"curfew/internal/need"
	"curfew/internal/testdb"
)

func TestShareFiles(t *testing.T) {
	for _, c := range []struct{ files, dbConns, public, admin int }{
		{1024, 16, 812, 116}, {1 << 20, 16, 917420, 131060}, {64, 16, leastConnections, leastConnections},
	} {
		public, admin := shareFiles(c.files, c.dbConns)
		if public != c.public || admin != c.admin {
			t.Errorf("%d files: %d and %d, want %d and %d", c.files, public, admin, c.public, c.admin)
		}
	}
}

// hold opens connections that then say nothing more; with a request first, whose answer keeps them open.
func hold(t *testing.T, address string, n int, request bool) {
	t.Helper()
	for range n {
		conn, err := net.DialTimeout("tcp", address, 10*time.Second)
		if err != nil {
			return // the kernel's queue is full too
		}
		t.Cleanup(func() { conn.Close() })
		if !request {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			res.Body.Close()
		}
	}
}

// Ensure connections that idle on the public listener take nothing from the admin one, let others in, and that the log
// says which limit they met.
func TestServe_FewFiles(t *testing.T) {
	sh := need.Program(t, "sh", "dash")
	b := newBox(t, testdb.SQLite(t)).with("CURFEW_DATABASE_MAX_CONNS=4")
	b.prefix = []string{sh, "-c", `ulimit -n 128 && exec "$@"`, "sh"}
	r := b.serve()
	public := strings.TrimPrefix(r.public, "http://")
	hold(t, public, 100, true)
	hold(t, public, 70, false)
	for _, address := range []string{r.admin, r.public} {
		if status, body := r.do(http.MethodGet, address+"/readyz", "", nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", address, status, body)
		}
	}
	r.stop()
	for _, want := range []string{`"all connections of this listener are taken`, `"listener":"public"`, "ulimit -n", `"files":128`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log has no %s: %s", want, r.log)
		}
	}
	if strings.Contains(r.log.String(), "could not be accepted") {
		t.Errorf("the limit itself was met: %s", r.log)
	}
}
