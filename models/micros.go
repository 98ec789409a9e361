package models

import (
	"database/sql/driver"
	"fmt"
	"math"
	"time"
)

// Micros is a moment in microseconds since 1970, by the database's clock; 0 is none. It goes into statements and comes
// out of them as it is. As JSON it is RFC 3339 in UTC with microseconds, or null.
type Micros int64

const never = Micros(math.MaxInt64)

// Add is the moment so much later.
func (m Micros) Add(d time.Duration) Micros { return m + Micros(d.Microseconds()) }

// Sub is how much later m is than the other moment.
func (m Micros) Sub(other Micros) time.Duration { return time.Duration(m-other) * time.Microsecond }

// Seconds are the whole seconds since 1970, as the claims of a token have them.
func (m Micros) Seconds() int64 { return int64(m) / 1e6 }

// Time is the moment in UTC; the zero time for none.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// MarshalJSON implements json.Marshaler.
func (m Micros) MarshalJSON() ([]byte, error) {
	if m == 0 {
		return []byte("null"), nil
	}
	return m.Time().AppendFormat(nil, `"2006-01-02T15:04:05.000000Z07:00"`), nil
}

// Value implements driver.Valuer: pgx, behind a pooler, must be told what a type of ours is.
func (m Micros) Value() (driver.Value, error) { return int64(m), nil }

// Span is a length of time that the database holds in microseconds. Where a client may have one of its own, a nil *Span
// is the server's.
type Span time.Duration

// Value implements driver.Valuer.
func (s Span) Value() (driver.Value, error) { return time.Duration(s).Microseconds(), nil }

// Scan implements sql.Scanner.
func (s *Span) Scan(value any) error {
	micros, ok := value.(int64)
	if !ok {
		return fmt.Errorf("a length of time is no number: %T", value)
	}
	*s = Span(time.Duration(micros) * time.Microsecond)
	return nil
}
