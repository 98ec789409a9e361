package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// reader is a stream of the feed that is read, and that notes when each event came.
type reader struct {
	conn  net.Conn
	begun chan struct{} // closed at the first heartbeat

	mu   sync.Mutex
	came map[int64]time.Time // by sequence number
}

// read opens streams at the first node, not all in one millisecond, and waits until each has begun.
func (f *feedRun) read(ctx context.Context, count int) error {
	address := f.nodes[0].Public
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer c.net.Close()
	token, err := askToken(c, "POST /oauth2/token HTTP/1.1\r\n"+formHead+basic("api"),
		url.Values{"grant_type": {"client_credentials"}, "scope": {"revocations"}})
	if err != nil {
		return err
	}
	for i := range count {
		stream, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		r := &reader{conn: stream, begun: make(chan struct{}), came: map[int64]time.Time{}}
		f.readers = append(f.readers, r)
		if _, err := fmt.Fprintf(stream, "GET /oauth2/revocations?subscriber=reader-%d&after=%d HTTP/1.1\r\n"+
			"Host: %s\r\nAuthorization: Bearer %s\r\n\r\n", i, 999999999, address, token); err != nil {
			return err
		}
		go r.follow()
		if i%50 == 49 {
			if err := r.wait(); err != nil {
				return err
			}
		}
	}
	for _, r := range f.readers {
		if err := r.wait(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) wait() error {
	select {
	case <-r.begun:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("a stream does not begin")
	}
}

func (r *reader) follow() {
	lines, begun := bufio.NewReaderSize(r.conn, 1<<10), false
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			seq, _ := strconv.ParseInt(string(bytes.TrimSpace(id)), 10, 64)
			r.mu.Lock()
			r.came[seq] = time.Now()
			r.mu.Unlock()
		} else if !begun && bytes.HasPrefix(line, []byte("event: heartbeat")) {
			begun = true
			close(r.begun)
		}
	}
}

// arrived is when each event came so far.
func (r *reader) arrived() map[int64]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.came)
}
