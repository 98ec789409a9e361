package models

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// looksLikeOurs tells whether another node may have written a header, with a key that this one has not read yet.
func looksLikeOurs(header string) bool {
	if len(header) > maxHeader {
		return false
	}
	text, err := strictBase64.DecodeString(header)
	var h struct{ Typ, Alg, Kid string }
	return err == nil && json.Unmarshal(text, &h) == nil &&
		h.Typ == tokenType && h.Kid != "" && signingMethod(h.Alg) != nil
}

const (
	tokenType = "at+jwt" // RFC 9068 section 2.1
	// keysRest is how long the key table is left alone after a reading, whatever strangers send.
	keysRest = time.Second
	// keyReaders is how many tokens wait for a reading at most.
	keyReaders     = 200
	maxHeader      = 256
	maxUnknownKeys = 1000
)

// unknownKeys is the reading of the key table that tokens of unknown keys wait for. It remembers which headers are of
// no key: a key is in the table before it signs, and never comes back once it is out. So the tokens of one that was
// withdrawn wait once.
type unknownKeys struct {
	reading singleflight.Group
	waiting atomic.Int64
	headers boundedSet[string]
}

// newerKeys returns when the key table has been read since the call: a token of a key that another node has just made
// is neither refused nor taken for garbage. All who wait share a reading.
func (s *Store) newerKeys(ctx context.Context) error {
	if s.unknownKeys.waiting.Add(1) > keyReaders {
		s.unknownKeys.waiting.Add(-1)
		return fmt.Errorf("%w: too many tokens wait for their key", ErrUnavailable)
	}
	defer s.unknownKeys.waiting.Add(-1)
	for asked := time.Now(); ; {
		loaded := s.keys.Load().loaded
		if loaded.After(asked) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-time.After(time.Until(loaded.Add(keysRest))):
		}
		if _, err, _ := s.unknownKeys.reading.Do("", func() (any, error) {
			return nil, s.loadKeys(context.WithoutCancel(ctx))
		}); err != nil {
			return dbError(err)
		}
	}
}
