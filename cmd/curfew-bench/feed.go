package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"curfew/internal/harness"
	"curfew/internal/proc"
	"curfew/verify"
)

// feedRun measures the revocation feed: two nodes, verifiers of package verify and plain readers of one node's feed.
//
// A refusal's time is counted twice: from the event's created_at, which PostgreSQL notes before the commit, so that the
// commit's own flush is in it; and from when the sign-out's answer had been read, which is after the commit. The truth
// lies between; the targets are held against the first.
type feedRun struct {
	bench     *bench
	nodes     [2]*harness.Node
	verifiers []*verify.Verifier
	readers   []*reader

	streams  int           // on the first node, the verifiers among them
	signOuts int           // of one measurement
	every    time.Duration // from one sign-out to the next
	idle     time.Duration // how long the streams are idle before the node's memory is read
}

// look is how often the verifiers are asked whether they refuse a token yet; it bounds what the measurement adds.
const look = 200 * time.Microsecond

// feed: from a sign-out to its refusal, and what an idle stream costs.
func (b *bench) feed(ctx context.Context) error {
	f := &feedRun{bench: b, streams: b.opt.Streams, signOuts: 200, every: 50 * time.Millisecond, idle: time.Minute}
	count := 10
	if b.opt.Short {
		f.streams, f.signOuts, f.idle, count = 30, 5, time.Second, 3
	}
	defer f.close()
	if err := f.start(ctx); err != nil {
		return err
	}
	if err := f.follow(ctx, count); err != nil {
		return err
	}
	places := []string{"the same node", "the other node"}
	for i, place := range places {
		if err := f.refusals(ctx, fmt.Sprintf("%d verifiers, signed out at %s", count, place), f.nodes[i],
			"p50 ≤ 10 ms"); err != nil {
			return err
		}
	}
	before := proc.Memory(f.nodes[0].PID(), "VmRSS")
	if err := f.read(ctx, f.streams-count); err != nil {
		return err
	}
	if err := pause(ctx, f.idle); err != nil {
		return err
	}
	idle := proc.Memory(f.nodes[0].PID(), "VmRSS")
	for i, place := range places {
		if err := f.refusals(ctx, fmt.Sprintf("%d streams, signed out at %s", f.streams, place), f.nodes[i],
			"p99 ≤ 50 ms"); err != nil {
			return err
		}
	}
	more := idle - before
	b.report.add(fmt.Sprintf("memory of %d idle streams", len(f.readers)), "≤ 40 MB", more <= 40, more,
		"%.1f MB of RSS: %.1f before, %.1f with them, %.1f kB each", more, before, idle, more*1024/float64(len(f.readers)))
	b.report.onlyUpTo(f.streams >= 1000)
	return nil
}

// start makes the database and runs the nodes. Hashes are cheap: sign-ins are not what is measured.
func (f *feedRun) start(ctx context.Context) error {
	r := f.bench.rig
	database, err := harness.CreateDatabase(ctx, r.cluster, "feed")
	if err != nil {
		return err
	}
	addresses, err := harness.FreeAddresses(4)
	if err != nil {
		return err
	}
	p := r.product(database).With(map[string]string{
		"ISSUER": "http://" + addresses[0], "HASH_MEMORY": "8", "HASH_TIME": "1", "LOG_LEVEL": "warn",
	})
	if err := setUp(ctx, p); err != nil {
		return err
	}
	for i := range f.nodes {
		if f.nodes[i], err = r.start(ctx, p, addresses[2*i], addresses[2*i+1]); err != nil {
			return err
		}
	}
	return nil
}

// follow starts the verifiers, and waits until each has heard from the feed.
func (f *feedRun) follow(ctx context.Context, count int) error {
	for i := range count {
		v, err := verify.New(verify.Config{
			Issuer: "http://" + f.nodes[0].Public, ClientID: "api", ClientSecret: clientSecret,
			Subscriber: fmt.Sprintf("verifier-%d", i), WhenStale: verify.StaleReject, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		f.verifiers = append(f.verifiers, v)
	}
	for _, v := range f.verifiers {
		for v.Staleness() > time.Minute {
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *feedRun) close() {
	for _, r := range f.readers {
		r.conn.Close()
	}
	for _, v := range f.verifiers {
		v.Close()
	}
	for _, n := range f.nodes {
		if n != nil {
			n.Stop()
		}
	}
}

// refusals signs devices out at one node, one after the other, and measures when each verifier refuses and each reader
// has the event.
func (f *feedRun) refusals(ctx context.Context, name string, at *harness.Node, target string) error {
	c, err := dial(at.Public)
	if err != nil {
		return err
	}
	defer c.net.Close()
	tokens, err := f.signIn(ctx, c)
	if err != nil {
		return err
	}
	var fromEvent, fromAnswer []time.Duration
	created := map[int64]time.Time{}
	for _, token := range tokens {
		began := time.Now()
		refused := make(chan refusal, 1)
		looking, cancel := context.WithCancel(ctx)
		go func() { refused <- f.watch(looking, token) }()
		event, err := signOutCurrent(c, token)
		if err != nil {
			cancel()
			return errors.Join(err, (<-refused).err)
		}
		answered := time.Now()
		seen := <-refused
		cancel()
		if seen.err != nil {
			return seen.err
		}
		created[event.Seq] = event.CreatedAt
		for _, t := range seen.at {
			fromEvent = append(fromEvent, t.Sub(event.CreatedAt))
			fromAnswer = append(fromAnswer, max(0, t.Sub(answered)))
		}
		if err := pause(ctx, f.every-time.Since(began)); err != nil {
			return err
		}
	}
	f.report(name+", to the refusal", target, fromEvent, fromAnswer)
	return f.arrivals(ctx, name, target, created)
}

// refusal is when each verifier refused a token.
type refusal struct {
	at  []time.Time
	err error
}

// watch asks every verifier about a token until each has refused it.
func (f *feedRun) watch(ctx context.Context, token string) refusal {
	r := refusal{at: make([]time.Time, len(f.verifiers))}
	for left := len(r.at); left > 0; time.Sleep(look) {
		for i, v := range f.verifiers {
			if !r.at[i].IsZero() {
				continue
			}
			switch _, err := v.Verify(ctx, token); {
			case errors.Is(err, verify.ErrRevoked):
				r.at[i] = time.Now()
				left--
			case err != nil:
				return refusal{err: err}
			}
		}
		if ctx.Err() != nil {
			return refusal{err: ctx.Err()}
		}
	}
	return r
}

// report adds the line of one measurement. answers may be empty.
func (f *feedRun) report(what, target string, events, answers []time.Duration) {
	p50, p99, _ := quantiles(events)
	value, limit := p50, 10.0
	if target == "p99 ≤ 50 ms" {
		value, limit = p99, 50
	}
	text := fmt.Sprintf("p50 %.1f, p99 %.1f ms from the event", p50, p99)
	if len(answers) > 0 {
		p50, p99, _ = quantiles(answers)
		text += fmt.Sprintf("; %.1f, %.1f ms from the answer", p50, p99)
	}
	f.bench.report.add(what, target, value <= limit, value, "%s", text)
	f.bench.report.onlyUpTo(f.streams >= 1000)
}

// signIn makes a device for each sign-out. Every verifier has checked its token once, so that what is measured is the
// feed and not a signature.
func (f *feedRun) signIn(ctx context.Context, c *conn) (tokens []string, err error) {
	form := url.Values{
		"grant_type": {"password"}, "client_id": {"web"}, "username": {"bench"}, "password": {password},
		"scope": {"settings"},
	}
	for range f.signOuts {
		token, err := askToken(c, "POST /oauth2/token HTTP/1.1\r\n"+formHead, form)
		if err != nil {
			return nil, err
		}
		for _, v := range f.verifiers {
			if _, err := v.Verify(ctx, token); err != nil {
				return nil, err
			}
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// askToken is the access token of a token request.
func askToken(c *conn, head string, form url.Values) (string, error) {
	status, body, err := c.do(appendRequest(nil, head, []byte(form.Encode())))
	if err == nil && status != 200 {
		err = unexpected(status, body)
	}
	if err != nil {
		return "", err
	}
	return string(field(body, "access_token")), nil
}

// signedOut is the event of a sign-out.
type signedOut struct {
	Seq       int64     `json:"seq"`
	CreatedAt time.Time `json:"created_at"`
}

func signOutCurrent(c *conn, token string) (signedOut, error) {
	status, body, err := c.do(remove("/settings/devices/current", token))
	if err == nil && status != 200 {
		err = unexpected(status, body)
	}
	var answer struct {
		Revocation signedOut `json:"revocation"`
	}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	return answer.Revocation, err
}

// arrivals is when the events came to the plain readers.
func (f *feedRun) arrivals(ctx context.Context, name, target string, created map[int64]time.Time) error {
	if len(f.readers) == 0 {
		return nil
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	var all []time.Duration
	missing := 0
	for _, r := range f.readers {
		came := r.arrived()
		for seq, t := range created {
			at, ok := came[seq]
			if !ok {
				missing++
				continue
			}
			all = append(all, at.Sub(t))
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d events of %d did not come to a reader within a second", missing, len(created)*len(f.readers))
	}
	f.report(fmt.Sprintf("%s, arrival at %d plain readers", name, len(f.readers)), target, all, nil)
	return nil
}

// pause waits, or ends with the context.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(max(0, d)):
		return nil
	}
}
