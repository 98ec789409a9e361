package server

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/web"
)

// loopbackURI is a redirect URI to the user's own machine: what comes before the port, the port, and what comes after.
// Whatever has a user name, or another spelling of the host, does not fit.
var loopbackURI = regexp.MustCompile(`^(http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::([0-9]{1,5}))?((?:[/?].*)?)$`)

// mayLeadTo tells whether a redirect URI is one of those registered: the same to the letter (RFC 9700 section 4.1.3),
// but for the port of a loopback one, which an app gets from its system (RFC 8252 section 7.3).
func mayLeadTo(registered, uri string) bool {
	return slices.ContainsFunc(strings.Fields(registered), func(r string) bool {
		return r == uri || sameButForPort(r, uri)
	})
}

func sameButForPort(registered, uri string) bool {
	a, b := loopbackURI.FindStringSubmatch(registered), loopbackURI.FindStringSubmatch(uri)
	if a == nil || b == nil || a[1] != b[1] || a[3] != b[3] {
		return false
	}
	if b[2] == "" {
		return true
	}
	port, err := strconv.ParseUint(b[2], 10, 16)
	return err == nil && port > 0 && strconv.FormatUint(port, 10) == b[2]
}

// isLocal tells whether a redirect URI leads to an app on the user's own device. Any program there can open a browser,
// and take the answer in that app's place (RFC 8252 section 8.6), so the user is always asked.
func isLocal(uri string) bool { return !strings.HasPrefix(uri, "https://") }

// leadsTo is what people read about where a redirect URI leads.
func leadsTo(uri string) string {
	u, err := url.Parse(uri)
	if isLocal(uri) || err != nil {
		return pages.LeadsToLocal
	}
	return u.Host
}

// withQuery adds to the query that a redirect URI may have, RFC 6749 section 3.1.2.
func withQuery(uri string, more url.Values) string {
	before, query, found := strings.Cut(uri, "?")
	switch {
	case !found:
		return uri + "?" + more.Encode()
	case query == "":
		return before + "?" + more.Encode()
	}
	return before + "?" + query + "&" + more.Encode()
}

// seeOther leads a browser on.
func seeOther(c *gin.Context, location string) error { return web.SeeOther(c, location) }
