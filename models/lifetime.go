package models

import "time"

// The lifetimes that hold for a device now, in SQL over devices d and clients c. What a sign-in or a refresh wrote is
// their upper bound: where a lifetime was made shorter since, the next refresh finds it so. One that was made longer
// takes effect at the next refresh or sign-in.
const (
	refreshTTL   = `@refresh_ttl`
	deviceMaxAge = `@device_max_age`
	lostAnswer   = `coalesce(c.lost_answer, 0)` // off unless the client has it

	// deviceEnd is the end in any case.
	deviceEnd = `{least}(d.ends_at, d.signed_in_at + ` + deviceMaxAge + `)`

	// deviceExpiry is the end unless the device is used before.
	deviceExpiry = `{least}(d.expires_at, d.rotated_at + ` + refreshTTL + `, ` + deviceEnd + `)`

	// withinLifetimes is what a refresh needs beside the rule.
	withinLifetimes = `{now} < ` + deviceExpiry
)

// noMaxAge is a lifetime that nothing reaches, and that can be added to a moment all the same.
const noMaxAge = Micros(1) << 61

// lifetimes adds the parameters of the above.
func (s *Store) lifetimes(a args) args {
	a["refresh_ttl"], a["device_max_age"] = s.cfg.RefreshTTL, noMaxAge
	if s.cfg.DeviceMaxAge > 0 {
		a["device_max_age"] = Micros(s.cfg.DeviceMaxAge.Microseconds())
	}
	return a
}

// raceWindow is for how long the predecessor gets the same successor wherever it comes from: a client with two
// addresses (IPv4 and IPv6, or a phone between two networks) races itself. It lies within the reuse interval.
const raceWindow = 2 * time.Second
