package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// The specification that a history is held against: one user, one client, and the user's devices on it. A refresh id is
// a number here, given in the order in which the harness saw them.

// slots is how many devices a world has.
const slots = 2

const (
	noRefreshID      int32 = 0
	unknownRefreshID int32 = -1 // it was issued in an answer that never arrived
)

type action string

const (
	actSignIn      action = "sign in"
	actRefresh     action = "refresh"
	actCheck       action = "check" // introspection, or the check that every settings request begins with
	actList        action = "list"
	actRename      action = "rename"
	actSignOut     action = "sign out device"
	actRevokeToken action = "revoke token" // RFC 7009: signs out the token's device
	actSignOutRest action = "sign out other devices"
	actSignOutUser action = "sign out user"
	actSignOutApp  action = "sign out client" // not the browser session
	actSignOutAll  action = "sign out everyone"
	// how many devices a sign-out says were in: read beside the deed, not in the same step
	actCount       action = "count"
	actPassword    action = "change password"
	actSetPassword action = "set password"
	actDisable     action = "disable"
	actEnable      action = "enable"
)

// operation is what was asked.
type operation struct {
	Action    action
	Slot      int    // the device; of a password change the one that stays
	RefreshID int32  // of the token that was presented
	Password  int8   // presented, or for actSetPassword the new one
	Of        action // of actCount: the sign-out that said it
	Next      int8   // the new password of actPassword
	Name      int8   // the new name of actRename
	Stranger  bool   // another client presents the token
	Access    bool   // of actRevokeToken: an access token
	SignIn    int32  // of actRevokeToken and actRefresh: the refresh id of the sign-in that the token comes from
	How       string

	// Of actRefresh:
	From       place
	LostAnswer bool  // the client has a window for a lost answer, longer than a world lives
	Begun, End int64 // nanoseconds since the run began; End is math.MaxInt64 if no answer came

	Code    int8 // of actExchange
	Wrong   bool // its verifier
	Offline bool // of actCode
}

// place is where a request comes from.
type place int8

const (
	home place = iota
	elsewhere
	nowhereSure // of a device: an answer that never arrived leaves it open
)

type verdict int8

const (
	refused verdict = iota
	done
	lost // no answer: it happened at any time since, or never
)

// outcome is what was answered.
type outcome struct {
	Verdict   verdict
	RefreshID int32       // issued
	Count     int         // of actCount
	Code      int8        // of actCode
	Live      [slots]bool // of a list
	Session   bool        // likewise: the browser session
	Names     [slots]int8
}

type deviceState struct {
	Exists, Live      bool
	Current, Previous int32
	SignIn            int32 // the first refresh id since the sign-in
	Name              int8
	From              place // of whoever the current one was made for
	// When the previous one was rotated away: not before, not after.
	RotatedFrom, RotatedTo int64
	Doubt                  bool // a retry without an answer may have put an unknown one in the place of the current
	Child, Offline         bool // signed in through the browser session; and stays without it
}

type worldState struct {
	Password int8
	Disabled bool
	Devices  [slots]deviceState
	Session  sessionState
	Codes    [maxCodes]codeState
}

// specification is the model; reuse tells whether the reuse interval is longer than a world lives, or nothing at all.
type specification struct{ reuse bool }

func (sp specification) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return worldState{} },
		Step: func(state, input, output any) (bool, any) {
			return sp.step(state.(worldState), input.(operation), output.(outcome))
		},
		DescribeOperation: func(input, output any) string { return describe(input.(operation), output.(outcome)) },
		DescribeState:     func(state any) string { return describeState(state.(worldState)) },
	}
}

// count is how many devices a sign-out answers that it ended.
func (s *worldState) count(in operation) (n int) {
	for i, d := range s.Devices {
		if d.Live && (in.Of == actSignOutUser || (in.Of == actSignOut) == (i == in.Slot)) {
			n++
		}
	}
	if d := s.Devices[in.Slot]; s.Session.Live && (in.Of == actSignOutUser || in.Of == actSignOutRest && !d.Child) {
		n++
	}
	return n
}

// step tells whether the outcome is right for the state, and gives the next state.
func (sp specification) step(s worldState, in operation, out outcome) (bool, worldState) {
	if out.Verdict == lost { // it may have happened here; that it never did is the place at the very end
		return true, sp.lost(s, in)
	}
	ok := out.Verdict == done
	d := &s.Devices[in.Slot]
	switch in.Action {
	case actSignIn:
		if ok != (in.Password == s.Password && !s.Disabled) {
			return false, s
		}
		if ok {
			*d = deviceState{Exists: true, Live: true, Current: out.RefreshID, SignIn: out.RefreshID, Name: d.Name}
		}
	case actRefresh:
		return sp.refresh(s, in, out)
	case actCheck:
		if d.Live && d.Doubt && in.RefreshID == d.Current {
			return true, s
		}
		return ok == (d.Live && (in.RefreshID == d.Current || sp.reuse && in.RefreshID == d.Previous)), s
	case actList:
		for i, d := range s.Devices {
			if out.Live[i] != d.Live || d.Live && out.Names[i] != d.Name {
				return false, s
			}
		}
		return out.Session == s.Session.Live, s
	case actRename:
		if !ok {
			return !d.Live, s
		}
		d.Name = in.Name
		return d.Exists, s
	case actSignOut:
		if !ok {
			return !d.Exists, s
		}
		d.Live = false
		return d.Exists, s
	case actCount:
		return out.Count == s.count(in), s
	case actRevokeToken:
		s.revokeToken(in)
	case actSignOutRest:
		s.signOutRest(in.Slot)
	case actSignOutApp:
		s.signOutApp()
	case actSignOutUser, actSignOutAll:
		s.signOutAll()
	case actPassword:
		if ok != (in.Password == s.Password && !s.Disabled) {
			return false, s
		}
		if ok {
			s.changePassword(in, out.RefreshID)
		}
	case actSetPassword:
		s.Password = in.Password
		s.signOutAll()
	case actDisable:
		if !s.Disabled {
			s.Disabled = true
			s.signOutAll()
		}
	case actEnable:
		s.Disabled = false
	case actBrowser, actPage, actCode, actExchange, actEndSession:
		return sp.browser(s, in, out)
	default:
		panic("no such action: " + in.Action)
	}
	return true, s
}

// raceWindow is for how long the predecessor gets the same successor wherever it comes from.
const raceWindow = int64(2 * time.Second)

// refresh is RFC 6749 section 6 with rotation, the rule of the predecessor and the end of a device whose token is
// replayed. A token of another sign-in or client does nothing.
func (sp specification) refresh(s worldState, in operation, out outcome) (bool, worldState) {
	d := &s.Devices[in.Slot]
	own := d.Live && !in.Stranger && in.SignIn == d.SignIn
	predecessor := in.RefreshID == d.Previous && (sp.reuse || in.LostAnswer)
	switch {
	case !own:
		return out.Verdict == refused, s
	case out.Verdict == done && in.RefreshID == d.Current:
		if out.RefreshID == d.Current || out.RefreshID == d.Previous {
			return false, s
		}
		d.rotate(in, out.RefreshID)
		return true, s
	case out.Verdict == done:
		return predecessor && d.answersPredecessor(in, sp.maybeSame(*d, in), sp.maybeFresh(*d, in), out.RefreshID), s
	case in.RefreshID == d.Current && !d.Doubt, predecessor:
		return false, s
	}
	d.Live = false // replay
	return true, s
}

func (d *deviceState) rotate(in operation, successor int32) {
	d.Previous, d.Current, d.Doubt = d.Current, successor, false
	d.From, d.RotatedFrom, d.RotatedTo = in.From, in.Begun, in.End
}

// maybeSame tells whether the predecessor may get the successor that is there.
func (sp specification) maybeSame(d deviceState, in operation) bool {
	return sp.reuse && (in.From == d.From || d.From == nowhereSure || in.Begun-d.RotatedTo < raceWindow)
}

// maybeFresh tells whether it may get one of its own.
func (sp specification) maybeFresh(d deviceState, in operation) bool {
	return !sp.reuse || in.From != d.From && in.End-d.RotatedFrom >= raceWindow
}

func (d *deviceState) answersPredecessor(in operation, same, fresh bool, successor int32) bool {
	switch {
	case successor == d.Current:
		d.Doubt = false
		return same
	case successor == d.Previous:
		return false
	case d.Current != unknownRefreshID && !d.Doubt:
		d.Current, d.From = successor, in.From
		return fresh
	case same && fresh || d.Doubt: // now it is known, but not for whom it was made
		d.Current, d.From, d.Doubt = successor, nowhereSure, false
		return true
	case fresh:
		d.From = in.From
	}
	d.Current = successor
	return same || fresh
}

func (sp specification) lost(s worldState, in operation) worldState {
	d := &s.Devices[in.Slot]
	switch in.Action {
	case actSignIn:
		if in.Password == s.Password && !s.Disabled {
			*d = deviceState{Exists: true, Live: true, Current: unknownRefreshID, SignIn: unknownRefreshID, Name: d.Name}
		}
	case actRefresh:
		return sp.lostRefresh(s, in)
	case actRename:
		if d.Exists {
			d.Name = in.Name
		}
	case actSignOut:
		d.Live = false
	case actPassword:
		if in.Password == s.Password && !s.Disabled {
			s.changePassword(in, unknownRefreshID)
		}
	case actCheck, actList, actCount:
	case actBrowser, actPage, actCode, actExchange, actEndSession:
		return sp.lostBrowser(s, in)
	default:
		_, s = sp.step(s, in, outcome{Verdict: done})
	}
	return s
}

func (sp specification) lostRefresh(s worldState, in operation) worldState {
	d := &s.Devices[in.Slot]
	own := d.Live && !in.Stranger && in.SignIn == d.SignIn
	switch {
	case !own:
	case in.RefreshID == d.Current:
		d.rotate(in, unknownRefreshID)
	case in.RefreshID != d.Previous || !sp.reuse && !in.LostAnswer:
		d.Live = false
	case !sp.reuse: // a fresh one for certain
		d.Current, d.From, d.Doubt = unknownRefreshID, in.From, false
	case in.From != d.From && d.Current != unknownRefreshID:
		d.Doubt = true
	case in.From != d.From:
		d.From = nowhereSure
	}
	return s
}

// revokeToken: a genuine refresh token of this sign-in signs its device out, however old it is; so does an access token
// that no sign-out has ended.
func (s *worldState) revokeToken(in operation) {
	if d := &s.Devices[in.Slot]; in.SignIn == d.SignIn {
		d.Live = false
	}
}

func (s *worldState) signOutAll() {
	s.signOutApp()
	s.endSession()
}

// changePassword ends every device but the browser session of the one that asked, and signs that one in anew.
func (s *worldState) changePassword(in operation, rid int32) {
	s.Password = in.Next
	s.signOutRest(in.Slot)
	d := &s.Devices[in.Slot]
	*d = deviceState{
		Exists: true, Live: true, Current: rid, SignIn: rid, Name: d.Name, Child: d.Child, Offline: d.Offline,
	}
}

func describe(in operation, out outcome) string {
	var b strings.Builder
	b.WriteString(string(in.Action))
	switch in.Action {
	case actSignIn:
		fmt.Fprintf(&b, " device %d, password %d", in.Slot, in.Password)
	case actRefresh, actCheck, actRevokeToken:
		fmt.Fprintf(&b, " device %d, token %d", in.Slot, in.RefreshID)
	case actRename:
		fmt.Fprintf(&b, " device %d to %d", in.Slot, in.Name)
	case actSignOut:
		fmt.Fprintf(&b, " %d", in.Slot)
	case actSignOutRest:
		fmt.Fprintf(&b, " than %d", in.Slot)
	case actCount:
		fmt.Fprintf(&b, " of %q, device %d", in.Of, in.Slot)
	case actPassword:
		fmt.Fprintf(&b, " %d to %d, keep device %d", in.Password, in.Next, in.Slot)
	case actSetPassword:
		fmt.Fprintf(&b, " %d", in.Password)
	case actBrowser:
		fmt.Fprintf(&b, ", password %d, cookie %d", in.Password, in.RefreshID)
	case actPage, actCode:
		fmt.Fprintf(&b, ", cookie %d", in.RefreshID)
	case actExchange:
		fmt.Fprintf(&b, " %d for device %d", in.Code, in.Slot)
	}
	if in.Wrong {
		b.WriteString(", a wrong verifier")
	}
	if in.Offline {
		b.WriteString(", offline_access")
	}
	if in.Access {
		b.WriteString(", its access token")
	}
	if in.From == elsewhere {
		b.WriteString(" from elsewhere")
	}
	if in.Stranger {
		b.WriteString(" by another client")
	}
	if in.How != "" {
		fmt.Fprintf(&b, " (%s)", in.How)
	}
	switch {
	case out.Verdict == lost:
		b.WriteString(" -> no answer")
	case in.Action == actCheck:
		b.WriteString(map[verdict]string{done: " -> alive", refused: " -> dead"}[out.Verdict])
	case in.Action == actList && out.Verdict == done:
		fmt.Fprintf(&b, " -> live %v, names %v, browser %v", out.Live, out.Names, out.Session)
	case out.Verdict == refused:
		b.WriteString(" -> refused")
	case in.Action == actCode:
		fmt.Fprintf(&b, " -> code %d", out.Code)
	case in.Action == actBrowser:
		fmt.Fprintf(&b, " -> cookie %d", out.RefreshID)
	case out.RefreshID != noRefreshID:
		fmt.Fprintf(&b, " -> token %d", out.RefreshID)
	case in.Action == actCount:
		fmt.Fprintf(&b, " -> %d", out.Count)
	default:
		b.WriteString(" -> done")
	}
	return b.String()
}

func describeState(s worldState) string {
	var b strings.Builder
	fmt.Fprintf(&b, "password %d", s.Password)
	if s.Disabled {
		b.WriteString(", disabled")
	}
	if s.Session.Exists {
		fmt.Fprintf(&b, "; browser live=%v cookie %d before %d", s.Session.Live, s.Session.Cookie, s.Session.Before)
	}
	for i, d := range s.Devices {
		if d.Exists {
			fmt.Fprintf(&b, "; device %d live=%v token %d before %d name %d from %d", i,
				d.Live, d.Current, d.Previous, d.Name, d.From)
		}
	}
	return b.String()
}
