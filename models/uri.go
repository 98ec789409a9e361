package models

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The addresses that clients are registered with. All of them are compared to the letter, so each must be in the one
// form that a browser or an app sends.

var (
	uriText       = regexp.MustCompile(`^[\x21\x23-\x5B\x5D\x5F\x61-\x7A\x7E]+$`) // no space, quote, backslash, ^ ` { | }
	uriScheme     = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	privateScheme = regexp.MustCompile(`^[a-z][a-z0-9+-]*(\.[a-z0-9][a-z0-9+-]*)+$`) // RFC 8252 section 7.1
	hostName      = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)
)

// parseURI reads an absolute URI without a fragment, RFC 3986 section 4.3.
func parseURI(what, uri string) (*url.URL, error) {
	u, err := url.Parse(uri)
	switch {
	case uri == "":
		return nil, invalid("a %s is empty", what)
	case err != nil || !uriText.MatchString(uri):
		return nil, invalid("the %s %q: is not a URI", what, uri)
	case u.Scheme == "":
		return nil, invalid("the %s %q: must be absolute, with a scheme like https", what, uri)
	case !strings.HasPrefix(uri, u.Scheme+":") || !uriScheme.MatchString(u.Scheme):
		return nil, invalid("the %s %q: must have its scheme in lower case", what, uri)
	case strings.Contains(uri, "#"):
		return nil, invalid("the %s %q: must have no fragment", what, uri)
	}
	return u, nil
}

// parseWebURI reads an http or https URI as browsers write it.
func parseWebURI(what, uri string) (*url.URL, error) {
	u, err := parseURI(what, uri)
	if err != nil {
		return nil, err
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, invalid("the %s %q: must begin with https://", what, uri)
	case u.Opaque != "" || host == "":
		return nil, invalid("the %s %q: must name a host", what, uri)
	case u.User != nil || strings.Contains(authorityOf(uri), "@"):
		return nil, invalid("the %s %q: must have no user name", what, uri)
	case strings.Contains(uri, "*"):
		return nil, invalid("the %s %q: there are no wildcards; each is compared to the letter", what, uri)
	case !isHost(u):
		return nil, invalid("the %s %q: must name a host in lower case, an international one in its xn-- form", what, uri)
	case !isPort(u):
		return nil, invalid("the %s %q: must have a port from 1 to 65535, or none", what, uri)
	}
	return u, nil
}

// authorityOf is what stands between the scheme and the path.
func authorityOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// isHost accepts a name, or an address in its one form.
func isHost(u *url.URL) bool {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		ip := net.ParseIP(host)
		return ip != nil && ip.To4() == nil && ip.String() == host
	}
	return hostName.MatchString(host) && !strings.Contains(host, "..")
}

func isPort(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 1 && n <= 65535 && strconv.Itoa(n) == port
}

// IsLoopback tells whether a host is this machine by one of the three names that RFC 8252 section 7.3 and browsers take
// for it. A port, and the brackets of an address, do not belong to it.
func IsLoopback(host string) bool {
	return slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, host)
}

// checkRedirectURI says where a browser may be sent back to: https; http on the user's own machine (RFC 8252 section
// 7.3); a scheme that only the app has, for public clients (section 7.1). RFC 9700 section 2.1.
func (c *Client) checkRedirectURI(uri string) error {
	const what = "redirect URI"
	u, err := parseURI(what, uri)
	if err != nil {
		return err
	}
	switch {
	case u.Scheme == "https" || u.Scheme == "http":
		u, err = parseWebURI(what, uri)
		if err == nil && u.Scheme == "http" && !IsLoopback(u.Hostname()) {
			err = invalid("the %s %q: http is only for 127.0.0.1, [::1] and localhost; must begin with https://", what, uri)
		}
		return err
	case !privateScheme.MatchString(u.Scheme):
		return invalid("the %s %q: must begin with https://, or with a scheme of the app's own that has a dot, like "+
			"com.example.app:/", what, uri)
	case !c.Public:
		return invalid("the %s %q: a scheme of the app's own is for public clients (RFC 8252 section 7.1)", what, uri)
	case u.Opaque != "" || u.User != nil || u.Host == "" && u.Path == "" || strings.Contains(uri, "*"):
		return invalid("the %s %q: must be like %s:/callback", what, uri, u.Scheme)
	}
	return nil
}

// checkResource: RFC 8707 section 2.
func checkResource(uri string) error {
	u, err := parseURI("resource", uri)
	if err == nil && u.Host == "" && u.Opaque == "" && u.Path == "" {
		err = invalid("the resource %q: must have more than a scheme", uri)
	}
	return err
}

// CheckWebOrigin accepts an origin as browsers send it: scheme, host, and the port if it is not the scheme's own (RFC
// 6454 section 6.2). Its errors wrap [ErrInvalid] and name the right form where there is one.
func CheckWebOrigin(origin string) error {
	if origin == "null" {
		return invalid("the origin null: every sandboxed frame and local file of anybody has it")
	}
	u, err := url.Parse(origin)
	if err != nil {
		return invalid("the origin %q: is not a URI", origin)
	}
	if strings.Contains(origin, "*") || u.Host == "" || u.User != nil {
		return invalid("the origin %q: must be one origin like https://app.example or http://localhost:3000", origin)
	}
	right := WebOriginOf(u)
	if _, err := parseWebURI("origin", right); err != nil {
		return err
	}
	if right != origin {
		return invalid("the origin %q: must be written as browsers send it: %s", origin, right)
	}
	return nil
}

// WebOriginOf is the origin of a page's address, as browsers send it.
func WebOriginOf(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return scheme + "://" + host
}
