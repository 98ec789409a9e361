// Package pgcluster runs throwaway PostgreSQL clusters from the binaries that are installed on this machine: for the
// tests, and for the commands that measure and torture a real database.
package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/internal/proc"
)

// Cluster is one running PostgreSQL server in a folder of its own, reached through a Unix socket in that folder.
type Cluster struct {
	Dir      string // data folder and socket
	bin      string
	owner    *syscall.Credential // initdb and postgres refuse to run as root
	settings []string
	process  *exec.Cmd
	exited   <-chan struct{}
}

// Missing explains what to do when there are no binaries.
const Missing = "PostgreSQL's programs were not found: `tools/setup postgresql` installs them; " +
	"or set TEST_DATABASE_URL to a server on which databases may be created"

// Start makes a cluster and runs it. settings are lines of postgresql.conf, like "fsync=off". Stop ends it.
func Start(ctx context.Context, settings ...string) (*Cluster, error) {
	c, err := New(settings...)
	if err != nil {
		return nil, err
	}
	if err := c.initdb(ctx); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	if err := c.Run(ctx); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

// New makes the folder of a cluster and nothing in it.
func New(settings ...string) (*Cluster, error) {
	c := &Cluster{settings: settings}
	if err := c.findBinaries(); err != nil {
		return nil, err
	}
	var err error
	if c.Dir, err = os.MkdirTemp("", "curfew-pg-"); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return c, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		c.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return c, os.Chown(c.Dir, int(uid), int(gid))
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

func (c *Cluster) findBinaries() error {
	var versions []string
	for _, place := range []string{
		"/usr/lib/postgresql/*", "/opt/homebrew/opt/postgresql@*",
		"/usr/local/opt/postgresql@*",
	} {
		found, _ := filepath.Glob(place + "/bin/initdb")
		versions = append(versions, found...)
	}
	slices.SortFunc(versions, func(a, b string) int { return len(b) - len(a) + strings.Compare(b, a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			versions = append(versions, path)
		}
	}
	for _, path := range versions {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "postgres")); err == nil {
			c.bin = filepath.Dir(path)
			return nil
		}
	}
	return errors.New(Missing)
}

// Command is one of PostgreSQL's programs, to be run as the cluster's owner.
func (c *Cluster) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGUSER=postgres", "PGHOST="+c.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	return cmd
}

func (c *Cluster) initdb(ctx context.Context) error {
	out, err := c.Command(ctx, "initdb", "-D", c.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync",
		"--locale=C.UTF-8").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }

// Run starts the server and waits until it answers.
func (c *Cluster) Run(ctx context.Context) error {
	args := []string{"-D", c.data(), "-k", c.Dir, "-c", "listen_addresses=", "-c", "max_connections=300"}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	logFile, err := os.OpenFile(filepath.Join(c.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close() // the server has it by then
	c.process = c.Command(context.WithoutCancel(ctx), "postgres", args...)
	c.process.Stdout, c.process.Stderr = logFile, logFile
	// A test that is killed leaves no server.
	if c.exited, err = proc.Start(c.process, syscall.SIGQUIT); err != nil {
		return err
	}
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-c.exited:
			text, _ := os.ReadFile(logFile.Name())
			return fmt.Errorf("PostgreSQL did not start: %s", text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Standby makes a streaming copy of a running cluster in a folder of its own, and runs it.
func (c *Cluster) Standby(ctx context.Context, settings ...string) (*Cluster, error) {
	s, err := New(settings...)
	if err != nil {
		return nil, err
	}
	out, err := s.Command(ctx, "pg_basebackup", "-h", c.Dir, "-U", "postgres", "-D", s.data(), "-R", "-X", "stream",
		"-c", "fast", "--no-sync").CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pg_basebackup: %w: %s", err, out), s.Remove())
	}
	if err := s.Run(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Promote makes a standby the primary.
func (c *Cluster) Promote(ctx context.Context) error {
	out, err := c.Command(ctx, "pg_ctl", "promote", "-w", "-D", c.data()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_ctl promote: %w: %s", err, out)
	}
	return nil
}

// URL is where a database of the cluster is.
func (c *Cluster) URL(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(c.Dir)
}

// PID is the postmaster's.
func (c *Cluster) PID() int { return c.process.Process.Pid }

// Signal sends one to the postmaster: SIGTERM, SIGINT and SIGQUIT are the smart, fast and immediate shutdown.
func (c *Cluster) Signal(sig syscall.Signal) error { return c.process.Process.Signal(sig) }

// Wait returns when the server has ended.
func (c *Cluster) Wait() { <-c.exited }

// Stop ends the server at once and removes its folder.
func (c *Cluster) Stop() error {
	if c.process != nil {
		_ = c.Signal(syscall.SIGCONT)
		_ = c.Signal(syscall.SIGQUIT)
		c.Wait()
	}
	return c.Remove()
}

// Remove deletes the folder.
func (c *Cluster) Remove() error { return os.RemoveAll(c.Dir) }
