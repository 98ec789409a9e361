// Package password makes, checks and imports password hashes, and says which passwords may be used. It knows no user,
// no database and no request.
//
// A [Hasher] bounds what hashing costs: so many at a time, so many waiting, so much memory. With [Hasher.Outsource] the
// work is done by a process of its own, which calls [Serve]. New hashes are argon2id (RFC 9106). [Import] takes those
// of other systems; each is checked as it is and replaced at the next successful sign-in, for which [Hasher.Verify]
// says that it is stale. [Policy] is for new passwords only.
//
// Files: hasher.go is the queue and the two questions; compute.go computes one key; process.go does so elsewhere;
// formats.go and foreign.go read and write stored hashes, and bounds.go says what they may cost; opaque.go is the one
// form of a password; policy.go has the rules for new ones, with common.go for those that are tried first and
// breaches.go for those that are known.
package password
