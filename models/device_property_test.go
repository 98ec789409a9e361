package models

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// life is the design's description of one user's devices, beside the real store: what rapid does to the one it does to
// the other.
type life struct {
	k        *kit
	reuse    bool // a reuse interval longer than the test; or none
	lost     bool // a window for a lost answer longer than the test; or none
	user     *User
	client   *Client
	password int
	disabled bool
	devices  map[uuid.UUID]*lifeOfDevice
	order    []uuid.UUID
	events   int64
}

type lifeOfDevice struct {
	live              bool
	current, previous uuid.UUID
	origin            Origin // of whoever current was made for
	aged              bool   // the race window after the last rotation is over
	name              string
	grants            []*Grant
}

// A device's life as a state machine: sign-ins, refreshes with every kind of token, sign-outs at each level, renames,
// passwords, disabling, in any order, leave the store in the state that the design describes.
func TestDevice_Life(t *testing.T) {
	for _, windows := range [][2]time.Duration{{None, 0}, {time.Hour, 0}, {None, time.Hour}} {
		interval, lost := windows[0], Span(windows[1])
		t.Run(fmt.Sprintf("ReuseInterval=%s lost_answer=%s", interval, windows[1]), func(t *testing.T) {
			forEachDB(t, func(t *testing.T, k *kit) {
				users := 0
				rapid.Check(t, func(rt *rapid.T) {
					users++
					l := &life{k: k, reuse: interval > 0, lost: lost > 0, devices: map[uuid.UUID]*lifeOfDevice{}}
					l.user = k.newUser(fmt.Sprintf("user-%d", users))
					l.client = k.newClient(fmt.Sprintf("app-%d", users), GrantPassword, GrantRefreshToken)
					if l.lost {
						window := &lost
						var err error
						if l.client, err = k.UpdateClient(t.Context(), l.client.ID, ClientPatch{LostAnswer: &window}, Actor{}); err != nil {
							t.Fatal(err)
						}
					}
					rt.Repeat(rapid.StateMachineActions(l))
				})
			}, func(c *Config) { c.ReuseInterval = interval })
		})
	}
}

func (l *life) pass(n int) string { return fmt.Sprintf("%s %d", testPassword, n) }

func (l *life) device(t *rapid.T) (*lifeOfDevice, uuid.UUID) {
	if len(l.order) == 0 {
		t.Skip("no device yet")
	}
	id := rapid.SampledFrom(l.order).Draw(t, "device")
	return l.devices[id], id
}

// Check is called by rapid after each action: every token that was ever issued is alive or dead as the design says.
func (l *life) Check(t *rapid.T) {
	live := 0
	for id, d := range l.devices {
		if d.live {
			live++
		}
		for _, g := range d.grants[max(0, len(d.grants)-6):] {
			rid := uuid.MustParse(g.Claims.RefreshID)
			want := d.live && (rid == d.current || l.reuse && rid == d.previous)
			if got := l.k.alive(g); got != want {
				t.Fatalf("device %s: access token with refresh id %s: alive %v, want %v", id, rid, got, want)
			}
		}
	}
	list, err := l.k.UserDevices(t.Context(), l.user.ID)
	if err != nil || len(list) != live {
		t.Fatalf("%d devices are listed, want %d: %v", len(list), live, err)
	}
	for _, info := range list {
		if d := l.devices[info.ID]; !d.live || d.name != info.Name {
			t.Fatalf("listed: %+v, want %+v", info, d)
		}
	}
	all, _, err := l.k.ListDevices(t.Context(), DeviceFilter{UserID: l.user.ID}, Page{Limit: MaxPage})
	if err != nil || len(all) != len(l.devices) {
		t.Fatalf("%d rows for %d devices: %v", len(all), len(l.devices), err)
	}
}

func (l *life) SignIn(t *rapid.T) {
	id := uuid.New()
	if len(l.order) >= 3 || len(l.order) > 0 && rapid.Bool().Draw(t, "again") {
		_, id = l.device(t)
	}
	number := l.password
	if rapid.IntRange(0, 5).Draw(t, "wrong password") == 0 {
		number--
	}
	u, err := l.k.AuthenticateUser(t.Context(), PasswordAttempt{
		Username: l.user.Username, Password: l.passwordOf(number), IP: l.user.ID.String() + fmt.Sprint(number), DeviceID: id,
	})
	if right := number == l.password && !l.disabled; right != (err == nil) {
		if _, ok := errors.AsType[*ThrottledError](err); ok {
			return
		}
		t.Fatalf("password %d of %d, disabled %v: %v", number, l.password, l.disabled, err)
	} else if !right {
		return
	}
	g, err := l.k.SignIn(t.Context(), SignIn{User: u, Client: l.client, Scope: "settings", DeviceID: id, Name: "phone", Origin: origin})
	if err != nil || g.DeviceID != id {
		t.Fatalf("sign-in: %+v, %v", g, err)
	}
	d := l.devices[id]
	if d == nil {
		d = &lifeOfDevice{name: "phone"}
		l.devices[id] = d
		l.order = append(l.order, id)
	}
	d.signedIn(g, origin)
}

func (d *lifeOfDevice) signedIn(g *Grant, from Origin) {
	d.live, d.current, d.previous, d.origin = true, uuid.MustParse(g.Claims.RefreshID), uuid.Nil, from
	d.grants = append(d.grants, g)
}

// Age: the device's last rotation was longer ago than clients race themselves.
func (l *life) Age(t *rapid.T) {
	d, id := l.device(t)
	if _, err := l.k.sqldb.ExecContext(t.Context(), "UPDATE devices SET rotated_at = rotated_at - 2000000 WHERE id = '"+id.String()+"'"); err != nil {
		t.Fatal(err)
	}
	d.aged = true
}

func (l *life) passwordOf(n int) string {
	if n == 0 {
		return testPassword
	}
	return l.pass(n)
}

func (l *life) Refresh(t *rapid.T) {
	d, id := l.device(t)
	// The newest ones more often than those of long ago.
	back := min(rapid.IntRange(0, 4).Draw(t, "generations back"), len(d.grants)-1)
	if rapid.IntRange(0, 9).Draw(t, "any") == 0 {
		back = rapid.IntRange(0, len(d.grants)-1).Draw(t, "of all")
	}
	with := d.grants[len(d.grants)-1-back]
	rid := uuid.MustParse(with.Claims.RefreshID)
	before := len(l.k.events(id.String()))
	from := rapid.SampledFrom([]Origin{origin, elsewhere}).Draw(t, "from")
	g, err := l.k.RefreshDevice(t.Context(), Refresh{Token: with.RefreshToken, Client: l.client, Origin: from})
	switch {
	case !d.live, !sameFamily(rid, d.current):
		l.want(t, err, ErrRefreshTokenInvalid)
	case rid == d.current:
		l.want(t, err, nil)
		next := uuid.MustParse(g.Claims.RefreshID)
		if next == d.current || next == d.previous {
			t.Fatal("a refresh id came twice")
		}
		d.previous, d.current, d.origin, d.aged = d.current, next, from, false
		d.grants = append(d.grants, g)
	case (l.reuse || l.lost) && rid == d.previous:
		l.want(t, err, nil)
		next := uuid.MustParse(g.Claims.RefreshID)
		// Elsewhere the race window decides, which rapid may outlast.
		switch fresh := next != d.current; {
		case fresh && l.reuse && from == d.origin:
			t.Fatal("a retry got another successor")
		case !fresh && (!l.reuse || from != d.origin && d.aged):
			t.Fatal("one that may be somebody else got the same successor")
		case fresh:
			d.current, d.origin = next, from
		}
		d.grants = append(d.grants, g)
	default:
		l.want(t, err, ErrRefreshTokenReused)
		d.live = false
		events := l.k.events(id.String())
		if len(events) != before+1 || events[before].Reason != ReasonReuse {
			t.Fatalf("the replay's event: %+v", events)
		}
		return
	}
	if n := len(l.k.events(id.String())); n != before {
		t.Fatalf("%d events where there were %d", n, before)
	}
}

func (l *life) want(t *rapid.T, got, want error) {
	if !errors.Is(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func (l *life) Forge(t *rapid.T) {
	d, _ := l.device(t)
	token := []byte(d.grants[len(d.grants)-1].RefreshToken)
	at := rapid.IntRange(0, len(token)-1).Draw(t, "at")
	token[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
	_, err := l.k.RefreshDevice(t.Context(), Refresh{Token: string(token), Client: l.client, Origin: origin})
	l.want(t, err, ErrRefreshTokenInvalid)
}

func (l *life) SignOut(t *rapid.T) {
	level := rapid.SampledFrom(Levels[:]).Draw(t, "level")
	var target Target
	switch level {
	case LevelDevice:
		d, id := l.device(t)
		out := l.k.revoke(OneDevice(id))
		if want := map[bool]int{true: 1}[d.live]; out.Count != want {
			t.Fatalf("count %d, want %d", out.Count, want)
		}
		d.live = false
		return
	case LevelUser:
		target = WholeUser(l.user.ID)
	case LevelClient:
		target = WholeClient(l.client.ID)
	case LevelEveryone:
		target = Everyone()
	}
	l.k.revoke(target)
	l.allOut(uuid.Nil)
}

func (l *life) allOut(except uuid.UUID) {
	for id, d := range l.devices {
		d.live = d.live && id == except
	}
}

func (l *life) Rename(t *rapid.T) {
	d, id := l.device(t)
	d.name = rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "name")
	if _, err := l.k.RenameDevice(t.Context(), DeviceFilter{ID: id, UserID: l.user.ID}, d.name, Actor{}); err != nil {
		t.Fatal(err)
	}
}

func (l *life) ChangePassword(t *rapid.T) {
	keep := uuid.Nil
	if len(l.order) > 0 {
		_, keep = l.device(t)
	}
	g, _, err := l.k.ChangePassword(t.Context(), PasswordChange{
		UserID: l.user.ID, Current: l.passwordOf(l.password), New: l.passwordOf(l.password + 1), KeepDevice: keep, IP: origin.IP,
	}, Actor{})
	switch {
	case l.disabled:
		l.want(t, err, ErrCredentials)
		return
	case keep == uuid.Nil || !l.devices[keep].live:
		l.want(t, err, ErrAccessToken)
		return
	}
	l.want(t, err, nil)
	l.password++
	l.allOut(keep)
	l.devices[keep].signedIn(g, Origin{IP: origin.IP})
}

func (l *life) Disable(t *rapid.T) { l.setDisabled(t, true) }
func (l *life) Enable(t *rapid.T)  { l.setDisabled(t, false) }

func (l *life) setDisabled(t *rapid.T, disabled bool) {
	if _, _, err := l.k.UpdateUser(t.Context(), l.user.ID, UserPatch{Disabled: &disabled}, Actor{}); err != nil {
		t.Fatal(err)
	}
	if disabled && !l.disabled {
		l.allOut(uuid.Nil)
	}
	l.disabled = disabled
}

// Log: the events of a life come in the order of their numbers, each once.
func (l *life) Log(t *rapid.T) {
	list, at, err := l.k.Revocations(t.Context(), l.events)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if r.Seq <= l.events {
			t.Fatalf("event %d after %d", r.Seq, l.events)
		}
		l.events = r.Seq
	}
	if len(list) > 0 && at.Seq != l.events || !slices.IsSortedFunc(list, func(a, b *Revocation) int { return int(a.Seq - b.Seq) }) {
		t.Fatalf("the log stands at %d, its last event is %d", at.Seq, l.events)
	}
}
