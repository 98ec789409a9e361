package models

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// places are those of a queue that nobody fills alone: who holds as many as are still free gets no more. So one address
// comes to half of them, the next to half of the rest, and a newcomer finds one.
type places struct {
	mu      sync.Mutex
	free    int
	atATime int // turns of one holder
	held    map[string]*holder
}

type holder struct {
	places int
	turns  chan struct{}
}

func newPlaces(n, atATime int) *places {
	return &places{free: n, atATime: atATime, held: map[string]*holder{}}
}

// enter takes one place in the name of each of the holders, or nothing. It never waits.
func (p *places) enter(holders ...string) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.admits(holders) {
		return nil, ErrHashQueueFull
	}
	p.free--
	for _, name := range holders {
		if p.held[name] == nil {
			p.held[name] = &holder{turns: make(chan struct{}, p.atATime)}
		}
		p.held[name].places++
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free++
		for _, name := range holders {
			if h := p.held[name]; h.places > 1 {
				h.places--
			} else {
				delete(p.held, name)
			}
		}
	}, nil
}

// turn waits until few enough of a holder's, who has a place, are being served. So those who have many places do not
// stand in line before somebody with one. It returns [ErrHashQueueFull] when that takes too long.
func (p *places) turn(ctx context.Context, name string, wait time.Duration) (done func(), err error) {
	p.mu.Lock()
	turns := p.held[name].turns
	p.mu.Unlock()
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-late.C:
		return nil, ErrHashQueueFull
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to check a password: %w", ctx.Err())
	}
}

func (p *places) admits(holders []string) bool {
	for _, h := range holders {
		if held := p.held[h]; held != nil && held.places >= p.free {
			return false
		}
	}
	return p.free > 0
}

// full tells whether enter would fail now.
func (p *places) full(holders ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.admits(holders)
}

// underWay are the attempts of this node that are being counted or looked at. One that is refused because of others
// that are under way waits for what becomes of them: a right password gives back what it took.
type underWay struct {
	mu   sync.Mutex
	keys map[string]*flight
}

type flight struct {
	running, waiting int
	freed            int           // how many gave back what they took
	changed          chan struct{} // closed when one has ended
}

const (
	// waitUnderWay bounds how long an attempt waits for others, and mostWaiting how many do for one key.
	waitUnderWay = 3 * time.Second
	mostWaiting  = 64
)

// begin notes an attempt, and says for each key how many had given back before it.
func (u *underWay) begin(guesses []guess) map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys == nil {
		u.keys = map[string]*flight{}
	}
	freed := make(map[string]int, len(guesses))
	for _, g := range guesses {
		f := u.keys[g.key]
		if f == nil {
			f = &flight{changed: make(chan struct{})}
			u.keys[g.key] = f
		}
		f.running++
		freed[g.key] = f.freed
	}
	return freed
}

// end notes that an attempt has ended, and whether it has given back what it took.
func (u *underWay) end(guesses []guess, freed func(guess) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, g := range guesses {
		f := u.keys[g.key]
		f.running--
		if freed(g) {
			f.freed++
		}
		close(f.changed)
		f.changed = make(chan struct{})
		u.tidy(g.key, f)
	}
}

func (u *underWay) tidy(key string, f *flight) {
	if f.running == 0 && f.waiting == 0 {
		delete(u.keys, key)
	}
}

// retry ends an attempt that one of its keys was refused for, and waits for another one that gives back what it took
// from that key. It returns false when there is none: the refusal stands.
func (u *underWay) retry(ctx context.Context, guesses []guess, key string, before int) bool {
	u.mu.Lock()
	f := u.keys[key]
	f.waiting++ // so that it stays
	u.mu.Unlock()
	u.end(guesses, func(guess) bool { return false })
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() {
		f.waiting--
		u.tidy(key, f)
	}()
	for {
		switch {
		case f.freed > before:
			return true
		case f.running == 0, f.waiting > mostWaiting:
			return false
		}
		changed := f.changed
		u.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			u.mu.Lock()
			return false
		}
		u.mu.Lock()
	}
}
