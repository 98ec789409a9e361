package main

// The browser session of a world, the codes that are issued in it, and the devices that are signed in by them.

const (
	actBrowser    action = "sign in browser"
	actPage       action = "look at a page"
	actCode       action = "ask for a code"
	actExchange   action = "exchange code"
	actEndSession action = "sign out browser"
)

// maxCodes is how many codes a world may ask for.
const maxCodes = 12

type sessionState struct {
	Exists, Live   bool
	Cookie, Before int32 // a number for each, in the order in which the harness saw them
}

type codeState struct {
	Issued, Dead, Spent bool
	Offline             bool
	Slot                int   // of the device that it made
	SignIn              int32 // which sign-in that was
}

// fits tells whether a cookie opens a page.
func (sp specification) fits(s sessionState, cookie int32) bool {
	return s.Live && cookie != noRefreshID && (cookie == s.Cookie || sp.reuse && cookie == s.Before)
}

func (sp specification) browser(s worldState, in operation, out outcome) (bool, worldState) {
	ok := out.Verdict == done
	switch in.Action {
	case actBrowser:
		if ok != (in.Password == s.Password && !s.Disabled) {
			return false, s
		}
		return !ok || sp.signInBrowser(&s, in.RefreshID, out.RefreshID), s
	case actPage:
		return ok == sp.fits(s.Session, in.RefreshID), s
	case actCode:
		if ok != sp.fits(s.Session, in.RefreshID) {
			return false, s
		}
		if ok {
			s.Codes[out.Code-1] = codeState{Issued: true, Offline: in.Offline}
		}
	case actEndSession:
		if !ok {
			return !s.Session.Exists, s
		}
		s.endSession()
		return s.Session.Exists, s
	case actExchange:
		return s.exchange(in, out)
	}
	return true, s
}

// signInBrowser: a session that is in is renewed with its newest cookie, and whoever did not present that one gets it
// while tabs may race each other. Without it at any other time the session begins anew, as one does that is out.
func (sp specification) signInBrowser(s *worldState, presented, given int32) bool {
	b := &s.Session
	switch {
	case !b.Live || !sp.reuse && presented != b.Cookie:
		s.endSession()
		*b = sessionState{Exists: true, Live: true, Cookie: given}
	case presented == b.Cookie:
		if given == b.Cookie || given == b.Before {
			return false
		}
		b.Before, b.Cookie = b.Cookie, given
	case b.Cookie == unknownRefreshID:
		b.Cookie = given
	default:
		return given == b.Cookie
	}
	return true
}

// exchange: one good presentation makes the device, the next one ends it, a wrong one does nothing.
func (s *worldState) exchange(in operation, out outcome) (bool, worldState) {
	c := &s.Codes[in.Code-1]
	good := c.Issued && !in.Wrong && !in.Stranger
	switch {
	case out.Verdict == done && (!good || c.Dead || c.Spent):
		return false, *s
	case out.Verdict == done:
		c.Spent, c.Slot, c.SignIn = true, in.Slot, out.RefreshID
		d := &s.Devices[in.Slot]
		*d = deviceState{
			Exists: true, Live: true, Current: out.RefreshID, SignIn: out.RefreshID, Name: d.Name, Child: true,
			Offline: c.Offline,
		}
	case good && !c.Spent:
		return c.Dead, *s
	case good:
		if d := &s.Devices[c.Slot]; d.SignIn == c.SignIn {
			d.Live = false
		}
	}
	return true, *s
}

func (sp specification) lostBrowser(s worldState, in operation) worldState {
	switch in.Action {
	case actBrowser:
		if in.Password == s.Password && !s.Disabled {
			sp.signInBrowser(&s, in.RefreshID, unknownRefreshID)
		}
	case actEndSession:
		s.endSession()
	case actExchange:
		if c := s.Codes[in.Code-1]; c.Issued && !c.Dead && !c.Spent {
			_, s = s.exchange(in, outcome{Verdict: done, RefreshID: unknownRefreshID})
		} else {
			_, s = s.exchange(in, outcome{Verdict: refused})
		}
	}
	return s
}

// endSession takes the codes and the children, but for those with offline_access.
func (s *worldState) endSession() {
	if !s.Session.Live {
		return
	}
	s.Session.Live = false
	s.endCodes()
	for i := range s.Devices {
		if d := &s.Devices[i]; d.Child && !d.Offline {
			d.Live = false
		}
	}
}

func (s *worldState) endCodes() {
	for i := range s.Codes {
		s.Codes[i].Dead = s.Codes[i].Dead || s.Codes[i].Issued && !s.Codes[i].Spent
	}
}

// signOutApp is the client's level: devices and codes, not the browser session.
func (s *worldState) signOutApp() {
	for i := range s.Devices {
		s.Devices[i].Live = false
	}
	s.endCodes()
}

// signOutRest keeps one device and the browser session that it was signed in through.
func (s *worldState) signOutRest(slot int) {
	keep := s.Devices[slot]
	for i := range s.Devices {
		s.Devices[i].Live = s.Devices[i].Live && i == slot
	}
	if !keep.Child {
		s.endSession()
	}
}
