package models

import "sync"

// boundedSet remembers keys, so many at most: when it is full it starts anew. What has been forgotten is asked again.
type boundedSet[K comparable] struct {
	most int

	mu   sync.Mutex
	keys map[K]struct{}
}

func (b *boundedSet[K]) has(k K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.keys[k]
	return ok
}

func (b *boundedSet[K]) add(k K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys == nil || len(b.keys) >= b.most {
		b.keys = map[K]struct{}{}
	}
	b.keys[k] = struct{}{}
}

func (b *boundedSet[K]) remove(k K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.keys, k)
}
