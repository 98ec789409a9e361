package verify

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// stub is an issuer in memory, for tests in which time is synctest's. feed writes the n-th stream, which ends when it
// returns.
type stub struct {
	feed                           func(n int, s *wire)
	keys                           func(ctx context.Context)
	streams, tokens, fetches, open atomic.Int64
	encoding                       string                       // which the feed's answer claims
	asked                          atomic.Pointer[http.Request] // the last one for the feed
}

// wire is the server's end of a stream.
type wire struct {
	io.Writer
	ctx  context.Context
	seq  int64
	skew time.Duration // of the server's clock
}

func (w *wire) beat(made time.Time) {
	fmt.Fprintf(w, "event: heartbeat\ndata: {\"seq\":%d,\"time\":%d}\n\n", w.seq, made.Add(w.skew).UnixMicro())
}

func (w *wire) revoke(device string, life time.Duration) {
	w.seq++
	now := time.Now().Add(w.skew)
	fmt.Fprintf(w, "event: revocation\ndata: {\"seq\":%d,\"level\":\"device\",\"subject\":%q,\"valid_from\":%d,\"expires_at\":%d}\n\n", w.seq, device, now.UnixMicro(), now.Add(life).UnixMicro())
}

// beats sends a heartbeat now and every 5 s.
func (w *wire) beats(d time.Duration) {
	for end := time.Now().Add(d); w.ctx.Err() == nil && time.Now().Before(end); time.Sleep(5 * time.Second) {
		w.beat(time.Now())
	}
}

func (s *stub) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
			Request: r,
		}, nil
	}
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		return answer(200, `{"issuer":"`+benchIssuer+`","token_endpoint":"`+benchIssuer+`/token","introspection_endpoint":"`+benchIssuer+
			`/introspect","jwks_uri":"`+benchIssuer+`/jwks","revocation_feed_endpoint":"`+benchIssuer+`/feed","revocation_ack_endpoint":"`+benchIssuer+`/ack"}`)
	case "/token":
		s.tokens.Add(1)
		return answer(200, `{"access_token":"x","expires_in":300}`)
	case "/jwks":
		s.fetches.Add(1)
		s.open.Add(1)
		defer s.open.Add(-1)
		if s.keys != nil {
			s.keys(r.Context())
			return nil, r.Context().Err()
		}
		return answer(200, `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	case "/ack":
		return answer(204, "")
	case "/feed":
		out, in := io.Pipe()
		n := int(s.streams.Add(1))
		s.asked.Store(r)
		context.AfterFunc(r.Context(), func() { in.CloseWithError(context.Cause(r.Context())) })
		go func() {
			s.feed(n, &wire{Writer: in, ctx: r.Context()})
			in.Close()
		}()
		header := http.Header{}
		if s.encoding != "" {
			header.Set("Content-Encoding", s.encoding)
		}
		return &http.Response{StatusCode: 200, Header: header, Body: out, Request: r}, nil
	}
	return answer(404, "")
}

// inMemory runs a test beside a verifier that follows a stub, in synctest's time.
func inMemory(t *testing.T, s *stub, test func(t *testing.T, v *Verifier)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v, err := New(Config{
			Issuer: benchIssuer, ClientID: "api", ClientSecret: "x", WhenStale: StaleReject,
			HTTPClient: &http.Client{Transport: s}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer time.Sleep(time.Minute) // until the stub's goroutines have noticed
		defer v.Close()
		synctest.Wait()
		test(t, v)
	})
}

// remembered is a token whose signature was right.
func remembered(v *Verifier, device string, life time.Duration) string {
	now := time.Now().UnixMicro()
	c := &Claims{DeviceID: device, Subject: "anna", IssuedMicros: now, issued: now, expires: now + life.Microseconds()}
	c.device, c.deviceIsUUID = parseUUID(device)
	_, epoch := v.cache.get(device)
	v.cache.put(device, c, epoch)
	return device
}
