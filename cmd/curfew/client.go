package main

import (
	"fmt"
	"net/url"

	"curfew/internal/view"
	"curfew/models"
)

type clientCommands struct {
	Add    clientAddCommand    `cmd:"" help:"Register a client. The secret of a confidential one is shown once."`
	Set    clientSetCommand    `cmd:"" help:"Change a client; what is not named stays. It counts on every node with the next request."`
	List   clientListCommand   `cmd:"" help:"List the clients."`
	Secret clientSecretCommand `cmd:"" help:"Give a client a new secret; the old one stops at once, its tokens stay."`
	Delete clientDeleteCommand `cmd:"" help:"Delete a client. All its tokens die."`
}

type clientAddCommand struct {
	ID          string `arg:"" help:"Its client_id."`
	Name        string `help:"What its users see in the list of their devices; default the id."`
	Public      bool   `help:"An app without a secret (RFC 6749 section 2.1)."`
	Grants      names  `required:"" placeholder:"GRANT,…" help:"password, authorization_code, refresh_token, client_credentials; separated by commas."`
	Scopes      words  `placeholder:"\"SCOPE …\"" help:"Scopes that it may ask for, separated by spaces."`
	Introspect  bool   `help:"It may ask for the state of any token (RFC 7662)."`
	SecretStdin bool   `help:"Take its secret from standard input, instead of making one."`

	RefreshCookie bool `help:"Its refresh tokens are cookies, for an app in a browser on the same site; no script holds one."`
	clientFlags
	jsonFlag
}

func (c *clientAddCommand) Run(p *program) error {
	in := c.client(models.NewClient{
		ID: c.ID, Name: c.Name, Public: c.Public, Grants: c.Grants, Scopes: c.Scopes, Introspect: c.Introspect,
		RefreshCookie: c.RefreshCookie,
	})
	if c.SecretStdin {
		var err error
		if in.Secret, err = p.readClientSecret(); err != nil {
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

type clientSetCommand struct {
	ID         string  `arg:"" help:"Its client_id."`
	Name       *string `help:"What its users see in the list of their devices."`
	Grants     names   `placeholder:"GRANT,…" help:"All that it may use."`
	Scopes     words   `placeholder:"\"SCOPE …\"" help:"All that it may ask for."`
	Introspect *bool   `negatable:"" help:"It may ask for the state of any token (RFC 7662)."`

	RefreshCookie *bool `negatable:"" help:"Its refresh tokens are cookies."`
	clientFlags
	jsonFlag
}

func (c *clientSetCommand) Run(p *program) error {
	change := c.patch()
	change.Name, change.Grants, change.Scopes = c.Name, words(c.Grants).change(), c.Scopes.change()
	change.Introspect, change.RefreshCookie = c.Introspect, c.RefreshCookie
	if change == (models.ClientPatch{}) {
		return usage("there is nothing to change; see curfew client set --help")
	}
	return p.withStore(func(s *models.Store) error {
		client, err := s.UpdateClient(p.ctx, c.ID, change, cliActor)
		if err != nil {
			return naming("client", c.ID, err)
		}
		if c.JSON {
			return p.printJSON(view.NewClient(client))
		}
		_, err = fmt.Fprintf(p.stdout, "client %s: changed\n", client.ID)
		return err
	})
}

// readClientSecret takes a client's secret from standard input, and warns of one that many clients cannot send: in HTTP
// Basic it is form-urlencoded (RFC 6749 section 2.3.1), which they leave out.
func (p *program) readClientSecret() (string, error) {
	secret, err := p.readSecret("the client secret")
	if err != nil {
		return "", err
	}
	if read, err := url.QueryUnescape(secret); err != nil || read != secret {
		fmt.Fprintf(p.stderr, "curfew: warning: the secret has a + or a %%. In HTTP Basic a client must send it "+
			"form-urlencoded, as %%2B and %%25 (RFC 6749 section 2.3.1). Many do not, and will be refused: better take letters "+
			"and digits.\n")
	}
	return secret, nil
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
		if secret, err = p.readClientSecret(); err != nil {
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
	signOutFlags
}

func (c *clientDeleteCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		if c.DryRun {
			return naming("client", c.ID, p.dryRun(s, models.WholeClient(c.ID), "client "+c.ID, c.jsonFlag))
		}
		out, err := s.DeleteClient(p.ctx, c.ID, cliActor)
		if err != nil {
			return naming("client", c.ID, err)
		}
		return p.report(s, "client "+c.ID, "deleted", out, c.receiptFlags)
	})
}
