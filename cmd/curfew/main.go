// Command curfew is the token server and the tools of those who run it.
//
// It is the only place of the project that reads arguments, the environment, files and signals. Exit codes: 0 done, 1
// failed, 2 wrong arguments or configuration.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"curfew/models"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version string

// commands is the command line: one field a command, its flags and arguments in the command's own struct.
type commands struct {
	Dev         devCommand         `cmd:"" help:"Run it all on SQLite in a folder, with a demo user, client and admin."`
	Serve       serveCommand       `cmd:"" help:"Run the server. It is configured by the environment only."`
	Gate        gateCommand        `cmd:"" help:"Check access tokens for a proxy. Configured by the environment only."`
	Migrate     migrateCommand     `cmd:"" help:"Bring the database's schema up to date."`
	User        userCommands       `cmd:"" help:"Add, list, disable, enable, import and delete users, and set passwords."`
	Client      clientCommands     `cmd:"" help:"Add, change, list and delete clients, and give them new secrets."`
	Device      deviceCommands     `cmd:"" help:"List, rename and revoke devices."`
	Revoke      revokeCommands     `cmd:"" help:"Sign out everyone, a user, a client or a device, and say where."`
	Webhook     webhookCommands    `cmd:"" help:"Add, list, test, rotate and delete webhooks."`
	Keys        keysCommands       `cmd:"" help:"List and rotate the keys that sign access tokens."`
	Cleanup     cleanupCommand     `cmd:"" help:"Remove what ended long ago, as the server does every ten minutes."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the server on this machine whether it is ready; for containers."`
	Version     versionCommand     `cmd:"" help:"Say which version this is."`
	Hash        hashCommand        `cmd:"" hidden:""`
}

// program is what a command may touch of the outside.
type program struct {
	ctx    context.Context // ends at SIGINT and SIGTERM
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	env    []string
	self   string // the path of this executable; empty: do not start it
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal kills
	p := &program{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Environ()}
	p.self, _ = os.Executable()
	os.Exit(p.run(os.Args[1:]))
}

func (p *program) run(args []string) int {
	var c commands
	parser, err := kong.New(&c, kong.Name("curfew"), kong.Writers(p.stdout, p.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Description("A token server whose sign-out is real. Configuration: curfew serve --help."))
	if err != nil {
		panic(err) // the structs above are wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(p.stderr, "curfew: %s\nTry curfew --help.\n", err)
		return 2
	}
	err = command.Run(p)
	if err == nil {
		return 0
	}
	fmt.Fprintf(p.stderr, "curfew: %s\n", err)
	if _, ok := errors.AsType[usageError](err); ok || errors.Is(err, models.ErrInvalid) {
		return 2
	}
	return 1
}

// usageError is a wrong argument or a wrong configuration: trying again does not help.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// cliActor is who the audit log names for what is done on the command line.
var cliActor = models.Actor{Entity: models.EntityAdmin, ID: "cli"}

// withStore opens the store that the environment names, and closes it after fn.
func (p *program) withStore(fn func(s *models.Store) error) error {
	cfg, warnings, err := readConfig(p.toolEnv(), needsSecret)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(p.stderr, "curfew: warning: %s\n", w)
	}
	// A mistyped path would otherwise be a new, empty database, in which everyone is signed out already.
	if path, ok := strings.CutPrefix(cfg.store.DatabaseURL, "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the database file of CURFEW_DATABASE_URL: %w; `curfew migrate` makes it", err)
		} else if err != nil {
			return fmt.Errorf("the database file of CURFEW_DATABASE_URL: %w", err)
		}
	}
	cfg.store.Logger = cfg.logger(p.stderr, true)
	s, err := models.Open(p.ctx, cfg.store)
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

// naming says which thing an error is about.
func naming(kind, name string, err error) error {
	switch {
	case errors.Is(err, models.ErrNotFound):
		return fmt.Errorf("there is no %s %q", kind, name)
	case errors.Is(err, models.ErrConflict):
		return fmt.Errorf("there is a %s %q already", kind, name)
	}
	return err
}

// allPages reads a list to its end.
func allPages[T any](page func(models.Page) ([]T, string, error)) ([]T, error) {
	all := []T{} // an empty list is [] in JSON
	for p := (models.Page{Limit: models.MaxPage}); ; {
		list, next, err := page(p)
		if err != nil {
			return nil, err
		}
		if all = append(all, list...); next == "" {
			return all, nil
		}
		p.Cursor = next
	}
}

// jsonFlag is embedded in every command whose output a script would read.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printTable prints aligned columns.
func (p *program) printTable(head string, rows func(row func(cells ...any))) error {
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	})
	return w.Flush()
}

// moment is a time as a table shows it.
func moment(m models.Micros) string {
	if m == 0 {
		return "-"
	}
	return m.Time().Format("2006-01-02 15:04:05Z")
}

// maxSecretInput bounds what is read as a secret from standard input.
const maxSecretInput = 4096

// readSecret reads a secret from standard input; one line end is cut off, so that `echo` works.
func (p *program) readSecret(what string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(p.stdin, maxSecretInput+1))
	if err != nil {
		return "", fmt.Errorf("%s on standard input: %w", what, err)
	}
	text := string(b)
	if line, cut := strings.CutSuffix(text, "\n"); cut {
		text = strings.TrimSuffix(line, "\r")
	}
	switch {
	case text == "":
		return "", usage("%s on standard input is empty", what)
	case len(b) > maxSecretInput:
		return "", usage("%s on standard input is longer than %d bytes", what, maxSecretInput)
	}
	return text, nil
}

type versionCommand struct{ jsonFlag }

func (c *versionCommand) Run(p *program) error {
	if c.JSON {
		return p.printJSON(map[string]string{"version": versionText()})
	}
	fmt.Fprintln(p.stdout, versionText())
	return nil
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
