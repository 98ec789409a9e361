package verify

import (
	"bufio"
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
	"time"
)

const (
	// silence is how long a stream may say nothing; heartbeats come at least every 15 s.
	silence     = 20 * time.Second
	backOffMin  = 100 * time.Millisecond
	backOffMax  = 10 * time.Second
	maxLine     = 64 << 10
	pruneEvery  = time.Minute
	ackAttempts = 5 * time.Second
	// provedAfter is how long a stream lives before it counts as one that works.
	provedAfter = 3 * time.Second
)

// follow keeps the stream open. After a fault it waits, longer each time and never in step with others.
func (v *Verifier) follow(ctx context.Context) {
	wait := backOffMin
	for ctx.Err() == nil {
		v.keys.refresh(ctx, v.keys.maxAge())
		s, began := &stream{v: v}, time.Now()
		err := s.read(ctx)
		if ctx.Err() != nil {
			return
		}
		// An answer of 200 proves nothing, anybody's portal gives it; a server may also end every stream in good order.
		if s.first != 0 && time.Since(began) >= provedAfter {
			wait = backOffMin
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
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, meta.Feed+"?subscriber="+url.QueryEscape(v.cfg.Subscriber), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "text/event-stream")
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
	v.stats.connects.Add(1)
	err = readEvents(res.Body, func() { watchdog.Reset(silence) }, s.handle)
	return errors.Join(err, context.Cause(ctx))
}

// readEvents reads a text/event-stream as the HTML standard has it, section 9.2.6. alive is told of every line.
func readEvents(in io.Reader, alive func(), handle func(kind string, data []byte) error) error {
	lines := bufio.NewReaderSize(in, maxLine)
	var kind string
	var data []byte
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("the stream ended: %w", err) // bufio.ErrBufferFull: a line that is too long
		}
		alive()
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 {
			if len(data) > 0 {
				if err := handle(kind, data[:len(data)-1]); err != nil {
					return err
				}
			}
			kind, data = "", data[:0]
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) { // id is in the data too
		case "event":
			kind = string(value)
		case "data":
			if len(data)+len(value) > maxLine {
				return errors.New("the stream sends an event that is too large")
			}
			data = append(append(data, value...), '\n')
		}
	}
}

// handle takes one event of the stream.
func (s *stream) handle(kind string, data []byte) error {
	v := s.v
	switch kind {
	case "revocation":
		var e struct {
			Seq       int64  `json:"seq"`
			Level     string `json:"level"`
			Subject   string `json:"subject"` // null for everyone
			ValidFrom int64  `json:"valid_from"`
			ExpiresAt int64  `json:"expires_at"`
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("an event that cannot be read: %w", err)
		}
		now := v.instant(v.now())
		v.index.apply(e.Level, e.Subject, newValidFrom(e.ValidFrom, e.ExpiresAt, now), now)
		v.stats.events.Add(1)
		v.advance(max(e.Seq, v.Seq()))
	case "heartbeat":
		var h struct {
			Seq  int64 `json:"seq"`
			Time int64 `json:"time"`
		}
		if err := json.Unmarshal(data, &h); err != nil {
			return fmt.Errorf("a heartbeat that cannot be read: %w", err)
		}
		if h.Time <= 0 || h.Time >= maxTime {
			return fmt.Errorf("a heartbeat that says not when it was made: time %d", h.Time)
		}
		if h.Seq < v.Seq() {
			v.log.Warn("the issuer's log became shorter; what is known stays known", "had", v.Seq(), "has", h.Seq)
		}
		v.advance(h.Seq)
		return s.hear(h.Time, v.now())
	case "close":
		var c struct {
			Reason string `json:"reason"`
		}
		_ = json.Unmarshal(data, &c)
		if c.Reason == "token_expired" || c.Reason == "token_revoked" {
			v.forgetToken()
			return errResume
		}
		return fmt.Errorf("the server ended the stream: %s", c.Reason)
	}
	return nil
}

// advance says that everything up to seq has been applied.
func (v *Verifier) advance(seq int64) {
	if v.seq.Swap(seq) == seq && v.heard.Load() != nil {
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
