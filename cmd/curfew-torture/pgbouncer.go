package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"curfew/internal/proc"

	"github.com/jackc/pgx/v5"
)

type pgbouncerCommand struct {
	Duration time.Duration `default:"8s" help:"How long requests are made."`
	Seed     uint64        `default:"1" help:"Chooses what is done."`
	Binary   string        `help:"A built cmd/curfew instead of this tree's." type:"existingfile"`
	brief    bool          // for the short form: with notifications only
}

// Run holds the history of nodes behind pgbouncer in transaction mode against the specification: with notifications by
// a direct connection, and with the poll alone.
func (c *pgbouncerCommand) Run(ctx context.Context) error {
	for _, direct := range []bool{true, false} {
		if c.brief && !direct {
			continue
		}
		cfg := historyConfig{
			Binary: c.Binary, Database: "postgres", Nodes: 2, Duration: c.Duration / 2, Seed: c.Seed,
			Reuse: true,
		}
		cfg.Rig = func(rc *rigConfig) {
			rc.URL = func(r *rig, straight string) (string, error) { return throughPgbouncer(ctx, r, straight, direct) }
		}
		v, err := runHistory(ctx, cfg)
		if err != nil {
			return err
		}
		fmt.Print(v.report(map[bool]string{
			true:  "pgbouncer, notifications by a direct connection",
			false: "pgbouncer, notifications through it do not come: the poll",
		}[direct]))
		if v.failed() {
			return errors.New("behind pgbouncer the history is not what the specification allows")
		}
		// What got no answer may have happened or not, so a server that answers nothing is within the specification.
		// Nothing was broken here.
		if v.Lost > v.Operations/50 {
			return fmt.Errorf("behind pgbouncer %d of %d operations got no answer", v.Lost, v.Operations)
		}
	}
	return nil
}

// throughPgbouncer starts a pgbouncer before the rig's cluster and gives its URL.
func throughPgbouncer(ctx context.Context, r *rig, straight string, direct bool) (string, error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !exists(program) {
			return "", errors.New("pgbouncer was not found: `tools/setup pgbouncer` installs it")
		}
	}
	u, err := url.Parse(straight)
	if err != nil {
		return "", err
	}
	database := strings.TrimPrefix(u.Path, "/")
	dir := filepath.Join(r.cluster.Dir, "bouncer")
	if err := os.Mkdir(dir, 0o777); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // it runs as the cluster's owner
		return "", err
	}
	ini := fmt.Sprintf(`[databases]
%s = host=%s user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = %s
listen_port = 6432
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 8
server_reset_query_always = 0
logfile = %s/log
pidfile = %s/pid
`, database, r.cluster.Dir, dir, dir, dir)
	path := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(ini), 0o644); err != nil {
		return "", err
	}
	cmd := r.cluster.Command(context.WithoutCancel(ctx), program, path)
	cmd.Path, cmd.Args[0] = program, program
	cmd.Err = nil
	exited, err := proc.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	r.closers = append(r.closers, func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	through := fmt.Sprintf("postgres://postgres@/%s?host=%s&port=6432&default_query_exec_mode=exec", database,
		url.QueryEscape(dir))
	r.extraEnv = map[string]string{"NOTIFY_URL": straight}
	if !direct {
		r.extraEnv = nil
	}
	for range 200 {
		conn, err := pgx.Connect(ctx, through)
		if err == nil {
			return through, conn.Close(ctx)
		}
		select {
		case <-exited:
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			return "", fmt.Errorf("pgbouncer ended: %s", text)
		case <-time.After(20 * time.Millisecond):
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	return "", fmt.Errorf("pgbouncer does not answer: %s", text)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
