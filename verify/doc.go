// Package verify is what a resource server imports to check Curfew's access tokens: locally, without a request to
// Curfew,
// and still refusing a token that was signed out a moment ago. It imports the standard library and nothing of Curfew.
//
// # A complete resource server
//
//	package main
//
//	import (
//		"fmt"
//		"log"
//		"net/http"
//		"os"
//
//		"curfew/verify"
//	)
//
//	func main() {
//		v, err := verify.New(verify.Config{
//			Issuer:       "http://127.0.0.1:8080", // in production https
//			ClientID:     "api",
//			ClientSecret: os.Getenv("CLIENT_SECRET"),
//			Subscriber:   "api-1",
//		})
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer v.Close()
//		orders := func(w http.ResponseWriter, r *http.Request) {
//			fmt.Fprintln(w, "the orders of", verify.ClaimsFrom(r.Context()).Subject)
//		}
//		http.Handle("/orders", v.Middleware("orders")(http.HandlerFunc(orders)))
//		log.Print(http.ListenAndServe("127.0.0.1:8083", nil))
//	}
//
// The client is registered once, and its secret shown once:
//
//	curfew client add api --grants client_credentials --scopes revocations --introspect
//
// # How to import it
//
// The repository has no address yet, so go get cannot find it. Either name the folder of a clone,
//
//	go mod edit -require=curfew@v0.0.0 -replace=curfew=../curfew
//
// or copy the Go files of this folder, without its tests and subfolders, into your module and import them from there:
// they
// need nothing else. For Gin copy the folder ginverify too and change its one import of this package.
//
// # Words
//
//   - issue time: when a token was issued, in microseconds, by the server's clock (the claim iat_us).
//   - valid_from: tokens issued at or before it are dead. It exists for each device, user and client, and for everyone;
//     signing out moves it. The one rule: a token is alive only if its issue time is above all four.
//   - revocation feed: the stream of events, each of which moves a valid_from, with heartbeats in between.
//   - heartbeat: the server's word that everything up to a sequence number has been sent, and what time it is there.
//   - staleness: how long ago the last heartbeat was made; before the first one, for ever. Knowledge is fresh while
//
// this is
//
//	  at most [Config].Bound.
//	- subscriber: this process's name towards the server; its acknowledgements are the receipt of whoever signs out.
//
// # What is guaranteed
//
//   - Everything RFC 9068 section 4 asks for is checked, and the one rule. A token has one form: JSON that readers
//     disagree about, a claim in another case, an ID token, a token that is bound to a key (cnf) are refused.
//   - What the feed has said counts for the very next call, also for tokens that were verified before: what is
//
// remembered of
//
//	  a token is its signature and its claims, never that it is alive.
//	- An event is acknowledged after it was applied.
//	- The age of the knowledge counts from when a heartbeat was made, not from when it came, and so that a clock that
//
// is set,
//
//	  a machine that sleeps and a proxy that holds heartbeats up never make it younger.
//	- A verifier comes up when the server does, and does the server no harm: one key fetch at a time, none for each
//
// forged
//
//	key id, longer and longer waits between tries.
//
// When the knowledge is stale, a token that is known to be dead stays dead, and for the others [StalePolicy] says
// what to
// do: ask introspection (the default; if that fails, refuse), refuse, or accept.
//
// Why a token was refused is one of the errors below; [Code] is its short name, [Refuse] the answer over HTTP.
//
// # Files
//
// The way of a token: middleware.go, verify.go (configuration, the order of checks), json.go (strict reading), jwt.go
// (header, claims, signature), keys.go, cache.go, index.go (the one rule), introspect.go (when stale), errors.go
// (codes). The
// way of an event: feed.go (follow, resume, acknowledge), eventstream.go (the parser), clock.go (how old the knowledge
// is), index.go. The folder vectors has the behaviour as data, for this and for other languages.
package verify

//go:generate go run ./vectors/gen -dir vectors
