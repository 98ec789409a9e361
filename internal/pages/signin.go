package pages

import "time"

// SignIn is the sign-in page. Its form posts the hidden fields and
//
//	username, password, device_name, shared (1, or not there)
type SignIn struct {
	Action string  // where the form goes; default /sign-in
	Fields []Field // what the form carries: the authorization request, or where to return to

	Client   string // the name of the app; empty: signing in to one's own account
	LeadsTo  string // where the app is: the host of its redirect URI, or "an app on this computer"; see [LeadsToLocal]
	Console  bool   // the console's sign-in: admins only, no shared computer
	Username string // what was typed, or login_hint
	Device   string // the prefilled device name: "Firefox on Linux"
	Shared   bool   // the box was ticked
	Problem  *Problem
}

// LeadsToLocal, as a [SignIn]'s or [Continue]'s LeadsTo, stands for an app on the reader's own device: a loopback or
// private-use redirect.
const LeadsToLocal = "local"

func (p SignIn) frame() frame {
	f := frame{name: "sign-in", shell: "plain", csp: KindLeadsBack}
	if p.Console {
		f.csp = KindForm
	}
	return f
}

// Continue asks somebody who is signed in whether to go on to an app as that user. Its form posts the hidden fields and
//
//	choice: continue or other
type Continue struct {
	Action   string // default /sign-in
	Fields   []Field
	Client   string
	LeadsTo  string
	Username string
	Problem  *Problem
}

func (Continue) frame() frame { return frame{name: "continue", shell: "plain", csp: KindLeadsBack} }

// Error is a page that says why there is nothing to see, and what to do about it. It never redirects.
type Error struct {
	// Code chooses the texts. The codes of error.* in texts/en.json: client, redirect_uri, doubled, request, not_found,
	// method, cross_site, cookies, stale, host, throttled, unavailable, forbidden, internal.
	Code       string
	RetryAfter time.Duration // said with throttled
	Client     string        // the app's name or client_id, if it is known
	Details    []Detail
	Home       string // where a link leads to; empty: no link
}

// Detail is a line for whoever builds the app: a parameter and what it was.
type Detail struct {
	Name, Value string
}

func (Error) frame() frame { return frame{name: "error", shell: "plain", csp: KindForm} }

// SignOut asks whether to sign out. Its form posts the hidden fields and
//
//	choice: out or stay
type SignOut struct {
	Action   string // default /sign-out
	Fields   []Field
	Client   string // the app that asks for it, if one does
	Username string
	Apps     int // how many apps of this browser go with it
}

func (SignOut) frame() frame { return frame{name: "sign-out", shell: "plain", csp: KindLeadsBack} }

// SignedOut is what stands there afterwards.
type SignedOut struct {
	Client  string // the app that the reader came from
	Receipt *Receipt
	Again   string // the way to sign in again; default /sign-in
}

func (SignedOut) frame() frame { return frame{name: "signed-out", shell: "plain", csp: KindForm} }
