// Package models is the domain of Curfew together with its store: devices, users, clients, their tokens, and how each
// is signed out. One [Store] holds it all. Its methods are the units of work: each has happened, all of it, or has not.
// The package knows nothing of HTTP; package server and package admin put it on the network.
//
// # The one rule
//
// A token is good while its issue time is above the valid_from of its device, of its user, of its client and of
// everyone, its user is not disabled, it has not expired, and no newer token of its device has retired it. So a
// sign-out at any of the four levels is one timestamp that moves, whatever the number of tokens below it, and no token
// is stored. The conditions in SQL are in rule.go; every check, refresh, sign-in and list uses them.
// docs/no-survivor.md proves that none survives.
//
// # Words
//
//   - device: one signed-in installation of a client for one user; one row, from before its first refresh to after its
//     millionth. Its id is a GUID that stays when the same user signs in again.
//   - issue time: when a token was issued, in microseconds of the database's clock ([Micros]); iat_us in an access token.
//   - valid_from: of a device, a user, a client or everyone; what was issued at or before it is dead.
//   - level: what a valid_from belongs to ([Level]). A [Target] says what a sign-out ends.
//   - realm: the one row of everyone. It has the horizon and the last sequence number of the log too.
//   - horizon: no token is issued with a later issue time than the horizon that its statement read, and a sign-out takes it
//     as its valid_from and moves it on; so neither waits for the other (horizon.go).
//   - refresh id: names the one refresh token of a device that may be used next. A refresh rotates it; the token is derived
//     from it and never stored (tokens.go). The ids of one sign-in are a token family.
//   - retry: the last refresh token once more, before its successor was used, within the reuse interval or the client's
//     window for a lost answer; it gets the same successor again, or a fresh one (replay.go).
//   - reuse, or replay: any other refresh token of the family that was rotated away. It signs its device out.
//   - browser session: a device of a built-in client. A browser holds a cookie of it, no tokens (browser.go). It is the
//     parent of the devices that were signed in through it by a code; its sign-out is theirs too (family.go).
//   - code: an authorization code ([Code]), one of the tokens of its user, client and browser session (code.go). It is
//     spent once (exchange.go).
//   - revocation event: a row of the append-only log ([Revocation]); its sequence number is its place in the order of
//     commits. What follows the log is woken by [Store.LogMoved].
//   - subscriber: a resource server that follows the log and acknowledges what it has applied. Where an event has been
//     applied is its receipt ([Receipt]).
//   - actor: who asked for a change ([Actor]). Each change writes its audit event in its own transaction.
//
// # Locks
//
// A transaction locks rows in this order: code, user, client, devices by their ids, but a browser session before its
// children, realm. The realm comes last and is held to the commit, so sequence numbers are the order of commits. A
// refresh locks its device alone, by an UPDATE in autocommit, and leaves out a row that somebody holds. SQLite has one
// writer at a time, in the order they came. All of it runs under READ COMMITTED, which every transaction says: what was
// waited for is seen as it is then.
//
// # Errors
//
// The errors that a caller can act on are the variables in errors.go, and [*ThrottledError]; test them with
// [errors.Is]. Each method says which it returns. [ErrUnavailable] means that nothing is known: answer 503, never a
// guess. [ErrInvalid] has a message for whoever sent the value. Anything else is a fault of the program or of what the
// database holds: answer 500 and log it. A caller that hangs up does not stop a write half way; its answer is lost, the
// work is not.
//
// # SQL
//
// Rows that are only stored and loaded go through GORM. Statements that are the rule, a compare-and-swap, a lock or a
// shared batch are SQL in the open: their text is what the proof is about, and it must be the same on both databases.
// They are written once, with words for what differs, and named parameters:
//
//   - {now} is the database's clock at the start of the statement, in microseconds; {horizon}, {d resources},
//     {greatest}, {least} and {lower} are spelled as the database does.
//   - {lock} keeps the rows of a SELECT from changing until the commit, {lock d} those of table d, and {skip locked} leaves
//     out those that somebody holds. On SQLite they are empty.
//   - {in ids} is a condition: the value before it is in the list of UUIDs @ids.
//   - @name is a parameter out of [args]. Moments and durations go in as they are. A statement that names a parameter
//     without a value, an unknown word, or @now, panics at its first use, on either database.
//
// # Where things are
//
// A file has one noun. A refresh passes client_auth.go, refresh.go, batch.go, statements.go, tokens.go and horizon.go;
// only a token that is not the current one comes to replay.go; lifetime.go is how long all of it lasts. A sign-in
// passes authenticate.go and throttle.go, then signin.go; a user's own new password is one too (password_change.go). A
// code passes browser.go, code.go and exchange.go. A sign-out begins in target.go and is done in signout.go, with
// family.go for a browser session; revocation.go is the log, feed.go wakes its followers.
package models
