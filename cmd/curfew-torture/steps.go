package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"curfew/internal/harness"
)

func (w *world) signIn(slot int) step {
	number := w.password
	switch w.rng.IntN(12) {
	case 0:
		number = int8(w.rng.IntN(len(w.passwords)))
	case 1:
		number = int8(len(w.passwords) - 1)
	}
	if w.plain {
		number = w.password
	}
	return w.signInWith(slot, number)
}

func (w *world) signInWith(slot int, number int8) step {
	password := w.passwords[number]
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{
			In: operation{Action: actSignIn, Slot: slot, Password: number}, Client: thread, Node: n.Number,
			Call: w.h.now(),
		}
		t, a := w.h.rig.signIn(ctx, n, w.address, w.client, w.username, password, w.devices[slot])
		w.issuing(r, noRefreshID, t, a)
	}
}

func (w *world) refresh(t *issued, stranger bool) step {
	from := home
	if !w.plain && w.rng.IntN(6) == 0 {
		from = elsewhere
	}
	return w.refreshFrom(t, stranger, from)
}

func (w *world) refreshFrom(t *issued, stranger bool, from place) step {
	if t == nil {
		return nil
	}
	client := w.client
	if stranger {
		client = w.h.rig.stranger
	}
	address := map[place]string{home: w.address, elsewhere: w.elsewhere}[from]
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{
			In: operation{
				Action: actRefresh, Slot: t.slot, RefreshID: t.rid, Stranger: stranger, SignIn: t.signIn, From: from,
				LostAnswer: w.lostAnswer,
			},
			Client: thread, Node: n.Number, Call: w.h.now(),
		}
		got, a := w.h.rig.refresh(ctx, n, address, client, t.pair.Refresh)
		w.issuing(r, t.signIn, got, a)
	}
}

func (w *world) issuing(r record, signIn int32, t tokens, a answer) {
	r.Return = w.h.now()
	if r.In.Action == actRefresh {
		r.In.Begun, r.In.End = r.Call, r.Return
	}
	switch {
	case a.unknown():
		r.Out.Verdict = lost
		if r.In.Action == actRefresh {
			r.In.End = math.MaxInt64
		}
	case a.status == http.StatusOK:
		r.Out.Verdict = done
		r.Out.RefreshID = w.issue(r.In.Slot, signIn, t, r.Call, r.Return)
		if r.In.Action == actExchange && !r.In.Offline {
			w.adopt(r.Out.RefreshID)
		}
	case a.status == http.StatusBadRequest && t.Error == "invalid_grant":
		r.Out.Verdict = refused
	case a.status == http.StatusTooManyRequests:
		return
	default:
		w.h.breaks("%s: %s: %s", w.client, describe(r.In, r.Out), a)
		return
	}
	w.did(r)
}

func (w *world) introspect(t *issued) step {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{
			In: operation{Action: actCheck, Slot: t.slot, RefreshID: t.rid, How: "introspection"}, Client: thread,
			Node: n.Number, Call: w.h.now(),
		}
		active, a := w.h.rig.introspect(ctx, n, t.pair.Access)
		r.Return = w.h.now()
		switch {
		case a.unknown():
			return // it changes nothing, so there is nothing to know
		case a.status != http.StatusOK:
			w.h.breaks("%s: introspection: %s", w.client, a)
			return
		case active:
			r.Out.Verdict = done
		}
		w.did(r)
	}
}

// bySettings does something with a user's own token. The check of the token is an operation of its own: between it and
// the deed the token may die.
func (w *world) bySettings(t *issued, r record, method, path, body string, handle func(r *record, a answer) bool) step {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := r
		r.Client, r.Node, r.Call = thread, n.Number, w.h.now()
		a := w.h.rig.settings(ctx, n, w.address, method, path, t.pair.Access, body)
		r.Return = w.h.now()
		check := record{
			In:     operation{Action: actCheck, Slot: t.slot, RefreshID: t.rid, How: method + " " + path},
			Client: thread + 4, Node: n.Number, Call: r.Call, Return: r.Return, Out: outcome{Verdict: done},
		}
		switch {
		case a.unknown():
			r.Out.Verdict = lost
			if r.In.Action != actList {
				w.did(r)
			}
			return
		case a.status == http.StatusUnauthorized:
			check.Out.Verdict = refused
			w.did(check)
			return
		case a.status == http.StatusTooManyRequests:
			w.did(check)
			return
		}
		if !handle(&r, a) {
			w.h.breaks("%s: %s %s: %s", w.client, method, path, a)
			return
		}
		w.did(check)
		w.recordCount(r)
		w.did(r)
	}
}

// recordCount records the number that a sign-out said.
func (w *world) recordCount(r record) {
	if r.Out.Verdict == done && r.Count != nil {
		r.In = operation{Action: actCount, Slot: r.In.Slot, Of: r.In.Action}
		r.Out.Count = *r.Count
		r.Client += 12
		w.did(r)
	}
}

func (w *world) list(t *issued) step {
	return w.bySettings(t, record{In: operation{Action: actList}}, http.MethodGet, "/settings/devices", "",
		func(r *record, a answer) bool {
			var list struct {
				Devices []struct {
					ID   string `json:"id"`
					Name string `json:"name"`
				} `json:"devices"`
			}
			if a.status != http.StatusOK || json.Unmarshal(a.body, &list) != nil {
				return false
			}
			r.Out.Verdict = done
			for _, d := range list.Devices {
				if d.ID == w.session {
					r.Out.Session = true
					continue
				}
				i := slices.Index(w.devices[:], d.ID)
				if i < 0 {
					return false
				}
				var number int8
				if _, err := fmt.Sscanf(d.Name, "phone %d", &number); err != nil {
					return false
				}
				r.Out.Live[i], r.Out.Names[i] = true, number
			}
			return true
		})
}

func (w *world) rename(t *issued, slot int) step {
	w.names++
	number := w.names
	body := fmt.Sprintf(`{"name":%q}`, name(number))
	in := operation{Action: actRename, Slot: slot, Name: number}
	handle := func(r *record, a answer) bool {
		r.Out.Verdict = map[int]verdict{http.StatusOK: done, http.StatusNotFound: refused}[a.status]
		return a.status == http.StatusOK || a.status == http.StatusNotFound
	}
	if w.rng.IntN(2) == 0 {
		return w.bySettings(t, record{In: in}, http.MethodPatch, "/settings/devices/"+w.devices[slot], body, handle)
	}
	return w.byAdmin(in, http.MethodPatch, "/admin/devices/"+w.devices[slot], map[string]any{"name": name(number)}, handle)
}

// byAdmin does something over the admin API.
func (w *world) byAdmin(in operation, method, path string, body any, handle func(r *record, a answer) bool) step {
	in.How = strings.Trim(in.How+" "+method+" "+strings.Join(strings.Split(path, "/")[:3], "/"), " ")
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{In: in, Client: thread, Node: n.Number}
		a := w.h.rig.adminDo(ctx, n, method, path, body, func() { r.Call = w.h.now() })
		r.Return = w.h.now()
		switch {
		case r.Call == 0:
			return // no token for the admin API: nothing was asked
		case a.unknown():
			r.Out.Verdict = lost
		case !handle(&r, a):
			w.h.breaks("%s: %s %s: %s", w.client, method, path, a)
			return
		}
		w.recordCount(r)
		w.did(r)
	}
}

// handleSignOut reads the answer of every sign-out.
func handleSignOut(r *record, a answer) bool {
	var out signedOut
	if a.status == http.StatusNotFound {
		return r.In.Action == actSignOut || r.In.Action == actEndSession
	}
	if a.status != http.StatusOK || json.Unmarshal(a.body, &out) != nil {
		return false
	}
	r.Out.Verdict = done
	switch r.In.Action {
	case actSignOut, actSignOutRest, actSignOutUser:
		r.Count = out.Count
	}
	if out.Revocation != nil {
		r.Seq = out.Revocation.Seq
	}
	return true
}

func (w *world) signOutByAdmin(slot int) step {
	return w.byAdmin(operation{Action: actSignOut, Slot: slot}, http.MethodDelete, "/admin/devices/"+w.devices[slot], nil,
		handleSignOut)
}

func (w *world) signOutBySettings(t *issued, slot int) step {
	path := w.devices[slot]
	if t != nil && t.slot == slot {
		path = "current"
	}
	return w.bySettings(t, record{In: operation{Action: actSignOut, Slot: slot}}, http.MethodDelete,
		"/settings/devices/"+path, "", handleSignOut)
}

func (w *world) signOutUser() step {
	if t := w.newest(w.rng.IntN(slots)); t != nil && !w.plain && w.rng.IntN(2) == 0 {
		return w.bySettings(t, record{In: operation{Action: actSignOutUser}}, http.MethodDelete, "/settings/devices", "",
			handleSignOut)
	}
	return w.byAdmin(operation{Action: actSignOutUser}, http.MethodDelete, "/admin/users/"+w.userID+"/devices", nil,
		handleSignOut)
}

func (w *world) signOutOthers(t *issued) step {
	if t == nil {
		return nil
	}
	return w.bySettings(t, record{In: operation{Action: actSignOutRest, Slot: t.slot}}, http.MethodDelete,
		"/settings/devices?except=current", "", handleSignOut)
}

func (w *world) signOutClient() step {
	return w.byAdmin(operation{Action: actSignOutApp}, http.MethodDelete,
		"/admin/clients/"+w.client+"/devices", nil, handleSignOut)
}

// revokeToken is RFC 7009 with the newest token that is known, refresh or access: its device is out, if it was the
// device's own.
func (w *world) revokeToken(t *issued) step {
	if t == nil {
		return nil
	}
	token, access := t.pair.Refresh, w.rng.IntN(2) == 0
	if access {
		token = t.pair.Access
	}
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{
			In: operation{
				Action: actRevokeToken, Slot: t.slot, RefreshID: t.rid, Access: access, SignIn: t.signIn,
				How: "RFC 7009",
			},
			Client: thread, Node: n.Number, Call: w.h.now(), Out: outcome{Verdict: done},
		}
		a := w.h.rig.revokeToken(ctx, n, w.client, token)
		r.Return = w.h.now()
		switch {
		case a.unknown():
			r.Out.Verdict = lost
		case a.status != http.StatusOK:
			w.h.breaks("%s: revoke: %s", w.client, a)
			return
		}
		w.did(r)
	}
}

func (w *world) changePassword(slot int) step {
	next := int8(len(w.passwords))
	if next > 100 {
		return nil
	}
	was := w.password
	if w.rng.IntN(8) == 0 {
		was = int8(w.rng.IntN(len(w.passwords)))
	}
	w.passwords = append(w.passwords, w.newPassword(int(next)))
	w.h.rig.note(w.passwords[next], "a password")
	if t := w.newest(slot); t != nil && w.live[slot] && w.rng.IntN(3) > 0 {
		return w.changeOwnPassword(t, was, next)
	}
	return w.setPassword(next)
}

// changeOwnPassword also signs the device of the token in anew: the answer has its new tokens.
func (w *world) changeOwnPassword(t *issued, was, next int8) step {
	body := fmt.Sprintf(`{"current_password":%q,"new_password":%q}`, w.passwords[was], w.passwords[next])
	return w.bySettings(t, record{In: operation{Action: actPassword, Slot: t.slot, Password: was, Next: next}},
		http.MethodPut, "/settings/password", body,
		func(r *record, a answer) bool {
			var got tokens
			if a.status != http.StatusOK {
				return a.status == wrongCurrentPassword
			}
			if !handleSignOut(r, a) || json.Unmarshal(a.body, &got) != nil {
				return false
			}
			w.h.rig.note(got.Access, "an access token")
			w.h.rig.note(got.Refresh, "a refresh token")
			r.Out.RefreshID = w.issue(t.slot, noRefreshID, got, r.Call, r.Return)
			return true
		})
}

func (w *world) setPassword(next int8) step {
	return w.byAdmin(operation{Action: actSetPassword, Password: next}, http.MethodPatch, "/admin/users/"+w.userID,
		map[string]any{"password": w.passwords[next]}, handleSignOut)
}

// wrongCurrentPassword is the status of PUT /settings/password for a wrong current password.
const wrongCurrentPassword = http.StatusForbidden

func (w *world) disable() step { return w.setDisabled(actDisable, true) }

func (w *world) enable() step { return w.setDisabled(actEnable, false) }

func (w *world) setDisabled(a action, disabled bool) step {
	return w.byAdmin(operation{Action: a}, http.MethodPatch, "/admin/users/"+w.userID,
		map[string]any{"disabled": disabled}, handleSignOut)
}
