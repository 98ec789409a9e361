package server

import (
	"strconv"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// revocations is the revocation feed: everything that still matters, then what comes. It returns when the stream has
// begun, which goes on by itself: a handler that waited for hours would keep net/http's buffers and its deep stack.
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
	// The first heartbeat says that nothing is unknown to this reader. So the log is read once more: a sign-out that
	// was acknowledged before the request came must not be missing.
	if err = s.feed.revocations.CatchUp(ctx); err == nil {
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
		return 0, web.Invalid("%s must be a sequence number", name)
	}
	return n, nil
}

// acknowledge: this resource server has applied everything up to seq.
func (s *Server) acknowledge(c *gin.Context) error {
	var in struct {
		Subscriber string `json:"subscriber"`
		Seq        *int64 `json:"seq"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if in.Seq == nil {
		return web.Invalid("seq is missing: the sequence number up to which everything has been applied")
	}
	id := models.SubscriberID{ClientID: web.CallerFrom(c).ClientID, Name: in.Subscriber}
	if err := s.store.Acknowledge(c.Request.Context(), id, *in.Seq); err != nil {
		return err
	}
	return web.NoContent(c)
}
