package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"time"

	"curfew/internal/harness"

	"github.com/jackc/pgx/v5"
)

func escape(s string) string { return url.QueryEscape(s) }

// withStandby adds a synchronous standby, and gives the nodes both addresses.
func withStandby(r *rig, url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	standby, err := r.cluster.Standby(ctx, r.cfg.Settings...)
	if err != nil {
		return "", err
	}
	r.standby = standby
	r.closers = append(r.closers, func() { _ = standby.Stop() })
	if err := harness.Exec(ctx, url, "ALTER SYSTEM SET synchronous_standby_names = '*'",
		"SELECT pg_reload_conf()"); err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	for state := ""; state != "sync"; {
		if err := conn.QueryRow(ctx, "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication").Scan(&state); err != nil {
			return "", err
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("the standby does not become synchronous: %w", ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return strings.Replace(url, escape(r.cluster.Dir), escape(r.cluster.Dir+","+standby.Dir), 1) +
		"&target_session_attrs=read-write", nil
}

// failOver kills the primary and promotes the standby. From then on the harness looks there too.
func failOver(ctx context.Context, f *faultRun) error {
	if err := f.rig.cluster.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	f.rig.cluster.Wait()
	time.Sleep(2 * time.Second)
	err := f.rig.standby.Promote(ctx)
	f.over = time.Now()
	f.rig.url = strings.Replace(f.rig.url, escape(f.rig.cluster.Dir), escape(f.rig.standby.Dir), 1)
	return err
}
