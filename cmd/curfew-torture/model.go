package main

import (
	"fmt"
	"strings"

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
	actSignOutAll  action = "sign out client" // of everyone too: in one world they are the same
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
	SignIn    int32  // of actRevokeToken: the refresh id of the sign-in that the token comes from
	How       string
}

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
	Live      [slots]bool // of a list
	Names     [slots]int8
}

type deviceState struct {
	Exists, Live      bool
	Current, Previous int32
	SignIn            int32 // the first refresh id since the sign-in
	Name              int8
}

type worldState struct {
	Password int8
	Disabled bool
	Devices  [slots]deviceState
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
		return ok == (d.Live && (in.RefreshID == d.Current || sp.reuse && in.RefreshID == d.Previous)), s
	case actList:
		for i, d := range s.Devices {
			if out.Live[i] != d.Live || d.Live && out.Names[i] != d.Name {
				return false, s
			}
		}
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
		n := 0
		for i, d := range s.Devices {
			if d.Live && (in.Of == actSignOutUser || (in.Of == actSignOut) == (i == in.Slot)) {
				n++
			}
		}
		return out.Count == n, s
	case actRevokeToken:
		s.revokeToken(in)
	case actSignOutRest:
		for i := range s.Devices {
			s.Devices[i].Live = s.Devices[i].Live && i == in.Slot
		}
	case actSignOutUser, actSignOutAll:
		s.signOutAll()
	case actPassword:
		if ok != (in.Password == s.Password && !s.Disabled) {
			return false, s
		}
		if ok {
			s.changePassword(in)
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
	default:
		panic("no such action: " + in.Action)
	}
	return true, s
}

// refresh is RFC 6749 section 6 with rotation, the reuse interval and the end of a device whose token is replayed.
func (sp specification) refresh(s worldState, in operation, out outcome) (bool, worldState) {
	d := &s.Devices[in.Slot]
	if out.Verdict == done {
		switch {
		case !d.Live || in.Stranger:
			return false, s
		case in.RefreshID == d.Current:
			if out.RefreshID == d.Current || out.RefreshID == d.Previous {
				return false, s
			}
			d.Previous, d.Current = d.Current, out.RefreshID
			return true, s
		case sp.reuse && in.RefreshID == d.Previous && (out.RefreshID == d.Current || d.Current == unknownRefreshID):
			d.Current = out.RefreshID // now it is known
			return true, s
		}
		return false, s
	}
	switch {
	case !d.Live:
		return true, s
	case in.RefreshID == d.Current:
		return in.Stranger, s
	case sp.reuse && in.RefreshID == d.Previous:
		return in.Stranger, s
	case sp.reuse && d.Previous == noRefreshID: // a token from before the newest sign-in
		return true, s
	}
	d.Live = false // replay
	return true, s
}

func (sp specification) lost(s worldState, in operation) worldState {
	d := &s.Devices[in.Slot]
	switch in.Action {
	case actSignIn:
		if in.Password == s.Password && !s.Disabled {
			*d = deviceState{Exists: true, Live: true, Current: unknownRefreshID, SignIn: unknownRefreshID, Name: d.Name}
		}
	case actRefresh:
		if d.Live && in.RefreshID == d.Current && !in.Stranger {
			d.Previous, d.Current = d.Current, unknownRefreshID
		} else if d.Live && in.RefreshID != d.Current {
			if ok, next := sp.refresh(s, in, outcome{Verdict: refused}); ok {
				return next
			}
		}
	case actRename:
		if d.Exists {
			d.Name = in.Name
		}
	case actSignOut:
		d.Live = false
	case actPassword:
		if in.Password == s.Password && !s.Disabled {
			s.changePassword(in)
		}
	case actCheck, actList, actCount:
	default:
		_, s = sp.step(s, in, outcome{Verdict: done})
	}
	return s
}

// revokeToken: a genuine refresh token signs its device out, however old it is; an access token only if no sign-out and
// no later sign-in has ended it.
func (s *worldState) revokeToken(in operation) {
	if d := &s.Devices[in.Slot]; !in.Access || in.SignIn == d.SignIn {
		d.Live = false
	}
}

func (s *worldState) signOutAll() {
	for i := range s.Devices {
		s.Devices[i].Live = false
	}
}

func (s *worldState) changePassword(in operation) {
	s.Password = in.Next
	for i := range s.Devices {
		if i != in.Slot {
			s.Devices[i].Live = false
		}
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
	}
	if in.Access {
		b.WriteString(", its access token")
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
		fmt.Fprintf(&b, " -> live %v, names %v", out.Live, out.Names)
	case out.Verdict == refused:
		b.WriteString(" -> refused")
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
	for i, d := range s.Devices {
		if d.Exists {
			fmt.Fprintf(&b, "; device %d live=%v token %d before %d name %d", i, d.Live, d.Current, d.Previous, d.Name)
		}
	}
	return b.String()
}
