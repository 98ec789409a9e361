package models

import (
	"slices"
	"strings"
)

// Resource indicators, RFC 8707: what an access token is for. A device has those of its sign-in; a refresh may narrow
// its access token to some of them, and so may the exchange of a code.

// checkResources returns [ErrTarget] unless the client was registered with all of them.
func (c *Client) checkResources(resources []string) error {
	if !coversAll(strings.Fields(c.Resources), resources) {
		return ErrTarget
	}
	return nil
}

// coversAll tells whether asked has nothing that has not been given.
func coversAll(given, asked []string) bool {
	return !slices.ContainsFunc(asked, func(one string) bool { return !slices.Contains(given, one) })
}

// isForUs tells whether a token with this audience may open a door of ours: the settings, the admin API, the feed.
func (s *Store) isForUs(audience []string) bool {
	return slices.ContainsFunc(audience, func(a string) bool {
		return a == s.cfg.Issuer || slices.Contains(s.cfg.Audience, a)
	})
}

// lessOurOwn is a scope without what opens the settings and the admin API.
func lessOurOwn(scope string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(sc string) bool {
		return sc == ScopeSettings || sc == ScopeAdmin
	}), " ")
}
