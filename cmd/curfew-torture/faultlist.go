package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"curfew/internal/harness"
	"curfew/internal/proc"

	"github.com/jackc/pgx/v5"
)

// fault is one thing that goes wrong while the storm rages. inject begins it and returns when it is over.
type fault struct {
	name   string
	rig    rigConfig
	inject func(ctx context.Context, f *faultRun) error
	crowd  int  // devices that refresh; 16 if not said
	away   bool // no node can serve while it lasts, and /readyz must say so
}

type faultRun struct {
	*storm
	long  bool
	over  time.Time
	begun time.Time
}

var durable = []string{"fsync=on", "synchronous_commit=on"}

var faults = []fault{
	{
		name: "node-killed", rig: rigConfig{Database: "postgres", Nodes: 3},
		inject: func(ctx context.Context, f *faultRun) error {
			n := f.rig.nodes[1]
			n.Kill()
			time.Sleep(time.Second)
			f.over = time.Now()
			return n.Start()
		},
	},
	{
		name: "node-frozen", rig: rigConfig{Database: "postgres", Nodes: 3},
		inject: func(ctx context.Context, f *faultRun) error {
			n := f.rig.nodes[1]
			f.frozen.Store(int32(n.Number) + 1)
			err := n.Signal(syscall.SIGSTOP)
			time.Sleep(9 * time.Second) // longer than every time-out: 4 s of a statement, 5 s of an answer, 7 s of a client
			f.over = time.Now()
			err = errors.Join(err, n.Signal(syscall.SIGCONT))
			time.Sleep(200 * time.Millisecond)
			f.frozen.Store(0)
			return err
		},
	},
	{
		name: "postgres-killed", rig: rigConfig{Database: "postgres", Nodes: 2, Settings: durable}, away: true,
		inject: func(ctx context.Context, f *faultRun) error {
			if err := f.rig.cluster.Signal(syscall.SIGKILL); err != nil {
				return err
			}
			f.rig.cluster.Wait()
			time.Sleep(2 * time.Second)
			err := restart(ctx, f.rig)
			f.over = time.Now()
			return err
		},
	},
	{
		name: "postgres-stopped", rig: rigConfig{Database: "postgres", Nodes: 2, Settings: durable}, away: true,
		inject: func(ctx context.Context, f *faultRun) error {
			wait := 7 * time.Second
			if f.long {
				wait = 30 * time.Second
			}
			postmaster := f.rig.cluster.PID()
			stopped := append(proc.Children(postmaster), postmaster)
			for _, pid := range stopped {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
			time.Sleep(wait)
			f.over = time.Now()
			for _, pid := range stopped {
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
			return nil
		},
	},
	{
		name: "connections-cut", rig: rigConfig{Database: "postgres", Nodes: 2, URL: throughProxy},
		inject: func(ctx context.Context, f *faultRun) error {
			f.rig.proxy.cutAfter(200, 30_000)
			time.Sleep(4 * time.Second)
			f.over = time.Now()
			f.rig.proxy.cutAfter(0, 0)
			return nil
		},
	},
	{
		name: "disk-full", rig: rigConfig{Database: "sqlite", Nodes: 1, SQLiteDir: "tmpfs"}, away: true,
		inject: func(ctx context.Context, f *faultRun) error {
			ballast := filepath.Join(f.rig.cfg.SQLiteDir, "ballast")
			until := time.Now().Add(4 * time.Second)
			for i := 0; time.Now().Before(until); i++ { // also what SQLite gives back when it starts its log anew
				_ = fill(fmt.Sprintf("%s-%d", ballast, i))
				time.Sleep(20 * time.Millisecond)
			}
			files, _ := filepath.Glob(ballast + "-*")
			for _, name := range files {
				os.Remove(name)
			}
			f.over = time.Now()
			return nil
		},
	},
	{
		name: "pool-exhausted", rig: rigConfig{
			Database: "postgres", Nodes: 2,
			Env: map[string]string{"DATABASE_MAX_CONNS": "3"},
		}, away: true, crowd: 60,
		inject: func(ctx context.Context, f *faultRun) error {
			conn, err := pgx.Connect(ctx, f.rig.url)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE devices IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
			time.Sleep(7 * time.Second)
			f.over = time.Now()
			_, err = conn.Exec(ctx, "ROLLBACK")
			return err
		},
	},
	{
		name: "clock-steps-back", rig: rigConfig{Database: "postgres", Nodes: 2, URL: withMovableClock},
		inject: func(ctx context.Context, f *faultRun) error {
			time.Sleep(500 * time.Millisecond)
			for _, ahead := range []string{"0", "-2 seconds", "3 seconds", "1 second"} {
				if err := harness.Exec(ctx, f.rig.url, fmt.Sprintf("UPDATE fake.clock SET ahead = '%s'", ahead)); err != nil {
					return err
				}
				time.Sleep(700 * time.Millisecond)
			}
			f.over = time.Now()
			return nil
		},
	},
	{name: "failover", rig: rigConfig{Database: "postgres", Nodes: 2, URL: withStandby, Settings: []string{
		"fsync=off", "synchronous_commit=on", "wal_level=replica", "max_wal_senders=4", "hot_standby=on",
	}}, away: true, inject: failOver},
}
