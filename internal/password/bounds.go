package password

import "fmt"

// What a stored hash may ask for. Each is above what the systems we import from have as a default, and keeps one
// sign-in to about a second and [maxMemory].
const (
	maxLength       = 512       // characters of the text
	maxMemory       = 256 << 10 // KiB, of argon2 and scrypt
	maxTraffic      = 1 << 20   // KiB, argon2: memory × passes; scrypt: memory × lanes
	maxArgon2Passes = 10
	maxLanes        = 16
	minBcryptCost   = 4
	maxBcryptCost   = 14
	maxScryptLogN   = 22
	maxScryptBlock  = 64
	maxPBKDF2Rounds = 5_000_000 // for each block of the key
	minSalt         = 8         // bytes: RFC 8018 section 4.1, RFC 9106 section 3.1
	maxSalt         = 128
	minKey          = 16 // a shorter one fits wrong passwords too
	maxKey          = 64
)

// What an imported hash costs at least. Below it a stolen one is as good as the password; bcrypt has no such cost.
const (
	minPBKDF2Rounds = 1000 // RFC 8018 section 4.2
	minTraffic      = 64   // KiB, reckoned like maxTraffic
)

// checkWorth refuses a hash that is not worth importing. What is stored already goes on to be checked.
func (p *storedHash) checkWorth() error {
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		if p.memory*p.cost < minTraffic {
			return fmt.Errorf("%s: m × t is %d: a hash that costs less than %d is worthless", p.algorithm, p.memory*p.cost,
				minTraffic)
		}
	case scryptHash:
		if kib := uint64(p.kibibytes()) * uint64(p.lanes); kib < minTraffic {
			return fmt.Errorf("scrypt: N × r × p × 128 is %d KiB: a hash that costs less than %d is worthless", kib,
				minTraffic)
		}
	case pbkdf2SHA1Hash, pbkdf2SHA256Hash, pbkdf2SHA512Hash:
		if p.cost < minPBKDF2Rounds {
			return fmt.Errorf("%s: the number of rounds is %d: a hash of less than %d is worthless", p.algorithm, p.cost,
				minPBKDF2Rounds)
		}
	}
	return nil
}

// checkCost holds the parameters to the bounds, before they cost anything.
func (p *storedHash) checkCost() error {
	within := func(name string, v, low, high uint32) error {
		if v < low || v > high {
			return fmt.Errorf("%s: %s is %d: must be %d to %d", p.algorithm, name, v, low, high)
		}
		return nil
	}
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		if err := within("p (lanes)", p.lanes, 1, maxLanes); err != nil {
			return err
		}
		if err := within("t (passes)", p.cost, 1, maxArgon2Passes); err != nil {
			return err
		}
		if err := within("m (KiB of memory)", p.memory, 8*p.lanes, maxMemory); err != nil { // RFC 9106 section 3.1
			return err
		}
		if p.memory*p.cost > maxTraffic {
			return fmt.Errorf("%s: m × t is %d: must be at most %d", p.algorithm, p.memory*p.cost, maxTraffic)
		}
	case scryptHash:
		if err := within("p (lanes)", p.lanes, 1, maxLanes); err != nil {
			return err
		}
		if err := within("r (block size)", p.block, 1, maxScryptBlock); err != nil {
			return err
		}
		if err := within("ln (log2 of N)", p.cost, 1, maxScryptLogN); err != nil {
			return err
		}
		kib := uint64(p.block) << p.cost / 8 // 128 × N × r bytes
		if kib > maxMemory {
			return fmt.Errorf("scrypt: N × r × 128 is %d KiB of memory: must be at most %d", kib, maxMemory)
		}
		if kib*uint64(p.lanes) > maxTraffic {
			kib *= uint64(p.lanes)
			return fmt.Errorf("scrypt: N × r × p × 128 is %d KiB: must be at most %d", kib, maxTraffic)
		}
	case bcryptHash:
		return within("cost", p.cost, minBcryptCost, maxBcryptCost)
	default:
		size := map[algorithm]int{pbkdf2SHA1Hash: 20, pbkdf2SHA256Hash: 32, pbkdf2SHA512Hash: 64}[p.algorithm]
		blocks := (len(p.key) + size - 1) / size
		return within("the number of rounds", p.cost, 1, uint32(maxPBKDF2Rounds/max(blocks, 1)))
	}
	return nil
}

func (p *storedHash) checkSizes() error {
	if n := len(p.salt); n < minSalt || n > maxSalt {
		return fmt.Errorf("%s: the salt has %d bytes: must be %d to %d", p.algorithm, n, minSalt, maxSalt)
	}
	if n := len(p.key); n < minKey || n > maxKey {
		return fmt.Errorf("%s: the hash has %d bytes: must be %d to %d", p.algorithm, n, minKey, maxKey)
	}
	return nil
}

// kibibytes is the memory that one computation holds.
func (p *storedHash) kibibytes() int64 {
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		return int64(p.memory)
	case scryptHash:
		return max(int64(p.block)<<p.cost/8, 1)
	}
	return 4 // bcrypt's tables; pbkdf2 needs less
}
