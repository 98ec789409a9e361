package main

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/internal/testdb"
)

// hook is a webhook that takes every message, and remembers which.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	ids    []string
	hold   chan struct{} // nil, or: answers wait until it is closed
	holds  chan struct{} // one waits
	answer sync.Once
}

func newHook(t *testing.T) *hook {
	h := &hook{holds: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		h.mu.Lock()
		h.ids = append(h.ids, r.Header.Get("webhook-id"))
		hold := h.hold
		h.mu.Unlock()
		if hold != nil {
			h.answer.Do(func() { close(h.holds) })
			<-hold
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ids)
}

// different are the messages in the order in which each came first.
func (h *hook) different() (list []string) {
	for _, id := range h.all() {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// says tells whether a node's metrics have a line.
func (r *running) says(line string) bool {
	_, text := r.do(http.MethodGet, r.admin+"/metrics", "", nil)
	return strings.Contains(text, "\n"+line+"\n")
}

// locked is a transaction that keeps every position from being written.
type locked struct {
	*sql.Tx
	t      *testing.T
	sqlite bool
}

func lockReceivers(t *testing.T, url string) *locked {
	t.Helper()
	driver, name := "pgx", url
	path, sqlite := strings.CutPrefix(url, "sqlite:")
	if sqlite {
		driver, name = "sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(60000)"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l := &locked{t: t, sqlite: sqlite}
	if l.Tx, err = db.BeginTx(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !sqlite { // which has one writer
		if _, err := l.ExecContext(t.Context(), "SELECT 1 FROM receivers FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// waiting is how many sessions wait for the lock, of which the expression has done something to each.
func (l *locked) waiting(each string) (n int) {
	l.t.Helper()
	if err := l.QueryRowContext(l.t.Context(), `SELECT count(`+each+`) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n); err != nil {
		l.t.Fatal(err)
	}
	return n
}

// kill ends a node while it waits for the lock, and unlocks. PostgreSQL would still write what a session has asked for
// whose client is gone, so that the session has to end too.
func (l *locked) kill(r *running) {
	l.t.Helper()
	if !l.sqlite {
		eventually(l.t, "the node writes the position", func() bool { return l.waiting("pid") > 0 })
	}
	_ = r.cmd.Process.Kill()
	<-r.exited
	if !l.sqlite {
		eventually(l.t, "its sessions end", func() bool { return l.waiting("pg_terminate_backend(pid)") == 0 })
	}
	if err := l.Rollback(); err != nil {
		l.t.Fatal(err)
	}
}

// Ensure a node that is killed between a receiver's answer and the writing of its position costs nobody a notice: what
// was answered last is told again by whoever takes over, the rest once, and all in order. Two nodes tell nobody twice
// as long as both live.
func TestServe_TellerKilled(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		h := newHook(t)
		b := newBox(t, url).with("CURFEW_OUTBOUND_ALLOW=127.0.0.0/8")
		b.furnish()
		b.run("", "webhook", "add", h.URL, "--types", "device.signed_in")
		nodes := []*running{b.serve()}
		if !strings.HasPrefix(url, "sqlite:") { // which belongs to one process
			nodes = append(nodes, b.serve())
		}
		teller := -1
		eventually(t, "one of the nodes tells", func() bool {
			teller = slices.IndexFunc(nodes, func(r *running) bool { return r.says("curfew_receivers 1") })
			return teller >= 0
		})
		const calm = 4
		for i := range calm {
			nodes[i%len(nodes)].signIn()
		}
		eventually(t, "all are told", func() bool { return len(h.different()) == calm })
		if all := h.all(); len(all) != calm {
			t.Errorf("told twice while nothing happens: %v", all)
		}

		// The receiver has answered, and the position cannot be written.
		hold := make(chan struct{})
		h.mu.Lock()
		h.hold = hold
		h.mu.Unlock()
		nodes[teller].signIn()
		<-h.holds
		nodes[0].signIn() // and there is one to be told after it
		lock := lockReceivers(t, url)
		close(hold)
		answered := fmt.Sprintf(`curfew_notices_total{kind="webhook"} %d`, calm)
		eventually(t, "the node has the answer", func() bool { return !nodes[teller].says(answered) })
		lock.kill(nodes[teller])
		killed := time.Now()
		next := nodes[len(nodes)-1-teller]
		if len(nodes) == 1 {
			next = b.serve()
		}
		next.signIn()
		eventually(t, "the next node tells of everything", func() bool { return len(h.different()) == calm+3 })
		t.Logf("the other one began within %s", time.Since(killed).Round(time.Millisecond))

		all, first := h.all(), h.different()
		for i, id := range first {
			n := 0
			for _, other := range all {
				if other == id {
					n++
				}
			}
			switch {
			case n > 2, i != calm && i != calm+1 && n != 1:
				t.Errorf("message %d of %d was told %d times", i, len(first), n)
			case i == calm && n != 2:
				t.Errorf("what was answered when the node was killed was told %d times", n)
			}
		}
		again := slices.Index(all[calm+1:], first[calm]) + calm + 1
		if !slices.Equal(all[again:], first[calm:]) || !slices.Equal(all[:again], first[:again]) {
			t.Errorf("out of order: %v", all)
		}
		if !slices.IsSortedFunc(first, func(a, b string) int { return strings.Compare(a, b) }) {
			t.Errorf("not in the order of the events: %v", first)
		}
	})
}
