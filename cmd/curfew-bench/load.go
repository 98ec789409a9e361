package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// conn is one keep-alive connection. It is lean, so that the load generator takes little of the CPUs that it shares
// with what it measures, and it is the same for every server.
type conn struct {
	net  net.Conn
	in   *bufio.Reader
	body []byte

	location string // of the last answer, if that was a redirect
}

func dial(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{net: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

// do sends one request and reads its answer. The body is valid until the next call.
func (c *conn) do(request []byte) (status int, body []byte, err error) {
	if err := c.net.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, nil, err
	}
	if _, err := c.net.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("the status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length, chunked := 0, false
	c.location = ""
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Location")):
			c.location = string(bytes.TrimSpace(value))
		}
	}
	c.body = c.body[:0]
	if !chunked {
		return status, c.body, c.read(length)
	}
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return 0, nil, err
		}
		if err := c.read(int(n)); err != nil {
			return 0, nil, err
		}
		if _, err := c.in.Discard(2); err != nil {
			return 0, nil, err
		}
		if n == 0 {
			return status, c.body, nil
		}
	}
}

func (c *conn) read(n int) error {
	start := len(c.body)
	c.body = slices.Grow(c.body, n)[:start+n]
	_, err := io.ReadFull(c.in, c.body[start:])
	return err
}

// worker makes the requests of one connection, one after the other.
type worker interface {
	next(buf []byte) []byte               // the next request, appended to buf
	answer(status int, body []byte) error // what came back
}

// twoSteps is a worker whose request leads to another one, which is measured with it as one.
type twoSteps interface {
	second(buf []byte, status int, location string) []byte // appended to buf; nothing: the first was not answered right
}

// load says what to send.
type load struct {
	addrs    []string // connections take turns
	workers  []worker
	duration time.Duration
	rate     float64 // requests a second of all workers; 0: each sends its next as soon as it has its answer
}

// figures are what one load measured.
type figures struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	ServerCPU float64 `json:"server_cpu_us"`   // microseconds a request
	DBCPU     float64 `json:"database_cpu_us"` // microseconds a request
	LoadCPU   float64 `json:"generator_cpu_us"`
	RSS       float64 `json:"server_rss_mb,omitempty"` // the most that one node had
	Stolen    float64 `json:"stolen_percent"`          // of the CPUs, by the host for others
	Requests  int     `json:"requests"`
	Failed    int     `json:"failed"`
	Failure   string  `json:"failure,omitempty"` // the first

	times []time.Duration
}

// run sends a load and measures every request. When a rate is given a request's time starts when it was due, also if
// the answer before it came late.
func (l load) run(ctx context.Context) (f figures, err error) {
	conns := make([]*conn, len(l.workers))
	for i := range conns {
		if conns[i], err = dial(l.addrs[i%len(l.addrs)]); err != nil {
			return f, err
		}
		defer conns[i].net.Close()
	}
	times := make([][]time.Duration, len(l.workers))
	errs := make([]error, len(l.workers))
	failed := make([]int, len(l.workers))
	broken := make([]error, len(l.workers))
	start := time.Now()
	end := start.Add(l.duration)
	var wg sync.WaitGroup
	for i, w := range l.workers {
		wg.Go(func() {
			buf := make([]byte, 0, 4096)
			gap := time.Duration(0)
			if l.rate > 0 {
				gap = time.Duration(float64(len(l.workers)) / l.rate * float64(time.Second))
			}
			due := start.Add(gap * time.Duration(i) / time.Duration(len(l.workers)))
			for ctx.Err() == nil {
				begin := time.Now()
				if gap > 0 {
					if wait := time.Until(due); wait > 0 {
						time.Sleep(wait)
						begin = time.Now()
					} else {
						begin = due
					}
					due = due.Add(gap)
				}
				if begin.After(end) {
					return
				}
				buf = w.next(buf[:0])
				status, body, err := conns[i].do(buf)
				if two, ok := w.(twoSteps); ok && err == nil {
					if buf = two.second(buf[:0], status, conns[i].location); len(buf) > 0 {
						status, body, err = conns[i].do(buf)
					}
				}
				if err != nil {
					broken[i] = err
					return
				}
				times[i] = append(times[i], time.Since(begin))
				if err := w.answer(status, body); err != nil {
					failed[i]++
					if errs[i] == nil {
						errs[i] = err
					}
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	var all []time.Duration
	for i := range times {
		all = append(all, times[i]...)
		f.Failed += failed[i]
		if errs[i] != nil && f.Failure == "" {
			f.Failure = errs[i].Error()
		}
	}
	if err := errors.Join(append(broken, ctx.Err())...); err != nil {
		return f, err
	}
	f.Requests = len(all)
	f.PerSecond = float64(len(all)) / took.Seconds()
	f.P50, f.P99, f.P999 = quantiles(all)
	f.times = all
	return f, nil
}

// quantiles are the 50th, the 99th and the 99.9th percentile in milliseconds.
func quantiles(all []time.Duration) (p50, p99, p999 float64) {
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[min(len(all)-1, int(q*float64(len(all))))].Microseconds()) / 1000
	}
	return at(.5), at(.99), at(.999)
}

// appendRequest is an HTTP request with a body.
func appendRequest(buf []byte, head string, body []byte) []byte {
	buf = append(buf, head...)
	buf = append(buf, "Content-Length: "...)
	buf = strconv.AppendInt(buf, int64(len(body)), 10)
	buf = append(buf, "\r\n\r\n"...)
	return append(buf, body...)
}

// field finds a string in a JSON answer of which it is known that nothing in it is escaped.
func field(body []byte, name string) []byte {
	key := `"` + name + `":"`
	i := bytes.Index(body, []byte(key))
	if i < 0 {
		return nil
	}
	rest := body[i+len(key):]
	j := bytes.IndexByte(rest, '"')
	if j < 0 {
		return nil
	}
	return rest[:j]
}

func unexpected(status int, body []byte) error {
	return fmt.Errorf("HTTP %d: %.200s", status, body)
}
