// Package admin is the private listener: what operators look at and change. Every route under /admin needs an access
// token with the scope admin, of a user who is an admin now or of a client itself.
//
//	/admin/devices        list, rename, sign out one, or all that a filter selects
//	/admin/users          make, change, delete; a user's devices
//	/admin/clients        make, change, delete, a new secret; a client's devices
//	/admin/revocations    the revocation log, and for each event the receipt: where it has been applied
//	/admin/subscribers    the resource servers that follow the log
//	/admin/events         the audit log: who did what to whom, from where, and why
//	/metrics              Prometheus, without a token: the listener is private
//	/console/             the same for people, as pages; they sign in here, admins only
//	/debug/pprof          profiles, likewise, if they are turned on
//
// What makes credentials or ends many asks for a fresh password (step_up.go): the API with a challenge (RFC 9470), the
// console with a page. The console's files are console*.go: console.go has its routes and what its pages share,
// console_rows.go how the store's things become rows. history.go is what the overview draws.
//
// A handler parses, calls one method of the store, and answers with a type of internal/view. The rules are the store's,
// also which level a filter is ([models.Store.TargetFor]). Errors are problem documents, RFC 9457.
package admin
