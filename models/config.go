package models

import (
	"cmp"
	"log/slog"
	"runtime"
	"time"

	"curfew/internal/password"
)

// Config says how a [Store] works. The zero value of each field means its default; see [Default].
type Config struct {
	DatabaseURL string // sqlite:PATH or postgres://…; required
	NotifyURL   string // where to LISTEN when DatabaseURL leads through a pooler that cannot; default DatabaseURL
	MaxConns    int    // open connections at most; default 4 per CPU, at least 16

	Issuer   string   // iss of every token; required
	Audience []string // aud of every token; default the issuer

	// Secrets have 32 bytes or more each; the first derives and encrypts, the others are still understood; required.
	Secrets [][]byte

	AccessTTL         time.Duration // how long an access token lives
	RefreshTTL        time.Duration // how long a device may stay unused
	DeviceMaxAge      time.Duration // fixed at sign-in, no refresh extends it; default none
	ReuseInterval     time.Duration // how long a retry may use the last refresh token again; [None]: every reuse is theft
	CodeTTL           time.Duration // how long an authorization code lives
	MaxDevicesPerUser int           // the longest unseen is signed out
	SigningAlg        string        // ES256, EdDSA or RS256
	KeyRotation       time.Duration // age at which a signing key gets a successor
	RevokedRetention  time.Duration // how long ended devices and revocations are kept; [None]: not at all
	AuditRetention    time.Duration // how long the audit log is kept

	Hash      password.Config
	Passwords password.PolicyConfig // of new ones; the words that the issuer's host gives are added
	Limits    Limits

	Logger *slog.Logger     // default: discard
	Clock  func() time.Time // SQLite's clock; default time.Now
}

// None is no time at all, for the durations of [Config] whose zero value means a default that is longer.
const None time.Duration = -1

// Default is a [Config] with the defaults of all that may be left out.
func Default() Config {
	return Config{
		MaxConns:          max(16, 4*runtime.NumCPU()),
		AccessTTL:         5 * time.Minute,
		RefreshTTL:        720 * time.Hour,
		ReuseInterval:     30 * time.Second,
		CodeTTL:           time.Minute,
		MaxDevicesPerUser: 100,
		SigningAlg:        "ES256",
		KeyRotation:       2160 * time.Hour,
		RevokedRetention:  720 * time.Hour,
		AuditRetention:    2160 * time.Hour,
		Limits: Limits{
			Window: 15 * time.Minute, PerAccountAddress: 10, PerAccount: 50, PerDevice: 20, PerAddress: 100, PerClient: 30,
			SignIns: 100, Renames: 200, Codes: 300, Subscribers: 1000, Waits: 50,
		},
		Logger: slog.New(slog.DiscardHandler),
		Clock:  time.Now,
	}
}

func (c Config) withDefaults() (Config, error) {
	d := Default()
	c.MaxConns = cmp.Or(c.MaxConns, d.MaxConns)
	c.AccessTTL = cmp.Or(c.AccessTTL, d.AccessTTL)
	c.RefreshTTL = cmp.Or(c.RefreshTTL, d.RefreshTTL)
	c.ReuseInterval = max(0, cmp.Or(c.ReuseInterval, d.ReuseInterval))
	c.CodeTTL = cmp.Or(c.CodeTTL, d.CodeTTL)
	c.MaxDevicesPerUser = cmp.Or(c.MaxDevicesPerUser, d.MaxDevicesPerUser)
	c.SigningAlg = cmp.Or(c.SigningAlg, d.SigningAlg)
	c.KeyRotation = cmp.Or(c.KeyRotation, d.KeyRotation)
	c.RevokedRetention = max(0, cmp.Or(c.RevokedRetention, d.RevokedRetention))
	c.AuditRetention = cmp.Or(c.AuditRetention, d.AuditRetention)
	c.Limits = c.Limits.withDefaults(d.Limits)
	c.Logger = cmp.Or(c.Logger, d.Logger)
	if c.Clock == nil {
		c.Clock = d.Clock
	}
	if len(c.Audience) == 0 {
		c.Audience = []string{c.Issuer}
	}
	if c.AccessTTL > c.RefreshTTL {
		return c, invalid("the access lifetime %s is longer than the refresh lifetime %s", c.AccessTTL, c.RefreshTTL)
	}
	return c, nil
}

func (l Limits) withDefaults(d Limits) Limits {
	l.Window = cmp.Or(l.Window, d.Window)
	l.PerAccountAddress = cmp.Or(l.PerAccountAddress, d.PerAccountAddress)
	l.PerAccount = cmp.Or(l.PerAccount, d.PerAccount)
	l.PerDevice = cmp.Or(l.PerDevice, d.PerDevice)
	l.PerAddress = cmp.Or(l.PerAddress, d.PerAddress)
	l.PerClient = cmp.Or(l.PerClient, d.PerClient)
	l.SignIns = cmp.Or(l.SignIns, d.SignIns)
	l.Renames = cmp.Or(l.Renames, d.Renames)
	l.Codes = cmp.Or(l.Codes, d.Codes)
	l.Subscribers = cmp.Or(l.Subscribers, d.Subscribers)
	l.Waits = cmp.Or(l.Waits, d.Waits)
	return l
}
