package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// silence is how long a stream may say nothing; heartbeats come at least every 15 s.
	silence     = 20 * time.Second
	backOffMin  = 100 * time.Millisecond
	backOffMax  = 10 * time.Second
	pruneEvery  = time.Minute
	ackAttempts = 5 * time.Second
	// provedAfter is how long a stream lives before it counts as one that works.
	provedAfter = 3 * time.Second
)

// follow keeps the stream open. After a fault it waits, longer each time and never in step with others.
func (v *Verifier) follow(ctx context.Context) {
	wait, least := backOffMin, backOffMin
	for ctx.Err() == nil {
		v.keys.refresh(ctx, v.keys.maxAge())
		s, began := &stream{v: v}, time.Now()
		err := s.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.retry > 0 {
			least = min(max(s.retry, backOffMin), backOffMax)
		}
		wait = max(wait, least)
		// An answer of 200 proves nothing, anybody's portal gives it; a server may also end every stream in good order.
		if s.first != 0 && time.Since(began) >= provedAfter {
			wait = least
			if errors.Is(err, errResume) {
				continue
			}
		}
		v.log.Warn("the revocation feed is interrupted", "error", err, "seq", v.Seq())
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, backOffMax)
	}
}

// errResume: the server ended the stream in good order; go on at once.
var errResume = errors.New("a new token is needed")

// stream is one reading of the feed.
type stream struct {
	v *Verifier
	anchor
	retry time.Duration // what the server asks to wait before the next one; 0 if it does not
}

func (s *stream) read(ctx context.Context) error {
	v := s.v
	meta, err := v.metadata(ctx)
	if err != nil {
		return err
	}
	token, err := v.ownToken(ctx)
	if err != nil {
		return err
	}
	// Silence ends the request: the timer is set anew by everything that comes.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errors.New("the stream is silent")) })
	defer watchdog.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet,
		meta.Feed+"?subscriber="+url.QueryEscape(v.cfg.Subscriber), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "text/event-stream")
	// A proxy that compresses holds events back until it has enough of them.
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("Last-Event-ID", strconv.FormatInt(v.Seq(), 10))
	s.at = v.now()
	res, err := v.http.Do(r)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized {
		v.forgetToken()
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", meta.Feed, res.Status)
	}
	if e := res.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("%s comes in the encoding %q, which was not asked for: a proxy on the way must leave "+
			"it alone", meta.Feed, e)
	}
	v.stats.connects.Add(1)
	events := &eventStream{handle: s.handle, alive: func() { watchdog.Reset(silence) }}
	err = events.readFrom(res.Body)
	s.retry = events.retry
	return errors.Join(err, context.Cause(ctx))
}

// handle takes one event of the stream.
func (s *stream) handle(kind string, data []byte) error {
	v := s.v
	switch kind {
	case "revocation":
		return v.handleRevocation(data)
	case "heartbeat":
		return s.handleHeartbeat(data)
	case "close":
		o, _ := parseObject(data)
		reason := (&fields{object: o}).text("reason")
		if reason == "token_expired" || reason == "token_revoked" {
			v.forgetToken()
			return errResume
		}
		return fmt.Errorf("the server ended the stream: %s", reason)
	}
	return nil
}

// handleRevocation applies an event. One that cannot be read ends the stream: what was not understood must not be
// vouched for by the next heartbeat.
func (v *Verifier) handleRevocation(data []byte) error {
	o, err := parseObject(data)
	if err != nil {
		return fmt.Errorf("an event that is no JSON: %.200q", data)
	}
	f := &fields{object: o}
	seq, level, validFrom := f.integer("seq"), f.text("level"), f.integer("valid_from")
	expires, _ := optional(f, "expires_at", f.integer)
	subject := ""
	if string(f.get("subject")) != "null" { // null for everyone
		subject = f.text("subject")
	}
	if f.wrong {
		return fmt.Errorf("an event that cannot be read: %.200q", data)
	}
	now := v.instant(v.now())
	v.index.apply(level, subject, newValidFrom(validFrom, expires, now), now)
	v.stats.events.Add(1)
	v.advance(max(seq, v.Seq()))
	return nil
}

func (s *stream) handleHeartbeat(data []byte) error {
	v := s.v
	o, err := parseObject(data)
	f := &fields{object: o}
	seq, made := f.integer("seq"), f.integer("time")
	if err != nil || f.wrong || made <= 0 || made >= maxTime {
		return fmt.Errorf("a heartbeat that says not when it was made: %.200q", data)
	}
	if seq < v.Seq() {
		v.log.Warn("the issuer's log became shorter; what is known stays known", "had", v.Seq(), "has", seq)
	}
	v.advance(seq)
	return s.hear(made, v.now())
}

// advance says that everything up to seq has been applied.
func (v *Verifier) advance(seq int64) {
	if v.seq.Swap(seq) == seq && v.lastHeartbeat.Load() != nil {
		return
	}
	select {
	case v.applied <- struct{}{}:
	default:
	}
}

// acknowledge tells the server what has been applied: one request at a time, always the newest number.
func (v *Verifier) acknowledge(ctx context.Context) {
	for wait := backOffMin; ; {
		select {
		case <-ctx.Done():
			return
		case <-v.applied:
		}
		err := v.sendAck(ctx, v.Seq())
		if err == nil {
			v.stats.acks.Add(1)
			wait = backOffMin
			continue
		}
		if ctx.Err() != nil {
			return
		}
		v.log.Warn("an acknowledgement was not taken; it is sent again", "error", err)
		select {
		case v.applied <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, ackAttempts)
	}
}

func (v *Verifier) sendAck(ctx context.Context, seq int64) error {
	meta, err := v.metadata(ctx)
	if err != nil {
		return err
	}
	token, err := v.ownToken(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{"subscriber": v.cfg.Subscriber, "seq": seq})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, meta.Ack, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	res, err := v.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxDocument)) // so that the connection can be used again
	if res.StatusCode == http.StatusUnauthorized {
		v.forgetToken()
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", meta.Ack, res.Status)
	}
	return nil
}

// upkeep keeps the keys young and the index small.
func (v *Verifier) upkeep(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v.index.prune(v.instant(v.now()))
		v.keys.refresh(ctx, keysMaxAge)
	}
}
