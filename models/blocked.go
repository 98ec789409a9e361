package models

import (
	"sync"
	"time"
)

// blockedSet remembers on this node who has used up an allowance, so that nothing is asked and nothing is taken for
// those who go on. For client secrets it is also what keeps a right guess from being let through. Bounded: when it is
// full it starts anew, and the database says again who is out.
type blockedSet struct {
	mu      sync.Mutex
	entries map[string]*blockedEntry
}

type blockedEntry struct{ until, probe time.Time }

const (
	// probeEvery is how often one attempt of those that are remembered is let through to ask the database: somebody may
	// have lifted the limit at another node, or from the command line.
	probeEvery  = 100 * time.Millisecond
	blockedSize = 10_000
)

func (b *blockedSet) any() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.entries) > 0
}

// remaining is for how long a key is out.
func (b *blockedSet) remaining(key string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[key]; e != nil {
		return time.Until(e.until)
	}
	return 0
}

// refuses finds the first of the guesses that is out, but lets one through now and then.
func (b *blockedSet) refuses(guesses []guess) error { return b.look(guesses, true) }

// look is refuses; without probe nobody is let through in the place of who comes next.
func (b *blockedSet) look(guesses []guess, probe bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.entries) == 0 {
		return nil
	}
	now := time.Now()
	for _, g := range guesses {
		e := b.entries[g.key]
		switch {
		case e == nil || now.After(e.until):
		case now.After(e.probe):
			if probe {
				e.probe = now.Add(probeEvery)
			}
		default:
			return &ThrottledError{RetryAfter: e.until.Sub(now), What: g.what}
		}
	}
	return nil
}

func (b *blockedSet) block(key string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries == nil || len(b.entries) > blockedSize {
		b.entries = map[string]*blockedEntry{}
	}
	now := time.Now()
	b.entries[key] = &blockedEntry{until: now.Add(d), probe: now.Add(probeEvery)}
}

// forget says that these are out no longer.
func (b *blockedSet) forget(guesses []guess) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range guesses {
		delete(b.entries, g.key)
	}
}

// clear forgets all: whose limit was lifted is not known by every key.
func (b *blockedSet) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = nil
}
