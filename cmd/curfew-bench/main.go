// Command curfew-bench measures Curfew against the limit of what it stands on, and prints a table. It starts what it
// measures: a PostgreSQL cluster with fsync on and `curfew serve` processes, asked over HTTP on loopback. In the same
// run it measures the limit: pgbench with the same statement on the same rows, and a bare Gin route on the same load
// generator.
//
//	go run ./cmd/curfew-bench
//	go run ./cmd/curfew-bench --only refresh,introspect --devices 100000
//	go run ./cmd/curfew-bench --short
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"curfew/internal/proc"

	"github.com/alecthomas/kong"
)

type runCommand struct {
	Only        []string      `help:"Measure only these: refresh, introspect, signout, feed, growth, lists, console, password, code, nodes, cleanup, storage, sqlite, told, ended." placeholder:"NAME,…"`
	Devices     int           `help:"Devices in the database." default:"1000000"`
	Duration    time.Duration `help:"How long each measurement takes." default:"10s"`
	Repeat      int           `help:"Measurements of which the median counts." default:"3"`
	Concurrency int           `help:"Requests at a time." default:"32"`
	Storm       int           `help:"Refreshes of 1,000 devices after which the table must not have grown." default:"1000000"`
	Streams     int           `help:"Streams of the feed on one node." default:"1000"`
	Long        bool          `help:"Measure growth, signing out and lists with 10 million devices too, which takes minutes to fill."`
	Short       bool          `help:"Everything small, in less than 90 seconds: to see that it runs, not for figures."`
	LogLevel    string        `help:"CURFEW_LOG_LEVEL of the nodes." default:"info" enum:"debug,info,warn,error"`
	Profile     string        `help:"Write a CPU profile of the node under each load into this folder." type:"path"`
	JSON        string        `name:"json" help:"Write the figures here too." type:"path"`
}

// line is one target with what was measured.
type line struct {
	What     string  `json:"what"`
	Target   string  `json:"target"`
	Measured string  `json:"measured"`
	Value    float64 `json:"value"`
	// met, not met, met at this size where the target names a larger one, - where there is no target
	Verdict string `json:"verdict"`
}

// report is what a run found.
type report struct {
	Date    string    `json:"date"`
	Machine string    `json:"machine"`
	Command string    `json:"command"`
	Lines   []line    `json:"lines"`
	Figures []figures `json:"figures"`
}

func (r *report) add(what, target string, met bool, value float64, format string, a ...any) {
	verdict := "not met"
	if met {
		verdict = "met"
	}
	if target == "" {
		verdict = "-"
	}
	r.Lines = append(r.Lines, line{
		What: what, Target: target, Measured: fmt.Sprintf(format, a...), Value: value,
		Verdict: verdict,
	})
	progress("%s: %s (target %s): %s", what, fmt.Sprintf(format, a...), target, verdict)
}

// onlyUpTo says of the last line that it was measured at less than the target names.
func (r *report) onlyUpTo(full bool) {
	if l := &r.Lines[len(r.Lines)-1]; !full && l.Verdict == "met" {
		l.Verdict = "met at this size"
	}
}

func (f figures) String() string {
	s := fmt.Sprintf("%-34s %8.0f/s  p50 %7.2f  p99 %7.2f  p99.9 %7.2f ms  CPU server %5.0f database %5.0f generator "+
		"%3.0f µs  %4.0f MB  stolen %.1f %%",
		f.Name, f.PerSecond, f.P50, f.P99, f.P999, f.ServerCPU, f.DBCPU, f.LoadCPU, f.RSS, f.Stolen)
	if f.Failed > 0 {
		s += fmt.Sprintf("  %d failed: %s", f.Failed, f.Failure)
	}
	return s
}

func progress(format string, a ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", a...)
}

// part is one thing to measure.
type part struct {
	name string
	run  func(b *bench, ctx context.Context) error
}

var parts = []part{
	{"refresh", (*bench).refresh},
	{"introspect", (*bench).introspect},
	{"signout", (*bench).signOut},
	{"feed", (*bench).feed},
	{"growth", (*bench).growth},
	{"lists", (*bench).lists},
	{"console", (*bench).console},
	{"password", (*bench).password},
	{"code", (*bench).code},
	{"nodes", (*bench).nodes},
	{"cleanup", (*bench).cleanUp},
	{"storage", (*bench).storage},
	{"sqlite", (*bench).sqlite},
	{"told", (*bench).told},
	{"ended", (*bench).ended},
}

// bench is one run.
type bench struct {
	opt    *runCommand
	rig    *rig
	main   *world
	small  *world
	big    *world
	report *report
}

// Run measures what was asked for.
func (c *runCommand) Run(ctx context.Context) (err error) {
	if c.Short {
		c.Devices, c.Duration, c.Repeat, c.Storm = min(c.Devices, 10000), min(c.Duration, 400*time.Millisecond), 1,
			min(c.Storm, 5000)
	}
	if c.Devices < 10*c.Concurrency || c.Repeat < 1 || c.Concurrency < 1 || c.Streams < 20 {
		return errors.New("there must be at least 10 devices for each request at a time, one repetition, and 20 streams")
	}
	for _, name := range c.Only {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("--only: there is no %q", name)
		}
	}
	b := &bench{opt: c, report: &report{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: proc.Machine(), Command: "go run ./cmd/curfew-bench " +
			strings.Join(os.Args[1:], " "),
	}}
	if b.rig, err = newRig(ctx, c.LogLevel); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.rig.Close()) }()
	b.rig.profiles = c.Profile
	for _, p := range parts {
		if len(c.Only) > 0 && !slices.Contains(c.Only, p.name) {
			continue
		}
		progress("== %s", p.name)
		if err := p.run(b, ctx); err != nil {
			b.print()
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := b.write(); err != nil {
			return err
		}
	}
	b.print()
	return nil
}

// mainWorld is the database with all the devices; smallWorld has a thousand.
func (b *bench) mainWorld(ctx context.Context) (w *world, err error) {
	if b.main == nil {
		b.main, err = b.rig.newWorld(ctx, "bench", b.opt.Devices)
	}
	return b.main, err
}

func (b *bench) smallWorld(ctx context.Context) (w *world, err error) {
	if b.small == nil {
		b.small, err = b.rig.newWorld(ctx, "small", 1000)
	}
	return b.small, err
}

// bigWorld has the most devices that were asked for.
func (b *bench) bigWorld(ctx context.Context) (w *world, err error) {
	if !b.opt.Long {
		return b.mainWorld(ctx)
	}
	if b.big == nil {
		b.big, err = b.rig.newWorld(ctx, "ten_million", max(b.opt.Devices, 10_000_000))
	}
	return b.big, err
}

func (b *bench) keep(f figures) figures {
	b.report.Figures = append(b.report.Figures, f)
	return f
}

func (b *bench) write() error {
	if b.opt.JSON == "" {
		return nil
	}
	text, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.opt.JSON, append(text, '\n'), 0o644)
}

func (b *bench) print() {
	r := b.report
	fmt.Printf("%s, %s\n%s\n\n", r.Date, r.Machine, r.Command)
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "what\ttarget\tmeasured\t")
	for _, l := range r.Lines {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", l.What, l.Target, l.Measured, l.Verdict)
	}
	fmt.Fprintln(tw)
	fmt.Fprintln(tw, "load\trequests/s\tp50 ms\tp99 ms\tp99.9 ms\tserver CPU µs\tdatabase CPU µs\tgenerator CPU "+
		"µs\tpeak MB\tstolen %\tfailed")
	for _, f := range r.Figures {
		fmt.Fprintf(tw, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%d\n", f.Name, f.PerSecond, f.P50, f.P99,
			f.P999, f.ServerCPU, f.DBCPU, f.LoadCPU, f.RSS, f.Stolen, f.Failed)
	}
	tw.Flush()
}

type commands struct {
	Run  runCommand  `cmd:"" default:"withargs" help:"Measure and print a table."`
	Bare bareCommand `cmd:"" hidden:""`
	Loop loopCommand `cmd:"" hidden:""`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cli commands
	k := kong.Parse(&cli, kong.Name("curfew-bench"),
		kong.Description("Measures Curfew against the limit of what it stands on."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err := k.Run(); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "curfew-bench:", err)
		os.Exit(1)
	}
}
