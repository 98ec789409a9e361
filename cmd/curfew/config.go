package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"curfew/internal/pages"
	"curfew/models"
)

// config is what the process does. Nothing but the environment makes it; see variables.
type config struct {
	store            models.Config
	databasePassword string // goes into the store's URLs
	secretFile       string
	privateFiles     []string // that secrets were read from

	publicAddr      string
	adminAddr       string
	adminURL        string
	stepUp          time.Duration
	trustedProxies  []string
	outboundAllow   []netip.Prefix
	tlsCert, tlsKey string
	logLevel        slog.Level
	logFormat       string
	pagesOff        bool
	pages           pages.Config
	pprof           bool
	shutdownTimeout time.Duration
	shutdownDelay   time.Duration
}

// prefix of every variable's name.
const prefix = "CURFEW_"

// What a command needs of the configuration.
const (
	needsSecret   = true
	needsNoSecret = false
)

// readConfig makes the configuration of an environment. The error names every variable that is wrong, the warnings
// those that do not exist.
func readConfig(env []string, secret bool) (c config, warnings []string, err error) {
	values, warnings := curfewVariables(env)
	var wrong []error
	for _, v := range variables {
		if value := cmp.Or(values[v.name], v.def); value != "" {
			if err := v.set(&c, value); err != nil {
				wrong = append(wrong, fmt.Errorf("%s%s: %w; it must be %s", prefix, v.name, err, v.must))
			}
		}
	}
	if values["DATABASE_URL"] == "" {
		wrong = append(wrong, fmt.Errorf("%sDATABASE_URL is missing; it must be sqlite:PATH or postgres://…", prefix))
	}
	if secret {
		wrong = append(wrong, c.readSecretFile(values["SECRET"] != ""))
	}
	if len(wrong) == 0 || errors.Join(wrong...) == nil {
		wrong = append(wrong, c.fit()...)
	}
	if err := errors.Join(wrong...); err != nil {
		return config{}, warnings, usageError{err}
	}
	return c, warnings, nil
}

// curfewVariables finds the variables that are ours.
func curfewVariables(env []string) (values map[string]string, warnings []string) {
	values = map[string]string{}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		name, ours := strings.CutPrefix(name, prefix)
		switch {
		case !ours, strings.HasPrefix(name, "TEST_"), strings.HasPrefix(name, "DEMO_"), strings.HasPrefix(name, gatePrefix): // the tests', curfew-demo's, the gate's
		case slices.ContainsFunc(variables, func(v variable) bool { return v.name == name }):
			values[name] = value
		default:
			nearest := slices.MinFunc(variables, func(a, b variable) int {
				return distance(a.name, name) - distance(b.name,
					name)
			})
			warnings = append(warnings, fmt.Sprintf("%s%s is not known and changes nothing; the nearest is %s%s", prefix, name,
				prefix, nearest.name))
		}
	}
	return values, warnings
}

// readSecretFile finds the server's secrets. inline says that SECRET has a value, right or wrong.
func (c *config) readSecretFile(inline bool) error {
	switch {
	case c.secretFile == "" && !inline:
		return fmt.Errorf("%sSECRET is missing, and %sSECRET_FILE too; one of them must be there: %s (openssl rand -hex 32)",
			prefix, prefix, secretForm)
	case c.secretFile == "":
		return nil
	case inline:
		return fmt.Errorf("%sSECRET and %sSECRET_FILE: give one of them, not both", prefix, prefix)
	}
	c.privateFiles = append(c.privateFiles, c.secretFile)
	b, err := readSmallFile(c.secretFile)
	if err == nil {
		err = setSecret(c, strings.TrimSpace(string(b)))
	}
	if err != nil {
		return fmt.Errorf("%sSECRET_FILE: %w; it must be a file that holds %s", prefix, err, secretForm)
	}
	return nil
}

// fit checks what takes more than one variable, and fills in what follows from others.
func (c *config) fit() (wrong []error) {
	if c.databasePassword != "" {
		for name, u := range map[string]*string{"DATABASE_URL": &c.store.DatabaseURL, "NOTIFY_URL": &c.store.NotifyURL} {
			if err := setURLPassword(u, c.databasePassword); err != nil {
				wrong = append(wrong, fmt.Errorf("%sDATABASE_PASSWORD_FILE: %s%s %w", prefix, prefix, name, err))
			}
		}
	}
	for _, d := range []*time.Duration{&c.store.ReuseInterval, &c.store.RevokedRetention} {
		if *d == 0 { // which the store takes for its default
			*d = models.None
		}
	}
	if c.pages.Name != "" { // what stands at the top of the page is the first guess of a password
		c.store.Passwords.Words = append(c.store.Passwords.Words, c.pages.Name)
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		wrong = append(wrong, fmt.Errorf("%sTLS_CERT and %sTLS_KEY: give both or none", prefix, prefix))
	}
	if c.store.AccessTTL > c.store.RefreshTTL {
		wrong = append(wrong, fmt.Errorf("%sACCESS_TTL: %s is longer than %sREFRESH_TTL, %s", prefix, c.store.AccessTTL,
			prefix, c.store.RefreshTTL))
	}
	if c.publicAddr == c.adminAddr && !strings.HasSuffix(c.adminAddr, ":0") {
		wrong = append(wrong, fmt.Errorf("%sADMIN_ADDR: %s is the public listener's too; the two are kept apart", prefix,
			c.adminAddr))
	}
	return wrong
}

// defaultIssuer is the issuer for a listener at addr, if none is configured.
func (c *config) defaultIssuer(addr string) {
	if c.store.Issuer != "" {
		return
	}
	scheme := "http"
	if c.tlsCert != "" {
		scheme = "https"
	}
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" {
		addr = net.JoinHostPort("localhost", port)
	}
	c.store.Issuer = scheme + "://" + addr
}

// logger writes the log. The tools that people run say only what failed, in plain text.
func (c *config) logger(w io.Writer, tool bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.logLevel}
	switch {
	case tool:
		options.Level = max(c.logLevel, slog.LevelError)
		return slog.New(slog.NewTextHandler(w, options))
	case c.logFormat == "text":
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// Help lists the variables; kong prints it below the flags.
func (c *serveCommand) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Environment. An empty variable counts as unset; durations are like 90s, 5m, 720h. SIGTERM drains "+
		"and stops, a second one kills.\n\n")
	for _, v := range variables {
		name := prefix + v.name
		if v.def != "" {
			name += "=" + v.def
		}
		fmt.Fprintf(&b, "    %s\n        %s\n        must be %s\n", name, v.meaning, v.must)
	}
	fmt.Fprintf(&b, "\nTraces are sent when OTEL_EXPORTER_OTLP_ENDPOINT is set, by the rules of OpenTelemetry's own "+
		"variables.\n")
	return b.String()
}

// distance is the number of letters to change, add or leave out (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
