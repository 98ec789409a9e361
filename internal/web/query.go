package web

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/view"
	"curfew/models"
)

// Query reads the query strictly: no parameter that is not known, none twice, none empty.
func Query(c *gin.Context, allowed ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, Invalid("the query cannot be read")
	}
	for name, values := range q {
		switch {
		case !slices.Contains(allowed, name):
			return nil, Invalid("the parameter %q is not known here; known are: %s", shorten(name), strings.Join(allowed, ", "))
		case len(values) > 1:
			return nil, Invalid("the parameter %s is there %d times", name, len(values))
		case values[0] == "":
			return nil, Invalid("the parameter %s is empty", name)
		case len(values[0]) > 1024 || !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0):
			return nil, Invalid("the parameter %s must be UTF-8 text of at most 1024 bytes, without NUL", name)
		}
	}
	return q, nil
}

// QueryPage is [Query] for a list: also limit and cursor.
func QueryPage(c *gin.Context, allowed ...string) (q url.Values, p models.Page, err error) {
	if q, err = Query(c, append(slices.Clip(allowed), "limit", "cursor")...); err != nil {
		return nil, p, err
	}
	p.Cursor = q.Get("cursor")
	if text := q.Get("limit"); text != "" {
		if p.Limit, err = strconv.Atoi(text); err != nil || p.Limit < 1 || p.Limit > models.MaxPage {
			return nil, p, Invalid("limit must be 1 to %d", models.MaxPage)
		}
	}
	return q, p, nil
}

// maxWait bounds ?wait=.
const maxWait = 10 * time.Second

// QueryWait is [Query] for a sign-out: also wait, how long the answer may wait for the receipt. It is read before
// anything is signed out, and so is whether there is a place for one more who waits.
func QueryWait(c *gin.Context, allowed ...string) (q url.Values, wait time.Duration, err error) {
	if q, err = Query(c, append(slices.Clip(allowed), "wait")...); err != nil {
		return nil, 0, err
	}
	if text := q.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > maxWait {
			return nil, 0, Invalid("wait must be a duration like 500ms, at most %s", maxWait)
		}
	}
	if wait > 0 {
		err = enterWait(c)
	}
	return q, wait, err
}

// enterWait takes a place among those of the caller who wait, until the request has been answered.
func enterWait(c *gin.Context) error {
	if c.Value(leaveKey) != nil { // it has one
		return nil
	}
	leave, err := c.MustGet(storeKey).(*models.Store).EnterWait(CallerFrom(c).Subject)
	if err == nil {
		c.Set(leaveKey, leave)
	}
	return err
}

// UUIDParameter is a UUID in the query; uuid.Nil without one.
func UUIDParameter(q url.Values, name string) (uuid.UUID, error) {
	text := q.Get(name)
	if text == "" {
		return uuid.Nil, nil
	}
	id, ok := view.ParseUUID(text)
	if !ok {
		return uuid.Nil, Invalid("%s must be a UUID in its canonical form", name)
	}
	return id, nil
}

// IPParameter is an IP address in the query, in the one spelling that is stored; empty without one.
func IPParameter(q url.Values, name string) (string, error) {
	text := q.Get(name)
	if text == "" {
		return "", nil
	}
	address, ok := models.ParseIP(text)
	if !ok {
		return "", Invalid("%s must be an address, like 203.0.113.7 or 2001:db8::7", name)
	}
	return address, nil
}

// TimeParameter is a moment in the query; 0 without one.
func TimeParameter(q url.Values, name string) (models.Micros, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.UnixMicro() <= 0 { // 0 would be no limit
		return 0, Invalid("%s must be an RFC 3339 time after 1970", name)
	}
	return models.Micros(at.UnixMicro()), nil
}
