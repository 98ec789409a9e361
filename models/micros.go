package models

import "time"

// Micros is a moment in microseconds since 1970, by the database's clock; 0 is none. As JSON it is RFC 3339 in UTC with
// microseconds, or null.
type Micros int64

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
