package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"curfew/internal/harness"
	"curfew/internal/proc"
	"curfew/internal/visit"

	"github.com/google/uuid"
)

type overloadCommand struct {
	Long   bool   `help:"Thirty seconds instead of five."`
	Idle   int    `default:"10000" help:"Idle connections, as far as the limit on open files allows."`
	Binary string `help:"A built cmd/curfew instead of this tree's." type:"existingfile"`
	brief  bool   // for the short form: enough to see wrong answers, too little to measure
}

// Run loads one node with ten times more sign-ins than it can hash, then with clients that are slow on purpose, and
// measures what the others get. It fails for a wrong answer, not for a slow machine: the harness shares the CPUs with
// the server.
func (c *overloadCommand) Run(ctx context.Context) error {
	length, each := 5*time.Second, 3*time.Second
	switch {
	case c.Long:
		length = 30 * time.Second
	case c.brief:
		length, each = 2*time.Second, time.Second
	}
	r, err := newRig(ctx, rigConfig{Binary: c.Binary, Database: "postgres", Nodes: 1, Env: map[string]string{
		"HASH_MEMORY": "", "HASH_TIME": "", "HASH_CONCURRENCY": "", "HASH_QUEUE": "", // the product's own
	}})
	if err != nil {
		return err
	}
	defer r.Close()
	st, err := newStorm(ctx, r, 4, 0)
	if err != nil {
		return err
	}
	o := &overload{storm: st, node: r.nodes[0]}
	memory := func(peak bool) int { return int(proc.MemoryOfTree(o.node.PID(), peak)) }
	if err := o.open(ctx); err != nil {
		return err
	}
	calm := o.measure(ctx, each)
	fmt.Printf("unloaded:           refresh and introspect %s; server uses %d MB\n", calm, memory(false))

	capacity := o.capacity(ctx)
	fmt.Printf("hashing does %.0f sign-ins a second; 10 times as many follow for %s\n", capacity, length)
	for _, flood := range []struct {
		name     string
		username func(i int) string
	}{
		{"of many accounts", func(i int) string { return "nobody-" + strconv.Itoa(i) }},
		{"of one account", func(int) string { return "storm-0" }},
	} {
		codes, m, pages := o.flood(ctx, 10*capacity, length, flood.username)
		fmt.Printf("%-19s refresh and introspect %s (p99 × %.1f); pages %s; sign-ins %s; server used at most %d MB\n",
			flood.name+":", m, ratio(m, calm), pages, codes, memory(true))
		sleep(ctx, each*2/3)
	}

	for _, attack := range []struct {
		name string
		run  func(ctx context.Context) (string, func())
	}{
		{"slow headers", func(ctx context.Context) (string, func()) { return o.slowHeaders(ctx, 500) }},
		{"endless bodies", func(ctx context.Context) (string, func()) { return o.endlessBodies(ctx, 20) }},
		{"idle connections", func(ctx context.Context) (string, func()) { return o.idle(c.Idle) }},
	} {
		said, stop := attack.run(ctx)
		m := o.measure(ctx, each)
		fmt.Printf("%-19s refresh and introspect %s (p99 × %.1f); %s; server uses %d MB\n", attack.name+":", m,
			ratio(m, calm), said, memory(false))
		stop()
	}
	problems := append(o.wrong, st.verdict(ctx, nil)...)
	if most, bound := memory(true), maxMemory(); most == 0 || most > bound {
		problems = append(problems, fmt.Sprintf("the server used %d MB; %d are allowed", most, bound))
	}
	for _, p := range problems[:min(len(problems), 10)] {
		fmt.Printf("  BROKEN: %s\n", p)
	}
	if len(problems) > 0 {
		return errors.New("overload brought wrong answers")
	}
	return nil
}

// maxMemory bounds what the server may use, in MB: twice what it was seen to, and more for each CPU, since each hashes.
func maxMemory() int { return 256 + 32*runtime.NumCPU() }

type overload struct {
	*storm
	node  *harness.Node
	pages []page // that people look at

	wrongs sync.Mutex
	wrong  []string
}

func (o *overload) isWrong(format string, args ...any) {
	o.wrongs.Lock()
	defer o.wrongs.Unlock()
	o.wrong = append(o.wrong, fmt.Sprintf(format, args...))
}

// latencies are those of refreshes and introspections, or of pages.
type latencies struct{ p50, p99, max time.Duration }

func latenciesOf(all []time.Duration) latencies {
	slices.Sort(all)
	if len(all) == 0 {
		return latencies{}
	}
	return latencies{all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
}

func (l latencies) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s", l.p50.Round(10*time.Microsecond),
		l.p99.Round(10*time.Microsecond), l.max.Round(time.Millisecond))
}

func ratio(a, b latencies) float64 { return float64(a.p99) / float64(b.p99) }

// measure has four devices refresh and introspect, twenty times a second each.
func (o *overload) measure(ctx context.Context, length time.Duration) latencies {
	var mu sync.Mutex
	var all []time.Duration
	until := time.Now().Add(length)
	var wg sync.WaitGroup
	for _, d := range o.devices {
		wg.Go(func() {
			for time.Now().Before(until) && ctx.Err() == nil {
				start := time.Now()
				ok := o.refresh(d, o.node)
				between := time.Now()
				active, a := o.rig.introspect(ctx, o.node, d.pair.Access)
				end := time.Now()
				if !ok || !active {
					o.isWrong("a refresh (%v, %s) or an introspection (%s) failed under load", ok, o.last, a)
				}
				mu.Lock()
				all = append(all, between.Sub(start), end.Sub(between))
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return latenciesOf(all)
}

// capacity is how many sign-ins a second get through when no more are asked than can wait.
func (o *overload) capacity(ctx context.Context) float64 {
	var n atomic.Int64
	until := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for time.Now().Before(until) {
				if _, a := o.rig.signIn(ctx, o.node, fmt.Sprintf("10.6.0.%d", i), stormClient, "storm-0", stormPassword,
					o.devices[0].device); a.status == http.StatusOK {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return max(1, float64(n.Load())/2)
}

// flood asks for sign-ins at a rate, every other one on the page, whatever is answered, and measures the others
// meanwhile, and what those wait for their pages who are signed in there.
func (o *overload) flood(ctx context.Context, rate float64, length time.Duration,
	username func(i int) string,
) (codes string, m, pages latencies) {
	// The devices of the measurement were signed in again by capacity's sign-ins: theirs is the first one.
	if got, a := o.rig.signIn(ctx, o.node, o.devices[0].address, stormClient, "storm-0", stormPassword,
		o.devices[0].device); a.status == http.StatusOK {
		o.devices[0].pair = got
	}
	count := &tally{}
	whole := ctx // a request that is under way when the flood ends still gets its answer
	ctx, cancel := context.WithTimeout(ctx, length+500*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer tick.Stop()
		inside := make(chan struct{}, 3000)
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			inside <- struct{}{}
			wg.Go(func() {
				defer func() { <-inside }()
				a := o.guess(context.WithoutCancel(ctx), i, username(i))
				if (a.status == 429 || a.status == 503) && a.header.Get("Retry-After") == "" {
					o.isWrong("%d without Retry-After", a.status)
				}
				if a.err == nil && a.status != 400 && a.status != 429 && a.status != 503 {
					o.isWrong("a flooded sign-in: %s", a)
				}
				count.add(a)
			})
		}
	})
	time.Sleep(500 * time.Millisecond)
	wg.Go(func() { pages = o.browse(whole, length-500*time.Millisecond) })
	m = o.measure(whole, length-500*time.Millisecond)
	wg.Wait()
	return count.String(), m, pages
}

// guess is one of the flood's sign-ins, by password grant or on the page.
func (o *overload) guess(ctx context.Context, i int, username string) answer {
	address, password := fmt.Sprintf("10.5.%d.%d", i>>8&255, i&255), "a wrong password "+strconv.Itoa(i)
	if i%2 == 0 {
		_, a := o.rig.signIn(ctx, o.node, address, stormClient, username, password, "")
		return a
	}
	o.rig.note(password, "a password")
	return o.rig.do(ctx, http.MethodPost, "http://"+o.node.Public+"/sign-in",
		form("username", username, "password", password, "device_name", "flood").Encode(), map[string]string{
			"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": address, "User-Agent": "curfew-torture",
			"Cookie": markerCookie + "=" + uuid.NewString(), "Sec-Fetch-Site": "same-origin",
		})
}

// page is one that somebody looks at who is signed in.
type page struct{ url, cookie string }

// open signs somebody in to their own account, and an admin at the console.
func (o *overload) open(ctx context.Context) error {
	const boss = "boss"
	if err := o.rig.cli(ctx, stormPassword, nil, "user", "add", boss, "--admin", "--password-stdin"); err != nil {
		return err
	}
	for address, cookie := range map[string]string{
		"http://" + o.node.Public + "/account":                              sessionCookie,
		"http://" + o.node.Admin + "/console/devices?status=active&q=storm": "__Host-curfew-console",
	} {
		b := visit.New()
		if _, err := b.Enter(ctx, address, boss, stormPassword); err != nil {
			return err
		}
		o.rig.note(b.Cookie(cookie), "the cookie of a browser session")
		o.pages = append(o.pages, page{address, cookie + "=" + b.Cookie(cookie)})
	}
	return nil
}

// browse has two people look at each page, again and again.
func (o *overload) browse(ctx context.Context, length time.Duration) latencies {
	var mu sync.Mutex
	var all []time.Duration
	until := time.Now().Add(length)
	var wg sync.WaitGroup
	for i := range 2 * len(o.pages) {
		p := o.pages[i%len(o.pages)]
		wg.Go(func() {
			for time.Now().Before(until) && ctx.Err() == nil {
				start := time.Now()
				a := o.rig.do(ctx, http.MethodGet, p.url, "", map[string]string{"Cookie": p.cookie, "User-Agent": "curfew-torture"})
				took := time.Since(start)
				if a.err != nil || a.status != http.StatusOK {
					o.isWrong("a page under load: %s: %.200s", p.url, a.String())
				}
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return latenciesOf(all)
}

// slowHeaders is slowloris: connections that send a header a byte at a time.
func (o *overload) slowHeaders(ctx context.Context, n int) (string, func()) {
	var open atomic.Int64
	ctx, cancel := context.WithCancel(ctx)
	for range n {
		conn, err := net.Dial("tcp", o.node.Public)
		if err != nil {
			continue
		}
		open.Add(1)
		go func() {
			defer conn.Close()
			defer open.Add(-1)
			go func() {
				text := "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("a", 1000)
				for i := range text {
					if _, err := conn.Write([]byte{text[i]}); err != nil || ctx.Err() != nil {
						return
					}
					sleep(ctx, 100*time.Millisecond)
				}
			}()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
	began := open.Load()
	return fmt.Sprintf("%d connections", began), cancel
}

// endlessBodies sends as much as is taken.
func (o *overload) endlessBodies(ctx context.Context, n int) (string, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var sent, refusedWith atomic.Int64
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+o.node.Public+"/oauth2/token", endless{&sent})
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if res, err := o.rig.http.Do(req); err == nil {
					refusedWith.Store(int64(res.StatusCode))
					res.Body.Close()
				}
				sleep(ctx, 200*time.Millisecond)
			}
		})
	}
	time.Sleep(400 * time.Millisecond)
	return fmt.Sprintf("%d at a time, answered %d", n, refusedWith.Load()), func() {
		cancel()
		wg.Wait()
	}
}

type endless struct{ sent *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	e.sent.Add(int64(len(p)))
	return len(p), nil
}

// idle opens connections that never ask anything.
func (o *overload) idle(n int) (string, func()) {
	var limit syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	n = min(n, int(limit.Cur)-1000)
	var conns []net.Conn
	for range n {
		conn, err := net.Dial("tcp", o.node.Public)
		if err != nil {
			break
		}
		conns = append(conns, conn)
	}
	return fmt.Sprintf("%d connections", len(conns)), func() {
		for _, c := range conns {
			c.Close()
		}
	}
}
