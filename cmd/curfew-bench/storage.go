package main

import (
	"context"
	"fmt"
	"time"
)

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
	b.report.add("storage", "≤ 500 bytes a device", each <= 500, each, "%.0f bytes: table %.0f, indexes %.0f", each,
		heap/float64(w.devices), indexes/float64(w.devices))
	if err := b.walAtRandom(ctx, w); err != nil {
		return err
	}
	return b.storageOfAStorm(ctx)
}

// walPosition is how much PostgreSQL has logged, in bytes.
const walPosition = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"

// walAtRandom: what a refresh logs when its page was not changed since the last checkpoint.
func (b *bench) walAtRandom(ctx context.Context, w *world) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	if _, err := w.db.Exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	wal, err := w.number(ctx, walPosition)
	if err != nil {
		return err
	}
	f, err := b.rig.measure(ctx, "refresh, at random after a checkpoint",
		load{duration: b.opt.Duration, workers: w.refreshers(b.opt.Concurrency, w.devices)}, w.node)
	if err != nil {
		return err
	}
	after, err := w.number(ctx, walPosition)
	if err != nil {
		return err
	}
	b.report.add("WAL of a refresh, random devices", "", true, (after-wal)/float64(f.Requests),
		"%.0f bytes: %d refreshes of %d devices after a checkpoint, nearly each the first of its page",
		(after-wal)/float64(f.Requests), f.Requests, w.devices)
	return nil
}

// storageOfAStorm: many refreshes of few devices, and the table stays as large as it was.
func (b *bench) storageOfAStorm(ctx context.Context) error {
	few, err := b.rig.newWorld(ctx, "storm", 1000)
	if err != nil {
		return err
	}
	defer few.stop(ctx)
	if err := few.load(ctx); err != nil {
		return err
	}
	wal, err := few.number(ctx, walPosition)
	if err != nil {
		return err
	}
	const size = "SELECT pg_total_relation_size('devices')"
	start, err := few.number(ctx, size)
	if err != nil {
		return err
	}
	// When every page has had its first updates the table is as large as it stays: that is after ten refreshes a
	// device.
	settled, end, done := 0.0, 0.0, 0
	var most float64
	for done < b.opt.Storm {
		part := few.refreshers(b.opt.Concurrency, few.devices)
		left := b.opt.Storm - done
		d := b.opt.Duration
		if done == 0 {
			d = min(d, 3*time.Second)
		}
		f, err := b.rig.measure(ctx, fmt.Sprintf("refresh, 1,000 devices, %d to go", left), load{duration: d, workers: part},
			few.node)
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
	after, err := few.number(ctx, walPosition)
	if err != nil {
		return err
	}
	vacuums, err := few.number(ctx, "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'devices'")
	if err != nil {
		return err
	}
	b.report.add("storage after many refreshes of 1,000 devices", "no growth", end <= 1.05*settled, end/settled,
		"%d refreshes: %.0f KiB when filled, %.0f KiB after the first seconds, %.0f KiB at the end, %.0f KiB at most; "+
			"autovacuum ran %.0f times",
		done, start/1024, settled/1024, end/1024, most/1024, vacuums)
	b.report.onlyUpTo(done >= 1_000_000)
	b.report.add("WAL of a refresh, 1,000 devices", "", true, (after-wal)/float64(done), "%.0f bytes",
		(after-wal)/float64(done))
	return nil
}
