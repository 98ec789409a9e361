// Package verify is what a resource server imports to check Curfew's access tokens: locally, without a request to Curfew,
// and still refusing a token that was signed out a moment ago. It imports the standard library and nothing of Curfew.
//
//	v, err := verify.New(verify.Config{Issuer: "https://curfew.example", ClientID: "api", ClientSecret: secret, Subscriber: "api-1"})
//	if err != nil { … }
//	defer v.Close()
//	http.Handle("/orders", v.Middleware("orders")(orders))
//
// What it promises:
//
//   - Everything RFC 9068 section 4 asks for is checked, and the one rule: a token is alive only if its issue time is above
//     the valid_from of its device, its user, its client and everyone.
//   - It follows the revocation feed. What the feed has said counts for the very next call, also for tokens that were
//     verified before: what is remembered of a token is its signature and its claims, never that it is alive.
//   - It acknowledges what it has applied, after it has applied it. Whoever signs somebody out gets this as a receipt.
//   - It knows how old its knowledge is. When the feed has been silent for longer than the bound, it asks introspection,
//     rejects, or accepts, as its owner chose; before the first contact likewise. A token that is known to be dead stays dead. The age counts from when a heartbeat
//     was made, not from when it came.
//   - It comes up when the server does, and it holds the server harmless: one key fetch at a time, none for each forged
//     key id, waits between tries.
package verify
