package verify

import (
	"errors"
	"time"
)

// never is how old knowledge is before the first contact.
const never = time.Duration(1<<63 - 1)

// maxTime bounds a heartbeat's time, microseconds: the year 2112. Two of them in nanoseconds can still be added.
const maxTime = 1 << 52

// moment is a point in time by this machine's two clocks: the monotonic one, since the verifier's start, and the wall
// clock, since 1970. The one stands still while the machine is suspended, the other may be set.
type moment struct{ mono, wall time.Duration }

// clocksSince reads this machine's clocks.
func clocksSince(start time.Time) func() moment {
	return func() moment {
		t := time.Now()
		return moment{t.Sub(start), time.Duration(t.UnixNano())}
	}
}

// since is the time from u to m by the clock that says more.
func (m moment) since(u moment) time.Duration { return max(m.mono-u.mono, m.wall-u.wall) }

// heartbeat is what a heartbeat says: at made, or later, nothing was unknown, and the server's clock showed server.
type heartbeat struct {
	made   moment
	server int64 // microseconds
}

// clock is the server's time at a moment, in microseconds, and how old the knowledge is then. Between heartbeats the
// server's time goes on with ours; before the first one it is ours.
func (v *Verifier) clock(now moment) (server int64, age time.Duration) {
	r := v.lastHeartbeat.Load()
	if r == nil {
		return now.wall.Microseconds(), never
	}
	age = now.since(r.made)
	return r.server + age.Microseconds(), age
}

// instant is a moment in seconds for the index, by the server's clock and by ours since the start, which never jumps.
func (v *Verifier) instant(now moment) instant {
	server, _ := v.clock(now)
	return instant{uint32(min(max(server/1e6, 0), forever-1)), uint32(now.mono / time.Second)}
}

// anchor ties the heartbeats of one stream to our clocks. When they come says nothing: whatever lies on the way may
// hold them up. But the first was made after the request was sent, and each later one as much later as its time says.
type anchor struct {
	at    moment // when the request was sent
	first int64  // the time of the first heartbeat
}

var (
	errLate   = errors.New("heartbeats come late, or the issuer's clock was set back: asking anew")
	errJumped = errors.New("the issuer's clock, or this machine's, went ahead of the other: asking anew")
)

// hear returns the latest moment at which a heartbeat was surely made. A clock that is a little fast makes nothing
// younger than now; one that was set is not believed, errJumped: only a new request can say what time it is.
func (a *anchor) hear(server int64, now moment, tolerance time.Duration) (made moment, err error) {
	if a.first == 0 {
		a.first = server
	}
	after := time.Duration(server-a.first) * time.Microsecond
	at := moment{min(a.at.mono, now.mono-after), min(a.at.wall, now.wall-after)}
	if a.at.since(at) > tolerance {
		return moment{}, errJumped
	}
	a.at = at
	return moment{at.mono + after, at.wall + after}, nil
}

// tolerance is what a stream's heartbeats may be late, or a clock set by, before a new stream is opened. With a
// heartbeat every 15 s a third of the usual bound would do; less is better, because tokens expire here that much too
// early.
func (v *Verifier) tolerance() time.Duration {
	return max(time.Second, min(v.cfg.Bound/3, 5*time.Second))
}

// hear notes a heartbeat of the stream.
func (s *stream) hear(server int64, now moment) error {
	v := s.v
	made, err := s.anchor.hear(server, now, v.tolerance())
	if err != nil {
		return err
	}
	v.lastHeartbeat.Store(&heartbeat{made, server})
	if now.since(made) > v.tolerance() {
		return errLate
	}
	// A wrong clock here is said once each time it becomes wrong.
	offset := v.offset(now)
	wrong := offset > Leeway || offset < -Leeway
	if wrong && !v.wrongClock {
		v.log.Error("the clock of this machine is wrong; tokens are judged by the issuer's", "off_by", (-offset).
			String())
	}
	v.wrongClock = wrong
	return nil
}

func (v *Verifier) offset(now moment) time.Duration {
	server, _ := v.clock(now)
	return time.Duration(server-now.wall.Microseconds()) * time.Microsecond
}
