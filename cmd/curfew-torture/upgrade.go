package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/internal/harness"
)

type upgradeCommand struct {
	Binary string `help:"A built cmd/curfew instead of this tree's." type:"existingfile"`
	Before string `help:"The revision to come from; by default the one before the newest migration was merged."`
}

// Run upgrades a running installation over the newest migration: the rule is that migrations only add, so nodes of the
// version before go on beside the new schema and beside new nodes (docs/operations.md).
func (c *upgradeCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "curfew-upgrade-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	before, after := filepath.Join(dir, "curfew-before"), filepath.Join(dir, "curfew-after")
	newest, err := buildBefore(ctx, c.Before, dir, before)
	if errors.Is(err, errShallow) {
		fmt.Printf("upgrade: NOT TRIED: %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	if c.Binary != "" {
		after = c.Binary
	} else if err := harness.Build(ctx, harness.Program, after, ""); err != nil {
		return err
	}
	r, err := newRig(ctx, rigConfig{Binary: before, Database: "postgres", Nodes: 3, Later: 1})
	if err != nil {
		return err
	}
	defer r.Close()
	was, err := schemaVersion(ctx, r)
	if err != nil {
		return err
	}
	st, err := newStormOn(ctx, r, r.nodes[:2], 12, 100)
	if err != nil {
		return err
	}
	st.begin(ctx)
	time.Sleep(time.Second)
	r.cfg.Binary = after
	start := time.Now()
	if err := r.cli(ctx, "", nil, "migrate"); err != nil {
		return err
	}
	migrated := time.Since(start)
	if is, err := schemaVersion(ctx, r); err != nil || is <= was {
		return fmt.Errorf("the schema went from version %d to %d: %v", was, is, err)
	}
	for _, i := range []int{2, 0, 1} { // a new node beside the old ones, then each old one is replaced
		n := r.nodes[i]
		if n.Process != nil {
			n.Stop()
		}
		n.Binary = after
		if err := n.Start(); err != nil {
			return err
		}
		if err := n.WaitReady(ctx, n.Public, 10*time.Second); err != nil {
			return err
		}
		time.Sleep(700 * time.Millisecond)
	}
	st.end()
	var local []*resourceServer
	for _, n := range r.nodes {
		rs, err := newResourceServer(ctx, r, n)
		if err != nil {
			return err
		}
		defer rs.close()
		local = append(local, rs)
	}
	problems := st.verdict(ctx, local)
	fmt.Printf("upgrade over %s: migrated in %s under load; %d refreshes, %d sign-outs acknowledged, on old and new "+
		"nodes side by side\n",
		newest, migrated.Round(time.Millisecond), st.refreshes.Load(), len(st.out))
	for _, p := range problems {
		fmt.Printf("  BROKEN: %s\n", p)
	}
	if len(problems) > 0 {
		return errors.New("the upgrade lost something" + r.logTails())
	}
	return nil
}

func schemaVersion(ctx context.Context, r *rig) (version int, err error) {
	conn, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return version, conn.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version").Scan(&version)
}

// errShallow: the version before is not there to be built.
var errShallow = errors.New("a shallow clone has no version before this one; git fetch --unshallow gets it")

// buildBefore compiles the version before: this repository at a revision, or as it was when the newest migration came.
func buildBefore(ctx context.Context, revision, dir, binary string) (newest string, err error) {
	root, err := harness.Root(ctx)
	if err != nil {
		return "", err
	}
	const folder = "models/migrations/postgres"
	files, err := filepath.Glob(filepath.Join(root, folder, "*.sql"))
	if err != nil || len(files) < 2 {
		return "", fmt.Errorf("there are %d migrations: %v", len(files), err)
	}
	newest = filepath.Base(slices.Max(files))
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	if revision == "" {
		// In the order of what was merged: what is between is not whole.
		commit, err := git("log", "--first-parent", "-m", "--diff-filter=A", "--format=%H", "-1", "--", folder+"/"+newest)
		if err != nil {
			return "", fmt.Errorf("the version before is built from the repository's history: %w", err)
		}
		if revision = commit + "^"; commit == "" { // it is not committed yet
			revision = "HEAD"
		}
	}
	archive, source := filepath.Join(dir, "before.tar"), filepath.Join(dir, "before")
	if _, err := git("archive", "--output", archive, revision); err != nil {
		if shallow, _ := git("rev-parse", "--is-shallow-repository"); shallow == "true" {
			return "", errShallow
		}
		return "", fmt.Errorf("the version before, at %s, is not in the repository's history: %w", revision, err)
	}
	if err := os.Mkdir(source, 0o700); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack the version before: %w: %s", err, out)
	}
	build := exec.CommandContext(ctx, "go", "build", "-tags", harness.Tags, "-o", binary, harness.Program)
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the version before: %w\n%s", err, out)
	}
	return strings.TrimSuffix(newest, ".sql"), nil
}
