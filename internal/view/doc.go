// Package view is how the domain's things look from outside: their JSON, once, for the public listener, the admin
// listener and the command line. It imports models and no HTTP.
//
// A type of this package is the JSON of the type of the same name in models, made by a function called New and its
// name. What must not be seen has no field here: no hash of a password, of a secret or of a token. A moment is
// [models.Micros], so RFC 3339 or null; only the feed ([RevocationEvent]) has the integers that are compared.
//
//	Device, OwnDevice                      an admin's view, and the user's own
//	User, Client, AuditEvent
//	Revocation, RevocationEvent            in the APIs, and in the feed
//	SignOut, Applied, Receipt, Subscriber  what a sign-out did, and where it has been applied
//	Platform                               what a person would call the thing behind a user agent
//	ParseUUID                              the one spelling of an id
package view

// List shows each thing of a list. An empty list is [], never null.
func List[T, V any](list []T, show func(*T) V) []V {
	views := make([]V, len(list))
	for i := range list {
		views[i] = show(&list[i])
	}
	return views
}
