// Package server is the public listener: the OAuth endpoints for client apps, the settings API for users, the
// revocation feed for resource servers.
//
//	POST /oauth2/token                              RFC 6749, sections 4.3, 4.4 and 6
//	POST /oauth2/revoke                             RFC 7009
//	POST /oauth2/introspect                         RFC 7662
//	GET  /oauth2/jwks                               RFC 7517
//	GET  /.well-known/oauth-authorization-server    RFC 8414
//	GET  /oauth2/revocations, POST …/ack            docs/revocation-feed.md
//	/settings/…                                     a user's own devices and password; RFC 6750, RFC 9457
//
// It parses, asks the store once, and answers. The rules are the store's.
package server
