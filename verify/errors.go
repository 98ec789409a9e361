package verify

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Why a token was not accepted. Compare with errors.Is, or ask [Code].
var (
	// ErrNoToken: the request has no bearer token in its Authorization header, the one place where it is looked for.
	ErrNoToken = errors.New("verify: the request has no access token")
	// ErrRequest: the request has more than one Authorization header.
	ErrRequest = errors.New("verify: the request has more than one Authorization header")
	// ErrMalformed: not a JWT in its one strict form, or one with critical headers.
	ErrMalformed = errors.New("verify: the token is malformed")
	// ErrType: a JWT, but no access token of RFC 9068 (typ): an ID token, a logout token.
	ErrType = errors.New("verify: the token is not an access token")
	// ErrUnknownKey: signed by no key of the issuer's, or with another algorithm than the key's.
	ErrUnknownKey = errors.New("verify: the token's key is not known")
	// ErrSignature: the signature does not fit.
	ErrSignature = errors.New("verify: the token's signature is wrong")
	// ErrClaims: a claim that RFC 9068 section 2.2 requires, or iat_us, is missing, or a claim has another type.
	ErrClaims = errors.New("verify: a required claim is missing, or a claim has the wrong type")
	// ErrIssuer: another issuer's.
	ErrIssuer = errors.New("verify: the token is of another issuer")
	// ErrAudience: meant for somebody else.
	ErrAudience = errors.New("verify: the token is for another audience")
	// ErrBinding: the token is bound to a key of its client (cnf, RFC 7800), which this package does not check.
	ErrBinding = errors.New("verify: the token is bound to a key, which is not checked here")
	// ErrExpired: its lifetime is over.
	ErrExpired = errors.New("verify: the token has expired")
	// ErrNotYetValid: issued more than 10 s in the future.
	ErrNotYetValid = errors.New("verify: the token is from the future")
	// ErrRevoked: signed out.
	ErrRevoked = errors.New("verify: the token was signed out")
	// ErrStale: what is known of revocations is older than the bound, and the policy is to reject.
	ErrStale = errors.New("verify: the revocation feed is silent for too long")
	// ErrUnavailable: the issuer was asked in vain, for its keys, or about the token; then ErrStale is true of it too.
	ErrUnavailable = errors.New("verify: the issuer cannot be reached")
	// ErrScope: the token lacks a scope that the middleware requires.
	ErrScope = errors.New("verify: the token lacks a scope")
)

// refusal is what is said of an error: its code, the same in the verifiers of all languages, and its status.
type refusal struct {
	err    error
	code   string
	status int
}

var refusals = []refusal{
	{ErrUnavailable, "unavailable", http.StatusServiceUnavailable}, // before ErrStale, with which it comes
	{ErrStale, "stale", http.StatusServiceUnavailable},
	{ErrNoToken, "no_token", http.StatusUnauthorized},
	{ErrRequest, "request", http.StatusBadRequest},
	{ErrMalformed, "malformed", http.StatusUnauthorized},
	{ErrType, "type", http.StatusUnauthorized},
	{ErrUnknownKey, "unknown_key", http.StatusUnauthorized},
	{ErrSignature, "signature", http.StatusUnauthorized},
	{ErrClaims, "claims", http.StatusUnauthorized},
	{ErrIssuer, "issuer", http.StatusUnauthorized},
	{ErrAudience, "audience", http.StatusUnauthorized},
	{ErrBinding, "binding", http.StatusUnauthorized},
	{ErrExpired, "expired", http.StatusUnauthorized},
	{ErrNotYetValid, "not_yet_valid", http.StatusUnauthorized},
	{ErrRevoked, "revoked", http.StatusUnauthorized},
	{ErrScope, "scope", http.StatusForbidden},
}

// refusalOf is what is said of an error; one that is not this package's is answered like a token that is not accepted.
func refusalOf(err error) refusal {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r
		}
	}
	return refusal{err: err, status: http.StatusUnauthorized}
}

// Code is a short name for why a token was not accepted: no_token, request, malformed, type, unknown_key, signature,
// claims, issuer, audience, binding, expired, not_yet_valid, revoked, stale, unavailable or scope. It is for logs and
// counters; tell it nobody who sent a token. It is empty for nil, and for errors that are not this package's.
func Code(err error) string { return refusalOf(err).code }

// Status is the HTTP status that answers an error: 400, 401, 403 or 503.
func Status(err error) int { return refusalOf(err).status }

// Challenge is the WWW-Authenticate header that answers an error, RFC 6750 section 3; empty if there is none. scopes
// are those that were required.
func Challenge(err error, scopes ...string) string {
	switch r := refusalOf(err); {
	case r.status == http.StatusServiceUnavailable:
		return ""
	case r.err == ErrNoToken:
		return "Bearer"
	case r.err == ErrRequest:
		return `Bearer error="invalid_request"`
	case r.err == ErrScope:
		return fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q`, strings.Join(scopes, " "))
	}
	return `Bearer error="invalid_token"`
}
