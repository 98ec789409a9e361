package main

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/models"
)

// config is what the process does. Nothing but the environment makes it; see variables.
type config struct {
	store            models.Config
	databasePassword string // goes into the store's URLs
	secretFile       string

	publicAddr      string
	adminAddr       string
	trustedProxies  []string
	tlsCert, tlsKey string
	logLevel        slog.Level
	logFormat       string
	pprof           bool
	shutdownTimeout time.Duration
	shutdownDelay   time.Duration
}

// prefix of every variable's name.
const prefix = "CURFEW_"

// variable is one environment variable.
type variable struct {
	name    string // without the prefix
	def     string // used when it is unset or empty
	takes   string // completes "it takes …"
	meaning string
	set     setter
}

// setter puts a value into the configuration. Its error says what is wrong and never repeats a secret.
type setter func(c *config, value string) error

// variables are all there are, in the order of the help.
var variables = []variable{
	{"DATABASE_URL", "", "sqlite:PATH or postgres://…", "where the data is; required", setDatabaseURL(func(c *config) *string { return &c.store.DatabaseURL })},
	{"DATABASE_PASSWORD_FILE", "", "a file", "holds the password for a postgres:// URL that has none", setFirstLine(func(c *config) *string { return &c.databasePassword })},
	{"DATABASE_MAX_CONNS", "", "2 to 1000", "open connections at most; default 4 per CPU, at least 16", setInt(2, 1000, func(c *config) *int { return &c.store.MaxConns })},
	{"NOTIFY_URL", "", "postgres://…", "where to LISTEN, if DATABASE_URL leads through a pooler that cannot", setPostgresURL(func(c *config) *string { return &c.store.NotifyURL })},
	{"PUBLIC_ADDR", "127.0.0.1:8080", "HOST:PORT", "where the public listener is: tokens, settings, feed", setAddr(func(c *config) *string { return &c.publicAddr })},
	{"ADMIN_ADDR", "127.0.0.1:8081", "HOST:PORT", "where the admin listener is: admin API, metrics; keep it private", setAddr(func(c *config) *string { return &c.adminAddr })},
	{"ISSUER", "", "http:// or https:// and a host of its own: no path, no trailing slash", "how clients reach the public listener; default http:// (https:// with TLS_CERT) and PUBLIC_ADDR", setIssuer},
	{"AUDIENCE", "", "names separated by commas", "whom the access tokens are for; default ISSUER", setList(func(c *config) *[]string { return &c.store.Audience }, nil)},
	{"SECRET", "", secretForm, "the server's secret; required, or SECRET_FILE", setSecret},
	{"SECRET_FILE", "", "a file that holds what SECRET takes", "the same, from a file", setText(func(c *config) *string { return &c.secretFile })},
	{"ACCESS_TTL", "5m", "1s to 24h", "how long an access token lives", setDuration(time.Second, 24*time.Hour, func(c *config) *time.Duration { return &c.store.AccessTTL })},
	{"REFRESH_TTL", "720h", "1s to 87600h", "how long a device may stay unused", setDuration(time.Second, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.RefreshTTL })},
	{"DEVICE_MAX_AGE", "0s", "0s (no end) to 87600h", "how long after its sign-in a device ends in any case", setDuration(0, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.DeviceMaxAge })},
	{"REUSE_INTERVAL", "30s", "0s to 1h", "how long a refresh token that was just used may be used again by a retry", setDuration(0, time.Hour, func(c *config) *time.Duration { return &c.store.ReuseInterval })},
	{"SIGNING_ALG", "ES256", "ES256, EdDSA or RS256", "how new signing keys sign access tokens", setOneOf(func(c *config) *string { return &c.store.SigningAlg }, "ES256", "EdDSA", "RS256")},
	{"KEY_ROTATION", "2160h", "1h to 87600h", "how old a signing key becomes before it gets a successor", setDuration(time.Hour, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.KeyRotation })},
	{"MAX_DEVICES_PER_USER", "100", "1 to 1000", "how many devices a user has; the longest unseen goes", setInt(1, 1000, func(c *config) *int { return &c.store.MaxDevicesPerUser })},
	{"REVOKED_RETENTION", "720h", "0s to 87600h", "how long ended devices and revocations are kept", setDuration(0, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.RevokedRetention })},
	{"AUDIT_RETENTION", "2160h", "1s to 876000h", "how long the audit log is kept", setDuration(time.Second, 876000*time.Hour, func(c *config) *time.Duration { return &c.store.AuditRetention })},
	{"HASH_MEMORY", "19456", "8 to 262144", "KiB that each password hash takes (argon2id)", setUint32(8, 262144, func(c *config) *uint32 { return &c.store.Hash.Memory })},
	{"HASH_TIME", "2", "1 to 10", "passes over that memory", setUint32(1, 10, func(c *config) *uint32 { return &c.store.Hash.Time })},
	{"HASH_CONCURRENCY", "", "1 to 1024", "password hashes at a time; default one less than the CPUs: a flood of sign-ins leaves one to the rest", setInt(1, 1024, func(c *config) *int { return &c.store.Hash.Concurrency })},
	{"HASH_QUEUE", "", "1 to 100000", "how many more may wait, others get 503; default 32 × HASH_CONCURRENCY", setInt(1, 100000, func(c *config) *int { return &c.store.Hash.Queue })},
	{"LIMIT_WINDOW", "15m", "1s to 24h", "the time in which the limits on guessing come back", setDuration(time.Second, 24*time.Hour, func(c *config) *time.Duration { return &c.store.Limits.Window })},
	{"LIMIT_PER_ACCOUNT_ADDRESS", "10", "1 to 1000000", "wrong passwords for one account from one address", setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerAccountAddress })},
	{"LIMIT_PER_ACCOUNT", "50", "1 to 1000000", "wrong passwords for one account from where it has no device", setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerAccount })},
	{"LIMIT_PER_ADDRESS", "100", "1 to 1000000", "wrong passwords and client secrets from one address", setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerAddress })},
	{"LIMIT_PER_CLIENT", "30", "1 to 1000000", "wrong secrets for one client from one address", setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerClient })},
	{"TRUSTED_PROXIES", "", "addresses or prefixes separated by commas", "whose X-Forwarded-For is believed; default nobody's", setList(func(c *config) *[]string { return &c.trustedProxies }, checkProxy)},
	{"TLS_CERT", "", "a PEM file", "certificate chain for both listeners; read again when it changes", setText(func(c *config) *string { return &c.tlsCert })},
	{"TLS_KEY", "", "a PEM file", "the certificate's key", setText(func(c *config) *string { return &c.tlsKey })},
	{"LOG_LEVEL", "info", "debug, info, warn or error", "what is logged, on standard error", setLogLevel},
	{"LOG_FORMAT", "json", "json or text", "how", setOneOf(func(c *config) *string { return &c.logFormat }, "json", "text")},
	{"PPROF", "false", "true or false", "profiles on the admin listener, /debug/pprof", setBool(func(c *config) *bool { return &c.pprof })},
	{"SHUTDOWN_TIMEOUT", "20s", "1s to 1h", "how long requests may go on after SIGTERM", setDuration(time.Second, time.Hour, func(c *config) *time.Duration { return &c.shutdownTimeout })},
	{"SHUTDOWN_DELAY", "0s", "0s to 10m", "how long to go on, not ready, before that: for load balancers that look seldom", setDuration(0, 10*time.Minute, func(c *config) *time.Duration { return &c.shutdownDelay })},
}

const secretForm = "32 random bytes or more, as hex or base64; a second, older one after a comma while it is being changed"

// What a command needs of the configuration.
const (
	needsSecret   = true
	needsNoSecret = false
)

// readConfig makes the configuration of an environment. The error names every variable that is wrong, the warnings those
// that do not exist.
func readConfig(env []string, secret bool) (c config, warnings []string, err error) {
	values, warnings := curfewVariables(env)
	var wrong []error
	for _, v := range variables {
		if value := cmp.Or(values[v.name], v.def); value != "" {
			if err := v.set(&c, value); err != nil {
				wrong = append(wrong, fmt.Errorf("%s%s: %w; it takes %s", prefix, v.name, err, v.takes))
			}
		}
	}
	if values["DATABASE_URL"] == "" {
		wrong = append(wrong, fmt.Errorf("%sDATABASE_URL is missing; it takes sqlite:PATH or postgres://…", prefix))
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
		case !ours, strings.HasPrefix(name, "TEST_"), strings.HasPrefix(name, "DEMO_"): // the tests', and curfew-demo's
		case slices.ContainsFunc(variables, func(v variable) bool { return v.name == name }):
			values[name] = value
		default:
			nearest := slices.MinFunc(variables, func(a, b variable) int { return distance(a.name, name) - distance(b.name, name) })
			warnings = append(warnings, fmt.Sprintf("%s%s is not known and changes nothing; the nearest is %s%s", prefix, name, prefix, nearest.name))
		}
	}
	return values, warnings
}

// readSecretFile finds the server's secrets. inline says that SECRET has a value, right or wrong.
func (c *config) readSecretFile(inline bool) error {
	switch {
	case c.secretFile == "" && !inline:
		return fmt.Errorf("%sSECRET is missing, and %sSECRET_FILE too; one of them takes %s (openssl rand -hex 32)", prefix, prefix, secretForm)
	case c.secretFile == "":
		return nil
	case inline:
		return fmt.Errorf("%sSECRET and %sSECRET_FILE: give one of them, not both", prefix, prefix)
	}
	b, err := readSmallFile(c.secretFile)
	if err == nil {
		err = setSecret(c, strings.TrimSpace(string(b)))
	}
	if err != nil {
		return fmt.Errorf("%sSECRET_FILE: %w; it takes a file that holds %s", prefix, err, secretForm)
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
	if (c.tlsCert == "") != (c.tlsKey == "") {
		wrong = append(wrong, fmt.Errorf("%sTLS_CERT and %sTLS_KEY: give both or none", prefix, prefix))
	}
	if c.store.AccessTTL > c.store.RefreshTTL {
		wrong = append(wrong, fmt.Errorf("%sACCESS_TTL: %s is longer than %sREFRESH_TTL, %s", prefix, c.store.AccessTTL, prefix, c.store.RefreshTTL))
	}
	if c.publicAddr == c.adminAddr && !strings.HasSuffix(c.adminAddr, ":0") {
		wrong = append(wrong, fmt.Errorf("%sADMIN_ADDR: %s is the public listener's too; the two are kept apart", prefix, c.adminAddr))
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
	fmt.Fprintf(&b, "Environment. An empty variable counts as unset; durations are like 90s, 5m, 720h. SIGTERM drains and stops, a second one kills.\n\n")
	for _, v := range variables {
		name := prefix + v.name
		if v.def != "" {
			name += "=" + v.def
		}
		fmt.Fprintf(&b, "    %s\n        %s\n        takes %s\n", name, v.meaning, v.takes)
	}
	fmt.Fprintf(&b, "\nTraces are sent when OTEL_EXPORTER_OTLP_ENDPOINT is set, by the rules of OpenTelemetry's own variables.\n")
	return b.String()
}

func setText(field func(*config) *string) setter {
	return func(c *config, value string) error {
		*field(c) = value
		return nil
	}
}

func setOneOf(field func(*config) *string, values ...string) setter {
	return func(c *config, value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("%q is none of them", value)
		}
		*field(c) = value
		return nil
	}
}

func setBool(field func(*config) *bool) setter {
	return func(c *config, value string) error {
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither", value)
		}
		*field(c) = b
		return nil
	}
}

func setInt(low, high int, field func(*config) *int) setter {
	return func(c *config, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", value)
		}
		if n < low || n > high {
			return fmt.Errorf("%d is out of bounds", n)
		}
		*field(c) = n
		return nil
	}
}

func setUint32(low, high int, field func(*config) *uint32) setter {
	return func(c *config, value string) error {
		var n int
		if err := setInt(low, high, func(*config) *int { return &n })(c, value); err != nil {
			return err
		}
		*field(c) = uint32(n)
		return nil
	}
}

func setDuration(low, high time.Duration, field func(*config) *time.Duration) setter {
	return func(c *config, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is not a duration like 90s, 5m or 720h", value)
		}
		if d < low || d > high {
			return fmt.Errorf("%s is out of bounds", d)
		}
		*field(c) = d
		return nil
	}
}

// setList splits at commas.
func setList(field func(*config) *[]string, check func(string) error) setter {
	return func(c *config, value string) error {
		var list []string
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item == "" {
				return errors.New("there is an empty entry")
			}
			if check != nil {
				if err := check(item); err != nil {
					return err
				}
			}
			list = append(list, item)
		}
		*field(c) = list
		return nil
	}
}

func checkProxy(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return fmt.Errorf("%q has a zone, which X-Forwarded-For does not", s)
		}
		return nil
	}
	if _, err := netip.ParsePrefix(s); err != nil {
		return fmt.Errorf("%q is neither an address nor a prefix like 10.0.0.0/8", s)
	}
	return nil
}

func setAddr(field func(*config) *string) setter {
	return func(c *config, value string) error {
		_, port, err := net.SplitHostPort(value)
		if err != nil {
			return fmt.Errorf("%q is not an address with a port", value)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("the port of %q is not a number from 0 to 65535", value)
		}
		*field(c) = value
		return nil
	}
}

// setIssuer follows RFC 8414 section 2, and allows http for a machine of one's own. A path is refused: every route is at
// the root, where a client of such an issuer does not look (section 3.1). It is compared as a string, so it has one form.
func setIssuer(c *config, value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("%q is not an absolute http or https URL", value)
	case u.User != nil:
		return errors.New("it has a user name")
	case strings.ContainsAny(value, "?#"):
		return fmt.Errorf("%q has a query or a fragment", value)
	case strings.HasSuffix(value, "/"):
		return fmt.Errorf("%q ends with a slash", value)
	case u.Path != "":
		return fmt.Errorf("%q has a path; Curfew takes a host name of its own", value)
	case u.Hostname() == "":
		return fmt.Errorf("%q names no host", value)
	case value != u.Scheme+"://"+u.Host:
		return fmt.Errorf("%q is not written as %s", value, u.Scheme+"://"+u.Host)
	}
	c.store.Issuer = value
	return nil
}

// A database URL may hold a password: it is never repeated.
func setDatabaseURL(field func(*config) *string) setter {
	return func(c *config, value string) error {
		if path, ok := strings.CutPrefix(value, "sqlite:"); ok {
			if path == "" || strings.HasPrefix(path, "//") || strings.Contains(path, ":memory:") {
				return errors.New("the path of the SQLite file is missing or is none")
			}
			*field(c) = value
			return nil
		}
		return setPostgresURL(field)(c, value)
	}
}

func setPostgresURL(field func(*config) *string) setter {
	return func(c *config, value string) error {
		if !strings.HasPrefix(value, "postgres://") && !strings.HasPrefix(value, "postgresql://") {
			return errors.New("it begins with something else")
		}
		if _, err := url.Parse(value); err != nil {
			return errors.New("it is not a URL; characters like @ / ? # % in the password are written as %40 and so on")
		}
		if _, err := pgx.ParseConfig(value); err != nil {
			return errors.New(strings.ReplaceAll(err.Error(), value, "…"))
		}
		*field(c) = value
		return nil
	}
}

// setURLPassword puts a password into a postgres:// URL that has none.
func setURLPassword(field *string, password string) error {
	if *field == "" {
		return nil
	}
	u, err := url.Parse(*field)
	if err != nil || u.Scheme == "sqlite" {
		return errors.New("is not a postgres:// URL")
	}
	if _, has := u.User.Password(); has {
		return errors.New("has a password already")
	}
	if u.User.Username() == "" {
		return errors.New("has no user name")
	}
	u.User = url.UserPassword(u.User.Username(), password)
	*field = u.String()
	return nil
}

func setLogLevel(c *config, value string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, value) {
		return fmt.Errorf("%q is none of them", value)
	}
	return c.logLevel.UnmarshalText([]byte(value))
}

// setSecret takes one secret or more, the newest first.
func setSecret(c *config, value string) error {
	c.store.Secrets = nil
	for i, text := range strings.Split(value, ",") {
		secret, ok := decodeSecret(strings.TrimSpace(text))
		if !ok {
			return fmt.Errorf("number %d is neither hex nor base64", i+1)
		}
		if len(secret) < models.MinSecretSize {
			return fmt.Errorf("number %d has %d bytes", i+1, len(secret))
		}
		if slices.ContainsFunc(c.store.Secrets, func(other []byte) bool { return string(other) == string(secret) }) {
			return fmt.Errorf("number %d is there twice", i+1)
		}
		c.store.Secrets = append(c.store.Secrets, secret)
	}
	return nil
}

// decodeSecret tries hex first: 64 hex digits are also base64, of other bytes.
func decodeSecret(text string) ([]byte, bool) {
	if b, err := hex.DecodeString(text); err == nil {
		return b, true
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(text); err == nil {
			return b, true
		}
	}
	return nil, false
}

// setFirstLine takes the content of a file, without the line end that editors add.
func setFirstLine(field func(*config) *string) setter {
	return func(c *config, path string) error {
		b, err := readSmallFile(path)
		if err != nil {
			return err
		}
		text := strings.TrimRight(string(b), "\r\n")
		if text == "" {
			return fmt.Errorf("%s is empty", path)
		}
		*field(c) = text
		return nil
	}
}

func readSmallFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, err
	}
	return b, nil
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
