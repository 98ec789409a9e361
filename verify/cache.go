package verify

import "sync"

// cache remembers the claims of tokens whose signature was right, by the exact string. The form is strict, so no other
// string is the same token; and what is remembered is not that the token is alive. It is two generations: when the
// younger one is full it becomes the older one, whose own are forgotten.
type cache struct {
	mu           sync.RWMutex
	young, older map[string]*Claims
	half         int
	cleared      int // times
}

func newCache(size int) *cache { return &cache{young: map[string]*Claims{}, half: max(1, size/2)} }

// get also returns what put takes.
func (c *cache) get(token string) (claims *Claims, epoch int) {
	c.mu.RLock()
	claims, old := c.young[token], false
	if claims == nil {
		claims, old = c.older[token], true
	}
	epoch = c.cleared
	c.mu.RUnlock()
	if claims != nil && old {
		c.put(token, claims, epoch)
	}
	return claims, epoch
}

// put remembers a token, unless all was forgotten since the epoch: its key may be the one that was withdrawn.
func (c *cache) put(token string, claims *Claims, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.cleared {
		return
	}
	if len(c.young) >= c.half {
		c.young, c.older = make(map[string]*Claims, c.half), c.young
	}
	c.young[token] = claims
}

// clear forgets all: a key was withdrawn.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.older = map[string]*Claims{}, nil
	c.cleared++
}
