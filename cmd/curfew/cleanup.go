package main

import (
	"fmt"

	"curfew/models"
)

type cleanupCommand struct{ jsonFlag }

func (c *cleanupCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		n, err := s.Cleanup(p.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(n)
		}
		_, err = fmt.Fprintf(p.stdout, "removed: %d devices, %d revocations, %d audit events, %d limits, %d signing keys, "+
			"%d subscribers, %d receipts\n",
			n.Devices, n.Revocations, n.AuditEvents, n.RateLimits, n.SigningKeys, n.Subscribers, n.Receipts)
		return err
	})
}
