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

	"curfew/internal/harness"
	"curfew/internal/pgcluster"
)

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
	root, err := harness.Root(ctx)
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
		if err := harness.Build(ctx, harness.Program, product, ""); err != nil {
			return err
		}
	}
	if c.Product {
		for _, reuse := range []bool{true, false} {
			found, err := c.torture(ctx, mutant{name: "the product", noReuse: !reuse, crash: reuse}, product, "", cluster)
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
		fmt.Printf("%-55s caught by %s, %d operations, %s\n", m.name, found.By, found.Operations,
			found.Took.Round(time.Second/10))
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
	fmt.Printf("\n%-55s %-32s %s\n", "mutant", "caught by", "operations in the shortest history")
	for _, f := range table {
		by := f.By
		if by == "" {
			by = "SURVIVED"
			survivors++
		}
		fmt.Printf("%-55s %-32s %d\n", f.Mutant, by, f.Operations)
	}
	if survivors > 0 {
		return fmt.Errorf("%d of %d mutants survived", survivors, len(table))
	}
	fmt.Printf("all %d mutants were caught\n", len(table))
	return nil
}

func (c *mutantsCommand) one(ctx context.Context, root, dir, product string, cluster *pgcluster.Cluster,
	m mutant,
) (catch, error) {
	start := time.Now()
	overlay, file, err := m.overlay(root, dir)
	if err != nil {
		return catch{}, err
	}
	binary, checker := product, ""
	// The local check runs inside the harness: for a mutant of it the harness itself is built anew.
	if strings.HasPrefix(file, "verify/") {
		checker = filepath.Join(dir, "torture-"+m.name)
		err = harness.Build(ctx, "curfew/cmd/curfew-torture", checker, overlay)
	} else {
		binary = filepath.Join(dir, "curfew-"+m.name)
		err = harness.Build(ctx, harness.Program, binary, overlay)
		defer os.Remove(binary)
	}
	if err != nil {
		return catch{}, err
	}
	found, err := c.torture(ctx, m, binary, checker, cluster)
	found.Took = time.Since(start)
	return found, err
}

// torture runs the checks against one binary until one of them fails.
func (c *mutantsCommand) torture(ctx context.Context, m mutant, binary, checker string,
	cluster *pgcluster.Cluster,
) (catch, error) {
	found := catch{Mutant: m.name}
	for _, directed := range []bool{false, true} {
		if !directed && c.Chance == 0 {
			continue
		}
		cfg := historyConfig{
			Binary: binary, Database: "postgres", Nodes: 2, Duration: c.Chance, Seed: c.Seed, Reuse: !m.noReuse,
			Quick: true, Cluster: cluster, Crash: m.crash,
		}
		v, err := c.run(ctx, cfg, directed, checker)
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
		switch {
		case v.Illegal > 0:
		case v.Untold > 0:
			found.By += ", a receiver was not told"
			found.Operations = 2 // a sign-in and its end
		default:
			found.By += ", local check"
			found.Operations = 3 // the issue, its end, the verification
		}
		return found, nil
	}
	return found, nil
}

func (c *mutantsCommand) run(ctx context.Context, cfg historyConfig, directed bool, checker string) (*verdictOfRun,
	error,
) {
	switch {
	case checker != "":
		args := []string{
			"one-run", "--binary", cfg.Binary, "--duration", cfg.Duration.String(), "--seed",
			fmt.Sprint(cfg.Seed),
		}
		if directed {
			args = append(args, "--directed")
		}
		if cfg.Reuse {
			args = append(args, "--reuse")
		}
		out, err := exec.CommandContext(ctx, checker, args...).Output()
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
	cfg := historyConfig{
		Binary: c.Binary, Database: "postgres", Nodes: 2, Duration: c.Duration, Seed: c.Seed,
		Reuse: c.Reuse,
	}
	v, err := (&mutantsCommand{}).run(ctx, cfg, c.Directed, "")
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}
