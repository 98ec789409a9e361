package main

import (
	"net/netip"
	"time"

	"curfew/internal/password"
)

// variable is one environment variable.
type variable struct {
	name    string // without the prefix
	def     string // used when it is unset or empty
	must    string // completes "it must be …"
	meaning string
	set     setter
}

// setter puts a value into the configuration. Its error says what is wrong and never repeats a secret.
type setter func(c *config, value string) error

// variables are all there are, in the order of the help.
var variables = []variable{
	{
		"DATABASE_URL", "", "sqlite:PATH or postgres://…",
		"where the data is; required",
		setDatabaseURL(func(c *config) *string { return &c.store.DatabaseURL }),
	},
	{
		"DATABASE_PASSWORD_FILE", "", "a file",
		"holds the password for a postgres:// URL that has none",
		setFirstLine(func(c *config) *string { return &c.databasePassword }),
	},
	{
		"DATABASE_MAX_CONNS", "", "2 to 1000",
		"open connections at most; default 4 per CPU, at least 16",
		setInt(2, 1000, func(c *config) *int { return &c.store.MaxConns }),
	},
	{
		"NOTIFY_URL", "", "postgres://…",
		"where to LISTEN, if DATABASE_URL leads through a pooler that cannot",
		setPostgresURL(func(c *config) *string { return &c.store.NotifyURL }),
	},
	{
		"PUBLIC_ADDR", "127.0.0.1:8080", "HOST:PORT",
		"where the public listener is: tokens, settings, feed",
		setAddr(func(c *config) *string { return &c.publicAddr }),
	},
	{
		"ADMIN_ADDR", "127.0.0.1:8081", "HOST:PORT",
		"where the admin listener is: admin API, console, metrics; keep it private",
		setAddr(func(c *config) *string { return &c.adminAddr }),
	},
	{
		"ADMIN_URL", "", "http:// or https:// and a host: no path, no trailing slash",
		"how admins reach the console, if a proxy stands before the admin listener; default as their browsers do",
		setOrigin(func(c *config) *string { return &c.adminURL }),
	},
	{
		"STEP_UP", "15m", "0s (never) to 24h",
		"how old an admin's password may be for what makes credentials or ends many; then it is asked for again",
		setDuration(0, 24*time.Hour, func(c *config) *time.Duration { return &c.stepUp }),
	},
	{
		"ISSUER", "", "http:// or https:// and a host of its own: no path, no trailing slash",
		"how clients reach the public listener; default http:// (https:// with TLS_CERT) and PUBLIC_ADDR",
		setOrigin(func(c *config) *string { return &c.store.Issuer }),
	},
	{
		"AUDIENCE", "", "names separated by commas",
		"whom the access tokens are for; default ISSUER",
		setList(func(c *config) *[]string { return &c.store.Audience }, nil),
	},
	{
		"SECRET", "", secretForm,
		"the server's secret; required, or SECRET_FILE",
		setSecret,
	},
	{
		"SECRET_FILE", "", "a file that holds what SECRET must be",
		"the same, from a file",
		setText(func(c *config) *string { return &c.secretFile }),
	},
	{
		"ACCESS_TTL", "5m", "1s to 24h",
		"how long an access token lives",
		setDuration(time.Second, 24*time.Hour, func(c *config) *time.Duration { return &c.store.AccessTTL }),
	},
	{
		"REFRESH_TTL", "720h", "1s to 87600h",
		"how long a device may stay unused; a shorter one holds for all devices, at their next refresh",
		setDuration(time.Second, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.RefreshTTL }),
	},
	{
		"DEVICE_MAX_AGE", "0s", "0s (no end) to 87600h",
		"how long after its sign-in a device ends in any case; a shorter one likewise",
		setDuration(0, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.DeviceMaxAge }),
	},
	{
		"REUSE_INTERVAL", "30s", "0s to 1h",
		"how long a refresh token that was just used may be used again by a retry, from elsewhere for a fresh successor",
		setDuration(0, time.Hour, func(c *config) *time.Duration { return &c.store.ReuseInterval }),
	},
	{
		"CODE_TTL", "60s", "1s to 10m",
		"how long an authorization code lives",
		setDuration(time.Second, 10*time.Minute, func(c *config) *time.Duration { return &c.store.CodeTTL }),
	},
	{
		"SIGNING_ALG", "ES256", "ES256, EdDSA or RS256",
		"how new signing keys sign access tokens",
		setOneOf(func(c *config) *string { return &c.store.SigningAlg }, "ES256", "EdDSA", "RS256"),
	},
	{
		"KEY_ROTATION", "2160h", "1h to 87600h",
		"how old a signing key becomes before it gets a successor",
		setDuration(time.Hour, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.KeyRotation }),
	},
	{
		"MAX_DEVICES_PER_USER", "100", "1 to 1000",
		"how many devices a user has; the longest unseen goes",
		setInt(1, 1000, func(c *config) *int { return &c.store.MaxDevicesPerUser }),
	},
	{
		"REVOKED_RETENTION", "720h", "0s to 87600h",
		"how long ended devices and revocations are kept",
		setDuration(0, 87600*time.Hour, func(c *config) *time.Duration { return &c.store.RevokedRetention }),
	},
	{
		"AUDIT_RETENTION", "2160h", "1s to 876000h",
		"how long the audit log is kept",
		setDuration(time.Second, 876000*time.Hour, func(c *config) *time.Duration { return &c.store.AuditRetention }),
	},
	{
		"HASH_MEMORY", "19456", "8 to 262144",
		"KiB that each password hash takes (argon2id)",
		setUint32(8, 262144, func(c *config) *uint32 { return &c.store.Hash.Memory }),
	},
	{
		"HASH_TIME", "2", "1 to 10",
		"passes over that memory",
		setUint32(1, 10, func(c *config) *uint32 { return &c.store.Hash.Time }),
	},
	{
		"HASH_CONCURRENCY", "", "1 to 1024",
		"password hashes at a time; default one less than the CPUs: a flood of sign-ins leaves one to the rest",
		setInt(1, 1024, func(c *config) *int { return &c.store.Hash.Concurrency }),
	},
	{
		"HASH_QUEUE", "", "1 to 100000",
		"how many more may wait, others get 503; default 32 × HASH_CONCURRENCY",
		setInt(1, 100000, func(c *config) *int { return &c.store.Hash.Queue }),
	},
	{
		"HASH_WAIT", "10s", "100ms to 25s",
		"how long one may wait for that; then it is 503 too",
		setDuration(100*time.Millisecond, 25*time.Second, func(c *config) *time.Duration { return &c.store.Hash.Wait }),
	},
	{
		"PASSWORD_MIN_LENGTH", "8", "8 to 128",
		"characters of a new password at least; NIST SP 800-63B asks for 15 where nothing but a password protects",
		setInt(password.MinLength, password.MaxMinLength, func(c *config) *int { return &c.store.Passwords.MinLength }),
	},
	{
		"PASSWORD_WORDS", "", "words separated by commas, of 4 characters and more",
		"names of the company and its products, which a new password must not be little more than; the issuer's host is one",
		setList(func(c *config) *[]string { return &c.store.Passwords.Words }, nil),
	},
	{
		"PASSWORD_BREACH_URL", "", "https://…, or http:// on this machine",
		"where new passwords are looked up by the first 5 digits of their SHA-1 (the range interface of Have I Been Pwned); " +
			"no answer within 2 s takes the password; default nowhere",
		setChecked(func(c *config) *string { return &c.store.Passwords.BreachURL }, password.CheckBreachURL),
	},
	{
		"LIMIT_WINDOW", "15m", "1s to 24h",
		"the time in which what the limits below allow comes back",
		setDuration(time.Second, 24*time.Hour, func(c *config) *time.Duration { return &c.store.Limits.Window }),
	},
	{
		"LIMIT_PER_ACCOUNT_ADDRESS", "10", "1 to 1000000",
		"wrong passwords for one account from one address",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerAccountAddress }),
	},
	{
		"LIMIT_PER_ACCOUNT", "50", "1 to 1000000",
		"wrong passwords for one account from addresses where it is not signed in",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerAccount }),
	},
	{
		"LIMIT_PER_DEVICE", "20", "1 to 1000000",
		"instead of that: wrong passwords from elsewhere that name one signed-in device of the account",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerDevice }),
	},
	{
		"LIMIT_PER_ADDRESS", "100", "1 to 1000000",
		"wrong passwords and client secrets from one address",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerAddress }),
	},
	{
		"LIMIT_PER_CLIENT", "30", "1 to 1000000",
		"wrong secrets for one client from one address",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.PerClient }),
	},
	{
		"LIMIT_SIGN_INS", "100", "1 to 1000000",
		"right passwords of one user",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.SignIns }),
	},
	{
		"LIMIT_RENAMES", "200", "1 to 1000000",
		"devices renamed by one user",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.Renames }),
	},
	{
		"LIMIT_CODES", "300", "1 to 1000000",
		"sign-ins of apps through the sign-in page, by one user",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.Codes }),
	},
	{
		"LIMIT_SUBSCRIBERS", "1000", "1 to 1000000",
		"names of resource servers under one client, at any time; those that are known go on",
		setInt(1, 1_000_000, func(c *config) *int { return &c.store.Limits.Subscribers }),
	},
	{
		"LIMIT_WAITS", "50", "1 to 100000",
		"sign-outs of one user or client that wait for their receipt, at a time on one node",
		setInt(1, 100_000, func(c *config) *int { return &c.store.Limits.Waits }),
	},
	{
		"PAGES", "on", "on or off",
		"the pages for people: sign-in, account; without them there is no authorization endpoint",
		setPages,
	},
	{
		"PAGES_NAME", "", "up to 40 characters",
		"what stands at the top of each page, and in no new password; default Curfew",
		setPagesName,
	},
	{
		"PAGES_LOGO", "", "an SVG, PNG, JPEG or WebP file of at most 256 kB",
		"stands beside the name",
		setPagesLogo,
	},
	{
		"PAGES_ACCENT", "", "#rrggbb, dark enough to be read on white: a contrast of 4.5",
		"the colour of buttons and links; default #3d4bb8",
		setPagesAccent,
	},
	{
		"TRUSTED_PROXIES", "", "addresses or prefixes separated by commas",
		"whose X-Forwarded-For is believed; default nobody's",
		setList(func(c *config) *[]string { return &c.trustedProxies }, checkProxy),
	},
	{
		"OUTBOUND_ALLOW", "", "networks in CIDR form separated by commas",
		"where webhooks and back-channel logout may reach plain http, this machine and link-local addresses; default nowhere",
		setNetworks(func(c *config) *[]netip.Prefix { return &c.outboundAllow }),
	},
	{
		"TLS_CERT", "", "a PEM file",
		"certificate chain for both listeners; read again when it changes",
		setText(func(c *config) *string { return &c.tlsCert }),
	},
	{
		"TLS_KEY", "", "a PEM file",
		"the certificate's key",
		setText(func(c *config) *string { return &c.tlsKey }),
	},
	{
		"LOG_LEVEL", "info", "debug, info, warn or error",
		"what is logged, on standard error",
		setLogLevel,
	},
	{
		"LOG_FORMAT", "json", "json or text",
		"how",
		setOneOf(func(c *config) *string { return &c.logFormat }, "json", "text"),
	},
	{
		"PPROF", "false", "true or false",
		"profiles on the admin listener, /debug/pprof",
		setBool(func(c *config) *bool { return &c.pprof }),
	},
	{
		"SHUTDOWN_TIMEOUT", "20s", "1s to 1h",
		"how long requests may go on after SIGTERM",
		setDuration(time.Second, time.Hour, func(c *config) *time.Duration { return &c.shutdownTimeout }),
	},
	{
		"SHUTDOWN_DELAY", "0s", "0s to 10m",
		"how long to go on, not ready, before that: for load balancers that look seldom",
		setDuration(0, 10*time.Minute, func(c *config) *time.Duration { return &c.shutdownDelay }),
	},
}

const secretForm = "32 random bytes or more, as hex or base64; a second, older one after a comma while it is being " +
	"changed"
