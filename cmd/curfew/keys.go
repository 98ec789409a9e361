package main

import (
	"fmt"
	"time"

	"curfew/models"
)

type keysCommands struct {
	List   keysListCommand   `cmd:"" help:"List the signing keys, newest first."`
	Rotate keysRotateCommand `cmd:"" help:"Make a new signing key. It signs in ten minutes; nobody is signed out."`
}

// keyJSON is a signing key as JSON shows it.
type keyJSON struct {
	KID         string        `json:"kid"`
	Alg         string        `json:"alg"`
	Purpose     string        `json:"purpose"`
	CreatedAt   models.Micros `json:"created_at"`
	ActivatesAt models.Micros `json:"activates_at"`
	RetiresAt   models.Micros `json:"retires_at"`
}

func newKeyJSON(k models.SigningKey) keyJSON {
	return keyJSON{
		KID: k.KID, Alg: k.Alg, Purpose: k.Purpose, CreatedAt: k.CreatedAt, ActivatesAt: k.ActivatesAt, RetiresAt: k.RetiresAt,
	}
}

type keysListCommand struct{ jsonFlag }

func (c *keysListCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		keys, err := s.ListKeys(p.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			list := []keyJSON{}
			for _, k := range keys {
				list = append(list, newKeyJSON(k))
			}
			return p.printJSON(list)
		}
		return p.printTable("KEY ID\tALG\tSIGNS\tCREATED\tSIGNS FROM\tPUBLISHED UNTIL", func(row func(...any)) {
			for _, k := range keys {
				row(k.KID, k.Alg, k.Purpose, moment(k.CreatedAt), moment(k.ActivatesAt), moment(k.RetiresAt))
			}
		})
	})
}

type keysRotateCommand struct {
	Now bool `help:"For a key that leaked: use it at once; every access token of the others dies."`
	jsonFlag
}

func (c *keysRotateCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		k, err := s.RotateKeys(p.ctx, c.Now, cliActor)
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(newKeyJSON(*k))
		}
		_, err = fmt.Fprintf(p.stdout, "key %s (%s) is published and signs from %s on\n", k.KID, k.Alg,
			k.ActivatesAt.Time().Format(time.RFC3339))
		return err
	})
}
