package models

import (
	"errors"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// What a client may be registered with beside its grants and scopes, and what of it cannot be.

// Bounds of what a client may have of its own. Those of the times are the configuration's.
const (
	maxURIs      = 50 // of a kind
	maxURI       = 512
	maxAccessTTL = 24 * time.Hour
	maxLifetime  = 87600 * time.Hour
	maxDevices   = 1000
)

// patch is what a new client is given, in the form of a change.
func (n *NewClient) patch() ClientPatch {
	p := ClientPatch{
		Name: &n.Name, Grants: &n.Grants, Scopes: &n.Scopes, Introspect: &n.Introspect, LostAnswer: &n.LostAnswer,
		RedirectURIs: &n.RedirectURIs, PostLogoutRedirectURIs: &n.PostLogoutRedirectURIs, Origins: &n.Origins,
		Resources: &n.Resources, AccessTTL: &n.AccessTTL, RefreshTTL: &n.RefreshTTL, DeviceMaxAge: &n.DeviceMaxAge,
		MaxDevices: &n.MaxDevices, RefreshCookie: &n.RefreshCookie, BackchannelLogoutURI: &n.BackchannelLogoutURI,
	}
	if n.PKCE != "" {
		p.PKCE = &n.PKCE
	}
	return p
}

// set is one member of a patch: nothing if it is nil.
func set[T any](value *T, setter func(T) error) error {
	if value == nil {
		return nil
	}
	return setter(*value)
}

// apply changes what is not nil, each value by its own rules, and then looks at the whole.
func (c *Client) apply(p ClientPatch) error {
	if err := errors.Join(
		set(p.Name, c.setName), set(p.Grants, c.setGrants), set(p.Scopes, c.setScopes),
		set(p.Introspect, c.setIntrospect), set(p.LostAnswer, c.setLostAnswer),
		set(p.RedirectURIs, func(uris []string) (err error) {
			c.RedirectURIs, err = joinURIs("redirect URI", uris, c.checkRedirectURI)
			return err
		}),
		set(p.PostLogoutRedirectURIs, func(uris []string) (err error) {
			c.PostLogoutRedirectURIs, err = joinURIs("post-logout redirect URI", uris, c.checkRedirectURI)
			return err
		}),
		set(p.Origins, func(origins []string) (err error) {
			c.Origins, err = joinURIs("origin", origins, CheckWebOrigin)
			return err
		}),
		set(p.Resources, func(uris []string) (err error) {
			c.Resources, err = joinURIs("resource", uris, checkResource)
			return err
		}),
		set(p.PKCE, c.setPKCE), set(p.MaxDevices, c.setMaxDevices),
		set(p.AccessTTL, lifetime("access_ttl", time.Second, maxAccessTTL, &c.AccessTTL)),
		set(p.RefreshTTL, lifetime("refresh_ttl", time.Second, maxLifetime, &c.RefreshTTL)),
		set(p.DeviceMaxAge, lifetime("device_max_age", 0, maxLifetime, &c.DeviceMaxAge)),
		set(p.RefreshCookie, c.setRefreshCookie), set(p.BackchannelLogoutURI, c.setBackchannelLogoutURI),
	); err != nil {
		return err
	}
	switch {
	case c.HasGrant(GrantAuthorizationCode) && c.RedirectURIs == "":
		return invalid("%s must have a redirect URI: there would be nowhere to send the code", GrantAuthorizationCode)
	case c.RefreshCookie && !c.HasGrant(GrantRefreshToken):
		return invalid("refresh_cookie must have the grant %s: there would be nothing in the cookie", GrantRefreshToken)
	}
	return nil
}

// joinURIs checks a list, whose values have no space.
func joinURIs(what string, list []string, check func(string) error) (string, error) {
	if len(list) > maxURIs {
		return "", invalid("%d values: a client may have at most %d of a %s", len(list), maxURIs, what)
	}
	for i, uri := range list {
		if len(uri) > maxURI {
			return "", invalid("a %s has %d bytes: must be at most %d", what, len(uri), maxURI)
		}
		if err := check(uri); err != nil {
			return "", err
		}
		if slices.Contains(list[:i], uri) {
			return "", invalid("the %s %q is there twice", what, uri)
		}
	}
	return strings.Join(list, " "), nil
}

func (c *Client) setPKCE(mode string) error {
	switch {
	case mode != PKCERequired && mode != PKCEOptional:
		return invalid("pkce %q: must be %s or %s", mode, PKCERequired, PKCEOptional)
	case mode == PKCEOptional && c.Public:
		return invalid("pkce %s is for confidential clients: a public one has nothing else that binds a code to it", mode)
	}
	c.PKCE = mode
	return nil
}

func (c *Client) setMaxDevices(n *int) error {
	if n != nil && (*n < 1 || *n > maxDevices) {
		return invalid("max_devices %d: must be 1 to %d", *n, maxDevices)
	}
	c.MaxDevices = n
	return nil
}

// lifetime sets one of the client's own, in whole seconds.
func lifetime(name string, least, most time.Duration, field **Span) func(*Span) error {
	return func(value *Span) error {
		if value != nil {
			d := time.Duration(*value)
			if d < least || d > most || d%time.Second != 0 {
				return invalid("%s %s: must be %s to %s, in whole seconds", name, d, least, most)
			}
		}
		*field = value
		return nil
	}
}

// keepLongestAccessTTL: an event matters until the last token that it ends has expired, also one that was issued before
// the lifetime was made shorter. It takes the realm's row, so it comes last.
func (s *Store) keepLongestAccessTTL(tx *gorm.DB, c *Client) error {
	if c.AccessTTL == nil {
		return nil
	}
	_, err := s.exec(tx, `UPDATE realm SET longest_access_ttl = @ttl WHERE longest_access_ttl < @ttl`,
		args{"ttl": *c.AccessTTL})
	return err
}

func (c *Client) setRefreshCookie(on bool) error {
	if on && !c.Public {
		return invalid("refresh_cookie is for public clients: a server keeps its refresh tokens itself")
	}
	c.RefreshCookie = on
	return nil
}

// setBackchannelLogoutURI: whether http may be, and which addresses, is decided when the client is told.
func (c *Client) setBackchannelLogoutURI(uri string) error {
	if uri != "" {
		if len(uri) > maxURI {
			return invalid("the backchannel_logout_uri has %d bytes: must be at most %d", len(uri), maxURI)
		}
		if _, err := parseWebURI("backchannel_logout_uri", uri); err != nil {
			return err
		}
	}
	c.BackchannelLogoutURI = uri
	return nil
}

// HasResource tells whether the client may ask for tokens for a resource, compared to the letter.
func (c *Client) HasResource(uri string) bool {
	return slices.Contains(strings.Fields(c.Resources), uri)
}

// HasOrigin tells whether pages of an origin may call us for the client, compared to the letter.
func (c *Client) HasOrigin(origin string) bool {
	return slices.Contains(strings.Fields(c.Origins), origin)
}
