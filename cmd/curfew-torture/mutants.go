package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"curfew/internal/pgcluster"
)

// mutant is the product with one thing broken. It exists only in an overlay of the build: the source stays as it is, and no
// switch in the product can break it. The text that is replaced must be there exactly once, so a mutant that no longer
// fits is noticed.
type mutant struct {
	name  string
	file  string // in the module
	old   string
	new   string
	and   [2]string // a second replacement, if one alone breaks nothing
	reuse bool      // it shows with a reuse interval, else without one
}

var mutants = []mutant{
	{
		name: "rotation-read-then-write", file: "models/rotation.go", reuse: true,
		old: `WHERE d.id = w.device AND d.refresh_id = w.token AND`,
		new: `WHERE d.id = w.device AND`,
		and: [2]string{` FOR NO KEY UPDATE OF d SKIP LOCKED)`, `)`},
	},
	{
		name: "valid-from-is-the-clock-before-its-commit", file: "models/horizon.go", reuse: true,
		old: `t.ValidFrom = horizon - 1`, new: `t.ValidFrom = t.Now`,
	},
	{
		name: "refresh-ignores-the-horizon", file: "models/rotation.go", reuse: true,
		old: `AND {now} <= r.horizon AND`, new: `AND`,
	},
	{
		name: "strict-check-forgets-the-client", file: "models/access_token.go", reuse: true,
		old: `a.issued > {greatest}(d.valid_from, u.valid_from, c.valid_from, r.valid_from) AND u.disabled_at = 0`,
		new: `a.issued > {greatest}(d.valid_from, u.valid_from, r.valid_from) AND u.disabled_at = 0`,
	},
	{
		name: "refresh-forgets-everyone", file: "models/device.go", reuse: true,
		old: "const notSignedOut = `d.signed_in_at > {greatest}(d.valid_from, u.valid_from, c.valid_from, r.valid_from)",
		new: "const notSignedOut = `d.signed_in_at > {greatest}(d.valid_from, u.valid_from, c.valid_from)",
	},
	{
		name: "local-check-forgets-the-user", file: "verify/index.go", reuse: true,
		old: `return c.IssuedMicros <= device || c.IssuedMicros <= user`,
		new: `return c.IssuedMicros <= device || user < 0`,
	},
	{
		name: "whole-second-issue-times", file: "models/access_token.go", reuse: true,
		old: `c.IssuedUS = issued`, new: `c.IssuedUS = issued / 1_000_000 * 1_000_000`,
	},
	{
		name: "events-without-order", file: "models/horizon.go", reuse: true,
		old: "err = s.row(tx, `UPDATE realm SET last_seq", new: "err = s.row(s.db.WithContext(tx.Statement.Context), `UPDATE realm SET last_seq",
	},
	{
		name: "replay-revokes-in-a-transaction-that-rolls-back", file: "models/rotation.go", reuse: true,
		old: "return out, s.revokeDevices(tx, out, []*Device{d}, ReasonReuse,",
		new: "return out, rolledBack(s, tx, out, []*Device{d}, ReasonReuse,",
	},
	{
		name: "reuse-unbounded-in-generations", file: "models/rotation.go", reuse: true,
		old: "within && tok.RefreshID == d.PreviousRefreshID", new: "within",
	},
	{
		name: "reuse-unbounded-in-time", file: "models/rotation.go",
		old: "within := r.now < int64(d.RotatedAt)+s.cfg.ReuseInterval.Microseconds()", new: "within := true",
	},
	{
		name: "sign-in-does-not-look-at-the-password-again", file: "models/device.go", reuse: true,
		old: "u.PasswordVersion != in.User.PasswordVersion || u.DisabledAt != 0", new: "u.DisabledAt != 0",
	},
	{
		name: "sign-in-does-not-look-whether-the-user-was-disabled", file: "models/device.go", reuse: true,
		old: "u.PasswordVersion != in.User.PasswordVersion || u.DisabledAt != 0", new: "u.PasswordVersion != in.User.PasswordVersion",
	},
	{
		name: "retry-answered-by-a-plain-read", file: "models/rotation.go", reuse: true,
		old: "`SELECT * FROM devices WHERE id = @id {lock}`", new: "`SELECT * FROM devices WHERE id = @id`",
	},
	{
		name: "refresh-without-a-look-at-the-client", file: "models/rotation.go", reuse: true,
		// The client's version says the same once more.
		old: "AND d.client_id = w.client AND u.id = d.user_id AND c.id = d.client_id\n\t\tAND c.version = w.version AND",
		new: "AND u.id = d.user_id AND c.id = d.client_id AND",
	},
	{
		name: "disabling-does-not-sign-out", file: "models/user.go", reuse: true,
		old: "u.DisabledAt, reason, kind = at, ReasonUserDisabled, AuditUserDisabled", new: "u.DisabledAt, kind = at, AuditUserDisabled",
	},
	{
		name: "signing-in-again-makes-no-event", file: "models/device.go", reuse: true,
		old: "if alive {", new: "if alive && d == nil {",
	},
}

// extra is source that a mutant needs beside its replacement.
var extra = map[string]string{
	"replay-revokes-in-a-transaction-that-rolls-back": `
func rolledBack(s *Store, tx *gorm.DB, out *SignOut, devices []*Device, why Reason, by Actor, extra detail) error {
	if err := s.revokeDevices(tx, out, devices, why, by, extra); err != nil {
		return err
	}
	return ErrRefreshTokenReused
}
`,
}

// overlay writes the mutated file and the list for `go build -overlay`.
func (m mutant) overlay(root, dir string) (string, error) {
	path := filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); m.old == "" || n != 1 {
		return "", fmt.Errorf("mutant %s: %q is %d times in %s; it must be there once", m.name, m.old, n, m.file)
	}
	if n := strings.Count(string(source), m.and[0]); m.and[0] != "" && n != 1 {
		return "", fmt.Errorf("mutant %s: %q is %d times in %s; it must be there once", m.name, m.and[0], n, m.file)
	}
	mutated := filepath.Join(dir, m.name+".go")
	text := strings.Replace(strings.Replace(string(source), m.old, m.new, 1), m.and[0], m.and[1], 1)
	if err := os.WriteFile(mutated, []byte(text+extra[m.name]), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, m.name+".json")
	return name, os.WriteFile(name, list, 0o600)
}

// moduleRoot is where go.mod is.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "curfew").Output()
	if err != nil {
		return "", fmt.Errorf("run it inside the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

type mutantsCommand struct {
	Only    []string      `help:"Names of mutants; all by default."`
	Chance  time.Duration `default:"4s" help:"How long chance may look for a mutant before the directed schedules do; 0 for only those."`
	Seed    uint64        `default:"1" help:"Chooses what is done."`
	Quiet   bool          `help:"Without the histories."`
	Binary  string        `help:"The product itself, built, instead of this tree's." type:"existingfile"`
	Product bool          `default:"true" negatable:"" help:"Hold the product itself against the same checks first."`
}

// catch is what found a mutant.
type catch struct {
	Mutant, By string
	Operations int
	Verdict    *verdictOfRun
	Took       time.Duration
}

// Run implements the command.
func (c *mutantsCommand) Run(ctx context.Context) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "curfew-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cluster, err := pgcluster.Start(ctx, "fsync=off", "full_page_writes=off", "synchronous_commit=off")
	if err != nil {
		return err
	}
	defer cluster.Stop()

	product := c.Binary
	if product == "" {
		product = filepath.Join(dir, "curfew")
		if err := buildPackage(ctx, "curfew/cmd/curfew", product, ""); err != nil {
			return err
		}
	}
	if c.Product {
		for _, reuse := range []bool{true, false} {
			found, err := c.torture(ctx, mutant{name: "the product", reuse: reuse}, product, "", cluster)
			if err != nil {
				return err
			}
			if found.By != "" {
				return fmt.Errorf("the product itself fails, by %s:\n%s", found.By, found.Verdict.report(""))
			}
		}
		fmt.Println("the product itself passes the same checks, with and without a reuse interval")
	}
	known := map[string]bool{}
	var table []catch
	for _, m := range mutants {
		known[m.name] = true
		if len(c.Only) > 0 && !slices.Contains(c.Only, m.name) {
			continue
		}
		found, err := c.one(ctx, root, dir, product, cluster, m)
		if err != nil {
			return err
		}
		table = append(table, found)
		if found.By == "" {
			fmt.Printf("%-55s SURVIVED\n", m.name)
			continue
		}
		fmt.Printf("%-55s caught by %s, %d operations, %s\n", m.name, found.By, found.Operations, found.Took.Round(time.Second/10))
		if !c.Quiet {
			fmt.Print(found.history())
		}
	}
	for _, name := range c.Only {
		if !known[name] {
			return fmt.Errorf("there is no mutant %q", name)
		}
	}
	survivors := 0
	fmt.Printf("\n%-55s %-22s %s\n", "mutant", "caught by", "operations in the shortest history")
	for _, f := range table {
		by := f.By
		if by == "" {
			by = "SURVIVED"
			survivors++
		}
		fmt.Printf("%-55s %-22s %d\n", f.Mutant, by, f.Operations)
	}
	if survivors > 0 {
		return fmt.Errorf("%d of %d mutants survived", survivors, len(table))
	}
	fmt.Printf("all %d mutants were caught\n", len(table))
	return nil
}

func (c *mutantsCommand) one(ctx context.Context, root, dir, product string, cluster *pgcluster.Cluster, m mutant) (catch, error) {
	start := time.Now()
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return catch{}, err
	}
	binary, harness := product, ""
	// The local check runs inside the harness: for a mutant of it the harness itself is built anew.
	if strings.HasPrefix(m.file, "verify/") {
		harness = filepath.Join(dir, "torture-"+m.name)
		err = buildPackage(ctx, "curfew/cmd/curfew-torture", harness, overlay)
	} else {
		binary = filepath.Join(dir, "curfew-"+m.name)
		err = buildPackage(ctx, "curfew/cmd/curfew", binary, overlay)
		defer os.Remove(binary)
	}
	if err != nil {
		return catch{}, err
	}
	found, err := c.torture(ctx, m, binary, harness, cluster)
	found.Took = time.Since(start)
	return found, err
}

// torture runs the checks against one binary until one of them fails.
func (c *mutantsCommand) torture(ctx context.Context, m mutant, binary, harness string, cluster *pgcluster.Cluster) (catch, error) {
	found := catch{Mutant: m.name}
	for _, directed := range []bool{false, true} {
		if !directed && c.Chance == 0 {
			continue
		}
		cfg := historyConfig{Binary: binary, Database: "postgres", Nodes: 2, Duration: c.Chance, Seed: c.Seed, Reuse: m.reuse, Quick: true, Cluster: cluster}
		v, err := c.run(ctx, cfg, directed, harness)
		if err != nil {
			return found, fmt.Errorf("%s: %w", m.name, err)
		}
		if !v.failed() {
			continue
		}
		found.By, found.Verdict, found.Operations = "chance", v, len(v.Shortest)
		if directed {
			found.By = "a directed schedule"
		}
		if v.Illegal == 0 {
			found.By += ", local check"
			found.Operations = 3 // the issue, its end, the verification
		}
		return found, nil
	}
	return found, nil
}

func (c *mutantsCommand) run(ctx context.Context, cfg historyConfig, directed bool, harness string) (*verdictOfRun, error) {
	switch {
	case harness != "":
		args := []string{"one-run", "--binary", cfg.Binary, "--duration", cfg.Duration.String(), "--seed", fmt.Sprint(cfg.Seed)}
		if directed {
			args = append(args, "--directed")
		}
		if cfg.Reuse {
			args = append(args, "--reuse")
		}
		out, err := exec.CommandContext(ctx, harness, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("the mutated harness: %w: %s", err, out)
		}
		v := &verdictOfRun{}
		return v, json.Unmarshal(out, v)
	case directed:
		return runScenarios(ctx, cfg)
	}
	return runHistory(ctx, cfg)
}

func (f catch) history() string {
	if f.Verdict.Illegal > 0 {
		return text(f.Verdict.Shortest)
	}
	return "  " + strings.Join(f.Verdict.Broken[:min(2, len(f.Verdict.Broken))], "\n  ") + "\n"
}

// oneRunCommand is the harness in a process of its own, for a mutant of the local check.
type oneRunCommand struct {
	Binary   string
	Duration time.Duration
	Seed     uint64
	Directed bool
	Reuse    bool
}

// Run implements the command.
func (c *oneRunCommand) Run(ctx context.Context) error {
	cfg := historyConfig{Binary: c.Binary, Database: "postgres", Nodes: 2, Duration: c.Duration, Seed: c.Seed, Reuse: c.Reuse}
	v, err := (&mutantsCommand{}).run(ctx, cfg, c.Directed, "")
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}
