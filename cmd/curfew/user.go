package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"

	"curfew/internal/view"
	"curfew/models"
)

type userCommands struct {
	Add     userAddCommand     `cmd:"" help:"Add a user."`
	Set     userSetCommand     `cmd:"" help:"Change what apps are told of a user: name and email."`
	List    userListCommand    `cmd:"" help:"List the users."`
	Disable userDisableCommand `cmd:"" help:"Disable a user: signed out everywhere, and no sign-in."`
	Enable  userEnableCommand  `cmd:"" help:"Enable a user again; old tokens stay dead."`
	Passwd  userPasswdCommand  `cmd:"" help:"Set a user's password, and sign the user out everywhere."`
	Unlock  userUnlockCommand  `cmd:"" help:"Clear the counts of wrong passwords, sign-ins, codes and renames of a user."`
	Admin   userAdminCommand   `cmd:"" help:"Make a user an admin, or no admin any more, which signs out everywhere."`
	Import  userImportCommand  `cmd:"" help:"Add users with the password hashes of another system."`
	Delete  userDeleteCommand  `cmd:"" help:"Delete a user and the devices. All tokens die."`
}

type userAddCommand struct {
	Name          string `arg:"" name:"username" help:"User name; case does not matter (RFC 8265)."`
	PasswordStdin bool   `help:"Take the password from standard input; it comes from nowhere else."`
	Admin         bool   `help:"The user may have tokens for the admin API."`
	FullName      string `name:"name" help:"What people call the user; told to apps with the scope profile."`
	Email         string `help:"Told to apps with the scope email."`
	EmailVerified bool   `help:"You have made sure that the address is the user's."`
	jsonFlag
}

func (c *userAddCommand) Run(p *program) error {
	password, err := p.readPassword(c.PasswordStdin)
	if err != nil {
		return err
	}
	return p.withStore(func(s *models.Store) error {
		u, err := s.CreateUser(p.ctx, models.NewUser{
			Username: c.Name, Password: password, Admin: c.Admin,
			UserProfile: models.UserProfile{Name: c.FullName, Email: c.Email, EmailVerified: c.EmailVerified},
		}, cliActor)
		if err != nil {
			return naming("user", c.Name, err)
		}
		if c.JSON {
			return p.printJSON(struct {
				ID       uuid.UUID `json:"id"`
				Username string    `json:"username"`
			}{u.ID, u.Username})
		}
		_, err = fmt.Fprintf(p.stdout, "user %s: added, %s\n", u.Username, u.ID)
		return err
	})
}

// readPassword never takes one from the arguments: every user of the machine can read those.
func (p *program) readPassword(stdin bool) (string, error) {
	if !stdin {
		return "", usage("say --password-stdin, and give the password on standard input")
	}
	return p.readSecret("the password")
}

type userListCommand struct {
	Prefix string `help:"Only those whose name starts with it."`
	jsonFlag
}

func (c *userListCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		users, err := allPages(func(page models.Page) ([]models.User, string,
			error,
		) {
			return s.ListUsers(p.ctx, c.Prefix, page)
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(view.List(users, view.NewUser))
		}
		return p.printTable("USER\tID\tADMIN\tDISABLED\tCREATED", func(row func(...any)) {
			for _, u := range users {
				row(u.Username, u.ID, u.Admin, moment(u.DisabledAt), moment(u.CreatedAt))
			}
		})
	})
}

// changeUser changes one user and says what that signed out. did completes "user NAME: …".
func (p *program) changeUser(name, did string, change models.UserPatch, flags receiptFlags) error {
	return p.withStore(func(s *models.Store) error {
		u, err := s.FindUser(p.ctx, name)
		if err != nil {
			return naming("user", name, err)
		}
		u, out, err := s.UpdateUser(p.ctx, u.ID, change, cliActor)
		if err != nil {
			return naming("user", name, err)
		}
		if out != nil {
			did += ", " + devicesOut(out.Count)
		}
		return p.report(s, "user "+u.Username, did, out, flags)
	})
}

type userDisableCommand struct {
	Name string `arg:"" help:"User name."`
	receiptFlags
}

func (c *userDisableCommand) Run(p *program) error {
	yes := true
	return p.changeUser(c.Name, "disabled", models.UserPatch{Disabled: &yes}, c.receiptFlags)
}

type userEnableCommand struct {
	Name string `arg:"" help:"User name."`
	jsonFlag
}

func (c *userEnableCommand) Run(p *program) error {
	no := false
	return p.changeUser(c.Name, "enabled", models.UserPatch{Disabled: &no}, receiptFlags{jsonFlag: c.jsonFlag})
}

type userPasswdCommand struct {
	Name          string `arg:"" help:"User name."`
	PasswordStdin bool   `help:"Take the password from standard input; it comes from nowhere else."`
	receiptFlags
}

func (c *userPasswdCommand) Run(p *program) error {
	password, err := p.readPassword(c.PasswordStdin)
	if err != nil {
		return err
	}
	return p.changeUser(c.Name, "password changed", models.UserPatch{Password: &password}, c.receiptFlags)
}

type userUnlockCommand struct {
	Name string `arg:"" help:"User name."`
	jsonFlag
}

// Help says what stays.
func (c *userUnlockCommand) Help() string {
	return "What counts against an address alone, whoever it tried, stays until it has come back."
}

func (c *userUnlockCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		u, err := s.FindUser(p.ctx, c.Name)
		if err != nil {
			return naming("user", c.Name, err)
		}
		lifted, err := s.ReachedLimits(p.ctx, u)
		if err != nil {
			return err
		}
		if u, err = s.UnlockUser(p.ctx, u.ID, cliActor); err != nil {
			return naming("user", c.Name, err)
		}
		if c.JSON {
			return p.printJSON(view.NewOneUser(u, lifted))
		}
		_, err = fmt.Fprintf(p.stdout, "user %s: unlocked; of the limits %d were reached\n", u.Username, len(lifted))
		return err
	})
}

type userAdminCommand struct {
	Name string `arg:"" help:"User name."`
	On   bool   `xor:"to" required:"" help:"The user may have tokens for the admin API."`
	Off  bool   `xor:"to" required:"" help:"No more. Signs the user out everywhere, if it could."`
	receiptFlags
}

func (c *userAdminCommand) Run(p *program) error {
	did := "an admin"
	if c.Off {
		did = "no admin"
	}
	return p.changeUser(c.Name, did, models.UserPatch{Admin: &c.On}, c.receiptFlags)
}

type userDeleteCommand struct {
	Name string `arg:"" help:"User name."`
	signOutFlags
}

func (c *userDeleteCommand) Run(p *program) error {
	return p.withStore(func(s *models.Store) error {
		u, err := s.FindUser(p.ctx, c.Name)
		if err != nil {
			return naming("user", c.Name, err)
		}
		if c.DryRun {
			return naming("user", c.Name, p.dryRun(s, models.WholeUser(u.ID), "user "+u.Username, c.jsonFlag))
		}
		out, err := s.DeleteUser(p.ctx, u.ID, cliActor)
		if err != nil {
			return naming("user", c.Name, err)
		}
		return p.report(s, "user "+u.Username, "deleted, "+devicesOut(out.Count), out, c.receiptFlags)
	})
}

type userImportCommand struct {
	File   string `arg:"" help:"CSV file, username,password_hash; a header line or none; - is standard input."`
	DryRun bool   `help:"Check every line and add nobody."`
	jsonFlag
}

// Help says which hashes are taken.
func (c *userImportCommand) Help() string {
	return "Hashes: bcrypt, argon2id, argon2i, scrypt and pbkdf2, in PHC or crypt form or as Django, passlib, werkzeug, Kratos " +
		"and Firebase ($firescrypt$ln=MEM_COST,r=ROUNDS,p=1$SALT$HASH$SEPARATOR$SIGNER_KEY) write them. Each is replaced by " +
		"argon2id at the user's next successful sign-in. bcrypt knows the first 72 bytes of a password only, as in the system " +
		"that made the hash: a user with a longer one signs in with it, and keeps that hash until the password is changed. " +
		"Hashes that cost next to nothing (pbkdf2 of less than 1000 rounds) or too much (bcrypt beyond cost 14) are refused. " +
		"User names differ as in RFC 8265: case, width and the composition of accents make no other name. Users that exist are " +
		"skipped. Lines that cannot be used are named and do not stop the " +
		"others; then the exit code is 1."
}

// imported is what became of the lines.
type imported struct {
	DryRun   bool           `json:"dry_run"`
	Imported int            `json:"imported"`
	Skipped  int            `json:"skipped"`
	Failed   int            `json:"failed"`
	Lines    []importedLine `json:"lines"` // those that were skipped or failed
}

// importedLine never holds the hash, nor the name of a line that failed: the columns may be the wrong way round.
type importedLine struct {
	Line     int    `json:"line"`
	Result   string `json:"result"` // skipped, failed
	Username string `json:"username,omitempty"`
	Reason   string `json:"reason"`
}

func (c *userImportCommand) Run(p *program) error {
	in := p.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return p.withStore(func(s *models.Store) error {
		result := imported{DryRun: c.DryRun, Lines: []importedLine{}}
		if err := p.importUsers(s, in, &result); err != nil {
			return fmt.Errorf("%w; before that %d users were imported", err, result.Imported)
		}
		if err := p.reportImport(&result, c.JSON); err != nil {
			return err
		}
		if result.Failed > 0 {
			return fmt.Errorf("%d lines could not be imported", result.Failed)
		}
		return nil
	})
}

func (p *program) reportImport(result *imported, asJSON bool) error {
	if asJSON {
		return p.printJSON(result)
	}
	for _, l := range result.Lines {
		fmt.Fprintf(p.stderr, "line %d: %s: %s\n", l.Line, l.Result, l.Reason)
	}
	did := "imported"
	if result.DryRun {
		did = "could be imported"
	}
	_, err := fmt.Fprintf(p.stdout, "%d users %s, %d skipped, %d failed\n", result.Imported, did, result.Skipped,
		result.Failed)
	return err
}

// importUsers reads line by line. It stops only when the file or the database fails.
func (p *program) importUsers(s *models.Store, in io.Reader, result *imported) error {
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	seen := map[string]int{} // folded name -> line: the database does not know them in a dry run
	for first := true; ; first = false {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if broken, ok := errors.AsType[*csv.ParseError](err); ok {
			result.fail(broken.StartLine, broken.Err)
			continue
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		if first {
			record[0] = strings.TrimPrefix(record[0], "\uFEFF") // as spreadsheets write it
		}
		if len(record) != 2 {
			result.fail(line, fmt.Errorf("it has %d columns; it must have two: username,password_hash", len(record)))
			continue
		}
		name, hash := record[0], record[1]
		if first && strings.EqualFold(name, "username") && strings.EqualFold(hash, "password_hash") {
			continue
		}
		if before, ok := seen[models.UsernameKey(name)]; ok {
			result.fail(line, fmt.Errorf("the same user is in line %d", before))
			continue
		}
		seen[models.UsernameKey(name)] = line
		if err := p.importUser(s, name, hash, result.DryRun); err != nil {
			switch {
			case errors.Is(err, models.ErrConflict):
				result.Skipped++
				result.Lines = append(result.Lines, importedLine{
					Line: line, Result: "skipped", Username: name,
					Reason: "the user exists already",
				})
			case errors.Is(err, models.ErrInvalid):
				result.fail(line, err)
			default:
				return fmt.Errorf("line %d: %w", line, err)
			}
			continue
		}
		result.Imported++
	}
}

func (p *program) importUser(s *models.Store, name, hash string, dryRun bool) error {
	if hash == "" { // CreateUser would take the empty password
		return fmt.Errorf("%w: the password hash is empty", models.ErrInvalid)
	}
	if !dryRun {
		_, err := s.CreateUser(p.ctx, models.NewUser{Username: name, PasswordHash: hash}, cliActor)
		return err
	}
	if err := models.CheckUsername(name); err != nil {
		return err
	}
	if _, err := models.ImportHash(hash); err != nil {
		return err
	}
	switch _, err := s.FindUser(p.ctx, name); {
	case errors.Is(err, models.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return models.ErrConflict
}

func (r *imported) fail(line int, reason error) {
	r.Failed++
	text := strings.ReplaceAll(reason.Error(), models.ErrInvalid.Error()+": ", "")
	r.Lines = append(r.Lines, importedLine{Line: line, Result: "failed", Reason: text})
}
