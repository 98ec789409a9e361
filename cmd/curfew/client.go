package main

import (
	"fmt"
	"strings"

	"curfew/internal/view"
	"curfew/models"
)

type clientCommands struct {
	Add    clientAddCommand    `cmd:"" help:"Register a client. The secret of a confidential one is shown once."`
	List   clientListCommand   `cmd:"" help:"List the clients."`
	Secret clientSecretCommand `cmd:"" help:"Give a client a new secret; the old one stops working at once, its tokens stay."`
	Delete clientDeleteCommand `cmd:"" help:"Delete a client. All its tokens die."`
}

type clientAddCommand struct {
	ID          string   `arg:"" help:"Its client_id."`
	Name        string   `help:"What its users see in the list of their devices; default the id."`
	Public      bool     `help:"An app without a secret (RFC 6749 section 2.1)."`
	Grants      []string `required:"" placeholder:"GRANT,…" help:"password, refresh_token, client_credentials; separated by commas."`
	Scopes      string   `placeholder:"\"SCOPE …\"" help:"Scopes that it may ask for, separated by spaces."`
	Introspect  bool     `help:"It may ask for the state of any token (RFC 7662)."`
	SecretStdin bool     `help:"Take its secret from standard input, instead of making one."`
	jsonFlag
}

func (c *clientAddCommand) Run(p *program) error {
	in := models.NewClient{
		ID: c.ID, Name: c.Name, Public: c.Public, Grants: c.Grants, Scopes: strings.Fields(c.Scopes),
		Introspect: c.Introspect,
	}
	if c.SecretStdin {
		var err error
		if in.Secret, err = p.readSecret("the client secret"); err != nil {
			return err
		}
	}
	return p.withStore(func(s *models.Store) error {
		client, secret, err := s.CreateClient(p.ctx, in, cliActor)
		if err != nil {
			return naming("client", c.ID, err)
		}
		return p.showSecret(client.ID, secret, c.SecretStdin, c.JSON, "added")
	})
}

// showSecret says a new secret, once; not one that came from standard input, which somebody has already.
func (p *program) showSecret(id, secret string, given, asJSON bool, did string) error {
	if asJSON {
		return p.printJSON(view.ClientSecret{ID: id, Secret: secret})
	}
	if _, err := fmt.Fprintf(p.stdout, "client %s: %s\n", id, did); err != nil || secret == "" || given {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "secret: %s\nIt is not kept and cannot be shown again.\n", secret)
	return err
}

type clientListCommand struct{ jsonFlag }

func (c *clientListCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		clients, err := allPages(func(page models.Page) ([]models.Client, string,
			error,
		) {
			return s.ListClients(p.ctx, page)
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(view.List(clients, view.NewClient))
		}
		return p.printTable("CLIENT\tNAME\tTYPE\tGRANTS\tSCOPES\tINTROSPECT", func(row func(...any)) {
			for _, c := range clients {
				kind := "confidential"
				if c.Public {
					kind = "public"
				}
				row(c.ID, c.Name, kind, c.Grants, c.Scopes, c.Introspect)
			}
		})
	})
}

type clientSecretCommand struct {
	ID          string `arg:"" help:"Its client_id."`
	SecretStdin bool   `help:"Take the secret from standard input, instead of making one."`
	jsonFlag
}

func (c *clientSecretCommand) Run(p *program) error {
	secret := ""
	if c.SecretStdin {
		var err error
		if secret, err = p.readSecret("the client secret"); err != nil {
			return err
		}
	}
	return p.withStore(func(s *models.Store) error {
		secret, err := s.RotateClientSecret(p.ctx, c.ID, secret, cliActor)
		if err != nil {
			return naming("client", c.ID, err)
		}
		return p.showSecret(c.ID, secret, c.SecretStdin, c.JSON, "has a new secret")
	})
}

type clientDeleteCommand struct {
	ID string `arg:"" help:"Its client_id."`
	receiptFlags
}

func (c *clientDeleteCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		out, err := s.DeleteClient(p.ctx, c.ID, cliActor)
		if err != nil {
			return naming("client", c.ID, err)
		}
		return p.report(s, "client "+c.ID, "deleted", out, c.receiptFlags)
	})
}
