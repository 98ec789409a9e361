package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
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
	calm := o.measure(ctx, each)
	fmt.Printf("unloaded:           %s; server uses %d MB\n", calm, memory(false))

	capacity := o.capacity(ctx)
	fmt.Printf("hashing does %.0f sign-ins a second; 10 times as many follow for %s\n", capacity, length)
	for _, flood := range []struct {
		name     string
		username func(i int) string
	}{
		{"of many accounts", func(i int) string { return "nobody-" + strconv.Itoa(i) }},
		{"of one account", func(int) string { return "storm-0" }},
	} {
		codes, m := o.flood(ctx, 10*capacity, length, flood.username)
		fmt.Printf("%-19s %s (p99 × %.1f); sign-ins %s; server used at most %d MB\n", flood.name+":", m, ratio(m, calm),
			codes, memory(true))
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
		fmt.Printf("%-19s %s (p99 × %.1f); %s; server uses %d MB\n", attack.name+":", m, ratio(m, calm), said, memory(false))
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
	wrong []string
}

// latencies are those of refreshes and introspections.
type latencies struct{ p50, p99, max time.Duration }

func (l latencies) String() string {
	return fmt.Sprintf("refresh and introspect p50 %s, p99 %s, max %s", l.p50.Round(10*time.Microsecond),
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
				mu.Lock()
				if !ok || !active {
					o.wrong = append(o.wrong, fmt.Sprintf("a refresh (%v, %s) or an introspection (%s) failed under load", ok, o.last,
						a))
				}
				all = append(all, between.Sub(start), end.Sub(between))
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if len(all) == 0 {
		return latencies{}
	}
	return latencies{all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
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

// flood asks for sign-ins at a rate, whatever is answered, and measures the others meanwhile.
func (o *overload) flood(ctx context.Context, rate float64, length time.Duration,
	username func(i int) string,
) (codes string, m latencies) {
	// The devices of the measurement were signed in again by capacity's sign-ins: theirs is the first one.
	if got, a := o.rig.signIn(ctx, o.node, o.devices[0].address, stormClient, "storm-0", stormPassword,
		o.devices[0].device); a.status == http.StatusOK {
		o.devices[0].pair = got
	}
	var mu sync.Mutex
	count := map[string]int{}
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
				_, a := o.rig.signIn(context.WithoutCancel(ctx), o.node, fmt.Sprintf("10.5.%d.%d", i>>8&255, i&255), stormClient,
					username(i), "a wrong password "+strconv.Itoa(i), "")
				what := strconv.Itoa(a.status)
				if a.err != nil {
					what = "no answer"
				}
				mu.Lock()
				defer mu.Unlock()
				if (a.status == 429 || a.status == 503) && a.header.Get("Retry-After") == "" {
					o.wrong = append(o.wrong, fmt.Sprintf("%d without Retry-After", a.status))
				}
				if a.err == nil && a.status != 400 && a.status != 429 && a.status != 503 {
					o.wrong = append(o.wrong, "a flooded sign-in: "+a.String())
				}
				count[what]++
			})
		}
	})
	time.Sleep(500 * time.Millisecond)
	m = o.measure(whole, length-500*time.Millisecond)
	wg.Wait()
	var parts []string
	for code, n := range count {
		parts = append(parts, fmt.Sprintf("%d × %s", n, code))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", "), m
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

type timingCommand struct {
	Samples int `default:"300" help:"Requests of each kind."`
}

// Run compares how long right and wrong guesses take. It reports, and asserts nothing: that is for a quiet machine and
// a person.
func (c *timingCommand) Run(ctx context.Context) error {
	r, err := newRig(ctx, rigConfig{Database: "postgres", Nodes: 1, Env: map[string]string{
		"HASH_MEMORY": "", "HASH_TIME": "", "LIMIT_PER_CLIENT": "1000000",
	}})
	if err != nil {
		return err
	}
	defer r.Close()
	n := r.nodes[0]
	if _, err := r.createUser(ctx, n, "anna", stormPassword); err != nil {
		return err
	}
	password := func(username string) func(i int) answer {
		return func(i int) answer {
			_, a := r.signIn(ctx, n, fmt.Sprintf("10.4.%d.%d", i>>8, i&255), r.stranger, username, "not the password", "")
			return a
		}
	}
	secret := func(id, secret string) func(i int) answer {
		return func(i int) answer {
			_, a := r.token(ctx, n, fmt.Sprintf("10.3.%d.%d", i>>8, i&255), basic(credentials{id, secret}),
				form("grant_type", "password"))
			return a
		}
	}
	for _, pair := range []struct {
		what string
		a, b func(i int) answer
	}{
		{"wrong password: known user, unknown user", password("anna"), password("bert")},
		{
			"client secret: wrong in its last character, in all", secret(r.api.ID, r.api.Secret[:len(r.api.Secret)-1]+"-"),
			secret(r.api.ID, strings.Repeat("x", len(r.api.Secret))),
		},
		{
			"client: known with a wrong secret, unknown", secret(r.api.ID, strings.Repeat("x", len(r.api.Secret))),
			secret("apj", strings.Repeat("x", len(r.api.Secret))),
		},
	} {
		var a, b []time.Duration
		for i := range c.Samples {
			first := rand.IntN(2) // in either order: collections of garbage come in step with requests
			for _, j := range []int{first, 1 - first} {
				ask := []func(int) answer{pair.a, pair.b}[j]
				start := time.Now()
				got := ask(i)
				took := time.Since(start)
				if got.err != nil || got.status >= 500 {
					return got.failure(pair.what)
				}
				if j == 0 {
					a = append(a, took)
				} else {
					b = append(b, took)
				}
			}
		}
		u, p := mannWhitney(a, b)
		fmt.Printf("%s: medians %s and %s, difference %s; probability that one of the first kind is slower: %.3f; p = %.3g\n",
			pair.what,
			median(a).Round(time.Microsecond), median(b).Round(time.Microsecond),
			(median(a) - median(b)).Round(time.Microsecond), u, p)
	}
	return nil
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

// mannWhitney gives the share of pairs in which a is greater than b (0.5 if nothing tells them apart), and the
// two-sided p-value of the rank test with the normal approximation.
func mannWhitney(a, b []time.Duration) (share, p float64) {
	type sample struct {
		d     time.Duration
		fromA bool
	}
	var all []sample
	for _, d := range a {
		all = append(all, sample{d, true})
	}
	for _, d := range b {
		all = append(all, sample{d, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return int(x.d - y.d) })
	ranks := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].d == all[i].d {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].fromA {
				ranks += float64(i+j+1) / 2 // ties share the mean rank
			}
		}
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	u := ranks - n*(n+1)/2
	z := (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return u / (n * m), math.Erfc(math.Abs(z) / math.Sqrt2)
}
