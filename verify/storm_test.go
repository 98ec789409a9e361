package verify_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
	"curfew/server"
	"curfew/verify"
)

// cutter is a TCP proxy in front of several nodes. It sends each new connection to the next one, and cuts those that
// are open when it is told to.
type cutter struct {
	t     *testing.T
	l     net.Listener
	to    []string
	count atomic.Int64
	done  sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

func newCutter(t *testing.T, addr string, to ...string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{t: t, l: l, to: to, open: map[net.Conn]bool{}}
	c.done.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			c.done.Go(func() { c.carry(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.cut()
		c.done.Wait()
	})
	return c
}

func (c *cutter) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", c.to[int(c.count.Add(1))%len(c.to)])
	if err != nil {
		return
	}
	defer out.Close()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.open[in], c.open[out] = true, true
	c.mu.Unlock()
	ended := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	c.done.Go(func() { pipe(in, out) })
	c.done.Go(func() { pipe(out, in) })
	<-ended
	c.mu.Lock()
	delete(c.open, in)
	delete(c.open, out)
	c.mu.Unlock()
}

// cut ends what is open now, in the middle of whatever it carries.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		conn.Close()
	}
}

// cutAgain cuts every now and then, until ctx ends.
func (c *cutter) cutAgain(ctx context.Context) (times int64) {
	for {
		select {
		case <-ctx.Done():
			return times
		case <-time.After(5*time.Millisecond + rand.N(100*time.Millisecond)):
			c.cut()
			times++
		}
	}
}

// node starts one more server on the issuer's database, under an address of its own.
func (i *issuer) node() (*models.Store, string) {
	t := i.t
	store, err := models.Open(t.Context(), i.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	srv, err := server.New(server.Config{
		Store: store, Metrics: web.NewMetrics(store), Logger: slog.New(slog.DiscardHandler), Issuer: i.url(),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &http.Server{Handler: srv.Handler(), ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = listener.Serve(l) }()
	t.Cleanup(func() { srv.Close(); listener.Close(); <-ended })
	return store, l.Addr().String()
}

// signedIn signs in that many times, at one node.
func (i *issuer) signedIn(node *models.Store, times int) (list []*models.Grant) {
	i.t.Helper()
	for range times {
		g, err := node.SignIn(i.t.Context(), models.SignIn{User: i.user, Client: i.client, Scope: "orders", Name: "phone"})
		if err != nil {
			i.t.Fatal(err)
		}
		list = append(list, g)
	}
	return list
}

// revokeDevice signs a device out, again and again until there is an answer: one that is out already is no error.
func revokeDevice(ctx context.Context, node *models.Store, device uuid.UUID) (seq int64, retries int64, err error) {
	target := models.OneDevice(device)
	for {
		out, err := node.Revoke(ctx, target, models.ReasonRevoked, models.Actor{Entity: models.EntityAdmin})
		if err == nil {
			return out.Revocation.Seq, retries, nil
		}
		if !errors.Is(err, models.ErrUnavailable) {
			return 0, retries, err
		}
		retries++
		time.Sleep(100 * time.Millisecond)
	}
}

// reconnected waits until the verifier has opened the feed that many times.
func reconnected(t *testing.T, v *verify.Verifier, times int64) {
	for end := time.Now().Add(time.Minute); v.Stats().Connects < times; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("the feed was opened %d times in a minute, want %d", v.Stats().Connects, times)
			return
		}
	}
}

// Two nodes on one PostgreSQL, both revoking as fast as they can; the verifier reaches them through a proxy that cuts
// its connections again and again and sends each new one to the other node. Nothing is missed, and nobody else is
// ended.
func TestVerify_StormOnTwoNodes(t *testing.T) {
	i := prepare(t, testdb.Postgres(t), func(c *models.Config) { c.MaxDevicesPerUser = 1000 })
	nodes := [2]*models.Store{}
	addrs := [2]string{}
	for n := range nodes {
		nodes[n], addrs[n] = i.node()
	}
	proxy := newCutter(t, i.addr, addrs[:]...)
	v := i.verifier()
	synced(t, v, 0)

	// The sessions of the storm, and one that nothing touches.
	const perNode = 200
	sessions := [2][]*models.Grant{i.signedIn(nodes[0], perNode), i.signedIn(nodes[1], perNode)}
	kept := i.signedIn(nodes[0], 1)[0]
	for _, g := range append(append([]*models.Grant{kept}, sessions[0]...), sessions[1]...) {
		if _, err := v.Verify(t.Context(), g.AccessToken); err != nil {
			t.Fatal(err)
		}
	}

	var storm sync.WaitGroup
	var last, cuts, retries atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	cutting.Go(func() { cuts.Store(proxy.cutAgain(ctx)) })
	for n := range nodes {
		storm.Go(func() {
			for done, g := range sessions[n] {
				if done == perNode/2 {
					reconnected(t, v, 3) // so that cuts fall between sign-outs, on a slow machine too
				}
				seq, again, err := revokeDevice(ctx, nodes[n], g.DeviceID)
				if err != nil {
					t.Error(err)
					return
				}
				retries.Add(again)
				for at := last.Load(); at < seq && !last.CompareAndSwap(at, seq); at = last.Load() {
				}
				time.Sleep(rand.N(10 * time.Millisecond))
			}
		})
	}
	storm.Wait()
	stop()
	cutting.Wait()
	synced(t, v, last.Load())
	for n := range sessions {
		for _, g := range sessions[n] {
			if _, err := v.Verify(t.Context(), g.AccessToken); !errors.Is(err, verify.ErrRevoked) {
				t.Fatalf("missed: %v", err)
			}
		}
	}
	if _, err := v.Verify(t.Context(), kept.AccessToken); err != nil {
		t.Fatalf("nobody signed it out: %v", err)
	}
	if s := v.Stats(); s.Entries != 2*perNode || s.Connects < 3 {
		t.Fatalf("%d entries for %d sign-outs, %d connections, %d cuts", s.Entries, 2*perNode, s.Connects, cuts.Load())
	} else {
		t.Logf("%d sign-outs, %d tried again, %d cuts, %d connections, %d events with doubles", 2*perNode,
			retries.Load(), cuts.Load(), s.Connects, s.Events)
	}
	waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r, err := nodes[0].WaitApplied(waiting, last.Load()); err != nil || r.Acknowledged() != 1 {
		t.Fatalf("the receipt of the last: %+v, %v", r, err)
	}
}
