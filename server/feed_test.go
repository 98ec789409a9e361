package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"curfew/models"
)

// message is one event of a stream.
type message struct {
	id, kind string
	data     map[string]any
}

func (m message) seq() int64 { n, _ := m.data["seq"].(float64); return int64(n) }

// reader follows the feed as a stranger would: line by line.
type reader struct {
	t    *testing.T
	in   *bufio.Reader
	stop context.CancelFunc
}

func (k *kit) follow(path, token, lastEventID string) *reader {
	k.t.Helper()
	return k.read(k.feed(path, token, lastEventID))
}

func (k *kit) feed(path, token, lastEventID string) (*http.Response, context.CancelFunc) {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := k.request("GET", "/oauth2/revocations"+path, "", "Authorization", "Bearer "+token).WithContext(ctx)
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	res, err := k.http.Client().Do(r)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { cancel(); res.Body.Close() })
	return res, cancel
}

func (k *kit) read(res *http.Response, stop context.CancelFunc) *reader {
	k.t.Helper()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" ||
		res.Header.Get("Cache-Control") != "no-store, no-transform" {
		k.t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	return &reader{t: k.t, in: bufio.NewReader(res.Body), stop: stop}
}

func (r *reader) next() message {
	r.t.Helper()
	var m message
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			r.t.Fatalf("the stream ended: %v", err)
		}
		switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); {
		case name == "id":
			m.id = value
		case name == "event":
			m.kind = value
		case name == "data":
			if err := json.Unmarshal([]byte(value), &m.data); err != nil {
				r.t.Fatal(err)
			}
		case line == "\n" && m.kind != "":
			return m
		}
	}
}

// event is the next one that is no heartbeat.
func (r *reader) event() message {
	r.t.Helper()
	for {
		if m := r.next(); m.kind != "heartbeat" {
			return m
		}
	}
}

func (k *kit) signOut(token string) int64 {
	k.t.Helper()
	a := k.bearer("DELETE", "/settings/devices/current", token, "")
	if a.status != 200 {
		k.t.Fatalf("%d %s", a.status, a.body)
	}
	return int64(a.json["revocation"].(map[string]any)["seq"].(float64))
}

func TestFeed_BacklogThenLive(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn("anna")
		seq := k.signOut(first.str("access_token"))
		r := k.follow("?subscriber=rs1", k.apiToken(), "")
		m := r.next()
		if m.kind != "revocation" || m.id != fmt.Sprint(seq) || m.seq() != seq || m.data["level"] != "device" ||
			m.data["subject"] != first.str("device_id") ||
			m.data["reason"] != "signed_out" || m.data["initiating_entity"] != "user" || m.data["event_timestamp"] == nil ||
			m.data["valid_from"] == nil {
			t.Fatalf("%+v", m)
		}
		if m := r.next(); m.kind != "heartbeat" || m.id != "" || m.seq() != seq || m.data["time"] == nil {
			t.Fatalf("after the backlog: %+v", m)
		}
		second := k.signIn("anna")
		live := k.signOut(second.str("access_token"))
		if m := r.event(); m.seq() != live {
			t.Fatalf("live: %+v", m)
		}
		for _, resume := range []func() *reader{
			func() *reader { return k.follow("", k.apiToken(), fmt.Sprint(seq)) },
			func() *reader { return k.follow(fmt.Sprintf("?after=%d", seq), k.apiToken(), "") },
			func() *reader { return k.follow("?after=0", k.apiToken(), fmt.Sprint(seq)) },
		} {
			if m := resume().next(); m.seq() != live {
				t.Fatalf("resumed after %d: %+v", seq, m)
			}
		}
		// A reader that knows more than the database followed another one: it gets everything, and where this one
		// stands.
		future := k.follow("?after=1000000", k.apiToken(), "")
		if a, b, c := future.next(), future.next(), future.next(); a.seq() != seq || b.seq() != live ||
			c.kind != "heartbeat" || c.seq() != live {
			t.Fatalf("%+v %+v %+v", a, b, c)
		}
	})
}

// Everyone's sign-out ends the follower's own token: it gets the event, and the stream ends with a reason.
func TestFeed_OwnTokenEnds(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		token := k.apiToken()
		r := k.follow("", token, "")
		out, err := k.store.Revoke(
			t.Context(), models.Everyone(), models.ReasonRevoked, models.Actor{Entity: models.EntityAdmin},
		)
		if err != nil {
			t.Fatal(err)
		}
		if m := r.event(); m.seq() != out.Revocation.Seq || m.data["level"] != "everyone" || m.data["subject"] != nil {
			t.Fatalf("%+v", m)
		}
		if m := r.event(); m.kind != "close" || m.data["reason"] != "token_revoked" {
			t.Fatalf("%+v", m)
		}
		if a := k.bearer("GET", "/oauth2/revocations", token, ""); a.status != 401 {
			t.Fatalf("with the dead token: %d", a.status)
		}
		k.follow("", k.apiToken(), fmt.Sprint(out.Revocation.Seq))
	})
}

func TestFeed_TokenExpires(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		res, stop := k.feed("", k.apiToken(), "")
		for res.StatusCode == 401 { // a slow machine: it was over before it was looked at
			res, stop = k.feed("", k.apiToken(), "")
		}
		if m := k.read(res, stop).event(); m.kind != "close" || m.data["reason"] != "token_expired" {
			t.Fatalf("%+v", m)
		}
	}, func(c *models.Config) { c.AccessTTL = time.Second })
}

func TestFeed_ShutDown(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		r := k.follow("", k.apiToken(), "")
		r.next()
		go k.srv.Close()
		if m := r.event(); m.kind != "close" || m.data["reason"] != "shutting_down" {
			t.Fatalf("%+v", m)
		}
	})
}

// During a storm every reader gets every event, in order, also one that is cut off and resumes again and again.
func TestFeed_Storm(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		var tokens []string
		for range 60 {
			tokens = append(tokens, k.signIn("anna").str("access_token"))
		}
		steady, api := k.follow("", k.apiToken(), ""), k.apiToken()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for _, token := range tokens[i*15 : (i+1)*15] {
					k.signOut(token)
				}
			})
		}
		restless, last := map[int64]bool{}, int64(0)
		for len(restless) < 60 {
			r := k.follow("", api, fmt.Sprint(last))
			for range 7 {
				if len(restless) == 60 {
					break
				}
				m := r.event()
				if m.seq() <= last {
					t.Fatalf("%d after %d", m.seq(), last)
				}
				last = m.seq()
				restless[last] = true
			}
			r.stop()
		}
		for i := range 60 {
			if m := steady.event(); !restless[m.seq()] {
				t.Fatalf("event %d of the steady reader: %+v", i, m)
			}
		}
		wg.Wait()
	})
}

func TestFeed_Receipt(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		api := k.apiToken()
		r := k.follow("?subscriber=rs1", api, "")
		r.next()
		g := k.signIn("anna")
		done := make(chan *answer)
		go func() { done <- k.bearer("DELETE", "/settings/devices?wait=10s", g.str("access_token"), "") }()
		m := r.event()
		ack := k.bearer("POST", "/oauth2/revocations/ack", api, fmt.Sprintf(`{"subscriber":"rs1","seq":%d}`, m.seq()))
		if ack.status != 204 {
			t.Fatalf("%d %s", ack.status, ack.body)
		}
		a := <-done
		applied := a.json["applied"].(map[string]any)
		if applied["subscribers"] != 1.0 || applied["acknowledged"] != 1.0 || applied["slowest_ms"] == nil ||
			applied["missing"] != nil {
			t.Fatalf("%s", a.body)
		}
	})
}

func TestFeed_BadInput(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		api := k.apiToken()
		for _, tc := range []struct {
			method, path, token, body string
			status                    int
		}{
			{"GET", "", "", "", 401},
			{"GET", "", k.signIn("anna").str("access_token"), "", 403},
			{"GET", "?subscriber=", api, "", 400},
			{"GET", "?subscriber=a%20b", api, "", 400},
			{"GET", "?after=x", api, "", 400},
			{"GET", "?after=-1", api, "", 400},
			{"GET", "?nothing=1", api, "", 400},
			{"POST", "/ack", api, `{"subscriber":"rs1"}`, 400},
			{"POST", "/ack", api, `{"seq":0}`, 400},
			{"POST", "/ack", api, `{"subscriber":"rs1","seq":999999}`, 400},
			{"POST", "/ack", api, `{"subscriber":"rs1","seq":-1}`, 400},
			{"POST", "/ack", api, `{"subscriber":"rs1","seq":1.5}`, 400},
			{"POST", "/ack", "", `{"subscriber":"rs1","seq":0}`, 401},
		} {
			if a := k.bearer(tc.method, "/oauth2/revocations"+tc.path, tc.token, tc.body); a.status != tc.status {
				t.Errorf("%s %s %s: %d %s", tc.method, tc.path, tc.body, a.status, a.body)
			}
		}
		if a := k.do(
			k.request("GET", "/oauth2/revocations", "", "Authorization", "Bearer "+api, "Last-Event-ID", "abc"),
		); a.status != 400 {
			t.Errorf("Last-Event-ID: %d", a.status)
		}
	})
}

// A reader that goes away frees its stream and its name's lease at once, without a write having to fail first.
func TestFeed_ReaderGoes(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		token := k.apiToken()
		one, two := k.follow("?subscriber=rs1", token, ""), k.follow("?subscriber=rs1", token, "")
		one.next()
		two.next()
		state := func() (open int64, leases int) {
			named := k.srv.feed.subscribers
			named.mu.Lock()
			defer named.mu.Unlock()
			if l := named.leases[models.SubscriberID{ClientID: "api", Name: "rs1"}]; l != nil {
				leases = l.streams
			}
			return k.srv.feed.open.Load(), leases
		}
		for _, want := range []int{2, 1, 0} {
			for open, leases := state(); int(open) != want || leases != want; open, leases = state() {
				select {
				case <-t.Context().Done():
					t.Fatalf("%d streams and %d leases, want %d", open, leases, want)
				case <-time.After(time.Millisecond):
				}
			}
			switch want {
			case 2:
				one.stop()
			case 1:
				two.stop()
			}
		}
	})
}

// Close waits until every stream has said its last word, and no stream begins afterwards.
func TestFeed_CloseWaits(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		token := k.apiToken()
		var readers []*reader
		for range 20 {
			readers = append(readers, k.follow("", token, ""))
		}
		k.srv.Close()
		if n := k.srv.feed.open.Load(); n != 0 {
			t.Fatalf("%d streams after Close", n)
		}
		for _, r := range readers {
			if m := r.event(); m.kind != "close" || m.data["reason"] != "shutting_down" {
				t.Fatalf("%+v", m)
			}
			if rest, err := io.ReadAll(r.in); err != nil || len(rest) > 0 {
				t.Fatalf("behind the last word: %q, %v", rest, err)
			}
		}
		if a := k.bearer("GET", "/oauth2/revocations", token, ""); a.status != 503 {
			t.Fatalf("a stream after Close: %d", a.status)
		}
	})
}

// The head is written by hand: it has what every answer has, and says how the body ends, also to a proxy that asks
// with HTTP/1.0.
func TestFeed_Head(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for _, version := range []string{"HTTP/1.0", "HTTP/1.1"} {
			conn, err := net.Dial("tcp", k.http.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(
				conn, "GET /oauth2/revocations %s\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", version,
				k.http.Listener.Addr(), k.apiToken(),
			)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"Date", "X-Request-Id", "X-Content-Type-Options"} {
				if len(res.Header.Values(name)) != 1 {
					t.Errorf("%s, %s: %q", version, name, res.Header.Values(name))
				}
			}
			if res.StatusCode != 200 || !res.Close || len(res.TransferEncoding) > 0 || res.ContentLength != -1 ||
				res.Header.Get("X-Accel-Buffering") != "no" {
				t.Errorf("%s: %+v", version, res)
			}
			body := bufio.NewReader(res.Body)
			// An EventSource would wait three seconds before it comes back.
			if line, _ := body.ReadString('\n'); line != "retry: 1000\n" {
				t.Errorf("%s: it begins with %q", version, line)
			}
			if m := (&reader{t: t, in: body}).next(); m.kind != "heartbeat" {
				t.Errorf("%s: %+v", version, m)
			}
		}
	})
}
