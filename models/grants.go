package models

import (
	"slices"
	"strings"
)

// The grants, RFC 6749 section 1.3 and 6.
const (
	GrantPassword          = "password"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantAuthorizationCode = "authorization_code"
)

// GrantType is a way to a token, and what registering a client with it asks for.
type GrantType struct {
	Name         string   // the grant_type of a token request
	Confidential bool     // only for a client that has a secret
	Beside       []string // one of these must be registered too
	Why          string   // of the two before, for whoever left it out
}

// GrantTypes are all that there are, in the order of the metadata.
var GrantTypes = []GrantType{
	{Name: GrantPassword},
	{Name: GrantAuthorizationCode},
	{
		Name: GrantRefreshToken, Beside: []string{GrantPassword, GrantAuthorizationCode},
		Why: "there would be nothing to refresh",
	},
	{Name: GrantClientCredentials, Confidential: true, Why: "RFC 6749 section 4.4"},
}

// FindGrantType returns the grant of that name.
func FindGrantType(name string) (GrantType, bool) {
	i := slices.IndexFunc(GrantTypes, func(g GrantType) bool { return g.Name == name })
	if i < 0 {
		return GrantType{}, false
	}
	return GrantTypes[i], true
}

// GrantNames are the names of [GrantTypes].
func GrantNames() []string {
	names := make([]string, len(GrantTypes))
	for i, g := range GrantTypes {
		names[i] = g.Name
	}
	return names
}

// HasGrant tells whether the client may use a grant.
func (c *Client) HasGrant(grant string) bool { return slices.Contains(strings.Fields(c.Grants), grant) }

func (c *Client) setGrants(names []string) error {
	for i, name := range names {
		g, ok := FindGrantType(name)
		switch {
		case !ok:
			return invalid("the grant %q: must be one of %s", name, strings.Join(GrantNames(), ", "))
		case slices.Contains(names[:i], name):
			return invalid("the grant %q is there twice", name)
		case g.Confidential && c.Public:
			return invalid("%s is for confidential clients: %s", name, g.Why)
		case g.Beside != nil && !slices.ContainsFunc(g.Beside, func(b string) bool { return slices.Contains(names, b) }):
			return invalid("%s must have %s beside it: %s", name, strings.Join(g.Beside, " or "), g.Why)
		}
	}
	c.Grants = strings.Join(names, " ")
	return nil
}
