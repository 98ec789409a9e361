package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"curfew/internal/proc"
)

// bareLoad is what one HTTP request costs: the same request on the same load generator, answered at once.
func (b *bench) bareLoad(ctx context.Context, name string, request []byte) (figures, error) {
	l := load{
		duration: b.opt.Duration / 2, addrs: []string{b.rig.bare.Public},
		workers: same(b.opt.Concurrency, func(int) worker {
			return &fixed{requests: [][]byte{request}, status: 200}
		}),
	}
	return b.rig.measureAt(ctx, name, l, b.rig.bare)
}

// trial is one repetition: what the server does, and what the limit is at that moment.
type trial struct {
	figures
	bare, pg, ratio float64
	limitCPU        float64 // microseconds of CPU that the limit takes, with its clients
}

// trials measures the limit before and after each load, so that both see the same machine, and keeps the one with the
// median ratio.
func (b *bench) trials(ctx context.Context, w *world, request []byte, pgbench func() (float64, error),
	server func() (figures, error),
) (trial, error) {
	var all []trial
	for range b.opt.Repeat {
		stolen := proc.Stolen()
		begin := time.Now()
		var t trial
		measureLimit := func() error {
			bare, err := b.bareLoad(ctx, "bare Gin route", request)
			if err != nil {
				return err
			}
			b.keep(bare)
			pg, err := pgbench()
			t.bare += bare.PerSecond / 2
			t.pg += pg / 2
			t.limitCPU += (bare.ServerCPU + bare.LoadCPU + w.pgCPU) / 2
			return err
		}
		if err := measureLimit(); err != nil {
			return t, err
		}
		var err error
		if t.figures, err = server(); err != nil {
			return t, err
		}
		if err := measureLimit(); err != nil {
			return t, err
		}
		t.ratio = t.PerSecond / limit(t.bare, t.pg)
		t.Stolen = stolenPercent(stolen, begin) // of all that went into the ratio
		progress("  bare %.0f/s, pgbench %.0f/s, L %.0f/s, ratio %.2f; the host took %.1f %% of the CPUs", t.bare, t.pg,
			limit(t.bare, t.pg), t.ratio, t.Stolen)
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b trial) int { return int(1e6 * (a.ratio - b.ratio)) })
	median := all[len(all)/2]
	b.keep(median.figures)
	return median, nil
}

func (t trial) String() string {
	return fmt.Sprintf("%.2f of L = %.0f/s: %.0f/s (bare route %.0f/s, pgbench %.0f/s); the host took %.0f %% of the CPUs",
		t.ratio, limit(t.bare, t.pg), t.PerSecond, t.bare, t.pg, t.Stolen)
}

// addCPU says the same by CPU time, which does not change when others use the machine too.
func (t trial) addCPU(b *bench, what string) {
	all := t.ServerCPU + t.DBCPU + t.LoadCPU
	b.report.add(what, "", true, t.limitCPU/all,
		"%.2f of what the limit takes: %.0f µs a request (server %.0f, database %.0f, client %.0f), the limit %.0f µs",
		t.limitCPU/all, all, t.ServerCPU, t.DBCPU, t.LoadCPU, t.limitCPU)
}

const tableStatistics = `SELECT n_tup_ins::float8, n_tup_upd::float8, n_tup_hot_upd::float8,
	(SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())::float8
	FROM pg_stat_user_tables WHERE relname = 'devices'`

// statistics are the counters of the devices' table and the commits of its database. The node is started anew: what a
// connection did is counted when it ends.
func (w *world) statistics(ctx context.Context) (v [4]float64, err error) {
	if err := w.restart(ctx); err != nil {
		return v, err
	}
	time.Sleep(100 * time.Millisecond)
	if _, err := w.db.Exec(ctx, "SELECT pg_stat_clear_snapshot()"); err != nil {
		return v, err
	}
	return v, w.db.QueryRow(ctx, tableStatistics).Scan(&v[0], &v[1], &v[2], &v[3])
}

// counted runs one refresh load between two readings of the counters.
func (b *bench) counted(ctx context.Context, w *world) (f figures, d [4]float64, err error) {
	before, err := w.statistics(ctx)
	if err != nil {
		return f, d, err
	}
	if err := w.load(ctx); err != nil {
		return f, d, err
	}
	f, err = b.rig.measure(ctx, "refresh, counted", load{
		duration: b.opt.Duration,
		workers:  w.refreshers(b.opt.Concurrency, w.devices),
	}, w.node)
	if err != nil {
		return f, d, err
	}
	after, err := w.statistics(ctx)
	for i := range after {
		d[i] = after[i] - before[i]
	}
	return f, d, err
}

func (b *bench) refresh(ctx context.Context) error {
	w, err := b.mainWorld(ctx)
	if err != nil {
		return err
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	warm := load{duration: b.opt.Duration / 4, workers: w.refreshers(b.opt.Concurrency, w.devices)}
	if _, err := b.rig.measure(ctx, "warming up", warm, w.node); err != nil {
		return err
	}
	sample := w.refreshers(1, w.devices)[0].next(nil)
	failed, lost := 0, 0
	t, err := b.trials(ctx, w, sample,
		func() (float64, error) {
			return w.pgbench(ctx, limitUpdate, w.devices, b.opt.Concurrency, b.opt.Duration/2)
		},
		func() (figures, error) {
			if err := w.load(ctx); err != nil {
				return figures{}, err
			}
			f, err := b.rig.measure(ctx, "refresh", load{
				duration: b.opt.Duration,
				workers:  w.refreshers(b.opt.Concurrency, w.devices),
			}, w.node)
			if err != nil {
				return f, err
			}
			failed += f.Failed
			n, err := w.lost(ctx)
			lost += n
			return f, err
		})
	if err != nil {
		return err
	}
	c, d, err := b.counted(ctx, w)
	if err != nil {
		return err
	}
	inserted, hot, statements := d[0], d[2]/max(1, d[1]), d[3]/float64(max(1, c.Requests))
	b.report.add("refresh grant", "≥ 0.6 of L", t.ratio >= .6 && t.Failed == 0, t.ratio, "%s", t)
	t.addCPU(b, "refresh grant, CPU")
	b.report.add("refresh: statements each, rows inserted", "≤ 1, 0", statements < 1.05 && inserted == 0, statements,
		"%.3f commits a refresh, background work included; %.0f rows inserted", statements, inserted)
	b.report.add("refresh: HOT share", "> 95 %", hot > .95, hot, "%.1f %%", 100*hot)
	b.report.add("refresh: failed, lost", "0, 0", failed+lost == 0, float64(failed+lost),
		"%d failed; %d devices whose row is not what the client has", failed, lost)
	b.report.add("memory of the serving node, refresh", "< 100 MB", t.RSS < 100, t.RSS, "%.0f MB at most", t.RSS)
	return nil
}

// accessTokens refreshes the first devices of a world once each and returns their access tokens.
func (w *world) accessTokens(ctx context.Context, devices int) ([]string, error) {
	if err := w.load(ctx); err != nil {
		return nil, err
	}
	const parallel = 16
	workers := w.refreshers(parallel, devices)
	errs := make(chan error, parallel)
	for _, x := range workers {
		r := x.(*refresher)
		r.inOrder, r.keep = true, map[int]string{}
		go func() {
			c, err := dial(w.node.Public)
			if err != nil {
				errs <- err
				return
			}
			defer c.net.Close()
			for range r.count {
				status, body, err := c.do(r.next(nil))
				if err == nil {
					err = r.answer(status, body)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range parallel {
		if err := <-errs; err != nil {
			return nil, err
		}
	}
	tokens := make([]string, devices)
	for _, x := range workers {
		for n, token := range x.(*refresher).keep {
			tokens[n] = token
		}
	}
	return tokens, nil
}

// asked is how many devices introspection and the settings are asked about.
func (b *bench) asked(w *world) int {
	return min(w.devices, max(1000, int(3000*b.opt.Duration.Seconds())))
}

func introspections(n int, tokens []string) []worker {
	requests := make([][]byte, len(tokens))
	for i, t := range tokens {
		requests[i] = introspectRequest(t)
	}
	return same(n, func(int) worker {
		return &fixed{requests: requests, status: 200, check: func(body []byte) bool {
			return len(body) > 14 &&
				string(body[:14]) == `{"active":true`
		}}
	})
}

func (b *bench) introspect(ctx context.Context) error {
	w, err := b.mainWorld(ctx)
	if err != nil {
		return err
	}
	// What refreshes and pgbench have left is cleared now, or autovacuum would do it meanwhile.
	if _, err := w.db.Exec(ctx, "VACUUM devices"); err != nil {
		return err
	}
	tokens, err := w.accessTokens(ctx, b.asked(w))
	if err != nil {
		return err
	}
	workers := introspections(b.opt.Concurrency, tokens)
	// Long enough to ask about every token: the signature of one that is new to the node costs 60 µs more.
	if _, err := b.rig.measure(ctx, "warming up", load{duration: b.opt.Duration / 2, workers: workers},
		w.node); err != nil {
		return err
	}
	t, err := b.trials(ctx, w, introspectRequest(tokens[0]),
		func() (float64, error) {
			return w.pgbench(ctx, limitSelect, len(tokens), b.opt.Concurrency, b.opt.Duration/2)
		},
		func() (figures, error) {
			return b.rig.measure(ctx, "introspection, strict", load{duration: b.opt.Duration, workers: workers}, w.node)
		})
	if err != nil {
		return err
	}
	b.report.add("introspection, strict", "≥ 0.5 of L", t.ratio >= .5 && t.Failed == 0, t.ratio, "%s", t)
	t.addCPU(b, "introspection, CPU")
	b.report.add("memory of the serving node, introspection", "< 100 MB", t.RSS < 100, t.RSS, "%.0f MB at most", t.RSS)
	return nil
}
