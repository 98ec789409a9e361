package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"curfew/internal/harness"

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
			all, err := timed(w.node.Admin, times, func(i int) []byte { return remove(level.path(i), token) },
				func([]byte) (err error) {
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

// rateOfAFifth is the rate of refreshes against which others' work is held: a fifth of what the node can do.
func (b *bench) rateOfAFifth(ctx context.Context, w *world) (rate float64, err error) {
	if err := w.load(ctx); err != nil {
		return 0, err
	}
	f, err := b.rig.measure(ctx, "refresh, to find a rate", load{
		duration: b.opt.Duration / 4,
		workers:  w.refreshers(b.opt.Concurrency, w.devices),
	}, w.node)
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

// besideHash: what a bare hash loses to any other work on the same CPUs. The work is refreshes, about as much of it as
// sign-ins bring with them beside their hash.
func (b *bench) besideHash(ctx context.Context, w *world, hashes int) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	var ratios []float64
	for range b.opt.Repeat {
		alone := argonLoop(hashes, b.opt.Duration/2)
		done := make(chan float64, 1)
		go func() { done <- argonLoop(hashes, b.opt.Duration) }()
		f, err := b.rig.measure(ctx, "refresh beside a bare argon2id",
			load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices), rate: 125}, w.node)
		beside := <-done
		if err != nil {
			return err
		}
		b.keep(f)
		ratios = append(ratios, beside/((alone+argonLoop(hashes, b.opt.Duration/2))/2))
	}
	slices.Sort(ratios)
	b.report.add("bare argon2id beside 125 refreshes a second", "", true, ratios[len(ratios)/2],
		"%.2f of bare argon2id alone", ratios[len(ratios)/2])
	return nil
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
	defer second.Stop()
	failed, lost := 0, 0
	var ones, twos []figures
	for range b.opt.Repeat {
		for _, nodes := range [][]*harness.Node{{w.node}, {w.node, second}} {
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
		"%d refused, %d lost; %.0f/s with one, %.0f/s with two (%.2f times)", failed, lost, one.PerSecond, two.PerSecond,
		two.PerSecond/one.PerSecond)
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
	for _, statement := range []string{
		"SET synchronous_commit = off", deviceRows(1<<40, 1<<40+expired-1, w.users, "1"),
		"RESET synchronous_commit", "VACUUM ANALYZE devices", "CHECKPOINT",
	} {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	rate, err := b.rateOfAFifth(ctx, w)
	if err != nil {
		return err
	}
	idle, err := b.rig.measure(ctx, "refresh at a fifth, before clean-up",
		load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices), rate: rate}, w.node)
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
		err := w.rig.product(w.url).Run(ctx, "", nil, "cleanup")
		took = time.Since(begin)
		done <- err
		cancel()
	}()
	// As long as the clean-up takes, in stretches, so that a bad one is seen.
	var worst figures
	var all []time.Duration
	finished := false
	for !finished {
		f, err := b.rig.measure(ctx, "refresh at a fifth, beside clean-up",
			load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices), rate: rate}, w.node)
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
