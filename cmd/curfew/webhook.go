package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"curfew/internal/notify"
	"curfew/internal/view"
	"curfew/models"
)

type webhookCommands struct {
	Add    webhookAddCommand    `cmd:"" help:"Register a webhook; its secret is shown once."`
	List   webhookListCommand   `cmd:"" help:"List the webhooks: the last answer, how far behind, what was dropped."`
	Test   webhookTestCommand   `cmd:"" help:"Send one message now and say what came of it."`
	Rotate webhookRotateCommand `cmd:"" help:"Give a webhook a new secret. For a day messages are signed with both."`
	Delete webhookDeleteCommand `cmd:"" help:"Forget a webhook, and what it was not told yet."`
}

type webhookAddCommand struct {
	URL   string `arg:"" help:"An https address. Whom it must not reach is refused when a message is sent."`
	Types names  `placeholder:"TYPE,…" help:"Which messages it gets, separated by commas; default all."`
	jsonFlag
}

func (c *webhookAddCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		r, secret, err := s.CreateWebhook(p.ctx, c.URL, c.Types, cliActor)
		if err != nil {
			return err
		}
		return p.showWebhookSecret(r.ID, secret, c.JSON, "added")
	})
}

// showWebhookSecret says a new secret, once.
func (p *program) showWebhookSecret(id uuid.UUID, secret string, asJSON bool, did string) error {
	if asJSON {
		return p.printJSON(view.WebhookSecret{ID: id.String(), Secret: secret})
	}
	_, err := fmt.Fprintf(p.stdout, "webhook %s: %s\nsecret: %s\nIt cannot be shown again.\n", id, did, secret)
	return err
}

type webhookListCommand struct{ jsonFlag }

func (c *webhookListCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		list, err := s.ListReceivers(p.ctx, models.ReceiverWebhook)
		if err != nil {
			return err
		}
		shown := view.List(list, view.NewReceiver)
		if c.JSON {
			return p.printJSON(shown)
		}
		return p.printTable("ID\tURL\tTYPES\tLAST TRY\tLAST ANSWER\tFAILING SINCE\tBEHIND\tDROPPED", func(row func(...any)) {
			for _, r := range shown {
				kinds := strings.Join(r.Types, ",")
				if len(r.Types) == len(models.NoticeTypes) {
					kinds = "all"
				}
				row(r.ID, r.URL, kinds, moment(r.LastTryAt), r.LastAnswer, moment(r.FailingSince), r.Behind, r.Dropped)
			}
		})
	})
}

// webhookID is the argument of the commands that name one.
type webhookID struct {
	ID string `arg:"" help:"Its id."`
}

func (w webhookID) parse() (uuid.UUID, error) {
	id, ok := view.ParseUUID(w.ID)
	if !ok {
		return uuid.Nil, usage("%q is not the id of a webhook; see curfew webhook list", w.ID)
	}
	return id, nil
}

type webhookTestCommand struct {
	webhookID
	jsonFlag
}

// Run sends from this machine, by the rules for servers.
func (c *webhookTestCommand) Run(p *program) error {
	id, err := c.parse()
	if err != nil {
		return err
	}
	cfg, _, err := readConfig(p.env, needsSecret)
	if err != nil {
		return err
	}
	return p.withStore(func(s *models.Store) error {
		n := notify.New(notify.Config{
			Store: s, Issuer: cfg.store.Issuer, Client: cfg.outboundClient(), Logger: cfg.logger(p.stderr, true),
		})
		defer n.Close()
		answer, err := n.Test(p.ctx, id)
		if err != nil {
			return naming("webhook", c.ID, err)
		}
		if c.JSON {
			err = p.printJSON(view.WebhookTest{
				OK: answer.OK(), Status: answer.Status, Answer: answer.String(), Millis: answer.Took.Milliseconds(),
			})
		} else {
			_, err = fmt.Fprintf(p.stdout, "webhook %s: %s, %d ms\n", id, answer, answer.Took.Milliseconds())
		}
		if err == nil && !answer.OK() {
			err = errors.New("the webhook did not take the message")
		}
		return err
	})
}

type webhookRotateCommand struct {
	webhookID
	jsonFlag
}

func (c *webhookRotateCommand) Run(p *program) error {
	id, err := c.parse()
	if err != nil {
		return err
	}
	return p.withStore(func(s *models.Store) error {
		secret, err := s.RotateWebhookSecret(p.ctx, id, cliActor)
		if err != nil {
			return naming("webhook", c.ID, err)
		}
		return p.showWebhookSecret(id, secret, c.JSON, "has a new secret; for a day messages are signed with both")
	})
}

type webhookDeleteCommand struct{ webhookID }

func (c *webhookDeleteCommand) Run(p *program) error {
	id, err := c.parse()
	if err != nil {
		return err
	}
	return p.withStore(func(s *models.Store) error {
		if err := s.DeleteWebhook(p.ctx, id, cliActor); err != nil {
			return naming("webhook", c.ID, err)
		}
		_, err := fmt.Fprintf(p.stdout, "webhook %s: deleted\n", id)
		return err
	})
}
