package verify

import (
	"fmt"
	"sync"
	"testing"
)

func testUUID(n int) string { return fmt.Sprintf("0197a1b2-0001-7000-8000-%012x", n) }

// What is applied while the index is made smaller is there afterwards, and nothing that matters was lost.
func TestIndex_PruneBesideApply(t *testing.T) {
	const dead, events = 20_000, 2_000
	for range 10 {
		x := newIndex()
		for n := range dead {
			x.apply(levelDevice, testUUID(n), validFrom{1, 50, 50}, instant{})
		}
		var both sync.WaitGroup
		both.Go(func() {
			for range 20 {
				x.prune(instant{100, 100})
			}
		})
		both.Go(func() {
			for n := range events {
				x.apply(levelDevice, testUUID(dead+n), validFrom{7, forever, forever}, instant{100, 100})
			}
		})
		both.Wait()
		for n := range events {
			if u, _ := parseUUID(testUUID(dead + n)); x.devices.get(u) != 7 {
				t.Fatalf("event %d of %d was applied and is gone", n, events)
			}
		}
		x.prune(instant{100, 100})
		if x.entries() != events {
			t.Fatalf("%d entries for %d events", x.entries(), events)
		}
	}
}

// Each id is looked up where the events about it are, whatever the other one looks like.
func TestIndex_IDsOfEitherForm(t *testing.T) {
	for _, device := range []string{testUUID(1), "0197A1B2-0001-7000-8000-000000000001", "tv"} {
		for _, user := range []string{testUUID(2), "anna"} {
			o, err := parseObject(fmt.Appendf(nil,
				`{"iss":"i","sub":%q,"aud":"a","exp":9,"iat":1,"jti":"j","client_id":"web","iat_us":100,"device_id":%q}`, user, device))
			if err != nil {
				t.Fatal(err)
			}
			c, err := parseClaims(o)
			if err != nil {
				t.Fatal(err)
			}
			for level, subject := range map[string]string{levelDevice: device, levelUser: user} {
				x := newIndex()
				x.apply(level, subject, validFrom{99, forever, forever}, instant{})
				if x.revoked(c) {
					t.Errorf("%s %s: revoked by an older event", level, subject)
				}
				x.apply(level, subject, validFrom{100, forever, forever}, instant{})
				if !x.revoked(c) {
					t.Errorf("device %s, user %s: the sign-out of the %s is not seen", device, user, level)
				}
			}
		}
	}
}

// An entry is forgotten when its tokens have expired by the server's clock and as much time has passed here,
// whichever is later.
func TestIndex_HoldsUntilBothClocksSaySo(t *testing.T) {
	const now, life = 1_795_209_600, 300
	x := newIndex()
	begin := instant{now, 1000}
	for level, subject := range map[string]string{
		levelDevice: testUUID(1), levelUser: testUUID(1),
		levelClient: "web", levelEveryone: "",
	} {
		x.apply(level, subject, newValidFrom(now*1e6, (now+life)*1e6, begin), begin)
	}
	for _, tc := range []struct {
		name string
		at   instant
		left int
	}{
		{"the server's clock jumps ahead", instant{now + 86400, 1001}, 4},
		{"it was set back for good", instant{now - 3600, 1000 + 2*life}, 4},
		{"a day without an expiry in it", instant{now + life - 1, 1000 + life - 1}, 4},
		{"both say so", instant{now + life + 5, 1000 + life + 5}, 0},
	} {
		x.devices, x.users = x.devices.without(tc.at), x.users.without(tc.at) // as growth does
		if x.prune(tc.at); x.entries() != tc.left {
			t.Errorf("%s: %d entries, want %d", tc.name, x.entries(), tc.left)
		}
	}
	if v := newValidFrom(5, 0, begin); v.forgettable(instant{forever - 1, forever - 1}) {
		t.Error("an event without an expiry was forgotten")
	}
}

// A string of the right length with a dash too many is none: it made the parser read beyond the end, or two strings
// one key.
func TestParseUUID(t *testing.T) {
	const good = "0197a1b2-0001-7000-8000-000000000001"
	if _, ok := parseUUID(good); !ok {
		t.Fatal(good)
	}
	for at := range good {
		for _, c := range "-gA" {
			if s := good[:at] + string(c) + good[at+1:]; s != good {
				if u, ok := parseUUID(s); ok {
					t.Errorf("%s is read as %x", s, u)
				}
			}
		}
	}
	if u, ok := parseUUID("0197a1b2-0001-7000-8000----000000001"); ok {
		t.Errorf("read as %x", u)
	}
}
