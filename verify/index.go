package verify

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// index holds the newest valid_from of each subject that was revoked and may still matter. Readers take a read lock; a
// writer makes another table beside the one in use and holds them up only to exchange the two.
//
// A slot is 33 bytes, and between a half and three quarters of the slots are in use: 44 to 66 bytes an entry.
type index struct {
	writing  sync.Mutex // held for the whole of apply and prune, so that neither works on what the other replaces
	mu       sync.RWMutex
	devices  *table
	users    *table
	others   map[string]validFrom // clients, and subjects that are no UUID, by level and name
	everyone validFrom
}

type validFrom struct {
	micros    int64
	expires   uint32 // when the last token that it ends has expired, by the server's clock
	keepUntil uint32 // seconds by our clock, before which it is not forgotten: the server's clock may jump ahead, and back
}

const forever = 1<<32 - 1

// instant is a point in time in seconds, by the server's clock and by ours.
type instant struct{ server, local uint32 }

func (v validFrom) forgettable(now instant) bool {
	return v.expires <= now.server && v.keepUntil <= now.local
}

// newValidFrom takes microseconds of the server's clock; expires may be missing.
func newValidFrom(micros, expires int64, now instant) validFrom {
	if expires <= 0 || expires/1e6 >= forever-1 {
		return validFrom{micros, forever, forever}
	}
	// An event comes after its commit, and valid_from is at most a second ahead of that. The rest is for rounding.
	life := max(0, expires-micros)/1e6 + 3
	return validFrom{micros, uint32(expires/1e6 + 1), uint32(min(int64(now.local)+life, forever))}
}

type uuid [16]byte

// table is a hash table with open addressing. Nothing is ever taken out of it: it is replaced by one without the dead.
type table struct {
	seed      maphash.Seed
	tags      []uint8 // 0 is an empty slot, else some bits of the hash: what is not there is seen without the rest
	keys      []uuid
	micros    []int64
	expires   []uint32
	keepUntil []uint32
	used      int
}

const tableMin = 64

func newTable(slots int) *table {
	slots = max(slots, tableMin)
	return &table{
		seed: maphash.MakeSeed(), tags: make([]uint8, slots),
		keys: make([]uuid, slots), micros: make([]int64, slots), expires: make([]uint32, slots), keepUntil: make([]uint32,
			slots),
	}
}

// slot finds a key's place, or the empty one where it would go. The hash is keyed: subjects may be chosen by strangers.
func (t *table) slot(key uuid) (at int, tag uint8) {
	hash, n := maphash.Bytes(t.seed, key[:]), len(t.tags)
	high, _ := bits.Mul64(hash, uint64(n))
	at, tag = int(high), uint8(hash)|1
	for t.tags[at] != 0 && (t.tags[at] != tag || t.keys[at] != key) {
		if at++; at == n {
			at = 0
		}
	}
	return at, tag
}

func (t *table) get(key uuid) int64 {
	at, _ := t.slot(key)
	if t.tags[at] == 0 {
		return 0
	}
	return t.micros[at]
}

func (t *table) put(key uuid, v validFrom) {
	at, tag := t.slot(key)
	if t.tags[at] == 0 {
		t.tags[at], t.keys[at] = tag, key
		t.used++
	}
	t.micros[at] = max(t.micros[at], v.micros)
	t.expires[at] = max(t.expires[at], v.expires)
	t.keepUntil[at] = max(t.keepUntil[at], v.keepUntil)
}

func (t *table) at(i int) validFrom { return validFrom{t.micros[i], t.expires[i], t.keepUntil[i]} }

// full: one more would make the ways long.
func (t *table) full() bool { return t.used+1 > len(t.keys)/4*3 }

// without is a table of the entries that matter at now, with room for as many again.
func (t *table) without(now instant) *table {
	next := newTable(2*(t.used-t.dead(now)) + 2)
	for i, tag := range t.tags {
		if tag != 0 && !t.at(i).forgettable(now) {
			next.put(t.keys[i], t.at(i))
		}
	}
	return next
}

func (t *table) dead(now instant) (n int) {
	for i, tag := range t.tags {
		if tag != 0 && t.at(i).forgettable(now) {
			n++
		}
	}
	return n
}

func newIndex() *index {
	return &index{devices: newTable(0), users: newTable(0), others: map[string]validFrom{}}
}

// apply notes an event; applying one twice, or an older one, changes nothing.
func (x *index) apply(level, subject string, v validFrom, now instant) {
	if v.micros <= 0 {
		return
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	key, isUUID := parseUUID(subject)
	var in **table
	switch {
	case level == levelDevice && isUUID:
		in = &x.devices
	case level == levelUser && isUUID:
		in = &x.users
	}
	if in != nil && (*in).full() {
		next := (*in).without(now) // beside the readers
		x.mu.Lock()
		*in = next
		x.mu.Unlock()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case in != nil:
		(*in).put(key, v)
	case level == levelEveryone:
		x.everyone = maxOf(x.everyone, v)
	case level == levelDevice, level == levelUser, level == levelClient:
		x.others[level+" "+subject] = maxOf(x.others[level+" "+subject], v)
	}
}

func maxOf(a, b validFrom) validFrom {
	return validFrom{max(a.micros, b.micros), max(a.expires, b.expires), max(a.keepUntil, b.keepUntil)}
}

// revoked is the one rule.
func (x *index) revoked(c *Claims) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if c.IssuedMicros <= x.everyone.micros {
		return true
	}
	if len(x.others) > 0 && c.IssuedMicros <= x.others[c.clientKey].micros {
		return true
	}
	// Each where apply has put it. A client's own token has no device.
	var device, user int64
	switch {
	case c.DeviceID == "":
	case c.deviceIsUUID:
		device = x.devices.get(c.device)
	default:
		device = x.others[levelDevice+" "+c.DeviceID].micros
	}
	if c.userIsUUID {
		user = x.users.get(c.user)
	} else if len(x.others) > 0 {
		user = x.others[levelUser+" "+c.Subject].micros
	}
	// mutant: local-check-forgets-the-user
	return c.IssuedMicros <= device || c.IssuedMicros <= user
}

// prune forgets what ends no token any more.
func (x *index) prune(now instant) {
	x.writing.Lock()
	defer x.writing.Unlock()
	devices, users := x.devices.pruned(now), x.users.pruned(now) // beside the readers
	x.mu.Lock()
	defer x.mu.Unlock()
	x.devices, x.users = devices, users
	for name, v := range x.others {
		if v.forgettable(now) {
			delete(x.others, name)
		}
	}
	if x.everyone.forgettable(now) {
		x.everyone = validFrom{}
	}
}

// pruned is the table itself, unless half of it is dead.
func (t *table) pruned(now instant) *table {
	if dead := t.dead(now); dead*2 < t.used || dead == 0 {
		return t
	}
	return t.without(now)
}

func (x *index) entries() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.devices.used + x.users.used + len(x.others)
	if x.everyone.micros != 0 {
		n++
	}
	return n
}

// parseUUID reads the canonical form, in lower case only: one subject, one string.
func parseUUID(s string) (u uuid, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	at := 0
	for i := 0; i < 36; {
		if i == 8 || i == 13 || i == 18 || i == 23 { // a dash anywhere else is no digit
			i++
			continue
		}
		hi, lo := hexDigit(s[i]), hexDigit(s[i+1])
		if hi > 15 || lo > 15 {
			return u, false
		}
		u[at] = hi<<4 | lo
		at++
		i += 2
	}
	return u, true
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}
