package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The vectors are the behaviour that verifiers in all languages share, see vectors/README.md.
func TestVectors(t *testing.T) {
	tokens := vectors[tokenVectors](t, "vectors/tokens.json")
	feeds := vectors[feedVectors](t, "vectors/feeds.json")
	var ran [2]int
	for _, test := range tokens.Tests {
		t.Run("tokens/"+test.ID, func(t *testing.T) { ran[0]++; tokens.run(t, test) })
	}
	for _, test := range feeds.Tests {
		t.Run("feeds/"+test.ID, func(t *testing.T) { ran[1]++; feeds.run(t, test) })
	}
	if testing.Verbose() {
		skipped := len(tokens.Tests) + len(feeds.Tests) - ran[0] - ran[1]
		fmt.Printf("vectors: %d tokens, %d feeds, %d skipped\n", ran[0], ran[1], skipped)
	}
}

// Whatever the vectors say, they say something about each code.
func TestVectors_EveryCode(t *testing.T) {
	tokens := vectors[tokenVectors](t, "vectors/tokens.json")
	seen := map[string]bool{}
	for _, test := range tokens.Tests {
		seen[test.Verdict] = true
	}
	for _, test := range vectors[feedVectors](t, "vectors/feeds.json").Tests {
		for _, s := range test.Steps {
			seen[s.Verdict] = true
		}
	}
	for _, r := range refusals {
		if !seen[r.code] {
			t.Errorf("no vector has the verdict %s", r.code)
		}
		if answer, ok := tokens.Codes[r.code]; !ok || answer.Status != r.status {
			t.Errorf("the answer to %s is missing, or its status is not %d", r.code, r.status)
		}
	}
	if len(tokens.Codes) != len(refusals) {
		t.Errorf("%d codes have an answer, of %d", len(tokens.Codes), len(refusals))
	}
}

func vectors[T any](t *testing.T, name string) (file T) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return file
}

type tokenVectors struct {
	Schema           string `json:"$schema"`
	Issuer, Audience string
	JWKS             json.RawMessage
	Now              float64
	Codes            map[string]struct {
		Status    int
		Challenge *string
	}
	Tests []tokenVector
}

type tokenVector struct {
	ID, Comment   string
	Flags         []string
	Now           *float64
	Token         *string
	Authorization []string
	Scopes        []string
	Verdict       string
}

func (f *tokenVectors) run(t *testing.T, test tokenVector) {
	keys, err := parseKeys(bytes.NewReader(f.JWKS))
	if err != nil {
		t.Fatal(err)
	}
	at := f.Now
	if test.Now != nil {
		at = *test.Now
	}
	now := moment{0, seconds(at)}
	v := quiet()
	v.cfg.Issuer, v.cfg.Audience, v.keys.keys = f.Issuer, f.Audience, keys
	v.now = func() moment { return now }
	v.lastHeartbeat.Store(&heartbeat{now, now.wall.Microseconds()})
	for range 2 { // the second time what can be remembered is
		if test.Token != nil {
			if _, err := v.Verify(t.Context(), *test.Token); verdict(err) != test.Verdict {
				t.Fatalf("%s: %s (%v), want %s", test.Comment, verdict(err), err, test.Verdict)
			}
			continue
		}
		f.request(t, v, test)
	}
}

// request asks the middleware.
func (f *tokenVectors) request(t *testing.T, v *Verifier, test tokenVector) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Authorization"] = test.Authorization
	if _, err := v.Authorize(r, test.Scopes...); verdict(err) != test.Verdict {
		t.Fatalf("%s: %s (%v), want %s", test.Comment, verdict(err), err, test.Verdict)
	}
	w, reached := httptest.NewRecorder(), false
	v.Middleware(test.Scopes...)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })).
		ServeHTTP(w, r)
	if reached != (test.Verdict == "ok") {
		t.Fatalf("%s: the handler was reached: %t", test.Comment, reached)
	}
	if reached {
		return
	}
	answer := f.Codes[test.Verdict]
	want := strings.ReplaceAll(*answer.Challenge, "{scopes}", strings.Join(test.Scopes, " "))
	if got := w.Header().Get("WWW-Authenticate"); w.Code != answer.Status || got != want {
		t.Fatalf("%s: answered with %d and %q, want %d and %q", test.Comment, w.Code, got, answer.Status, want)
	}
}

// verdict is ok or a code.
func verdict(err error) string {
	switch code := Code(err); {
	case err == nil:
		return "ok"
	case code == "":
		return "an error of somebody else's"
	default:
		return code
	}
}

type feedVectors struct {
	Schema           string `json:"$schema"`
	Issuer, Audience string
	Now              float64
	Tests            []feedVector
}

type feedVector struct {
	ID, Comment string
	Bound       float64
	WhenStale   string `json:"when_stale"`
	Steps       []feedStep
}

type feedStep struct {
	At     float64
	Open   bool
	Event  string
	Data   json.RawMessage
	Raw    *string
	Times  int
	Cut    bool
	Clock  float64
	Expect *struct {
		Closed  *bool
		Seq     *int64
		Entries *int
	}
	Verify        json.RawMessage
	Introspection string
	Verdict       string
}

// replay is a verifier in the middle of a transcript.
type replay struct {
	*Verifier
	clock  moment
	events *eventStream // nil before the first stream, and when the server has cut it
	ended  error        // the verifier has ended the stream
	answer string       // of introspection
}

func (f *feedVectors) run(t *testing.T, test feedVector) {
	policy := slices.Index([]string{"introspect", "reject", "accept"}, test.WhenStale)
	if policy < 0 {
		t.Fatalf("no policy is called %q", test.WhenStale)
	}
	r := &replay{Verifier: quiet()}
	r.cfg.Issuer, r.cfg.Audience = f.Issuer, f.Audience
	r.cfg.Bound, r.cfg.WhenStale = seconds(test.Bound), StalePolicy(policy)
	r.http = &http.Client{Transport: r}
	r.meta.Store(&metadata{Introspect: f.Issuer + "/introspect"})
	r.Verifier.now = func() moment { return r.clock }
	moved := 0.0
	for n, s := range test.Steps {
		moved += s.Clock
		r.clock = moment{seconds(s.At), seconds(f.Now) + seconds(s.At) + seconds(moved)}
		if err := r.step(t.Context(), s); err != nil {
			t.Fatalf("%s: step %d, at %v: %v", test.Comment, n, s.At, err)
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s*1e6)) * time.Microsecond }

func (r *replay) step(ctx context.Context, s feedStep) error {
	switch {
	case s.Open:
		r.ended, r.events = nil, &eventStream{alive: func() {}, handle: (&stream{
			v:      r.Verifier,
			anchor: anchor{at: r.clock},
		}).handle}
	case s.Event != "":
		var line bytes.Buffer
		if err := json.Compact(&line, s.Data); err != nil {
			return err
		}
		r.send(fmt.Appendf(nil, "event: %s\ndata: %s\n\n", s.Event, &line))
	case s.Raw != nil:
		var chunk []byte
		for _, c := range *s.Raw {
			chunk = append(chunk, byte(c))
		}
		r.send(bytes.Repeat(chunk, max(1, s.Times)))
	case s.Cut:
		r.events = nil
	case s.Expect != nil:
		return r.expect(s)
	case s.Verify != nil:
		return r.verify(ctx, s)
	case s.Clock == 0:
		return errors.New("a step of no kind")
	}
	return nil
}

func (r *replay) send(chunk []byte) {
	if r.events != nil && r.ended == nil {
		r.ended = r.events.write(chunk)
	}
}

func (r *replay) expect(s feedStep) error {
	e := s.Expect
	if e.Closed != nil && *e.Closed != (r.ended != nil) {
		return fmt.Errorf("the verifier has ended the stream: %v, want %t", r.ended, *e.Closed)
	}
	if e.Seq != nil && *e.Seq != r.Seq() {
		return fmt.Errorf("applied up to %d, want %d", r.Seq(), *e.Seq)
	}
	if e.Entries != nil {
		r.index.prune(r.instant(r.clock))
		if n := r.index.entries(); n != *e.Entries {
			return fmt.Errorf("%d entries, want %d", n, *e.Entries)
		}
	}
	return nil
}

func (r *replay) verify(ctx context.Context, s feedStep) error {
	o, err := parseObject(s.Verify)
	if err != nil {
		return err
	}
	claims, err := parseClaims(o)
	if err != nil {
		return err
	}
	token := string(s.Verify) // what the signature was right of
	_, epoch := r.cache.get(token)
	r.cache.put(token, claims, epoch)
	r.answer = s.Introspection
	if _, err := r.Verify(ctx, token); verdict(err) != s.Verdict {
		return fmt.Errorf("%s (%v), want %s; the knowledge is %v old", verdict(err), err, s.Verdict, r.Staleness())
	}
	return nil
}

// RoundTrip is the issuer, which is asked about tokens only.
func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body := http.StatusOK, `{"active":true}`
	switch r.answer {
	case "active":
	case "inactive":
		body = `{"active":false}`
	case "down":
		status, body = http.StatusServiceUnavailable, `{"error":"temporarily_unavailable"}`
	default:
		return nil, errors.New("introspection was asked, and must not be")
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
		Request: req,
	}, nil
}
