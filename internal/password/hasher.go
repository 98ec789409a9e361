package password

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"
)

// ErrQueueFull: as many passwords as may wait are waiting already. Answer 503 with Retry-After.
var ErrQueueFull = errors.New("too many passwords are being checked at the moment")

// ErrUnavailable: the process for password hashes is gone, and another one could not be started.
var ErrUnavailable = errors.New("the process for password hashes is gone")

// Config says what a new password hash costs, and how much of that may happen at a time. A zero field takes its
// default.
type Config struct {
	Memory  uint32 // KiB for each hash; default 19456, OWASP's first choice for argon2id together with the next two
	Time    uint32 // passes over the memory; default 2
	Threads uint8  // lanes; default 1

	// Concurrency is how many hashes run at a time, so Concurrency × Memory is the memory bill; default the CPUs that
	// the process may use, less one for everything else.
	Concurrency int
	Queue       int           // how many may wait beyond those that run; default 32 × Concurrency
	Wait        time.Duration // how long one waits at most; default 10 s

	// Command runs a program that calls [Serve] with its last argument, a number; default none: this process hashes.
	Command []string
}

// gate is what a dear hash takes; see [Hasher.isDear].
type gate struct {
	atATime                 int
	entrance, slots, memory *semaphore.Weighted
}

const (
	saltSize = 16 // bytes: RFC 9106 section 3.1
	keySize  = 32 // bytes
)

// Hasher makes and checks password hashes. All hashing of the process goes through its slots: a flood of sign-ins costs
// a bounded amount of CPU and memory, and whoever comes when the queue is full is told so at once instead of waiting
// for longer than his client does. It is safe for concurrent use.
//
// Passwords are hashed as the profile OpaqueString of RFC 8265 has them: the same password typed on a keyboard that
// composes its accents otherwise is the same password. A hash that was imported may have been made without that, and
// ours were once made of the form NFKC, so where these differ, all are tried. A hash that only fits the form NFKC is
// not made anew: who typed full-width letters today may have another keyboard tomorrow, and both have to go on
// fitting.
//
// An unknown user costs what a user with a hash of the current parameters costs. A user whose imported hash was not yet
// replaced costs what that hash asks for, which a clock can see until that user's next successful sign-in; nothing but
// a rehash cures it.
type Hasher struct {
	current storedHash // the parameters of new hashes; salt and key are empty
	dummy   string     // a hash of the current parameters that no password fits

	entrance *semaphore.Weighted // running and waiting; never waited for
	slots    *semaphore.Weighted // running
	memory   *semaphore.Weighted // KiB in use: an imported hash may ask for more than ours do
	dear     gate                // for dear hashes in addition, but for the memory, which is in place of the other
	budget   int64               // KiB that memory was made with
	inside   atomic.Int64
	places   int // running and waiting, at most
	atATime  int
	wait     time.Duration

	worker, dearWorker *worker                                                      // nil: this process computes
	compute            func(h *storedHash, password string) (key []byte, err error) // [computeKey], or the worker's
}

// New returns a hasher. Its error says which cost is out of bounds.
func New(cfg Config) (*Hasher, error) {
	cfg.Memory = cmp.Or(cfg.Memory, 19456)
	cfg.Time = cmp.Or(cfg.Time, 2)
	cfg.Threads = cmp.Or(cfg.Threads, 1)
	// Unlike NumCPU, GOMAXPROCS knows the container's share.
	cfg.Concurrency = cmp.Or(cfg.Concurrency, max(1, runtime.GOMAXPROCS(0)-1))
	cfg.Queue = cmp.Or(cfg.Queue, 32*cfg.Concurrency)
	if cfg.Concurrency < 1 || cfg.Concurrency > 1<<16 {
		return nil, fmt.Errorf("password hashes at a time: must be 1 to %d", 1<<16)
	}
	if cfg.Queue < 1 || cfg.Queue > 1<<24 {
		return nil, fmt.Errorf("the queue for password hashes: must be 1 to %d", 1<<24)
	}
	current := storedHash{algorithm: argon2idHash, memory: cfg.Memory, cost: cfg.Time, lanes: uint32(cfg.Threads)}
	if err := current.checkCost(); err != nil {
		return nil, fmt.Errorf("the cost of new password hashes: %w", err)
	}
	dummy := current
	dummy.salt, dummy.key = make([]byte, saltSize), make([]byte, keySize)
	rand.Read(dummy.salt)
	rand.Read(dummy.key)
	cfg.Wait = cmp.Or(cfg.Wait, 10*time.Second)
	places, dear := cfg.Concurrency+cfg.Queue, max(1, cfg.Concurrency/2)
	budget := max(int64(cfg.Concurrency)*int64(cfg.Memory), maxMemory)
	return &Hasher{
		current:  current,
		dummy:    dummy.encode(),
		entrance: semaphore.NewWeighted(int64(places)),
		places:   places,
		wait:     cfg.Wait,
		dear: gate{
			atATime:  dear,
			entrance: semaphore.NewWeighted(int64(max(dear, places/4))),
			slots:    semaphore.NewWeighted(int64(dear)),
			memory:   semaphore.NewWeighted(budget),
		},
		atATime: cfg.Concurrency,
		slots:   semaphore.NewWeighted(int64(cfg.Concurrency)),
		memory:  semaphore.NewWeighted(budget),
		budget:  budget,
		compute: computeKey,
	}, nil
}

// Outsource starts the process that hashes from now on. Call it before the first hash.
func (h *Hasher) Outsource(command []string, log *slog.Logger) {
	worker, err := startWorker(command, h.atATime, log)
	if err != nil {
		log.Warn("the process for password hashes cannot be started: this one hashes, and the rest is slower", "error", err)
		return
	}
	h.worker = worker
	h.dearWorker = newWorker(command, h.dear.atATime, log) // it starts when it is needed: most never need it
	h.compute = func(p *storedHash, password string) ([]byte, error) {
		if h.isDear(p) {
			return h.dearWorker.compute(p, password)
		}
		return h.worker.compute(p, password)
	}
	h.slots = semaphore.NewWeighted(int64(h.atATime + 1)) // one is on its way, so that the process does not wait for us
}

// Close ends the process that [Hasher.Outsource] started.
func (h *Hasher) Close() {
	if h.worker != nil {
		h.worker.close()
		h.dearWorker.close()
	}
}

// Hash returns the PHC string to store for a password. It does not ask the policy: see [Policy].
func (h *Hasher) Hash(ctx context.Context, password string) (phc string, err error) {
	if len(password) > MaxSize {
		return "", tooLong(len(password))
	}
	made := h.current
	made.salt, made.key = make([]byte, saltSize), make([]byte, keySize)
	rand.Read(made.salt)
	leave, err := h.enter(ctx, &made)
	if err != nil {
		return "", err
	}
	defer leave()
	if made.key, err = h.compute(&made, opaque(password)); err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return made.encode(), nil
}

// Verify tells whether the password is the one that a stored hash was made of. It is stale when it is right and its
// hash is not what [Hasher.Hash] would make today: replace it while the password is at hand. A wrong password is no
// error. The errors are [ErrQueueFull], [ErrUnavailable], the context's, and that the stored hash is damaged or asks
// for more than the bounds allow; that is found before anything is computed.
func (h *Hasher) Verify(ctx context.Context, phc, password string) (ok, stale bool, err error) {
	stored, err := parse(phc)
	if err != nil {
		return false, false, fmt.Errorf("the stored password hash cannot be used: %w", err)
	}
	if len(password) > MaxSize {
		return false, false, nil
	}
	leave, err := h.enter(ctx, stored)
	if err != nil {
		return false, false, err
	}
	defer leave()
	ours, compatible := opaque(password), norm.NFKC.String(password)
	fits := map[string]bool{}
	for _, form := range []string{ours, password, compatible} {
		if _, tried := fits[form]; tried {
			continue
		}
		// Whether an earlier one fits or not, so that the time tells nothing.
		if fits[form], err = h.match(stored, form); err != nil {
			return false, false, err
		}
	}
	ok = fits[ours] || fits[password] || fits[compatible]
	stale = fits[ours] && !h.isCurrent(stored) || !fits[ours] && fits[password]
	return ok, stale && !stored.truncates(ours), nil
}

// VerifyUnknown does for a user that does not exist the work that Verify does for one with a wrong password.
func (h *Hasher) VerifyUnknown(ctx context.Context, password string) error {
	_, _, err := h.Verify(ctx, h.dummy, password)
	return err
}

// Places is how many passwords may be checked or wait for it at a time.
func (h *Hasher) Places() int { return h.places }

// AtATime is how many passwords are checked at a time.
func (h *Hasher) AtATime() int { return h.atATime }

// LongestWait is how long one may wait for that.
func (h *Hasher) LongestWait() time.Duration { return h.wait }

// Queued is how many passwords are being checked or wait for it, for a gauge.
func (h *Hasher) Queued() int { return int(h.inside.Load()) }

func (h *Hasher) isCurrent(stored *storedHash) bool {
	c := &h.current
	return stored.algorithm == c.algorithm &&
		stored.memory == c.memory && stored.cost == c.cost && stored.lanes == c.lanes &&
		len(stored.salt) >= saltSize && len(stored.key) == keySize
}

func (h *Hasher) match(stored *storedHash, password string) (bool, error) {
	key, err := h.compute(stored, password)
	if err != nil {
		return false, fmt.Errorf("checking a password: %w", err)
	}
	return subtle.ConstantTimeCompare(key, stored.key) == 1 && stored.tellsApart(password), nil
}

// enter takes what one hash needs: a place in the queue or nothing, then its memory, then a slot. Every one of them is
// first come, first served, and all take them in this order, so that nobody waits for ever; and nobody waits longer
// than is of use to who asks.
func (h *Hasher) enter(ctx context.Context, p *storedHash) (leave func(), err error) {
	var taken []func()
	back := func() {
		for _, release := range slices.Backward(taken) {
			release()
		}
	}
	type part struct {
		of *semaphore.Weighted
		n  int64
	}
	entrances, waits := []part{{h.entrance, 1}}, []part{{h.memory, min(p.kibibytes(), h.budget)}, {h.slots, 1}}
	if h.isDear(p) {
		entrances = append(entrances, part{h.dear.entrance, 1})
		waits[0].of = h.dear.memory
		waits = slices.Insert(waits, 1, part{h.dear.slots, 1})
		if h.atATime == 1 { // the one slot is the others'
			waits = waits[:2]
		}
	}
	for _, e := range entrances {
		if !e.of.TryAcquire(e.n) {
			back()
			return nil, ErrQueueFull
		}
		taken = append(taken, func() { e.of.Release(e.n) })
	}
	h.inside.Add(1)
	taken = append(taken, func() { h.inside.Add(-1) })
	waiting, cancel := context.WithTimeout(ctx, h.wait)
	defer cancel()
	for _, w := range waits {
		if err := w.of.Acquire(waiting, w.n); err != nil {
			back()
			if ctx.Err() == nil {
				return nil, ErrQueueFull
			}
			return nil, fmt.Errorf("waiting to check a password: %w", err)
		}
		taken = append(taken, func() { w.of.Release(w.n) })
	}
	return back, nil
}
