package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"curfew/models"
)

// The demo's names. Its passwords are made anew for every data folder.
const (
	demoUser   = "demo"
	demoAdmin  = "admin"
	demoClient = "demo-app"
	demoWeb    = "demo-web"
	demoAPI    = "demo-api"
)

type devCommand struct {
	Data       string `default:"curfew-data" placeholder:"DIR" help:"Folder for everything that is kept (default: ${default})."`
	PublicAddr string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the public listener is (default: ${default})."`
	AdminAddr  string `default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Where the admin listener is (default: ${default})."`
	DemoAddr   string `default:"127.0.0.1:8082" placeholder:"HOST:PORT" help:"Where the demo app is going to be: its page may sign in from there (default: ${default})."`
	LogLevel   string `default:"warn" enum:"debug,info,warn,error" help:"What is logged: debug, info (requests too), warn, error (default: ${default})."`
	AccessTTL  string `name:"access-ttl" placeholder:"DURATION" help:"How long an access token lives (default: 5m)."`
	Issuer     string `placeholder:"URL" help:"How clients reach the public listener (default: its address)."`
}

// Help says what dev leaves alone.
func (c *devCommand) Help() string {
	return "CURFEW_ variables are not read: what they name may be a real database; dev says which ones it leaves alone. " +
		"Not for production: demo passwords are kept in the data folder. Commands that are run in the same folder find " +
		"the data in " + defaultData + " by themselves; for others dev prints the line that sets the variables."
}

// demoSecrets is the file demo.json in the data folder.
type demoSecrets struct {
	DemoPassword  string `json:"demo_password"`
	AdminPassword string `json:"admin_password"`
	APISecret     string `json:"api_client_secret"`
}

func (c *devCommand) Run(p *program) error {
	flags, err := c.serverVariables()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(c.Data, 0o700); err != nil {
		return err
	}
	secretFile, demoFile := filepath.Join(c.Data, secretName), filepath.Join(c.Data, "demo.json")
	if _, err := os.Stat(filepath.Join(c.Data, dataFile)); err == nil { // made last, so new ones would not fit it
		for _, name := range []string{secretFile, demoFile} {
			if _, err := os.Stat(name); err != nil {
				return fmt.Errorf("%w, and the database beside it is of no use without it: put it back, or remove %s to begin anew",
					err, c.Data)
			}
		}
	}
	if _, err := keepFile(secretFile, func() ([]byte, error) {
		secret := make([]byte, models.MinSecretSize)
		rand.Read(secret)
		return []byte(hex.EncodeToString(secret) + "\n"), nil
	}); err != nil {
		return err
	}
	text, err := keepFile(demoFile, func() ([]byte, error) {
		made := demoSecrets{DemoPassword: demoPassword(), AdminPassword: demoPassword(), APISecret: rand.Text()}
		return json.MarshalIndent(made, "", "  ")
	})
	if err != nil {
		return err
	}
	var demo demoSecrets
	if err := json.Unmarshal(text, &demo); err != nil {
		return fmt.Errorf("%s: %w", demoFile, err)
	}

	cfg, _, err := readConfig(slices.Concat(dataVariables(c.Data), flags, []string{
		prefix + "PUBLIC_ADDR=" + c.PublicAddr, prefix + "ADMIN_ADDR=" + c.AdminAddr,
		prefix + "LOG_FORMAT=text", prefix + "LOG_LEVEL=" + c.LogLevel, prefix + "SHUTDOWN_TIMEOUT=2s",
	}), needsSecret)
	if err != nil {
		return err
	}
	if err := explainData(p.stdout, c.Data, p.env); err != nil {
		return err
	}
	cfg.store.Hash.Command = p.hashCommand()
	n, err := startNode(p.ctx, cfg, cfg.logger(p.stderr, false))
	if err != nil {
		return err
	}
	if err := demo.create(p.ctx, n.store, "http://"+c.DemoAddr); err != nil {
		n.close()
		return err
	}
	demo.explain(p.stdout, places{
		data: c.Data, public: n.cfg.store.Issuer, admin: "http://" + n.listeners[1].Addr().String(),
		demo: c.DemoAddr,
	})
	return n.run(p.ctx)
}

// demoPassword is 80 random bits, easy to type and safe to paste.
func demoPassword() string { return strings.ToLower(rand.Text()[:16]) }

// keepFile reads a private file, and makes it if it is missing.
func keepFile(name string, content func() ([]byte, error)) ([]byte, error) {
	b, err := os.ReadFile(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = content(); err != nil {
		return nil, err
	}
	// Under another name first: half a file would be worse than none.
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return nil, err
	}
	return b, os.Rename(name+".new", name)
}

// create adds the demo's users and clients; those that are there already stay as they are, but for the page's address.
func (d *demoSecrets) create(ctx context.Context, s *models.Store, page string) error {
	for _, u := range []models.NewUser{
		{Username: demoUser, Password: d.DemoPassword}, {Username: demoAdmin, Password: d.AdminPassword, Admin: true},
	} {
		_, err := s.FindUser(ctx, u.Username)
		if errors.Is(err, models.ErrNotFound) {
			_, err = s.CreateUser(ctx, u, cliActor)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range []models.NewClient{
		{
			ID: demoClient, Name: "Demo app", Public: true, Grants: []string{models.GrantPassword, models.GrantRefreshToken},
			Scopes: []string{models.ScopeSettings, "profile", models.ScopeAdmin},
		},
		{
			ID: demoAPI, Name: "Demo resource server", Secret: d.APISecret, Grants: []string{models.GrantClientCredentials},
			Scopes: []string{models.ScopeRevocations}, Introspect: true,
		},
		{
			ID: demoWeb, Name: "Demo page", Public: true,
			Grants:       []string{models.GrantAuthorizationCode, models.GrantRefreshToken},
			Scopes:       []string{models.ScopeSettings, "profile"},
			RedirectURIs: []string{page + "/"}, Origins: []string{page},
		},
	} {
		there, err := s.GetClient(ctx, c.ID)
		switch {
		case errors.Is(err, models.ErrNotFound):
			_, _, err = s.CreateClient(ctx, c, cliActor)
		case err == nil && c.ID == demoWeb && there.Origins != page:
			_, err = s.UpdateClient(ctx, c.ID, models.ClientPatch{RedirectURIs: &c.RedirectURIs, Origins: &c.Origins}, cliActor)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// places are where everything is.
type places struct {
	data          string // the folder
	public, admin string // URLs
	demo          string // host:port
}

// explain prints what to try: lines to be pasted one after the other, into bash or zsh, with curl and sed alone.
func (d *demoSecrets) explain(w io.Writer, at places) {
	const token = `sed 's/.*"access_token":"\([^"]*\)".*/\1/'`
	fmt.Fprintf(w, `Curfew runs on %[1]s (public) and %[2]s (admin). Everything is in %[3]s. Ctrl-C stops it.

  user    %[4]s, password %[5]s
  admin   %[6]s, password %[7]s
  client  %[8]s (public, for sign-in), %[12]s (public, for the demo's page), %[9]s (secret %[10]s, for resource servers)

Pages: %[1]s/account (your devices, as %[4]s) and %[2]s/console/ (everybody's, as %[6]s).

An app to click through. Start it in another terminal, in the folder of the source:

  CURFEW_DEMO_ISSUER=%[1]s CURFEW_DEMO_CLIENT_ID=%[9]s CURFEW_DEMO_CLIENT_SECRET=%[10]s CURFEW_DEMO_WEB_CLIENT_ID=%[12]s CURFEW_DEMO_ADDR=%[13]s go run -tags nomsgpack ./cmd/curfew-demo

Then open http://%[13]s and sign in as %[4]s.

Or paste these one after the other into another terminal.

Sign in:

  T=$(curl -s %[1]s/oauth2/token -d grant_type=password -d client_id=%[8]s -d username=%[4]s -d password=%[5]s -d device_name=terminal); echo "$T"

List my devices:

  curl -s %[1]s/settings/devices -H "Authorization: Bearer $(echo "$T" | %[11]s)"; echo

Refresh:

  T=$(curl -s %[1]s/oauth2/token -d grant_type=refresh_token -d client_id=%[8]s -d refresh_token="$(echo "$T" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')"); echo "$T"

Sign out everywhere:

  curl -s -X DELETE %[1]s/settings/devices -H "Authorization: Bearer $(echo "$T" | %[11]s)"; echo

As the admin, list everybody's devices:

  curl -s %[2]s/admin/devices -H "Authorization: Bearer $(curl -s %[1]s/oauth2/token -d grant_type=password -d client_id=%[8]s -d username=%[6]s -d password=%[7]s -d scope=admin | %[11]s)"; echo

`, at.public, at.admin, at.data, demoUser, d.DemoPassword, demoAdmin, d.AdminPassword, demoClient, demoAPI, d.APISecret,
		token, demoWeb, at.demo)
}
