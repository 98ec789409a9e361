package main

import (
	"encoding/json"
	"fmt"
	"math"
)

type feedFile struct {
	Schema   string `json:"$schema"`
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	Now      int64  `json:"now"`
}

type feedTest struct {
	ID        string  `json:"id"`
	Comment   string  `json:"comment"`
	Bound     float64 `json:"bound"`
	WhenStale string  `json:"when_stale"`
}

// step is one of the README's kinds: of the members behind At those of one kind are set.
type step struct {
	At            float64         `json:"at"`
	Open          bool            `json:"open,omitempty"`
	Event         string          `json:"event,omitempty"`
	Data          json.RawMessage `json:"data,omitempty"`
	Raw           *string         `json:"raw,omitempty"`
	Times         int             `json:"times,omitempty"`
	Cut           bool            `json:"cut,omitempty"`
	Clock         float64         `json:"clock,omitempty"`
	Expect        *expect         `json:"expect,omitempty"`
	Verify        json.RawMessage `json:"verify,omitempty"`
	Introspection string          `json:"introspection,omitempty"`
	Verdict       string          `json:"verdict,omitempty"`
}

type expect struct {
	Closed  *bool  `json:"closed,omitempty"`
	Seq     *int64 `json:"seq,omitempty"`
	Entries *int   `json:"entries,omitempty"`
}

func feedTests() []*transcript {
	var all []*transcript
	ids := map[string]bool{}
	for _, group := range [][]*transcript{levels(), freshness(), clocks(), streams(), wire(), garbage(), expiry()} {
		for _, t := range group {
			if ids[t.ID] {
				panic("twice: " + t.ID)
			}
			ids[t.ID] = true
			all = append(all, t)
		}
	}
	return all
}

// transcript is written from its beginning to its end.
type transcript struct {
	feedTest
	steps []step
	clock float64 // at
	skew  float64 // what the server's clock is ahead of now + at
	seq   int64
}

// feed begins a transcript with a bound of thirty seconds, in which a stale verifier rejects.
func feed(id, comment string) *transcript {
	return &transcript{feedTest: feedTest{ID: id, Comment: comment, Bound: 30, WhenStale: "reject"}}
}

func (t *transcript) stale(policy string) *transcript { t.WhenStale = policy; return t }
func (t *transcript) bound(seconds float64) *transcript {
	t.Bound = seconds
	return t
}

// at is when the next steps happen.
func (t *transcript) at(seconds float64) *transcript {
	if seconds < t.clock {
		panic(t.ID + ": time goes back")
	}
	t.clock = seconds
	return t
}

func (t *transcript) step(s step) *transcript {
	s.At = t.clock
	t.steps = append(t.steps, s)
	return t
}

func (t *transcript) open() *transcript { return t.step(step{Open: true}) }
func (t *transcript) cut() *transcript  { return t.step(step{Cut: true}) }

// raw sends a text, in UTF-8.
func (t *transcript) raw(text string) *transcript {
	return t.bytes([]byte(text), 0)
}

// bytes sends bytes so many times: a character of the step for each.
func (t *transcript) bytes(b []byte, times int) *transcript {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	text := string(runes)
	return t.step(step{Raw: &text, Times: times})
}

// micros is a time of the test on the server's clock when it is right.
func micros(at float64) int64 { return now*1_000_000 + int64(math.Round(at*1e6)) }

// beat is a heartbeat that is sent when it is made.
func (t *transcript) beat() *transcript { return t.beatOf(t.clock) }

// beatOf is a heartbeat that was made at another time.
func (t *transcript) beatOf(made float64) *transcript {
	return t.step(step{Event: "heartbeat", Data: json.RawMessage(fmt.Sprintf(`{"seq":%d,"time":%d}`, t.seq,
		micros(made+t.skew)))})
}

// revoke ends what was issued to a subject up to now, for tokens that live five minutes.
func (t *transcript) revoke(level, subject string) *transcript {
	t.seq += 10
	return t.event(t.seq, level, subject, micros(t.clock+t.skew), micros(t.clock+t.skew+300))
}

func (t *transcript) event(seq int64, level, subject string, validFrom, expires int64) *transcript {
	return t.step(step{Event: "revocation", Data: json.RawMessage(eventJSON(seq, level, subject, validFrom, expires))})
}

func eventJSON(seq int64, level, subject string, validFrom, expires int64) string {
	if subject != "null" {
		subject = quote(subject)
	}
	return fmt.Sprintf(`{"seq":%d,"level":"%s","subject":%s,"valid_from":%d,"expires_at":%d,"reason":"signed_out","initiating_entity":"user","event_timestamp":%d}`,
		seq, level, subject, validFrom, expires, validFrom/1_000_000)
}

// ask verifies a token.
func (t *transcript) ask(verdict string, claims object) *transcript {
	return t.step(step{Verify: json.RawMessage(claims.String()), Verdict: verdict})
}

// introspect verifies a token while introspection would give an answer.
func (t *transcript) introspect(answer, verdict string, claims object) *transcript {
	return t.step(step{Verify: json.RawMessage(claims.String()), Introspection: answer, Verdict: verdict})
}

func (t *transcript) closed(yes bool) *transcript { return t.step(step{Expect: &expect{Closed: &yes}}) }

func (t *transcript) applied(seq int64) *transcript {
	return t.step(step{Expect: &expect{Seq: &seq}})
}

func (t *transcript) entries(n int) *transcript { return t.step(step{Expect: &expect{Entries: &n}}) }

func (t *transcript) setClock(by float64) *transcript {
	return t.step(step{Clock: by})
}

// issued is a user's token of a time of the test, which lives for an hour.
func issued(at float64) object {
	return body().set("iat", fmt.Sprint(now+int64(at))).set("iat_us", fmt.Sprint(micros(at))).set("exp",
		fmt.Sprint(now+int64(at)+3600))
}

// of changes whose token it is.
func of(claims object, deviceID, sub, clientID string) object {
	return claims.set("device_id", quote(deviceID)).set("sub", quote(sub)).set("client_id", quote(clientID))
}

// own is a client's own token.
func own(at float64, id string) object {
	return issued(at).without("device_id").without("rid").set("sub", quote(id)).set("client_id", quote(id))
}

const (
	device2 = "0197a1b2-0001-7000-8000-000000000002"
	user2   = "0197a1b2-0000-7000-8000-000000000002"
)
