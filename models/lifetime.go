package models

import "time"

// The lifetimes that hold for a device now, in SQL over devices d and clients c. What a sign-in or a refresh wrote is
// their upper bound: where a lifetime was made shorter since, the next refresh finds it so. One that was made longer
// takes effect at the next refresh or sign-in.
const (
	refreshTTL   = `coalesce(c.refresh_ttl, @refresh_ttl)`
	deviceMaxAge = `coalesce(CASE c.device_max_age WHEN 0 THEN @no_max_age ELSE c.device_max_age END, @device_max_age)`
	lostAnswer   = `coalesce(c.lost_answer, 0)` // off unless the client has it

	// deviceEnd is the end in any case.
	deviceEnd = `{least}(d.ends_at, d.signed_in_at + ` + deviceMaxAge + `)`

	// deviceExpiry is the end unless the device is used before.
	deviceExpiry = `{least}(d.expires_at, d.rotated_at + ` + refreshTTL + `, ` + deviceEnd + `)`

	// withinLifetimes is what a refresh needs beside the rule.
	withinLifetimes = `{now} < ` + deviceExpiry

	// withinBrowserLifetimes is that for a browser session: being looked at is its use.
	withinBrowserLifetimes = `{now} < {least}(d.expires_at, d.last_seen_at + ` + refreshTTL + `, ` + deviceEnd + `)`
)

// noMaxAge is a lifetime that nothing reaches, and that can be added to a moment all the same.
const noMaxAge = Micros(1) << 61

// lifetimes adds the parameters of the above.
func (s *Store) lifetimes(a args) args {
	a["refresh_ttl"], a["device_max_age"], a["no_max_age"] = s.cfg.RefreshTTL, noMaxAge, noMaxAge
	if s.cfg.DeviceMaxAge > 0 {
		a["device_max_age"] = Micros(s.cfg.DeviceMaxAge.Microseconds())
	}
	return a
}

// raceWindow is for how long the predecessor gets the same successor wherever it comes from: a client with two
// addresses (IPv4 and IPv6, or a phone between two networks) races itself. It lies within the reuse interval.
const raceWindow = 2 * time.Second

// accessTTL is how long the client's access tokens live.
func (s *Store) accessTTL(c *Client) time.Duration { return ownOr(c.AccessTTL, s.cfg.AccessTTL) }

// refreshTTL is how long the client's devices may stay unused.
func (s *Store) refreshTTL(c *Client) time.Duration { return ownOr(c.RefreshTTL, s.cfg.RefreshTTL) }

// deviceMaxAge is how long the client's devices live in any case; 0: for ever.
func (s *Store) deviceMaxAge(c *Client) time.Duration {
	return ownOr(c.DeviceMaxAge, s.cfg.DeviceMaxAge)
}

// ownOr is the client's own value where it has one, else the server's.
func ownOr(own *Span, servers time.Duration) time.Duration {
	if own == nil {
		return servers
	}
	return time.Duration(*own)
}
