package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"curfew/internal/gate"
	"curfew/verify"
)

const (
	gatePrefix = "GATE_"
	// gateWriteTimeout is above what asking the issuer about a token takes at most.
	gateWriteTimeout = 15 * time.Second
	gateStopTimeout  = 10 * time.Second
	// gateHeaderBytes is above what proxies take by default: some pass all headers on.
	gateHeaderBytes = 64 << 10
	gateGCPercent   = 400
	unixPrefix      = "unix:" // of an address that is a socket's path, as nginx writes it
)

type gateCommand struct{}

// gateConfig is what `curfew gate` does. Nothing but the environment makes it; see gateVariables.
type gateConfig struct {
	addr   string
	verify verify.Config
	scopes []string
	log    config // its level and format
}

// gateVariable is one environment variable of the gate.
type gateVariable struct {
	name    string // without the prefixes
	def     string
	must    string
	meaning string
	set     func(c *gateConfig, value string) error
}

var gateVariables = []gateVariable{
	{
		"ADDR", "127.0.0.1:8082", "HOST:PORT, or unix:/PATH of a socket",
		"where the proxy asks",
		setGateAddr,
	},
	{
		"ISSUER", "", "the issuer's URL, exactly as in its metadata",
		"whose tokens are accepted, and whose feed is followed; required",
		setGateIssuer,
	},
	{
		"CLIENT_ID", "",
		"a client with the grant client_credentials, the scope revocations, and --introspect if WHEN_STALE is introspect",
		"as whom; required",
		setGateText(func(c *gateConfig) *string { return &c.verify.ClientID }),
	},
	{
		"CLIENT_SECRET", "", "its secret",
		"required, or CLIENT_SECRET_FILE",
		setGateText(func(c *gateConfig) *string { return &c.verify.ClientSecret }),
	},
	{
		"CLIENT_SECRET_FILE", "", "a file that holds it",
		"the same, from a file",
		setGateSecretFile,
	},
	{
		"AUDIENCE", "", "a name or a URL",
		"what aud must contain; default ISSUER",
		setGateText(func(c *gateConfig) *string { return &c.verify.Audience }),
	},
	{
		"SUBSCRIBER", "", "1 to 64 of A-Z a-z 0-9 . _ -",
		"this process in receipts, and nobody else; default the host's name and random letters",
		setGateText(func(c *gateConfig) *string { return &c.verify.Subscriber }),
	},
	{
		"BOUND", "30s", "1s to 1h",
		"how old the knowledge of sign-outs may become; heartbeats come at least every 15s",
		setGateBound,
	},
	{
		"WHEN_STALE", "introspect", "introspect, reject or accept",
		"what happens to tokens while it is older",
		setGateStale,
	},
	{
		"SCOPE", "", "scopes separated by spaces",
		"what every request needs; a route adds to it with ?scope= or X-Curfew-Require-Scope",
		setGateScopes,
	},
}

// gateShared are the server's variables that the gate reads too.
var gateShared = []string{"LOG_LEVEL", "LOG_FORMAT"}

// Help lists the variables; kong prints it below the flags.
func (c *gateCommand) Help() string {
	var b strings.Builder
	fmt.Fprint(&b, "GET /check, or any other method, answers 200 to a token that is alive, with its subject, client, "+
		"device and scope in X-Curfew-… headers; else 401, 403 or 503. Configurations of proxies: deploy/gate and "+
		"docs/gate.md.\n\nEnvironment. An empty variable counts as unset; durations are like 90s, 5m. SIGTERM drains "+
		"and stops, a second one kills.\n\n")
	list := func(name, def, meaning, must string) {
		if def != "" {
			name += "=" + def
		}
		fmt.Fprintf(&b, "    %s%s\n        %s\n        must be %s\n", prefix, name, meaning, must)
	}
	for _, v := range gateVariables {
		list(gatePrefix+v.name, v.def, v.meaning, v.must)
	}
	for _, v := range variables {
		if slices.Contains(gateShared, v.name) {
			list(v.name, v.def, v.meaning, v.must)
		}
	}
	return b.String()
}

// readGateConfig makes the configuration of an environment. The error names every variable that is wrong, the warnings
// those that do not exist.
func readGateConfig(env []string) (c gateConfig, warnings []string, err error) {
	values := map[string]string{}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		name, ours := strings.CutPrefix(name, prefix+gatePrefix)
		switch {
		case !ours:
		case slices.ContainsFunc(gateVariables, func(v gateVariable) bool { return v.name == name }):
			values[name] = value
		default:
			nearest := slices.MinFunc(gateVariables, func(a, b gateVariable) int {
				return distance(a.name, name) - distance(b.name, name)
			})
			warnings = append(warnings, fmt.Sprintf("%[1]s%[2]s is not known and changes nothing; the nearest is %[1]s%[3]s",
				prefix+gatePrefix, name, nearest.name))
		}
	}
	if w := openToAll(values["CLIENT_SECRET_FILE"]); w != "" {
		warnings = append(warnings, w)
	}
	var wrong []error
	for _, v := range gateVariables {
		if value := cmp.Or(values[v.name], v.def); value != "" {
			if err := v.set(&c, value); err != nil {
				wrong = append(wrong, fmt.Errorf("%s%s%s: %w; it must be %s", prefix, gatePrefix, v.name, err, v.must))
			}
		}
	}
	for _, name := range []string{"ISSUER", "CLIENT_ID"} {
		if values[name] == "" {
			wrong = append(wrong, fmt.Errorf("%s%s%s is missing", prefix, gatePrefix, name))
		}
	}
	if (values["CLIENT_SECRET"] == "") == (values["CLIENT_SECRET_FILE"] == "") {
		wrong = append(wrong, fmt.Errorf("%[1]sCLIENT_SECRET and %[1]sCLIENT_SECRET_FILE: give one of them",
			prefix+gatePrefix))
	}
	shared, _ := curfewVariables(env)
	for _, v := range variables {
		if !slices.Contains(gateShared, v.name) {
			continue
		}
		if err := v.set(&c.log, cmp.Or(shared[v.name], v.def)); err != nil {
			wrong = append(wrong, fmt.Errorf("%s%s: %w; it must be %s", prefix, v.name, err, v.must))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return gateConfig{}, warnings, usageError{err}
	}
	return c, warnings, nil
}

func setGateText(field func(*gateConfig) *string) func(*gateConfig, string) error {
	return func(c *gateConfig, value string) error {
		*field(c) = value
		return nil
	}
}

// setGateAddr and the two below take what the server's variable of that form takes; an address may be a socket's too.
func setGateAddr(c *gateConfig, value string) error {
	if path, ok := strings.CutPrefix(value, unixPrefix); ok {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q is not the absolute path of a socket", path)
		}
		c.addr = value
		return nil
	}
	return setAddr(func(*config) *string { return &c.addr })(nil, value)
}

func setGateIssuer(c *gateConfig, value string) error {
	return setOrigin(func(*config) *string { return &c.verify.Issuer })(nil, value)
}

func setGateSecretFile(c *gateConfig, path string) error {
	return setFirstLine(func(*config) *string { return &c.verify.ClientSecret })(&config{}, path)
}

func setGateBound(c *gateConfig, value string) error {
	return setDuration(time.Second, time.Hour, func(*config) *time.Duration { return &c.verify.Bound })(nil, value)
}

func setGateStale(c *gateConfig, value string) error {
	policy, ok := map[string]verify.StalePolicy{
		"introspect": verify.StaleIntrospect, "reject": verify.StaleReject, "accept": verify.StaleAccept,
	}[value]
	if !ok {
		return fmt.Errorf("%q is none of them", value)
	}
	c.verify.WhenStale = policy
	return nil
}

func setGateScopes(c *gateConfig, value string) error {
	c.scopes = strings.Fields(value)
	return gate.CheckScopes(c.scopes)
}

func (c *gateCommand) Run(p *program) error {
	cfg, warnings, err := readGateConfig(p.env)
	if err != nil {
		return err
	}
	log := cfg.log.logger(p.stderr, false)
	for _, w := range warnings {
		log.Warn(w)
	}
	// A check takes microseconds. On more CPUs than it fills, the scheduler's search for work costs more than the work;
	// what the proxy and the app do of the same request fills the others.
	if !p.sets("GOMAXPROCS") {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/4))
	}
	// What lives is small, and what a check leaves behind is collected more seldom: a GOMEMLIMIT is kept all the same.
	if !p.sets("GOGC") {
		debug.SetGCPercent(gateGCPercent)
	}
	cfg.verify.Logger = log
	return serveGate(p.ctx, cfg, log)
}

// sets says whether the environment has a variable.
func (p *program) sets(name string) bool {
	return slices.ContainsFunc(p.env, func(pair string) bool { return strings.HasPrefix(pair, name+"=") })
}

// serveGate answers until ctx ends, then lets the requests finish.
func serveGate(ctx context.Context, cfg gateConfig, log *slog.Logger) error {
	l, err := listenGate(ctx, cfg.addr)
	if err != nil {
		return fmt.Errorf("%s%sADDR: %w", prefix, gatePrefix, err)
	}
	defer l.Close()
	v, err := verify.New(cfg.verify)
	if err != nil {
		return usageError{err}
	}
	defer v.Close()
	g := gate.New(gate.Config{Verifier: v, Bound: cfg.verify.Bound, Scopes: cfg.scopes, Logger: log})
	server := &http.Server{
		Handler:           g,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      gateWriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    gateHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if addr, err := netip.ParseAddrPort(l.Addr().String()); err == nil && !addr.Addr().Unmap().IsLoopback() {
		log.Warn("the gate is reachable from elsewhere and without TLS: tokens are readable on the way to it", "addr", addr)
	}
	log.Info("listening", "listener", "gate", "addr", l.Addr().String(),
		"version", versionText(), "issuer", cfg.verify.Issuer)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping; a second signal kills")
	g.Drain()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), gateStopTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close()
		return fmt.Errorf("requests were cut off after %s: %w", gateStopTimeout, err)
	}
	log.Info("stopped")
	return nil
}
