package main

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

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
	b.report.add("password grant", "≥ 0.95 of bare argon2id", m.ratio >= .95, m.ratio,
		"%.2f: %.1f/s of %.1f/s, %d at a time", m.ratio, m.grant, m.bare, hashes)

	rate, err := b.rateOfAFifth(ctx, w)
	if err != nil {
		return err
	}
	if err := b.besideSignIns(ctx, w, signIns.workers, "refresh at a fifth", rate); err != nil {
		return err
	}
	return b.besideSignIns(ctx, w, signIns.workers, "refresh without a pause", 0)
}

// besideSignIns: refreshes alone, beside a loop that does nothing at the lowest priority, and beside as many sign-ins
// as wait and run. The loop is the limit: so much a CPU that is never idle costs by itself. A rate of 0 is without a
// pause.
func (b *bench) besideSignIns(ctx context.Context, w *world, signers []worker, what string, rate float64) error {
	measure := func(beside string) (figures, error) {
		f, err := b.rig.measure(ctx, what+", "+beside, load{
			duration: b.opt.Duration,
			workers:  w.refreshers(b.opt.Concurrency, w.devices), rate: rate,
		}, w.node)
		return b.keep(f), err
	}
	type round struct{ idle, loop, signIns, perSecond, signedIn float64 }
	var all []round
	for range b.opt.Repeat {
		idle, err := measure("before sign-ins")
		if err != nil {
			return err
		}
		idling, err := b.rig.startSelf("loop")
		if err != nil {
			return err
		}
		loop, err := measure("beside a loop")
		idling.Stop()
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
			l := load{addrs: []string{w.node.Public}, duration: time.Hour, workers: counted}
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
	b.report.add(what+", p99 beside a loop of the lowest priority", "", true, m.loop/m.idle,
		"%.1f ms, alone %.1f ms: %.1f times", m.loop, m.idle, m.loop/m.idle)
	slices.SortFunc(all, func(a, b round) int { return cmp.Compare(a.signIns/a.idle, b.signIns/b.idle) })
	m = all[len(all)/2]
	b.report.add(what+", p99 beside sign-ins", "≤ 2 times", m.signIns <= 2*m.idle, m.signIns/m.idle,
		"%.1f ms, alone %.1f ms: %.1f times, at %.0f/s beside %.1f sign-ins a second", m.signIns, m.idle, m.signIns/m.idle,
		m.perSecond, m.signedIn)
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
