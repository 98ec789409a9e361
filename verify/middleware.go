package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

type claimsKey struct{}

// ClaimsFrom returns the claims that the middleware put into a request's context; nil outside of it.
func ClaimsFrom(ctx context.Context) *Claims {
	c, _ := ctx.Value(claimsKey{}).(*Claims)
	return c
}

// WithClaims returns a context that holds claims; for middleware of other frameworks, and for tests of handlers.
func WithClaims(ctx context.Context, c *Claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, c)
}

// Middleware lets only requests through whose access token is alive and carries every one of scopes. The claims are in
// the request's context. It answers the others itself, RFC 6750 section 3.
func (v *Verifier) Middleware(scopes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			claims, err := v.Authorize(r, scopes...)
			if err != nil {
				Refuse(w, err, scopes...)
				return
			}
			next.ServeHTTP(w, r.WithContext(WithClaims(r.Context(), claims)))
		})
	}
}

// Authorize checks a request's token (RFC 6750 section 2.1) and its scopes. [Refuse] has the answer to its errors.
func (v *Verifier) Authorize(r *http.Request, scopes ...string) (*Claims, error) {
	values := r.Header.Values("Authorization")
	if len(values) > 1 {
		return nil, ErrRequest
	}
	if len(values) == 0 {
		return nil, ErrNoToken
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if token = strings.Trim(token, " "); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, ErrNoToken
	}
	claims, err := v.Verify(r.Context(), token)
	if err != nil {
		return nil, err
	}
	for _, s := range scopes {
		if !claims.HasScope(s) {
			return nil, ErrScope
		}
	}
	return claims, nil
}

// Refuse answers a request whose authorization failed: status, challenge and a problem document (RFC 9457) that says no
// more than the challenge.
func Refuse(w http.ResponseWriter, err error, scopes ...string) {
	status, challenge := Status(err), Challenge(err, scopes...)
	code := "invalid_token"
	switch {
	case status == http.StatusServiceUnavailable:
		code = "temporarily_unavailable"
		w.Header().Set("Retry-After", "2")
	case errors.Is(err, ErrNoToken):
		code = "token_required"
	case errors.Is(err, ErrRequest):
		code = "invalid_request"
	case errors.Is(err, ErrScope):
		code = "insufficient_scope"
	}
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d,"code":%q}`+"\n", http.StatusText(status), status,
		code)
}
