package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/revlog"
	"curfew/models"
)

const (
	heartbeatEvery = 5 * time.Second
	// streamWrite bounds one write to a reader; a slower one is cut off.
	streamWrite = 10 * time.Second
	// lastWrite is that while the node stops.
	lastWrite = 2 * time.Second
	// retryAfter is how long an EventSource waits before it comes back, in the place of its own three seconds.
	retryAfter = time.Second
	// streamChunk is how much goes into one write.
	streamChunk = 64 << 10
)

// stream is one reader of the feed, on a connection of its own. It owns a position in the log and no queue, so a slow
// reader holds no memory and delays nobody.
type stream struct {
	feed       *feed
	conn       net.Conn
	subscriber models.SubscriberID
	token      *models.AccessToken
	cursor     int64 // everything up to here has been sent
	buf        []byte
}

// Why a stream ends; the reader is told in a last event.
const (
	closeExpired  = "token_expired"
	closeRevoked  = "token_revoked"
	closeShutdown = "shutting_down"
)

// takeOver takes the connection from net/http and sends the head of the answer. There is no length: the end of the
// connection ends the body (RFC 9112 section 6.3). Only HTTP/1 has this, so the public listener speaks nothing else.
func takeOver(c *gin.Context) (net.Conn, error) {
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	// A proxy that compresses holds events back until there are enough. Caddy and HAProxy honour no-transform (RFC 9111
	// section 5.2.2.6); nginx does not, but leaves alone what says that it is encoded, be it as identity.
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("Content-Encoding", "identity")
	h.Set("X-Accel-Buffering", "no") // nginx
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	c.Status(http.StatusOK) // for the log
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	if err := h.Write(head); err != nil {
		return nil, err
	}
	head.WriteString("\r\n")
	fmt.Fprintf(head, "retry: %d\n\n", retryAfter.Milliseconds())
	conn, _, err := c.Writer.Hijack() // which also lifts the server's time limits
	if err != nil {
		return nil, err
	}
	// The head fits every socket's buffer, so nobody waits; a reader that has gone is noticed by the stream.
	_ = conn.SetWriteDeadline(time.Now().Add(streamWrite))
	_, _ = conn.Write(head.Bytes())
	return conn, nil
}

// run sends until there is a reason to end, or the reader has gone.
func (st *stream) run() {
	f := st.feed
	defer f.leave(st.subscriber)
	gone := make(chan struct{})
	go st.watch(gone)
	defer func() {
		st.conn.Close()
		<-gone
	}()
	now, _ := f.revocations.Now()
	expiry := time.NewTimer(time.Unix(st.token.ExpiresAt, 0).Sub(now))
	defer expiry.Stop()
	defer context.AfterFunc(f.ctx, func() { _ = st.conn.SetWriteDeadline(time.Now().Add(lastWrite)) })()
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	for beat := true; ; {
		moved, reason, err := st.step(beat)
		if err == nil && reason == "" {
			beat = false
			select {
			case <-moved:
			case <-heartbeat.C:
				beat = true
			case <-expiry.C:
				reason = closeExpired
			case <-f.ctx.Done():
				reason = closeShutdown
			case <-gone:
				return
			}
		}
		if reason != "" {
			err = st.write(fmt.Appendf(st.buf[:0], "event: close\ndata: {\"reason\":%q}\n\n", reason))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // every other fault is a reader that has gone
			f.log.Info("a revocation stream was cut off: its reader is too slow",
				"client_id", st.token.ClientID, "subscriber", st.subscriber.Name, "seq", st.cursor)
		}
		if err != nil || reason != "" {
			return
		}
	}
}

// watch notices that the reader has gone. A reader has nothing more to say, so whatever comes ends the stream too.
func (st *stream) watch(gone chan<- struct{}) {
	_, _ = st.conn.Read(make([]byte, 1))
	close(gone)
}

// step sends what is new, and with beat a heartbeat. moved is closed when there is more.
func (st *stream) step(beat bool) (moved <-chan struct{}, reason string, err error) {
	events, seq, moved := st.feed.revocations.After(st.cursor)
	reason, err = st.send(events)
	if err != nil || reason != "" {
		return moved, reason, err
	}
	st.cursor = seq
	if beat {
		err = st.write(st.heartbeat(seq))
	}
	return moved, "", err
}

// send writes events, many in one go. An event that ends the stream's own token is the last one.
func (st *stream) send(events []revlog.Event) (reason string, err error) {
	b := st.buf[:0]
	for i := range events {
		e := &events[i]
		b = append(b, "id: "...)
		b = strconv.AppendInt(b, e.Seq, 10)
		b = append(b, "\nevent: revocation\ndata: "...)
		b = append(b, e.JSON...)
		b = append(b, "\n\n"...)
		if e.Ends(st.token) {
			reason = closeRevoked
		}
		if len(b) >= streamChunk || reason != "" || i == len(events)-1 {
			if err := st.write(b); err != nil {
				return "", err
			}
			st.cursor, b = e.Seq, b[:0]
		}
		if reason != "" {
			break
		}
	}
	return reason, nil
}

// heartbeat says that everything up to seq has been sent, and what time it is. When the log could not be read for a
// while it is a comment only: the connection lives, the knowledge ages.
func (st *stream) heartbeat(seq int64) []byte {
	now, fresh := st.feed.revocations.Now()
	if !fresh {
		return append(st.buf[:0], ": the log cannot be read\n\n"...)
	}
	return fmt.Appendf(st.buf[:0], "event: heartbeat\ndata: {\"seq\":%d,\"time\":%d}\n\n", seq, now.UnixMicro())
}

func (st *stream) write(b []byte) error {
	if cap(b) <= streamChunk/16 { // an idle stream keeps little
		st.buf = b
	}
	if err := st.conn.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if st.feed.ctx.Err() != nil { // asked afterwards: it may have ended in between
		_ = st.conn.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	_, err := st.conn.Write(b)
	return err
}
