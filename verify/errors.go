package verify

import "errors"

// Why a token was not accepted. Compare with errors.Is.
var (
	// ErrMalformed: not a JWT in its one strict form.
	ErrMalformed = errors.New("verify: the token is malformed")
	// ErrType: a JWT, but no access token of RFC 9068 (typ), or one with critical headers.
	ErrType = errors.New("verify: the token is not an access token")
	// ErrUnknownKey: signed by no key of the issuer's, or with another algorithm than the key's.
	ErrUnknownKey = errors.New("verify: the token's key is not known")
	// ErrSignature: the signature does not fit.
	ErrSignature = errors.New("verify: the token's signature is wrong")
	// ErrIssuer: another issuer's.
	ErrIssuer = errors.New("verify: the token is of another issuer")
	// ErrAudience: meant for somebody else.
	ErrAudience = errors.New("verify: the token is for another audience")
	// ErrClaims: a claim that RFC 9068 section 2.2 requires, or iat_us, is missing.
	ErrClaims = errors.New("verify: a required claim is missing")
	// ErrExpired: its lifetime is over.
	ErrExpired = errors.New("verify: the token has expired")
	// ErrNotYetValid: issued more than 10 s in the future.
	ErrNotYetValid = errors.New("verify: the token is from the future")
	// ErrRevoked: signed out.
	ErrRevoked = errors.New("verify: the token was signed out")
	// ErrStale: what is known of revocations is older than the bound, and the policy is to reject. Answer 503.
	ErrStale = errors.New("verify: the revocation feed is silent for too long")
	// ErrUnavailable: the issuer could not be asked. It comes together with ErrStale. Answer 503.
	ErrUnavailable = errors.New("verify: the issuer cannot be reached")
	// ErrScope: the token lacks a scope that the middleware requires.
	ErrScope = errors.New("verify: the token lacks a scope")
)
