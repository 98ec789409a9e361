package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// growth: the hot paths cost the same with few devices and with many. At each size the same number of devices is asked
// about.
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
				f, err := b.rig.measure(ctx, fmt.Sprintf("%s, %d devices", names[k], w.devices),
					load{duration: b.opt.Duration / 2, workers: workers[k]}, w.node)
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
		b.report.add("growth, "+name, "within 1.3", most/least <= 1.3, most/least, "%s: %.2f times; CPU %.2f times",
			strings.Join(said, ", "), most/least, cpuMost/cpuLeast)
		b.report.onlyUpTo(b.opt.Long)
	}
	return nil
}
