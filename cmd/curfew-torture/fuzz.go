package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

type fuzzCommand struct {
	Time time.Duration `default:"1m" help:"How long each function is fuzzed."`
	Only string        `help:"Only functions whose name contains this."`
}

// Run fuzzes everything in the module that parses foreign input, one function after the other:
// whatever is called Fuzz… is found.
func (c *fuzzCommand) Run(ctx context.Context) error {
	packages, err := exec.CommandContext(ctx, "go", "list", "-f",
		"{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "curfew/...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	var failed []error
	ran := 0
	for _, pkg := range strings.Fields(string(packages)) {
		list, err := exec.CommandContext(ctx, "go", "test", "-list", "^Fuzz", pkg).Output()
		if err != nil {
			return fmt.Errorf("go test -list %s: %w: %s", pkg, err, list)
		}
		for _, name := range strings.Fields(string(list)) {
			if !strings.HasPrefix(name, "Fuzz") || !strings.Contains(name, c.Only) {
				continue
			}
			ran++
			fmt.Printf("== %s %s\n", pkg, name)
			cmd := exec.CommandContext(ctx, "go", "test", pkg, "-run", "^$", "-fuzz", "^"+name+"$", "-fuzztime", c.Time.String(),
				"-fuzzminimizetime", "10x", // making interesting inputs small would otherwise take most of the minute
				"-timeout", (c.Time + 5*time.Minute).String())
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, os.Stderr
			err := cmd.Run()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			keep := 2
			if err != nil {
				failed = append(failed, fmt.Errorf("%s %s: %w", pkg, name, err))
				keep = 30
			}
			fmt.Println("  " + strings.Join(lines[max(0, len(lines)-keep-1):], "\n  "))
		}
	}
	if ran == 0 {
		return errors.New("there is no such function")
	}
	fmt.Printf("%d functions, %d with a finding\n", ran, len(failed))
	return errors.Join(failed...)
}
