package models

import (
	"regexp"
	"slices"
	"strings"
)

// The scopes that mean something to Curfew itself.
const (
	ScopeAdmin       = "admin"       // the admin API; must be asked for by name
	ScopeSettings    = "settings"    // the settings API
	ScopeRevocations = "revocations" // the revocation feed

	ScopeOfflineAccess = "offline_access" // stays signed in when the browser session it came through ends

	// OpenID Connect Core sections 3.1.2.1 and 5.4.
	ScopeOpenID  = "openid"  // an ID token, and the userinfo endpoint
	ScopeProfile = "profile" // there: what the user is called
	ScopeEmail   = "email"   // there: the address
)

const maxScopes = 64 // of a client

var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,64}$`) // RFC 6749 section 3.3

func (c *Client) setScopes(scopes []string) error {
	for i, sc := range scopes {
		switch {
		case !scopeToken.MatchString(sc):
			return invalid("the scope %q: must be 1 to 64 printable characters without space, quote and backslash", sc)
		case slices.Contains(scopes[:i], sc):
			return invalid("the scope %q is there twice", sc)
		}
	}
	if len(scopes) > maxScopes {
		return invalid("%d scopes: must be at most %d", len(scopes), maxScopes)
	}
	c.Scopes = strings.Join(scopes, " ")
	return nil
}

// common is what of a scope is allowed, too.
func common(scope, allowed string) string {
	if scope == allowed {
		return scope
	}
	has := strings.Fields(allowed)
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(sc string) bool {
		return !slices.Contains(has, sc)
	}), " ")
}

// without is the scope less one.
func without(scope, one string) string {
	if !strings.Contains(scope, one) {
		return scope
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(sc string) bool { return sc == one }), " ")
}

// GrantedScope is what a client gets for what it asks for (RFC 6749 section 3.3): what it was registered with; without
// a request all of that but admin and offline_access, which must be asked for by name, and of which [Store.SignIn]
// gives the first to admins only. It returns [ErrScope] for anything else.
func GrantedScope(c *Client, requested string) (string, error) {
	allowed := strings.Fields(c.Scopes)
	if requested == "" {
		return strings.Join(slices.DeleteFunc(allowed, func(sc string) bool {
			return sc == ScopeAdmin || sc == ScopeOfflineAccess
		}), " "), nil
	}
	var granted []string
	for _, sc := range strings.Split(requested, " ") {
		if !slices.Contains(allowed, sc) {
			return "", ErrScope
		}
		if !slices.Contains(granted, sc) {
			granted = append(granted, sc)
		}
	}
	return strings.Join(granted, " "), nil
}
