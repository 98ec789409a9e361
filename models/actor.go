package models

// Who initiated a change, as CAEP 1.0 section 2 names it (initiating_entity).
const (
	EntityUser   = "user"   // the user the thing belongs to
	EntityAdmin  = "admin"  // an admin, by the admin API or the command line
	EntityPolicy = "policy" // a rule: reuse of a refresh token, too many devices
	EntitySystem = "system" // Curfew itself
)

// Actor is who asks for a change, and from where. It goes into the audit log in the same transaction as the change.
type Actor struct {
	Entity    string
	ID        string // user id or client id; "cli" for the command line
	IP        string
	UserAgent string
}
