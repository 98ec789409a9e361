package pages

import "net/http"

// Kind says which policy a page needs.
type Kind int

// The kinds of pages.
const (
	// KindForm is a page whose forms are for this server alone.
	KindForm Kind = iota
	// KindLeadsBack is a page whose form may be answered with a redirect to a client. Chromium applies form-action to
	// redirects too, and drops them without a word; the clients' addresses come from their registration.
	KindLeadsBack
)

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// CSP is the Content-Security-Policy of a kind of page. [Pages.Render] sends it.
func CSP(k Kind) string {
	if k == KindLeadsBack {
		return policy
	}
	return policy + "; form-action 'self'"
}

// setSecurityHeaders replaces what the listener sends with every answer by what a page needs.
func setSecurityHeaders(h http.Header, k Kind) {
	h.Set("Content-Security-Policy", CSP(k))
	// With no-referrer a form would carry "Origin: null", which the protection against cross-site posts refuses on
	// names without TLS.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if k == KindForm { // a page that leads back to an app may stand in a window that the app has opened
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}
