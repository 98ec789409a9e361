// Package server is the public listener: the OAuth endpoints for client apps, the settings API for users, the
// revocation feed for resource servers.
//
//	POST /oauth2/token                              RFC 6749, sections 4.1.3, 4.3, 4.4 and 6
//	GET  /oauth2/authorize                          RFC 6749, section 4.1; RFC 7636, RFC 9207
//	POST /oauth2/revoke                             RFC 7009
//	POST /oauth2/introspect                         RFC 7662
//	GET  /oauth2/jwks                               RFC 7517
//	GET  /.well-known/oauth-authorization-server    RFC 8414
//	GET  /oauth2/revocations, POST …/ack            docs/revocation-feed.md
//	/settings/…                                     a user's own devices and password; RFC 6750, RFC 9457
//	/sign-in, /sign-out, /account                   pages for people; docs/pages.md
//
// It parses, asks the store once, and answers. The rules are the store's. The routes and their groups stand in
// server.go, each group with its policy of headers.
//
// The token endpoint is token.go, to be read from the top: the table of grants, the endpoint, and what each grant
// checks and calls. A new grant is a row there and one in [models.GrantTypes]. The client is authenticated before
// anything else is looked at (client_auth.go). go-oauth2 takes the request apart and calls the manager that is made
// for it; its own manager and its other endpoints are not used. Errors of these endpoints are those of RFC 6749
// section 5.2 (errors.go); all others are problem documents.
//
// Pages of other origins are browsers.go: a handler before all routes answers preflights and judges requests with an
// access token; those with a form are judged as soon as the form is read, and once more with the client that was
// authenticated. refresh_cookie.go is the one cookie of this package's API.
//
// The pages share pages.go: their routes, where they are served, who may post to them, and how an error becomes a page.
// An authorization request is read by authorization.go and redirect_uri.go, each time it comes: it travels in the
// forms, not in the server. authorize.go decides what the browser sees and leads back, code.go is the grant;
// sign_in.go, sign_out.go and account.go are a page each, cookies.go the two cookies.
//
// The feed is in four parts: the node's copy of the log (internal/revlog), the routes (revocations.go), a stream on a
// connection of its own (stream.go), and the named subscribers that are live while they have one (subscribers.go).
// feed.go begins and ends them.
package server
