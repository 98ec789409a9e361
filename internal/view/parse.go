package view

import "github.com/google/uuid"

// ParseUUID reads a UUID in its canonical form. The two of RFC 9562 that name nothing, all zeroes and all ones, are no
// UUID here.
func ParseUUID(text string) (id uuid.UUID, ok bool) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || id == uuid.Nil || id == uuid.Max {
		return uuid.Nil, false
	}
	return id, true
}
