package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Something on the way holds the heartbeats up for a minute. They are as old as they are when they come; a new stream
// helps.
func TestStaleness_HeartbeatsHeldUp(t *testing.T) {
	const late = 59700 * time.Millisecond
	s := &stub{feed: func(n int, w *wire) {
		if n > 1 {
			w.beats(time.Hour)
			return
		}
		made := time.Now().Add(5 * time.Second)
		w.beat(time.Now())
		for range 6 {
			time.Sleep(10 * time.Second)
			fmt.Fprint(w, ":\n\n")
		}
		time.Sleep(time.Until(made.Add(late)))
		w.beat(made)
		<-w.ctx.Done()
	}}
	inMemory(t, s, func(t *testing.T, v *Verifier) {
		token := remembered(v, testUUID(1), time.Hour)
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Second + late)
		synctest.Wait()
		if v.Staleness() != late {
			t.Fatalf("a heartbeat that was held up for %v counts as one of %v ago", late, v.Staleness())
		}
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrStale) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := v.Verify(t.Context(), token); err != nil || v.Staleness() > time.Second || s.streams.Load() != 2 {
			t.Fatalf("with a new stream: %v, stale for %v, %d streams", err, v.Staleness(), s.streams.Load())
		}
	})
}

// A first stream that needs long for the past events is followed by one that does not, else its heartbeats would seem
// late for ever.
func TestStaleness_LongPast(t *testing.T) {
	s := &stub{feed: func(n int, w *wire) {
		if n == 1 {
			for d := range 40 {
				w.revoke(testUUID(d), time.Hour)
				time.Sleep(time.Second)
			}
		}
		w.beats(time.Hour)
	}}
	inMemory(t, s, func(t *testing.T, v *Verifier) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if v.Staleness() > 5*time.Second || s.streams.Load() != 2 || v.Stats().Entries != 40 {
			t.Fatalf("stale for %v, %d streams, %d entries", v.Staleness(), s.streams.Load(), v.Stats().Entries)
		}
	})
}

// Heartbeats that are late by chance, under a database's clock that is a little fast or slow: one stream, never stale.
func TestStaleness_Jitter(t *testing.T) {
	for _, drift := range []time.Duration{0, time.Millisecond, -time.Millisecond} { // in 5 s
		s := &stub{feed: func(n int, w *wire) {
			for w.ctx.Err() == nil {
				made := time.Now()
				time.Sleep(rand.N(900 * time.Millisecond))
				w.beat(made)
				time.Sleep(time.Until(made.Add(5 * time.Second)))
				w.skew += drift
			}
		}}
		inMemory(t, s, func(t *testing.T, v *Verifier) {
			time.Sleep(time.Second)
			for range 3600 {
				time.Sleep(time.Second)
				if v.Staleness() > 8*time.Second {
					t.Fatalf("drift %v: stale for %v", drift, v.Staleness())
				}
			}
			if s.streams.Load() != 1 {
				t.Fatalf("drift %v: %d streams", drift, s.streams.Load())
			}
		})
	}
}

// The database's clock jumps an hour ahead, and back. What is signed out stays so, what is alive is accepted soon
// after, and the knowledge is never younger than it is.
func TestClock_DatabaseJumps(t *testing.T) {
	var mu sync.Mutex
	var skew time.Duration
	jump := func(d time.Duration) { mu.Lock(); skew = d; mu.Unlock() }
	s := &stub{feed: func(n int, w *wire) {
		for w.ctx.Err() == nil {
			mu.Lock()
			w.skew = skew
			mu.Unlock()
			if w.seq = 1; n == 1 {
				w.seq, n = 0, 0
				w.revoke(testUUID(1), 6*time.Minute)
			}
			w.beat(time.Now())
			time.Sleep(5 * time.Second)
		}
	}}
	inMemory(t, s, func(t *testing.T, v *Verifier) {
		time.Sleep(time.Second)
		began := time.Now().Add(-time.Second)
		for _, step := range []time.Duration{time.Hour, 0, -time.Hour, 0} {
			jump(step)
			for range 60 {
				time.Sleep(time.Second)
				v.index.prune(v.instant(v.now()))
				if v.Staleness() > 15*time.Second &&
					v.Staleness() < 59*time.Minute { // for an hour only until the new stream
					t.Fatalf("clock at %v: stale for %v", step, v.Staleness())
				}
			}
			if off := v.ClockOffset() - step; v.Staleness() > 6*time.Second || off.Abs() > time.Second {
				t.Fatalf("clock at %v: a minute later stale for %v, offset %v", step, v.Staleness(), v.ClockOffset())
			}
		}
		dead := &Claims{DeviceID: testUUID(1), IssuedMicros: began.UnixMicro()}
		dead.device, dead.deviceIsUUID = parseUUID(dead.DeviceID)
		if !v.index.revoked(dead) {
			t.Fatal("a sign-out was forgotten while its tokens live")
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := v.index.entries(); n != 0 {
			t.Fatalf("%d entries are kept when their tokens have expired", n)
		}
	})
}

// A machine was suspended, or its wall clock set: the knowledge is as old as the worse of its clocks says, also when
// heartbeats come that waited in a buffer, and nothing is forgotten.
func TestClock_OwnClocksJump(t *testing.T) {
	v := quiet()
	at := func(mono, wall time.Duration) moment {
		return moment{mono, time.Duration(1_795_209_600)*time.Second + wall}
	}
	beat := func(s *stream, made time.Duration, now moment) error { // by a server whose clock is right
		return s.hear(at(0, made).wall.Microseconds(), now)
	}
	s := &stream{v: v, anchor: anchor{at: at(time.Second, time.Second)}}
	if err := beat(s, 1100*time.Millisecond, at(1200*time.Millisecond, 1200*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	begin := v.instant(at(2*time.Second, 2*time.Second))
	v.index.apply(levelUser, testUUID(1), newValidFrom(at(0, 2*time.Second).wall.Microseconds(), at(0, 5*time.Minute).
		wall.Microseconds(), begin), begin)
	for _, tc := range []struct {
		name string
		now  moment
		age  time.Duration
	}{
		{"nothing", at(11*time.Second, 11*time.Second), 10 * time.Second},
		{"suspended for an hour, or set ahead", at(11*time.Second, time.Hour+11*time.Second), time.Hour +
			10*time.Second},
		{"set back an hour", at(11*time.Second, 11*time.Second-time.Hour), 10 * time.Second},
	} {
		server, age := v.clock(tc.now)
		if age != tc.age {
			t.Errorf("%s: %v old, want %v", tc.name, age, tc.age)
		}
		if want := at(0, 1100*time.Millisecond+tc.age).wall.Microseconds(); server != want {
			t.Errorf("%s: the server's clock is %d, want %d", tc.name, server, want)
		}
		if v.index.prune(v.instant(tc.now)); v.index.entries() != 1 {
			t.Fatalf("%s: a sign-out was forgotten", tc.name)
		}
	}
	if err := beat(s, 6*time.Second, at(12*time.Second, time.Hour+12*time.Second)); !errors.Is(err, errLate) {
		t.Errorf("a heartbeat of before the suspension: %v", err)
	}
	if _, age := v.clock(at(12*time.Second, time.Hour+12*time.Second)); age < time.Hour {
		t.Errorf("a heartbeat of before the suspension makes the knowledge %v old", age)
	}
	s = &stream{v: v, anchor: anchor{at: at(20*time.Second, 20*time.Second)}}
	if err := beat(s, 20*time.Second, at(20*time.Second, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := beat(s, 25*time.Second, at(25*time.Second, 25*time.Second-time.Hour)); !errors.Is(err, errJumped) {
		t.Errorf("set back an hour between two heartbeats: %v", err)
	}
	if err := beat(s, time.Hour, at(30*time.Second, 30*time.Second)); !errors.Is(err, errJumped) {
		t.Errorf("a server's clock that jumps ahead: %v", err)
	}
	if _, age := v.clock(at(30*time.Second, 30*time.Second)); age != 10*time.Second {
		t.Errorf("a heartbeat from the future makes the knowledge %v old", age)
	}
}

// A heartbeat without a time cannot vouch for anything.
func TestHeartbeat_WithoutTime(t *testing.T) {
	v := quiet()
	for _, data := range []string{`{"seq":1}`, `{"seq":1,"time":-5}`, `{"seq":1,"time":9007199254740992}`} {
		if err := opened(v).handle("heartbeat", []byte(data)); err == nil || v.Staleness() != never {
			t.Errorf("%s: %v, stale for %v", data, err, v.Staleness())
		}
	}
}

// A stale verifier refuses. While an event and the heartbeat after it come in, there is no moment at which the token
// that the event ends is accepted.
func TestVerify_EventAndHeartbeatBetween(t *testing.T) {
	v := quiet()
	v.cfg.WhenStale, v.cfg.Bound = StaleReject, time.Minute
	device := testUUID(1)
	token := remembered(v, device, time.Hour)
	for range 3000 {
		v.index, v.seq = newIndex(), atomic.Int64{}
		v.lastHeartbeat.Store(nil)
		var all sync.WaitGroup
		var told atomic.Bool
		for range 4 {
			all.Go(func() {
				for last := false; !last; {
					last = told.Load()
					if _, err := v.Verify(context.Background(), token); err == nil {
						t.Error("accepted: the index was asked before the event, the age after the heartbeat")
						return
					}
				}
			})
		}
		now := time.Now().UnixMicro()
		s := opened(v)
		_ = s.handle("revocation", fmt.Appendf(nil,
			`{"seq":1,"level":"device","subject":%q,"valid_from":%d,"expires_at":%d}`, device, now, now+1e9))
		_ = s.handle("heartbeat", fmt.Appendf(nil, `{"seq":1,"time":%d}`, now))
		told.Store(true)
		all.Wait()
		if t.Failed() {
			return
		}
	}
}

// Whatever answers in the server's place, the verifier waits between its tries, longer each time; and a stream that was
// one is resumed at once when only the token is over.
func TestFeed_WaitsBetweenTries(t *testing.T) {
	for name, feed := range map[string]func(n int, w *wire){
		"a new token each time": func(_ int, w *wire) {
			fmt.Fprint(w,
				"event: close\ndata: {\"reason\":\"token_expired\"}\n\n")
		},
		"a heartbeat, then a new token": func(_ int, w *wire) {
			w.beat(time.Now())
			fmt.Fprint(w, "event: close\ndata: {\"reason\":\"token_expired\"}\n\n")
		},
		"a portal":      func(_ int, w *wire) { fmt.Fprint(w, "<html>\n\n") },
		"a slow portal": func(_ int, w *wire) { time.Sleep(5 * time.Second); fmt.Fprint(w, "<html>\n\n") },
	} {
		s := &stub{feed: feed}
		inMemory(t, s, func(t *testing.T, v *Verifier) {
			time.Sleep(5 * time.Minute)
			if n := s.streams.Load(); n < 20 || n > 55 {
				t.Errorf("%s: %d requests in 5 minutes", name, n)
			}
		})
	}
	s := &stub{feed: func(_ int, w *wire) {
		w.beats(time.Minute)
		fmt.Fprint(w, "event: close\ndata: {\"reason\":\"token_expired\"}\n\n")
	}}
	inMemory(t, s, func(t *testing.T, v *Verifier) {
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s.streams.Load() != 11 || s.tokens.Load() != 11 || v.Staleness() != 0 {
			t.Errorf("in 10 minutes %d streams, %d tokens; stale for %v", s.streams.Load(), s.tokens.Load(),
				v.Staleness())
		}
	})
}

// The feed is asked for uncompressed, and an answer that is compressed all the same is no feed.
func TestFeed_Encoding(t *testing.T) {
	for encoding, fresh := range map[string]bool{"": true, "identity": true, "gzip": false} {
		s := &stub{feed: func(_ int, w *wire) { w.beats(time.Hour) }, encoding: encoding}
		inMemory(t, s, func(t *testing.T, v *Verifier) {
			time.Sleep(time.Second)
			if asked := s.asked.Load().Header.Get("Accept-Encoding"); asked != "identity" {
				t.Errorf("asked for %q", asked)
			}
			if (v.Staleness() < time.Minute) != fresh {
				t.Errorf("Content-Encoding %q: stale for %v", encoding, v.Staleness())
			}
		})
	}
}

// The server says how long to wait before the next request: not less, and within our own bounds.
func TestFeed_Retry(t *testing.T) {
	for _, tc := range []struct {
		retry       string
		least, most int64 // streams in two minutes, of 3.5 s each
	}{
		{"", 30, 34}, {"0", 30, 34}, {"x", 30, 34}, {"99999999999999999999", 30, 34}, {"5000", 14, 20}, {
			"3600000",
			9, 14,
		},
	} {
		s := &stub{feed: func(_ int, w *wire) {
			fmt.Fprintf(w, "retry: %s\n\n", tc.retry)
			w.beat(time.Now())
			time.Sleep(3500 * time.Millisecond)
		}}
		inMemory(t, s, func(t *testing.T, _ *Verifier) {
			time.Sleep(2 * time.Minute)
			if n := s.streams.Load(); n < tc.least || n > tc.most {
				t.Errorf("retry %q: %d streams in two minutes, want %d to %d", tc.retry, n, tc.least, tc.most)
			}
		})
	}
}

// Close ends a fetch of the keys that is under way, and lets none begin.
func TestClose_KeyFetches(t *testing.T) {
	s := &stub{feed: func(_ int, w *wire) { w.beats(time.Hour) }, keys: func(ctx context.Context) { <-ctx.Done() }}
	inMemory(t, s, func(t *testing.T, v *Verifier) {
		if s.open.Load() != 1 {
			t.Fatalf("%d fetches are under way", s.open.Load())
		}
		closing := time.Now()
		v.Close()
		fetches := s.fetches.Load()
		if !time.Now().Equal(closing) {
			t.Error("Close waits for the fetch's end instead of ending it")
		}
		if s.open.Load() != 0 {
			t.Errorf("%d fetches are under way after Close", s.open.Load())
		}
		time.Sleep(time.Minute)
		if _, err := v.Verify(t.Context(),
			"eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ.e30.AAAA"); Code(err) != "unavailable" {
			t.Error(err)
		}
		if synctest.Wait(); s.fetches.Load() != fetches {
			t.Error("a fetch began after Close")
		}
	})
}
