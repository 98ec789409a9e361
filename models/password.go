package models

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"
)

// ErrHashQueueFull: as many passwords as may wait are waiting already. Answer 503 with Retry-After.
var ErrHashQueueFull = errors.New("too many passwords are being checked at the moment")

// HashConfig says what a new password hash costs, and how much of that may happen at a time. A zero field takes its default.
type HashConfig struct {
	Memory  uint32 // KiB for each hash; default 19456, OWASP's first choice for argon2id together with the next two
	Time    uint32 // passes over the memory; default 2
	Threads uint8  // lanes; default 1

	Concurrency int // hashes at a time; default the CPUs that the process may use, less one for everything else. Concurrency × Memory is the memory bill.
	Queue       int // how many may wait beyond those that run; default 32 × Concurrency

	// Command runs a program that calls [ServeHashes] with its last argument, a number; default none: this process hashes.
	Command []string
}

const (
	hasherSaltSize = 16 // bytes: RFC 9106 section 3.1
	hasherKeySize  = 32 // bytes
)

// hasher makes and checks password hashes. All hashing of the process goes through its slots: a flood of sign-ins costs a
// bounded amount of CPU and memory, and whoever comes when the queue is full is told so at once instead of waiting for
// longer than his client does. It is safe for concurrent use.
//
// Passwords are normalised to NFKC before they are hashed (NIST SP 800-63B): the same password typed on a keyboard that composes
// its accents otherwise is the same password. A hash that was imported may have been made without that, so where the two
// forms of a password differ, both are tried.
//
// An unknown user costs what a user with a hash of the current parameters costs. A user whose imported hash was not yet replaced
// costs what that hash asks for, which a clock can see until that user's next successful sign-in; nothing but a rehash cures it.
type hasher struct {
	current passwordHash // the parameters of new hashes; salt and key are empty
	dummy   string       // a hash of the current parameters that no password fits

	entrance *semaphore.Weighted // running and waiting; never waited for
	slots    *semaphore.Weighted // running
	memory   *semaphore.Weighted // KiB in use: an imported hash may ask for more than ours do
	budget   int64               // KiB that memory was made with
	inside   atomic.Int64
	places   int // running and waiting, at most
	atATime  int

	compute func(h *passwordHash, password string) (key []byte, err error) // computePassword, or a process of its own; another one in tests
	process *hashProcess                                                   // nil: this one
}

func newHasher(cfg HashConfig) (*hasher, error) {
	if cfg.Memory == 0 {
		cfg.Memory = 19456
	}
	if cfg.Time == 0 {
		cfg.Time = 2
	}
	if cfg.Threads == 0 {
		cfg.Threads = 1
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = max(1, runtime.GOMAXPROCS(0)-1) // unlike NumCPU it knows the container's share
	}
	if cfg.Concurrency < 1 || cfg.Concurrency > 1<<16 {
		return nil, invalid("password hashes at a time: it takes 1 to %d", 1<<16)
	}
	if cfg.Queue == 0 {
		cfg.Queue = 32 * cfg.Concurrency
	}
	if cfg.Queue < 1 || cfg.Queue > 1<<24 {
		return nil, invalid("the queue for password hashes: it takes 1 to %d", 1<<24)
	}
	current := passwordHash{algorithm: argon2idHash, memory: cfg.Memory, cost: cfg.Time, lanes: uint32(cfg.Threads)}
	if err := current.checkCost(); err != nil {
		return nil, fmt.Errorf("the cost of new password hashes: %w", err)
	}
	dummy := current
	dummy.salt, dummy.key = make([]byte, hasherSaltSize), make([]byte, hasherKeySize)
	rand.Read(dummy.salt)
	rand.Read(dummy.key)
	budget := max(int64(cfg.Concurrency)*int64(cfg.Memory), maxHashMemory)
	return &hasher{
		current:  current,
		dummy:    dummy.encode(),
		entrance: semaphore.NewWeighted(int64(cfg.Concurrency + cfg.Queue)),
		places:   cfg.Concurrency + cfg.Queue,
		atATime:  cfg.Concurrency,
		slots:    semaphore.NewWeighted(int64(cfg.Concurrency)),
		memory:   semaphore.NewWeighted(budget),
		budget:   budget,
		compute:  computePassword,
	}, nil
}

// outsource starts the process that hashes from now on. Call it before the first hash.
func (h *hasher) outsource(command []string, log *slog.Logger) {
	process, err := startHashProcess(command, h.atATime, log)
	if err != nil {
		log.Warn("the process for password hashes cannot be started: this one hashes, and everything else is slower meanwhile", "error", err)
		return
	}
	h.process, h.compute = process, process.compute
	h.slots = semaphore.NewWeighted(int64(h.atATime + 1)) // one is on its way, so that the process does not wait for us
}

func (h *hasher) close() {
	if h.process != nil {
		h.process.close()
	}
}

// hash returns the PHC string to store for a password. It does not ask the policy: see [CheckPasswordPolicy].
func (h *hasher) hash(ctx context.Context, password string) (phc string, err error) {
	if len(password) > MaxPasswordSize {
		return "", passwordTooLong(len(password))
	}
	made := h.current
	made.salt, made.key = make([]byte, hasherSaltSize), make([]byte, hasherKeySize)
	rand.Read(made.salt)
	leave, err := h.enter(ctx, &made)
	if err != nil {
		return "", err
	}
	defer leave()
	if made.key, err = h.compute(&made, norm.NFKC.String(password)); err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return made.encode(), nil
}

// verify tells whether the password is the one that a stored hash was made of. It is stale when it is right and its hash is not
// what [hasher.hash] would make today: replace it while the password is at hand. A wrong password is no error. The errors are
// [ErrHashQueueFull], the context's, and that the stored hash is damaged or asks for more than the bounds allow; that is
// found before anything is computed.
func (h *hasher) verify(ctx context.Context, phc, password string) (ok, stale bool, err error) {
	stored, err := parsePasswordHash(phc)
	if err != nil {
		return false, false, fmt.Errorf("the stored password hash cannot be used: %v", err) // not ErrInvalid: it is not the caller's fault
	}
	if len(password) > MaxPasswordSize {
		return false, false, nil
	}
	leave, err := h.enter(ctx, stored)
	if err != nil {
		return false, false, err
	}
	defer leave()
	normal := norm.NFKC.String(password)
	if ok, err = h.match(stored, normal); err != nil {
		return false, false, err
	}
	asTyped := false
	if normal != password { // whether the first one fits or not, so that the time tells nothing
		if asTyped, err = h.match(stored, password); err != nil {
			return false, false, err
		}
	}
	return ok || asTyped, !ok && asTyped || ok && !h.isCurrent(stored), nil
}

// verifyUnknown does for a user that does not exist the work that verify does for one with a wrong password.
func (h *hasher) verifyUnknown(ctx context.Context, password string) error {
	_, _, err := h.verify(ctx, h.dummy, password)
	return err
}

// queued is how many passwords are being checked or wait for it, for a gauge.
func (h *hasher) queued() int { return int(h.inside.Load()) }

func (h *hasher) isCurrent(stored *passwordHash) bool {
	c := &h.current
	return stored.algorithm == c.algorithm && stored.memory == c.memory && stored.cost == c.cost && stored.lanes == c.lanes &&
		len(stored.salt) >= hasherSaltSize && len(stored.key) == hasherKeySize
}

func (h *hasher) match(stored *passwordHash, password string) (bool, error) {
	key, err := h.compute(stored, password)
	if err != nil {
		return false, fmt.Errorf("checking a password: %w", err)
	}
	return subtle.ConstantTimeCompare(key, stored.key) == 1 && stored.tellsApart(password), nil
}

// enter takes what one hash needs: a place in the queue or nothing, then its memory, then a slot. Every one of them is first come,
// first served, and all take them in this order, so that nobody waits for ever.
func (h *hasher) enter(ctx context.Context, p *passwordHash) (leave func(), err error) {
	if !h.entrance.TryAcquire(1) {
		return nil, ErrHashQueueFull
	}
	h.inside.Add(1)
	kib := min(p.kibibytes(), h.budget)
	back := func() {
		h.inside.Add(-1)
		h.entrance.Release(1)
	}
	if err := h.memory.Acquire(ctx, kib); err != nil {
		back()
		return nil, fmt.Errorf("waiting to check a password: %w", err)
	}
	if err := h.slots.Acquire(ctx, 1); err != nil {
		h.memory.Release(kib)
		back()
		return nil, fmt.Errorf("waiting to check a password: %w", err)
	}
	return func() {
		h.slots.Release(1)
		h.memory.Release(kib)
		back()
	}, nil
}

// computePassword is the one place where a password is hashed: bounded (the caller holds a slot and the memory), without a database
// or a lock, and not to be interrupted. It keeps a CPU busy for tens of milliseconds: see [hashProcess].
//
// The key is as long as p.key. bcrypt gives no key but a verdict: it is p.key or nothing.
func computePassword(p *passwordHash, password string) (key []byte, err error) {
	var digest func() hash.Hash
	switch p.algorithm {
	case argon2idHash:
		return argon2.IDKey([]byte(password), p.salt, p.cost, p.memory, uint8(p.lanes), uint32(len(p.key))), nil
	case argon2iHash:
		return argon2.Key([]byte(password), p.salt, p.cost, p.memory, uint8(p.lanes), uint32(len(p.key))), nil
	case scryptHash:
		return scrypt.Key([]byte(password), p.salt, 1<<p.cost, int(p.block), int(p.lanes), len(p.key))
	case bcryptHash:
		err := bcrypt.CompareHashAndPassword([]byte(p.encode()), []byte(password[:min(len(password), maxBcryptPassword)]))
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return nil, nil
		}
		return p.key, err
	case pbkdf2SHA1Hash:
		digest = sha1.New
	case pbkdf2SHA256Hash:
		digest = sha256.New
	case pbkdf2SHA512Hash:
		digest = sha512.New
	default:
		return nil, errors.New("unknown algorithm")
	}
	return pbkdf2.Key(digest, password, p.salt, int(p.cost), len(p.key))
}

// maxBcryptPassword is how many bytes of a password bcrypt looks at.
const maxBcryptPassword = 72

// tellsApart is false for a password that the algorithm cannot tell from another one: bcrypt reads 72 bytes, and repeats what ends
// with a NUL; HMAC, in pbkdf2 and scrypt, fills up with NULs. Such a password is wrong, whatever was computed.
func (p *passwordHash) tellsApart(password string) bool {
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		return true
	case bcryptHash:
		return len(password) <= maxBcryptPassword && !strings.Contains(password, "\x00")
	}
	return !strings.Contains(password, "\x00")
}
