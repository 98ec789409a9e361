package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

const (
	heartbeatEvery = 5 * time.Second
	// freshFor is how old a node's last reading of the log may be for a heartbeat to say that all is known.
	freshFor = 3 * time.Second
	// streamWrite bounds one write to a reader; a slower one is cut off.
	streamWrite = 10 * time.Second
	// lastWrite is that while the node stops.
	lastWrite = 2 * time.Second
	// streamChunk is how much goes into one write.
	streamChunk = 64 << 10
	leaseEvery  = models.SubscriberLease / 3
	// unsubscribeTimeout bounds the note that a subscriber has gone: a stop waits for it.
	unsubscribeTimeout = 5 * time.Second
)

// feed is this node's copy of the part of the revocation log that still matters. One goroutine reads the log; any number
// of streams read the copy. A stream owns a position in it and no queue, so a slow reader holds no memory and delays
// nobody.
type feed struct {
	store *models.Store
	log   *slog.Logger
	ctx   context.Context // ends the streams
	stop  context.CancelFunc
	done  sync.WaitGroup
	open  atomic.Int64 // streams

	mu     sync.RWMutex
	frames []frame       // in the order of their numbers; only ever appended to or replaced, so a slice of it stays valid
	seq    int64         // everything up to here has been read
	now    models.Micros // the database's clock at the last reading
	readAt time.Time     // when that was, here; zero until the first reading
	moved  chan struct{} // closed when there is more
	whole  time.Time     // when the last reading began that came to the log's end: all that was committed before is here
	read   chan struct{} // closed after such a reading
	nudge  chan struct{} // asks for one

	leases map[models.SubscriberID]*lease // of the named subscribers with open streams here
}

// lease is held while it is written, so that what is written last is what is.
type lease struct {
	sync.Mutex
	models.Lease
	streams int // under the feed's mutex
}

// frame is one event, ready to be sent.
type frame struct {
	seq, expiresAt int64
	text           []byte
	level          models.Level
	subject        string
	validFrom      int64
}

// ends tells whether the event ends a token, by the one rule.
func (f *frame) ends(t *models.AccessToken) bool {
	if t.IssuedUS > f.validFrom {
		return false
	}
	switch f.level {
	case models.LevelDevice:
		return f.subject == t.Claims.DeviceID
	case models.LevelUser:
		return f.subject == t.Subject
	case models.LevelClient:
		return f.subject == t.ClientID
	}
	return f.level == models.LevelEveryone
}

func newFeed(store *models.Store, log *slog.Logger) *feed {
	ctx, stop := context.WithCancel(context.Background())
	f := &feed{store: store, log: log, ctx: ctx, stop: stop, moved: make(chan struct{}), read: make(chan struct{}), nudge: make(chan struct{}, 1), leases: map[models.SubscriberID]*lease{}}
	f.done.Go(f.follow)
	f.done.Go(f.renewLeases)
	return f
}

// close ends every stream and the goroutines, and waits for them: an http.Server does not know a stream's connection.
func (f *feed) close() {
	f.mu.Lock()
	f.stop()
	f.mu.Unlock()
	f.done.Wait()
}

// enter counts a stream in, unless the feed is closing: from then on close waits for its leave. A named subscriber is live from
// then on.
func (f *feed) enter(ctx context.Context, id models.SubscriberID) error {
	f.mu.Lock()
	if f.ctx.Err() != nil {
		f.mu.Unlock()
		return fmt.Errorf("%w: the node is stopping", models.ErrUnavailable)
	}
	f.done.Add(1)
	f.open.Add(1)
	if id.Name == "" {
		f.mu.Unlock()
		return nil
	}
	l := f.leases[id]
	if l == nil {
		l = &lease{Lease: models.Lease{SubscriberID: id}}
		f.leases[id] = l
	}
	l.streams++
	f.mu.Unlock()
	l.Lock()
	err := f.store.Subscribe(ctx, &l.Lease)
	l.Unlock()
	if err != nil {
		f.leave(id)
	}
	return err
}

// leave undoes enter. With the last stream of a named subscriber its lease ends.
func (f *feed) leave(id models.SubscriberID) {
	defer f.done.Done()
	f.open.Add(-1)
	if id.Name == "" {
		return
	}
	f.mu.Lock()
	l := f.leases[id]
	l.streams--
	f.mu.Unlock()
	l.Lock()
	defer l.Unlock()
	if !f.over(l) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), unsubscribeTimeout)
	defer cancel()
	if err := f.store.Unsubscribe(ctx, &l.Lease); err != nil {
		f.log.Warn("a subscriber's end could not be noted; it counts as live for a while", "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.streams == 0 && f.leases[id] == l {
		delete(f.leases, id)
	}
}

// over tells whether nobody streams under a lease any more.
func (f *feed) over(l *lease) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return l.streams == 0
}

// follow reads the log whenever it has moved, and hands the streams what is new.
func (f *feed) follow() {
	failing := false
	for seq, pruned := int64(0), time.Now(); f.ctx.Err() == nil; {
		moved, began := f.store.LogMoved(), time.Now()
		list, at, err := f.store.Revocations(f.ctx, seq)
		if err != nil {
			if !failing && f.ctx.Err() == nil {
				f.log.Warn("the revocation log cannot be read; heartbeats are withheld", "error", err)
			}
			failing = true
			select {
			case <-f.ctx.Done():
			case <-time.After(250 * time.Millisecond):
			}
			continue
		}
		failing = false
		if at.Seq < seq { // a database that lost its end, restored or promoted: begin again
			f.log.Warn("the revocation log became shorter; it is read anew", "had", seq, "has", at.Seq)
			seq = 0
			f.replace(nil, 0)
			continue
		}
		more := make([]frame, 0, len(list))
		for _, r := range list {
			more = append(more, newFrame(r))
		}
		seq = at.Seq
		f.append(more, at)
		if time.Since(pruned) > time.Minute {
			pruned = time.Now()
			f.prune(int64(at.Now))
		}
		if !at.Whole {
			continue
		}
		f.complete(began)
		select {
		case <-f.ctx.Done():
		case <-moved:
		case <-f.nudge:
		}
	}
}

// append takes what was read. Only a reading to the log's end says how old the copy is.
func (f *feed) append(more []frame, at models.LogPosition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	grown := at.Seq > f.seq
	f.frames = append(f.frames, more...)
	f.seq = at.Seq
	if at.Whole {
		f.now, f.readAt = at.Now, time.Now()
	}
	if grown {
		f.wake()
	}
}

// complete tells those who wait for it that everything committed before began is here.
func (f *feed) complete(began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = began
	close(f.read)
	f.read = make(chan struct{})
}

func (f *feed) replace(frames []frame, seq int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frames, f.seq, f.readAt = frames, seq, time.Time{}
	f.wake()
}

// prune forgets the events whose tokens have all expired.
func (f *feed) prune(now int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.frames) == 0 || f.frames[0].expiresAt > now {
		return
	}
	var matter []frame
	for _, fr := range f.frames {
		if fr.expiresAt > now {
			matter = append(matter, fr)
		}
	}
	f.frames = matter
}

func (f *feed) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// event is the payload. The last four are the facts of a CAEP 1.0 session-revoked event (section 3.1).
type event struct {
	Seq              int64         `json:"seq"`
	Level            models.Level  `json:"level"`
	Subject          *string       `json:"subject"` // null for everyone
	ValidFrom        int64         `json:"valid_from"`
	ExpiresAt        int64         `json:"expires_at"`
	Reason           models.Reason `json:"reason"`
	InitiatingEntity string        `json:"initiating_entity"`
	EventTimestamp   int64         `json:"event_timestamp"`
}

func newFrame(r *models.Revocation) frame {
	e := event{
		Seq: r.Seq, Level: r.Level, ValidFrom: int64(r.ValidFrom), ExpiresAt: int64(r.ExpiresAt), Reason: r.Reason,
		InitiatingEntity: r.Entity, EventTimestamp: r.CreatedAt.Time().Unix(),
	}
	if r.Level != models.LevelEveryone {
		e.Subject = &r.Subject
	}
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers
	}
	return frame{
		seq: r.Seq, expiresAt: int64(r.ExpiresAt), level: r.Level, subject: r.Subject, validFrom: int64(r.ValidFrom),
		text: fmt.Appendf(nil, "id: %d\nevent: revocation\ndata: %s\n\n", r.Seq, data),
	}
}

// acknowledge: this resource server has applied everything up to seq.
func (s *Server) acknowledge(c *gin.Context) error {
	var in struct {
		Subscriber string `json:"subscriber"`
		Seq        *int64 `json:"seq"`
	}
	if _, err := web.Query(c); err != nil {
		return err
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if in.Seq == nil {
		return web.Invalid("seq is missing: it takes the sequence number up to which everything has been applied")
	}
	if err := s.store.Acknowledge(c.Request.Context(), models.SubscriberID{ClientID: web.CallerFrom(c).ClientID, Name: in.Subscriber}, *in.Seq); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// revocations is the revocation feed: everything that still matters, then what comes. It returns when the stream has begun,
// which goes on by itself: a handler that waited for hours would keep net/http's buffers and its deep stack.
func (s *Server) revocations(c *gin.Context) error {
	q, err := web.Query(c, "subscriber", "after")
	if err != nil {
		return err
	}
	cursor, err := streamCursor(c.GetHeader("Last-Event-ID"), q.Get("after"))
	if err != nil {
		return err
	}
	caller, ctx := web.CallerFrom(c), c.Request.Context()
	id := models.SubscriberID{ClientID: caller.ClientID, Name: q.Get("subscriber")}
	if q.Has("subscriber") {
		if err := models.CheckSubscriberName(id.Name); err != nil {
			return err
		}
	}
	if err := s.feed.enter(ctx, id); err != nil {
		return err
	}
	st := &stream{feed: s.feed, subscriber: id, token: caller, cursor: cursor}
	// The first heartbeat says that nothing is unknown to this reader. So the log is read once more: a sign-out that was
	// acknowledged before the request came must not be missing.
	if err = s.feed.readAnew(ctx); err == nil {
		st.conn, err = takeOver(c)
	}
	if err != nil {
		s.feed.leave(id)
		if ctx.Err() != nil { // nobody is there to be told
			return nil
		}
		return err
	}
	go st.run()
	return nil
}

// readAnew waits for a reading of the log that began after the call.
func (f *feed) readAnew(ctx context.Context) error {
	asked, late := time.Now(), time.After(freshFor)
	for {
		f.mu.RLock()
		known, read := f.whole.After(asked), f.read
		f.mu.RUnlock()
		if known {
			return nil
		}
		select {
		case f.nudge <- struct{}{}:
		default:
		}
		select {
		case <-read:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ctx.Done():
			return fmt.Errorf("%w: the node is stopping", models.ErrUnavailable)
		case <-late:
			return fmt.Errorf("%w: the revocation log could not be read", models.ErrUnavailable)
		}
	}
}

// takeOver takes the connection from net/http and sends the head of the answer. There is no length: the end of the
// connection ends the body (RFC 9112 section 6.3). It takes HTTP/1, which is all that the public listener speaks.
func takeOver(c *gin.Context) (net.Conn, error) {
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	c.Status(http.StatusOK) // for the log
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	if err := h.Write(head); err != nil {
		return nil, err
	}
	head.WriteString("\r\n")
	conn, _, err := c.Writer.Hijack() // which also lifts the server's time limits
	if err != nil {
		return nil, err
	}
	// The head fits every socket's buffer, so nobody waits; a reader that has gone is noticed by the stream.
	_ = conn.SetWriteDeadline(time.Now().Add(streamWrite))
	_, _ = conn.Write(head.Bytes())
	return conn, nil
}

// streamCursor is where a reader wants to go on: the header of a reconnecting EventSource wins over the parameter.
func streamCursor(header, parameter string) (int64, error) {
	text, name := header, "Last-Event-ID"
	if text == "" {
		text, name = parameter, "after"
	}
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, web.Invalid("%s: it takes a sequence number", name)
	}
	return n, nil
}

// stream is one reader of the feed, on a connection of its own.
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
	expiry := time.NewTimer(time.Unix(st.token.ExpiresAt, 0).Sub(f.clock()))
	defer expiry.Stop()
	defer context.AfterFunc(f.ctx, func() { _ = st.conn.SetWriteDeadline(time.Now().Add(lastWrite)) })()
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	for beat := true; ; {
		frames, seq, moved := f.after(st.cursor)
		reason, err := st.send(frames)
		if err == nil && reason == "" {
			st.cursor = seq
			if beat {
				err = st.write(f.beat(st.buf[:0], seq))
			}
		}
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
			f.log.Info("a revocation stream was cut off: its reader is too slow", "client_id", st.token.ClientID, "subscriber", st.subscriber.Name, "seq", st.cursor)
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

// after returns the events after a position, and where the log stands. A reader that knows of a later position than this
// database has followed one that is gone: it gets everything.
func (f *feed) after(cursor int64) (frames []frame, seq int64, moved <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if cursor > f.seq {
		cursor = 0
	}
	i, _ := slices.BinarySearchFunc(f.frames, cursor+1, func(fr frame, seq int64) int { return cmp.Compare(fr.seq, seq) })
	return f.frames[i:len(f.frames):len(f.frames)], f.seq, f.moved
}

// clock is the database's, by which tokens expire.
func (f *feed) clock() time.Time {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.readAt.IsZero() {
		return time.Now()
	}
	return f.now.Time().Add(time.Since(f.readAt))
}

// beat says that everything up to seq has been sent, and what time it is. When the log could not be read for a while it
// is a comment only: the connection lives, the knowledge ages.
func (f *feed) beat(b []byte, seq int64) []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	age := time.Since(f.readAt)
	if age > freshFor {
		return append(b, ": the log cannot be read\n\n"...)
	}
	return fmt.Appendf(b, "event: heartbeat\ndata: {\"seq\":%d,\"time\":%d}\n\n", seq, int64(f.now)+age.Microseconds())
}

// send writes events, many in one go. An event that ends the stream's own token is the last one.
func (st *stream) send(frames []frame) (reason string, err error) {
	b := st.buf[:0]
	for i := range frames {
		b = append(b, frames[i].text...)
		if frames[i].ends(st.token) {
			reason = closeRevoked
		}
		if len(b) >= streamChunk || reason != "" || i == len(frames)-1 {
			if err := st.write(b); err != nil {
				return "", err
			}
			st.cursor, b = frames[i].seq, b[:0]
		}
		if reason != "" {
			break
		}
	}
	return reason, nil
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

// renewLeases keeps the subscribers live whose streams are open here.
func (f *feed) renewLeases() {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
		}
		f.mu.RLock()
		all := slices.Collect(maps.Values(f.leases))
		f.mu.RUnlock()
		for chunk := range slices.Chunk(all, 100) {
			if err := f.renew(chunk); err != nil && f.ctx.Err() == nil {
				f.log.Warn("the subscribers that are live could not be noted", "error", err)
				break
			}
		}
	}
}

func (f *feed) renew(leases []*lease) error {
	var open []*models.Lease
	for _, l := range leases {
		l.Lock()
		defer l.Unlock()
		if !f.over(l) {
			open = append(open, &l.Lease)
		}
	}
	return f.store.Subscribe(f.ctx, open...)
}
