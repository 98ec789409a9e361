package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// timed sends requests one after the other and says how long each took.
func timed(addr string, n int, request func(i int) []byte, after func(body []byte) error) ([]time.Duration, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.net.Close()
	var all []time.Duration
	for i := range n {
		r := request(i)
		begin := time.Now()
		status, body, err := c.do(r)
		took := time.Since(begin)
		if err != nil {
			return nil, err
		}
		if status != 200 {
			return nil, unexpected(status, body)
		}
		if after != nil {
			if err := after(body); err != nil {
				return nil, err
			}
		}
		all = append(all, took)
	}
	return all, nil
}

// signOut: the time does not depend on how many devices are below.
func (b *bench) signOut(ctx context.Context) error {
	big, err := b.bigWorld(ctx)
	if err != nil {
		return err
	}
	small, err := b.smallWorld(ctx)
	if err != nil {
		return err
	}
	const times = 40
	levels := []struct {
		name string
		path func(i int) string
	}{
		{"one device", func(i int) string { return "/admin/devices/" + deviceID(i+1).String() }},
		{"one user", func(i int) string { return "/admin/users/" + userID(i+times+10).String() + "/devices" }},
		{"one client", func(int) string { return "/admin/clients/web/devices" }},
		{"everyone", func(int) string { return "/admin/devices?confirm=everyone" }},
	}
	for _, level := range levels {
		p50 := map[*world]float64{}
		for _, w := range []*world{small, big, small, big} { // twice, so that neither is favoured by its place
			token, err := adminToken(w.node)
			if err != nil {
				return err
			}
			all, err := timed(w.node.admin, times, func(i int) []byte { return remove(level.path(i), token) }, func([]byte) (err error) {
				if level.name == "everyone" { // the admin's own token too
					token, err = adminToken(w.node)
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", level.name, err)
			}
			median, _, _ := quantiles(all)
			if before, ok := p50[w]; !ok || median < before {
				p50[w] = median
			}
			if err := w.revive(ctx); err != nil {
				return err
			}
		}
		ratio := p50[big] / p50[small]
		b.report.add("signing out "+level.name, "the same time, ≤ 1.3", ratio <= 1.3, ratio,
			"%.2f ms of %d devices, %.2f ms of 1,000: %.2f times", p50[big], big.devices, p50[small], ratio)
		b.report.onlyUpTo(big.devices >= 10_000_000)
	}
	return nil
}

// growth: the hot paths cost the same with few devices and with many. At each size the same number of devices is asked about.
func (b *bench) growth(ctx context.Context) error {
	big, err := b.mainWorld(ctx)
	if err != nil {
		return err
	}
	ten, err := b.rig.newWorld(ctx, "ten_thousand", min(10000, b.opt.Devices/2))
	if err != nil {
		return err
	}
	defer ten.stop(ctx)
	worlds := []*world{ten, big}
	if b.opt.Long {
		huge, err := b.bigWorld(ctx)
		if err != nil {
			return err
		}
		worlds = append(worlds, huge)
	}
	const kinds = 3
	names := [kinds]string{"refresh", "introspection", "GET /settings/devices"}
	cost := map[*world]*[kinds][]figures{}
	for _, w := range worlds {
		cost[w] = &[kinds][]figures{}
	}
	for range b.opt.Repeat {
		for _, w := range worlds {
			tokens, err := w.accessTokens(ctx, min(b.asked(w), ten.devices))
			if err != nil {
				return err
			}
			settings := make([][]byte, len(tokens))
			for i, t := range tokens {
				settings[i] = get("/settings/devices", t)
			}
			workers := [kinds][]worker{
				w.refreshers(b.opt.Concurrency, w.devices),
				introspections(b.opt.Concurrency, tokens),
				same(b.opt.Concurrency, func(int) worker { return &fixed{requests: settings, status: 200} }),
			}
			for _, k := range []int{1, 2, 0} { // a refresh retires the access token of its device after a while
				f, err := b.rig.measure(ctx, fmt.Sprintf("%s, %d devices", names[k], w.devices), load{duration: b.opt.Duration / 2, workers: workers[k]}, w.node)
				if err != nil {
					return err
				}
				cost[w][k] = append(cost[w][k], f)
			}
		}
	}
	for k, name := range names {
		var said []string
		least, most := 0.0, 0.0
		cpuLeast, cpuMost := 0.0, 0.0
		for _, w := range worlds {
			all := cost[w][k]
			slices.SortFunc(all, func(a, b figures) int { return int(1000 * (a.PerSecond - b.PerSecond)) })
			f := b.keep(all[len(all)/2])
			each := 1e6 / f.PerSecond
			cpu := f.ServerCPU + f.DBCPU
			if least == 0 {
				least, most, cpuLeast, cpuMost = each, each, cpu, cpu
			}
			least, most, cpuLeast, cpuMost = min(least, each), max(most, each), min(cpuLeast, cpu), max(cpuMost, cpu)
			said = append(said, fmt.Sprintf("%.0f/s (%.0f µs CPU) with %d", f.PerSecond, cpu, w.devices))
		}
		b.report.add("growth, "+name, "within 1.3", most/least <= 1.3, most/least, "%s: %.2f times; CPU %.2f times", strings.Join(said, ", "), most/least, cpuMost/cpuLeast)
		b.report.onlyUpTo(b.opt.Long)
	}
	return nil
}

// lists: a page of the admin list, any filter, first and far.
func (b *bench) lists(ctx context.Context) error {
	w, err := b.bigWorld(ctx)
	if err != nil {
		return err
	}
	// Some of every kind: a tenth revoked, a tenth expired.
	for _, statement := range []string{
		"UPDATE devices SET valid_from = signed_in_at + 1 WHERE substr(id::text, 36) = '3'",
		"UPDATE devices SET expires_at = 1 WHERE substr(id::text, 36) = '7'", "VACUUM ANALYZE devices",
	} {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	token, err := adminToken(w.node)
	if err != nil {
		return err
	}
	filters := []string{
		"", "user_id=" + userID(17).String(), "username=user23", "client_id=web", "client_id=nobody", "status=active", "status=revoked", "status=expired",
		"ip=" + address(99), "ip=192.0.2.1", "q=iphone", "q=user1234", "q=nothing+has+this", "status=expired&q=firefox", "client_id=web&status=revoked",
		"status=revoked&q=nothing+has+this", "ip=" + address(99) + "&status=revoked", "client_id=web&q=pixel",
	}
	times := 300
	if b.opt.Short {
		times = 10
	}
	worst, at := 0.0, ""
	var everything []time.Duration
	for _, filter := range filters {
		cursor := ""
		page := func(int) []byte { return get("/admin/devices?"+strings.Trim(filter+cursor, "&"), token) }
		try := func(where string) error {
			all, err := timed(w.node.admin, times, page, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", filter, err)
			}
			everything = append(everything, all...)
			_, p99, _ := quantiles(all)
			progress("  %-50s %-5s p99 %.1f ms", filter, where, p99)
			if p99 > worst {
				worst, at = p99, filter+", "+where+" page"
			}
			return nil
		}
		if err := try("first"); err != nil {
			return err
		}
		// To the thousandth page, or the last: 50 devices a page, or some thousands that were looked at.
		last := min(1000, times*4)
		_, err := timed(w.node.admin, last, page, func(body []byte) error {
			if next := field(body, "next_cursor"); next != nil {
				cursor = "&cursor=" + url.QueryEscape(string(next))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", filter, err)
		}
		if err := try("far"); err != nil {
			return err
		}
	}
	_, p99, _ := quantiles(everything)
	b.report.add("a page of the admin list", "p99 ≤ 20 ms", worst <= 20, worst, "p99 of the slowest filter %.1f ms (%s), of all %.1f ms, %d devices", worst, at, p99, w.devices)
	b.report.onlyUpTo(w.devices >= 10_000_000)
	_, err = w.db.Exec(ctx, "UPDATE devices SET expires_at = (extract(epoch FROM now()) * 1e6)::bigint + 30 * 86400000000 WHERE expires_at = 1")
	if err != nil {
		return err
	}
	if err := w.revive(ctx); err != nil {
		return err
	}
	_, err = w.db.Exec(ctx, "VACUUM devices")
	return err
}

// fifth is the rate of refreshes against which others' work is held: a fifth of what the node can do.
func (b *bench) fifth(ctx context.Context, w *world) (rate float64, err error) {
	if err := w.load(ctx); err != nil {
		return 0, err
	}
	f, err := b.rig.measure(ctx, "refresh, to find a rate", load{duration: b.opt.Duration / 4, workers: w.refreshers(b.opt.Concurrency, w.devices)}, w.node)
	return max(50, f.PerSecond/5), err
}

// argonLoop computes argon2id as the server does by default, with nothing else, and says how many a second.
func argonLoop(concurrency int, d time.Duration) float64 {
	var wg sync.WaitGroup
	counts := make([]int, concurrency)
	begin := time.Now()
	for i := range concurrency {
		wg.Go(func() {
			for time.Since(begin) < d {
				argon2.IDKey([]byte(password), []byte("0123456789abcdef"), 2, 19456, 1, 32)
				counts[i]++
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(begin).Seconds()
}

// besideHash: what a bare hash loses to any other work on the same CPUs. The work is refreshes, about as much of it as sign-ins
// bring with them beside their hash.
func (b *bench) besideHash(ctx context.Context, w *world, hashes int) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	var ratios []float64
	for range b.opt.Repeat {
		alone := argonLoop(hashes, b.opt.Duration/2)
		done := make(chan float64, 1)
		go func() { done <- argonLoop(hashes, b.opt.Duration) }()
		f, err := b.rig.measure(ctx, "refresh beside a bare argon2id", load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices), rate: 125}, w.node)
		beside := <-done
		if err != nil {
			return err
		}
		b.keep(f)
		ratios = append(ratios, beside/((alone+argonLoop(hashes, b.opt.Duration/2))/2))
	}
	slices.Sort(ratios)
	b.report.add("bare argon2id beside 125 refreshes a second", "", true, ratios[len(ratios)/2], "%.2f of bare argon2id alone", ratios[len(ratios)/2])
	return nil
}

// password: sign-ins against the bare hash, and refreshes beside them.
func (b *bench) password(ctx context.Context) error {
	w, err := b.mainWorld(ctx)
	if err != nil {
		return err
	}
	type pair struct{ bare, grant, ratio float64 }
	var all []pair
	hashes := max(1, runtime.GOMAXPROCS(0)-1) // as the server's default
	signIns := load{duration: b.opt.Duration, workers: same(b.opt.Concurrency, func(int) worker { return signer{w} })}
	for range b.opt.Repeat {
		bare := argonLoop(hashes, b.opt.Duration/2) // before and after, because the machine is not the same for long
		f, err := b.rig.measure(ctx, "password grant", signIns, w.node)
		if err != nil {
			return err
		}
		bare = (bare + argonLoop(hashes, b.opt.Duration/2)) / 2
		b.keep(f)
		progress("  bare argon2id %.1f/s, ratio %.2f", bare, f.PerSecond/bare)
		good := f.PerSecond * float64(f.Requests-f.Failed) / float64(max(1, f.Requests))
		all = append(all, pair{bare, good, good / bare})
	}
	slices.SortFunc(all, func(a, b pair) int { return int(1e6 * (a.ratio - b.ratio)) })
	m := all[len(all)/2]
	if err := b.besideHash(ctx, w, hashes); err != nil {
		return err
	}
	b.report.add("password grant", "≥ 0.95 of bare argon2id", m.ratio >= .95, m.ratio, "%.2f: %.1f/s of %.1f/s, %d at a time", m.ratio, m.grant, m.bare, hashes)

	rate, err := b.fifth(ctx, w)
	if err != nil {
		return err
	}
	if err := b.besideSignIns(ctx, w, signIns.workers, "refresh at a fifth", rate); err != nil {
		return err
	}
	return b.besideSignIns(ctx, w, signIns.workers, "refresh without a pause", 0)
}

// besideSignIns: refreshes alone, beside a loop that does nothing at the lowest priority, and beside as many sign-ins as wait and
// run. The loop is the limit: so much a CPU that is never idle costs by itself. A rate of 0 is without a pause.
func (b *bench) besideSignIns(ctx context.Context, w *world, signers []worker, what string, rate float64) error {
	measure := func(beside string) (figures, error) {
		f, err := b.rig.measure(ctx, what+", "+beside, load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices), rate: rate}, w.node)
		return b.keep(f), err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	type round struct{ idle, loop, signIns, perSecond, signedIn float64 }
	var all []round
	for range b.opt.Repeat {
		idle, err := measure("before sign-ins")
		if err != nil {
			return err
		}
		idling, err := b.rig.spawn("loop", nil, self, "loop")
		if err != nil {
			return err
		}
		loop, err := measure("beside a loop")
		idling.stop()
		if err != nil {
			return err
		}
		stop, cancel := context.WithCancel(ctx)
		var signedIn atomic.Int64
		counted := make([]worker, len(signers))
		for i, s := range signers {
			counted[i] = counter{s, &signedIn}
		}
		var wg sync.WaitGroup
		wg.Go(func() { // without an end
			l := load{addrs: []string{w.node.public}, duration: time.Hour, workers: counted}
			_, _ = l.run(stop)
		})
		time.Sleep(300 * time.Millisecond)
		before, begin := signedIn.Load(), time.Now()
		signIns, err := measure("beside sign-ins")
		perSecond := float64(signedIn.Load()-before) / time.Since(begin).Seconds()
		cancel()
		wg.Wait()
		if err != nil {
			return err
		}
		all = append(all, round{idle.P99, loop.P99, signIns.P99, signIns.PerSecond, perSecond})
	}
	slices.SortFunc(all, func(a, b round) int { return cmp.Compare(a.loop/a.idle, b.loop/b.idle) })
	m := all[len(all)/2]
	b.report.add(what+", p99 beside a loop of the lowest priority", "", true, m.loop/m.idle, "%.1f ms, alone %.1f ms: %.1f times", m.loop, m.idle, m.loop/m.idle)
	slices.SortFunc(all, func(a, b round) int { return cmp.Compare(a.signIns/a.idle, b.signIns/b.idle) })
	m = all[len(all)/2]
	b.report.add(what+", p99 beside sign-ins", "≤ 2 times", m.signIns <= 2*m.idle, m.signIns/m.idle, "%.1f ms, alone %.1f ms: %.1f times, at %.0f/s beside %.1f sign-ins a second", m.signIns, m.idle, m.signIns/m.idle, m.perSecond, m.signedIn)
	return nil
}

// counter counts the answers of a worker that were right.
type counter struct {
	worker
	right *atomic.Int64
}

func (c counter) answer(status int, body []byte) error {
	err := c.worker.answer(status, body)
	if err == nil {
		c.right.Add(1)
	}
	return err
}

// nodes: two of them on one database.
func (b *bench) nodes(ctx context.Context) error {
	w, err := b.mainWorld(ctx)
	if err != nil {
		return err
	}
	second, err := b.rig.serve(ctx, w.url)
	if err != nil {
		return err
	}
	defer second.stop()
	failed, lost := 0, 0
	var ones, twos []figures
	for range b.opt.Repeat {
		for _, nodes := range [][]*process{{w.node}, {w.node, second}} {
			if err := w.load(ctx); err != nil {
				return err
			}
			f, err := b.rig.measure(ctx, fmt.Sprintf("refresh, nodes: %d", len(nodes)),
				load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices)}, nodes...)
			if err != nil {
				return err
			}
			failed += f.Failed
			n, err := w.lost(ctx)
			if err != nil {
				return err
			}
			lost += n
			if len(nodes) == 1 {
				ones = append(ones, f)
			} else {
				twos = append(twos, f)
			}
		}
	}
	middle := func(all []figures) figures {
		slices.SortFunc(all, func(a, b figures) int { return int(1000 * (a.PerSecond - b.PerSecond)) })
		return b.keep(all[len(all)/2])
	}
	one, two := middle(ones), middle(twos)
	b.report.add("two nodes on one PostgreSQL", "0 refused, 0 lost", failed+lost == 0, two.PerSecond/one.PerSecond,
		"%d refused, %d lost; %.0f/s with one, %.0f/s with two (%.2f times)", failed, lost, one.PerSecond, two.PerSecond, two.PerSecond/one.PerSecond)
	return nil
}

// cleanUp: many expired devices go while refreshes are under way.
func (b *bench) cleanUp(ctx context.Context) error {
	w, err := b.mainWorld(ctx)
	if err != nil {
		return err
	}
	expired := b.opt.Devices
	// Far behind the others, so that the world's own numbering stays.
	for _, statement := range []string{"SET synchronous_commit = off", deviceRows(1<<40, 1<<40+expired-1, w.users, "1"), "RESET synchronous_commit", "VACUUM ANALYZE devices", "CHECKPOINT"} {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	rate, err := b.fifth(ctx, w)
	if err != nil {
		return err
	}
	idle, err := b.rig.measure(ctx, "refresh at a fifth, before clean-up", load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices), rate: rate}, w.node)
	if err != nil {
		return err
	}
	b.keep(idle)
	done := make(chan error, 1)
	var took time.Duration
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := time.Now()
	go func() {
		err := w.rig.cli(ctx, w.url, "", "cleanup")
		took = time.Since(begin)
		done <- err
		cancel()
	}()
	// As long as the clean-up takes, in stretches, so that a bad one is seen.
	var worst figures
	var all []time.Duration
	finished := false
	for !finished {
		f, err := b.rig.measure(ctx, "refresh at a fifth, beside clean-up", load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices), rate: rate}, w.node)
		if err != nil {
			return err
		}
		all = append(all, f.times...)
		if f.P99 > worst.P99 {
			worst = f
		}
		finished = stop.Err() != nil
	}
	if err := <-done; err != nil {
		return err
	}
	b.keep(worst)
	left, err := w.number(ctx, "SELECT count(*) FROM devices WHERE expires_at = 1")
	if err != nil {
		return err
	}
	_, p99, _ := quantiles(all)
	b.report.add("clean-up of expired devices", "refresh p99 ≤ 3 times", p99 <= 3*idle.P99 && left == 0, p99/idle.P99,
		"%d gone in %s, %.0f left; refresh p99 %.1f ms, idle %.1f ms: %.1f times, at %.0f/s; in the worst %s %.1f ms",
		expired, took.Round(time.Second), left, p99, idle.P99, p99/idle.P99, rate, b.opt.Duration, worst.P99)
	b.report.onlyUpTo(expired >= 1_000_000)
	return nil
}

// storage: what a device takes, and that refreshing does not make it more.
func (b *bench) storage(ctx context.Context) error {
	w, err := b.rig.newWorld(ctx, "storage", b.opt.Devices)
	if err != nil {
		return err
	}
	defer w.stop(ctx)
	heap, err := w.number(ctx, "SELECT pg_table_size('devices')")
	if err != nil {
		return err
	}
	indexes, err := w.number(ctx, "SELECT pg_indexes_size('devices')")
	if err != nil {
		return err
	}
	each := (heap + indexes) / float64(w.devices)
	b.report.add("storage", "≤ 500 bytes a device", each <= 500, each, "%.0f bytes: table %.0f, indexes %.0f", each, heap/float64(w.devices), indexes/float64(w.devices))

	if err := w.load(ctx); err != nil {
		return err
	}
	if _, err := w.db.Exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	const position = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
	wal, err := w.number(ctx, position)
	if err != nil {
		return err
	}
	f, err := b.rig.measure(ctx, "refresh, at random after a checkpoint", load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices)}, w.node)
	if err != nil {
		return err
	}
	after, err := w.number(ctx, position)
	if err != nil {
		return err
	}
	b.report.add("WAL of a refresh, random devices", "", true, (after-wal)/float64(f.Requests),
		"%.0f bytes: %d refreshes of %d devices after a checkpoint, nearly each the first of its page", (after-wal)/float64(f.Requests), f.Requests, w.devices)

	few, err := b.rig.newWorld(ctx, "storm", 1000)
	if err != nil {
		return err
	}
	defer few.stop(ctx)
	if err := few.load(ctx); err != nil {
		return err
	}
	if wal, err = few.number(ctx, position); err != nil {
		return err
	}
	const size = "SELECT pg_total_relation_size('devices')"
	start, err := few.number(ctx, size)
	if err != nil {
		return err
	}
	// When every page has had its first updates the table is as large as it stays: that is after ten refreshes a device.
	settled, end, done := 0.0, 0.0, 0
	var most float64
	for done < b.opt.Storm {
		part := few.refreshers(b.opt.Concurrency, few.devices)
		left := b.opt.Storm - done
		d := b.opt.Duration
		if done == 0 {
			d = min(d, 3*time.Second)
		}
		f, err := b.rig.measure(ctx, fmt.Sprintf("refresh, 1,000 devices, %d to go", left), load{duration: d, workers: part}, few.node)
		if err != nil {
			return err
		}
		if f.Failed > 0 {
			return fmt.Errorf("%d refreshes failed: %s", f.Failed, f.Failure)
		}
		done += f.Requests
		if end, err = few.number(ctx, size); err != nil {
			return err
		}
		if settled == 0 {
			settled = end
		}
		most = max(most, end)
		progress("  %d refreshes of 1,000 devices: %.0f KiB", done, end/1024)
	}
	if after, err = few.number(ctx, position); err != nil {
		return err
	}
	vacuums, err := few.number(ctx, "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'devices'")
	if err != nil {
		return err
	}
	b.report.add("storage after many refreshes of 1,000 devices", "no growth", end <= 1.05*settled, end/settled,
		"%d refreshes: %.0f KiB when filled, %.0f KiB after the first seconds, %.0f KiB at the end, %.0f KiB at most; autovacuum ran %.0f times",
		done, start/1024, settled/1024, end/1024, most/1024, vacuums)
	b.report.onlyUpTo(done >= 1_000_000)
	b.report.add("WAL of a refresh, 1,000 devices", "", true, (after-wal)/float64(done), "%.0f bytes", (after-wal)/float64(done))
	return nil
}
