package password

import "time"

// estimate is about how long a hash keeps one CPU of today busy. It only tells dear hashes from cheap ones, so it need
// not be right to more than a factor of two.
func (p *storedHash) estimate() time.Duration {
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		return time.Duration(p.memory) * time.Duration(p.cost) * 700 * time.Nanosecond // for each KiB and pass
	case scryptHash:
		return time.Duration(p.kibibytes()) * time.Duration(p.lanes) * 2800 * time.Nanosecond // for each KiB and lane
	case bcryptHash:
		return 55 * time.Microsecond << p.cost
	case pbkdf2SHA1Hash, pbkdf2SHA256Hash, pbkdf2SHA512Hash:
		return time.Duration(p.cost) * 400 * time.Nanosecond * time.Duration((len(p.key)+31)/32) // for each round
	}
	return time.Hour // of another kind nothing is known: it takes the narrow gate
}

// dearFactor is how many times as much as one of ours a dear hash costs.
const dearFactor = 4

// isDear tells whether a hash, an imported one, costs many times what ours do. So that those who check cheap ones get
// on, it goes through a gate of its own: a quarter of the places, half of the slots, memory and a process of its own.
func (h *Hasher) isDear(p *storedHash) bool { return p.estimate() > dearFactor*h.current.estimate() }
