package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"curfew/internal/harness"
)

type shortCommand struct{}

// Run is the form for every change: a little of everything, in about four minutes on two cores.
func (c *shortCommand) Run(ctx context.Context) error {
	var failed []error
	begun := time.Now()
	binary, remove, err := harness.BuildProduct(ctx, "")
	if err != nil {
		return err
	}
	defer remove()
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"history, PostgreSQL", (&historyCommand{
			Nodes: 3, Duration: 12 * time.Second, Database: "postgres",
			Binary: binary,
		}).runWith(ctx)},
		{"history, SQLite", (&historyCommand{
			Nodes: 1, Duration: 6 * time.Second, Database: "sqlite",
			Binary: binary,
		}).runWith(ctx)},
		{"directed schedules", func() error { return directed(ctx, binary) }},
		{"mutants", func() error {
			return (&mutantsCommand{Quiet: true, Seed: 1, Binary: binary, Only: []string{
				"rotation-read-then-write", "valid-from-is-the-clock-before-its-commit", "local-check-forgets-the-user",
			}}).Run(ctx)
		}},
		{"faults", func() error {
			return (&faultsCommand{
				Only:   []string{"node-killed", "postgres-killed", "connections-cut", "clock-steps-back"},
				Binary: binary,
			}).Run(ctx)
		}},
		{"secrets", func() error { return (&secretsCommand{Duration: 3 * time.Second, Seed: 1, Binary: binary}).Run(ctx) }},
		{"upgrade", func() error { return (&upgradeCommand{Binary: binary}).Run(ctx) }},
		{"pgbouncer", func() error {
			return (&pgbouncerCommand{Duration: 4 * time.Second, Seed: 1, Binary: binary, brief: true}).Run(ctx)
		}},
		{"overload", func() error { return (&overloadCommand{Idle: 2000, Binary: binary, brief: true}).Run(ctx) }},
		{"blocking", func() error { return (&blockingCommand{Binary: binary, SignIns: 10}).Run(ctx) }},
	} {
		start := time.Now()
		fmt.Printf("== %s\n", part.name)
		if err := part.run(); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", part.name, err))
			fmt.Printf("== %s FAILED: %v\n", part.name, err)
		}
		fmt.Printf("== %s: %s\n", part.name, time.Since(start).Round(time.Second/10))
	}
	fmt.Printf("== all of it: %s\n", time.Since(begun).Round(time.Second))
	return errors.Join(failed...)
}

func (c *historyCommand) runWith(ctx context.Context) func() error {
	return func() error { return c.Run(ctx) }
}

// directed runs the directed schedules on the product.
func directed(ctx context.Context, binary string) error {
	for _, level := range []string{"repeatable read", "serializable"} {
		v, err := runScenarios(ctx, historyConfig{
			Binary: binary, Database: "postgres", Nodes: 2, Reuse: true, Rig: func(rc *rigConfig) {
				rc.Settings = []string{"fsync=off", "synchronous_commit=off", "default_transaction_isolation=" + level}
			},
		})
		if err != nil {
			return err
		}
		fmt.Print(v.report("postgres whose default isolation is " + level))
		if v.failed() {
			return errors.New("a directed schedule brought a history that the specification does not allow")
		}
	}
	for _, database := range []string{"postgres", "sqlite"} {
		for _, reuse := range []bool{true, false} {
			v, err := runScenarios(ctx, historyConfig{
				Binary: binary, Database: database, Nodes: 2, Reuse: reuse, Foreign: true,
			})
			if err != nil {
				return err
			}
			fmt.Print(v.report(fmt.Sprintf("%s, reuse interval %v", database, reuse)))
			if v.failed() {
				return errors.New("a directed schedule brought a history that the specification does not allow")
			}
		}
	}
	return nil
}

type directedCommand struct{}

// Run implements the command.
func (c *directedCommand) Run(ctx context.Context) error {
	binary, remove, err := harness.BuildProduct(ctx, "")
	if err != nil {
		return err
	}
	defer remove()
	return directed(ctx, binary)
}
