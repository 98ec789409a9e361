package models

// The one rule: a token lives while its issue time is above the valid_from of its device, its user, its client and
// everyone, and the user is not disabled. These are its conditions in SQL, over devices d, users u, clients c and realm
// r, joined by ruleJoin. Each says less than the one before.
const (
	// aliveDevice is the rule for the refresh tokens of a device, and with them for the device itself.
	aliveDevice = signedIn + ` AND u.disabled_at = 0`

	// signedIn is that without its last condition: what disabling the user is about to end.
	signedIn = notSignedOut + ` AND d.expires_at > {now}`

	// notSignedOut is that whatever the clock says.
	// mutant: refresh-forgets-everyone
	notSignedOut = `d.signed_in_at > ` + deviceValidFrom

	// signedOutOrDisabled is the end that somebody made; the other end is the clock's.
	signedOutOrDisabled = `(NOT (` + notSignedOut + `) OR u.disabled_at <> 0)`

	// deviceValidFrom is what ends the tokens of a device: the latest sign-out of any of the four levels.
	deviceValidFrom = `{greatest}(d.valid_from, u.valid_from, c.valid_from, r.valid_from)`

	// clientValidFrom is that of a client's own tokens, which have no device and no user.
	clientValidFrom = `{greatest}(c.valid_from, r.valid_from)`
)

// ruleJoin gives each device its user, its client and everyone.
const ruleJoin = ` u.id = d.user_id AND c.id = d.client_id `
