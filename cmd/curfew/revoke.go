package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"curfew/internal/view"
	"curfew/models"
)

type revokeCommands struct {
	Everyone revokeEveryoneCommand `cmd:"" help:"Sign out everyone, everywhere: every token of every user and client."`
	User     revokeUserCommand     `cmd:"" help:"Sign out a user everywhere."`
	Client   revokeClientCommand   `cmd:"" help:"Sign out every device of a client."`
	Device   revokeDeviceCommand   `cmd:"" help:"Sign out one device."`
}

// receiptFlags are those of everything that signs out.
type receiptFlags struct {
	Wait time.Duration `default:"1s" help:"How long to wait for all resource servers; 0s: not (default: ${default})."`
	jsonFlag
}

// signOutFlags are those of what does nothing but sign out, or deletes.
type signOutFlags struct {
	DryRun bool `help:"Say how many devices it would sign out, and do nothing."`
	receiptFlags
}

// revoke signs out, or says in a dry run what that would do. did says for people what happened.
func (p *program) revoke(s *models.Store, t models.Target, subject string, did func(*models.SignOut) string,
	flags signOutFlags,
) error {
	if flags.DryRun {
		return p.dryRun(s, t, subject, flags.jsonFlag)
	}
	out, err := s.Revoke(p.ctx, t, models.ReasonRevoked, cliActor)
	if err != nil {
		return err
	}
	return p.report(s, subject, did(out), out, flags.receiptFlags)
}

// dryRun says how many devices a sign-out would end. It fails where that would.
func (p *program) dryRun(s *models.Store, t models.Target, subject string, flags jsonFlag) error {
	n, err := s.CountTarget(p.ctx, t)
	if err != nil {
		return err
	}
	if flags.JSON {
		return p.printJSON(view.DryRun{DryRun: true, Count: n})
	}
	_, err = fmt.Fprintf(p.stdout, "%s: nothing was done; it would be %s\n", subject, devicesOut(n))
	return err
}

func signedOut(*models.SignOut) string { return "signed out" }

// report says what a sign-out did and where it has been applied. out may be nil: nobody was signed out.
func (p *program) report(s *models.Store, subject, did string, out *models.SignOut, flags receiptFlags) error {
	if out == nil {
		out = &models.SignOut{Counted: true}
	}
	// The sign-out has happened: a signal must not hide what is known of it. The waiting is bounded.
	until := time.Now().Add(flags.Wait)
	shown := view.NewNamedSignOut(context.WithoutCancel(p.ctx), s, out, flags.Wait)
	if shown.Told != nil && shown.Told.Pending > 0 {
		shown.Told = p.waitTold(s, out.Revocation.Seq, until)
	}
	if flags.JSON {
		return p.printJSON(shown)
	}
	line := subject + ": " + did
	if flags.Wait > 0 && out.Revocation != nil {
		switch a := shown.Applied; {
		case a == nil:
			line += "; where it has been applied is not known"
		case a.Subscribers == 0:
			line += "; no server follows the revocation feed"
		default:
			line += fmt.Sprintf("; applied at %d of %d servers", a.Acknowledged, a.Subscribers)
			if a.Acknowledged > 0 {
				line += fmt.Sprintf(", slowest %d ms", a.SlowestMS)
			}
			if len(a.Missing) > 0 {
				line += "; missing: " + strings.Join(a.Missing, ", ")
			}
		}
		line += toldLine(shown.Told)
	}
	_, err := fmt.Fprintln(p.stdout, line)
	return err
}

// waitTold waits, for what is left of the time, until outside apps have been told.
func (p *program) waitTold(s *models.Store, seq int64, until time.Time) *view.Told {
	for {
		t, err := s.Told(context.WithoutCancel(p.ctx), seq)
		if err != nil {
			return nil
		}
		if t.Pending == 0 || time.Now().After(until) {
			told := view.NewTold(t)
			return &told
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// toldLine says for people which outside apps were told.
func toldLine(t *view.Told) string {
	if t == nil || t.Receivers == 0 {
		return ""
	}
	line := fmt.Sprintf("; told %d of %d apps", t.Answered, t.Receivers)
	if t.Pending > 0 {
		line += fmt.Sprintf(", %d pending", t.Pending)
	}
	if t.Failed > 0 {
		line += fmt.Sprintf(", %d failed", t.Failed)
	}
	return line
}

// devicesOut counts for people.
func devicesOut(n int) string {
	if n == 1 {
		return "1 device out"
	}
	return fmt.Sprintf("%d devices out", n)
}

type revokeEveryoneCommand struct {
	Yes bool `help:"Do not ask."`
	signOutFlags
}

func (c *revokeEveryoneCommand) Run(p *program) error {
	if !c.Yes && !c.DryRun {
		if err := p.confirm("This signs out every user and every client. Type everyone to do it: ", "everyone"); err != nil {
			return err
		}
	}
	return p.withStore(func(s *models.Store) error {
		return p.revoke(s, models.Everyone(), "everyone", signedOut, c.signOutFlags)
	})
}

// confirm asks the person at the terminal. Without one it refuses.
func (p *program) confirm(question, answer string) error {
	if !isTerminal(p.stdin) {
		return usage("nobody can be asked here: say --yes")
	}
	fmt.Fprint(p.stderr, question)
	if line, err := bufio.NewReader(p.stdin).ReadString('\n'); err == nil && strings.TrimSpace(line) == answer {
		return nil
	}
	return errors.New("nothing was done")
}

// isTerminal tells a terminal from a file, a pipe, and the null device that cron and the like give.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

type revokeUserCommand struct {
	Name string `arg:"" help:"User name."`
	signOutFlags
}

func (c *revokeUserCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		u, err := s.FindUser(p.ctx, c.Name)
		if err != nil {
			return naming("user", c.Name, err)
		}
		did := func(out *models.SignOut) string { return devicesOut(out.Count) }
		return naming("user", c.Name, p.revoke(s, models.WholeUser(u.ID), "user "+u.Username, did, c.signOutFlags))
	})
}

type revokeClientCommand struct {
	ID string `arg:"" help:"Its client_id."`
	signOutFlags
}

func (c *revokeClientCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		return naming("client", c.ID, p.revoke(s, models.WholeClient(c.ID), "client "+c.ID, signedOut, c.signOutFlags))
	})
}

// revokeDeviceCommand is also `device revoke`.
type revokeDeviceCommand struct {
	ID string `arg:"" help:"Its GUID."`
	signOutFlags
}

func (c *revokeDeviceCommand) Run(p *program) error {
	id, err := deviceID(c.ID)
	if err != nil {
		return err
	}
	return p.withStore(func(s *models.Store) error {
		did := func(out *models.SignOut) string {
			if out.Count == 0 {
				return "was out already"
			}
			return "signed out"
		}
		return naming("device", c.ID, p.revoke(s, models.OneDevice(id), "device "+c.ID, did, c.signOutFlags))
	})
}
