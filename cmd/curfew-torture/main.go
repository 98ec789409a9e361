// Command curfew-torture proves what the design promises on real `curfew serve` processes: their recorded history is
// checked, faults are injected, the product is broken on purpose to see that the checks notice. docs/proof.md says how
// to run it and what each part shows. Everything stays on the loopback interface and ends within a bounded time.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"curfew/internal/harness"

	"github.com/alecthomas/kong"
)

var commands struct {
	History   historyCommand   `cmd:"" help:"Record a history of concurrent requests and check it: linearizable, and bounded staleness for local verification."`
	Mutants   mutantsCommand   `cmd:"" help:"Break the product on purpose, one thing at a time, and see that each is caught."`
	Faults    faultsCommand    `cmd:"" help:"Kill, freeze, cut and fill up what the product stands on, and see that nothing is lost."`
	Pgbouncer pgbouncerCommand `cmd:"" help:"The history checker behind pgbouncer in transaction mode."`
	Upgrade   upgradeCommand   `cmd:"" help:"Roll out the newest migration under load, old and new nodes side by side."`
	Secrets   secretsCommand   `cmd:"" help:"Search dump, debug logs, metrics and error answers of a busy run for every secret that was used."`
	Overload  overloadCommand  `cmd:"" help:"Ten times more sign-ins than can be hashed, slow headers, endless bodies, idle connections: what the others get."`
	Blocking  blockingCommand  `cmd:"" help:"One address, one account, one user against everybody else's sign-ins and refreshes, with the product's own limits."`
	Timing    timingCommand    `cmd:"" help:"Compare the answer times of known and unknown users, right and wrong secrets."`
	Fuzz      fuzzCommand      `cmd:"" help:"Fuzz whatever parses foreign input, one function after the other."`
	Directed  directedCommand  `cmd:"" help:"Only the directed schedules, on the product."`
	Short     shortCommand     `cmd:"" help:"A little of everything, in about four minutes."`
	OneRun    oneRunCommand    `cmd:"" hidden:""`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(&commands, kong.Name("curfew-torture"), kong.UsageOnError(),
		kong.Description("Races, faults and attackers against real curfew processes, on throwaway databases."))
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run())
}

type historyCommand struct {
	Nodes    int           `default:"3" help:"Nodes on one PostgreSQL; SQLite has one."`
	Duration time.Duration `default:"20s" help:"How long requests are made."`
	Seed     uint64        `help:"Chooses what is done; random when it is 0." default:"0"`
	Database string        `default:"postgres" enum:"postgres,sqlite" help:"postgres or sqlite."`
	Long     bool          `help:"Ten minutes."`
	OnlyGo   bool          `help:"Local verification with package verify only, without the verifiers for Node and Python."`
	NoReuse  bool          `help:"Only the configuration without a reuse interval. By default a third of the time goes to it."`
	Binary   string        `help:"A built cmd/curfew to torture instead of this tree's." type:"existingfile"`
	HTML     string        `help:"Where to write porcupine's page for the shortest illegal history, or else for the longest legal one." type:"path"`
}

// Run implements the command.
func (c *historyCommand) Run(ctx context.Context) error {
	if c.Long {
		c.Duration = 10 * time.Minute
	}
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("history: %s, %d CPUs, seed %d\n", c.Database, runtime.NumCPU(), c.Seed)
	binary, remove, err := harness.BuildProduct(ctx, c.Binary)
	if err != nil {
		return err
	}
	defer remove()
	failed := false
	for _, reuse := range []bool{true, false} {
		cfg := historyConfig{
			Binary: binary, Database: c.Database, Nodes: c.Nodes, Duration: c.Duration / 3, Seed: c.Seed,
			Reuse: reuse, Foreign: !c.OnlyGo,
		}
		switch {
		case reuse && c.NoReuse:
			continue
		case reuse:
			cfg.Duration *= 2
		case c.NoReuse:
			cfg.Duration = c.Duration
		}
		v, err := runHistory(ctx, cfg)
		if err != nil {
			return err
		}
		fmt.Print(v.report(fmt.Sprintf("reuse interval %v", map[bool]string{true: "10m", false: "none"}[reuse])))
		if c.HTML != "" && v.Whole != nil {
			if err := visualise(v.spec, v.Whole, c.HTML); err != nil {
				return err
			}
		}
		failed = failed || v.failed()
	}
	if failed {
		return fmt.Errorf("the history is not what the specification allows (seed %d)", c.Seed)
	}
	return nil
}
