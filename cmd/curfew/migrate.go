package main

import (
	"fmt"
	"strings"

	"curfew/models"
)

type migrateCommand struct{ jsonFlag }

// Run may be called by several nodes at once: one works, the others wait and find nothing to do. It takes no secret.
func (c *migrateCommand) Run(p *program) error {
	cfg, warnings, err := readConfig(p.toolEnv(), needsNoSecret)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(p.stderr, "curfew: warning: %s\n", w)
	}
	cfg.store.Logger = cfg.logger(p.stderr, true)
	applied, err := models.Migrate(p.ctx, cfg.store)
	if err != nil {
		return err
	}
	if c.JSON {
		return p.printJSON(map[string][]int64{"applied": append([]int64{}, applied...)})
	}
	if len(applied) == 0 {
		fmt.Fprintln(p.stdout, "the schema is up to date")
		return nil
	}
	fmt.Fprintf(p.stdout, "applied: %s\n", strings.Trim(fmt.Sprint(applied), "[]"))
	return nil
}
