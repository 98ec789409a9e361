package password

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-crypt/crypt/algorithm/argon2"
	"golang.org/x/text/unicode/norm"
)

// cheapHashes keeps the tests fast; nothing in hasher depends on how much a hash costs.
var cheapHashes = Config{Memory: 64, Time: 1, Threads: 1, Concurrency: 2, Queue: 3}

func testHasher(t testing.TB, cfg Config) *Hasher {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// countingHasher counts what it computes, with which parameters.
func countingHasher(t testing.TB, cfg Config) (*Hasher, *[]string) {
	h, done := testHasher(t, cfg), new([]string)
	h.compute = func(p *storedHash, password string) ([]byte, error) {
		cost := *p
		cost.salt, cost.key = nil, nil
		*done = append(*done, cost.encode())
		return computeKey(p, password)
	}
	return h, done
}

func TestHasher_RoundTrip(t *testing.T) {
	h := testHasher(t, Config{})
	phc, err := h.Hash(t.Context(), "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s, want argon2id with the default parameters", phc)
	}
	if ok, stale, err := h.Verify(t.Context(), phc, "correct horse battery staple"); !ok || stale || err != nil {
		t.Errorf("the password: got %v, %v, %v, want it right and not stale", ok, stale, err)
	}
	for _, wrong := range []string{"", "correct horse battery stapl", "correct horse battery staple\x00", "Correct horse battery staple", strings.Repeat("x", 2000)} {
		if ok, stale, err := h.Verify(t.Context(), phc, wrong); ok || stale || err != nil {
			t.Errorf("%.40q: got %v, %v, %v, want it wrong", wrong, ok, stale, err)
		}
	}
	again, err := h.Hash(t.Context(), "correct horse battery staple")
	if err != nil || again == phc {
		t.Errorf("the same password again: got the same hash, or %v; want another salt", err)
	}
	// Another implementation must read what we write.
	digest, err := argon2.Decode(phc)
	if err != nil {
		t.Fatal(err)
	}
	if !digest.Match("correct horse battery staple") {
		t.Error("go-crypt: the password does not match our hash")
	}
	if h.Queued() != 0 {
		t.Errorf("afterwards %d hashes are counted as running", h.Queued())
	}
}

// bcrypt looks at 72 bytes, and who made the hash did so too: a longer password is right if its beginning is.
func TestHasher_BcryptBeyond72Bytes(t *testing.T) {
	const of80a = "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe" // libxcrypt, of 80 times a
	h, done := countingHasher(t, cheapHashes)
	for length, want := range map[int]bool{71: false, 72: true, 73: true, 80: true, 1024: true} {
		ok, _, err := h.Verify(t.Context(), of80a, strings.Repeat("a", length))
		if ok != want || err != nil {
			t.Errorf("%d bytes: got %v, %v, want %v", length, ok, err, want)
		}
	}
	if len(*done) != 5 {
		t.Errorf("computed %d hashes for 5 passwords: the answer to a long one must cost the same", len(*done))
	}
}

func TestHasher_Stale(t *testing.T) {
	current := cheapHashes
	h := testHasher(t, current)
	for name, change := range map[string]func(*Config){
		"less memory": func(c *Config) { c.Memory = 32 },
		"more memory": func(c *Config) { c.Memory = 128 },
		"more passes": func(c *Config) { c.Time = 2 },
		"more lanes":  func(c *Config) { c.Threads = 2 },
		"the same":    func(*Config) {},
		"other slots": func(c *Config) { c.Concurrency, c.Queue = 1, 1 },
	} {
		cfg := current
		change(&cfg)
		phc, err := testHasher(t, cfg).Hash(t.Context(), vectorPassword)
		if err != nil {
			t.Fatal(err)
		}
		want := name != "the same" && name != "other slots"
		if ok, stale, err := h.Verify(t.Context(), phc, vectorPassword); !ok || stale != want || err != nil {
			t.Errorf("%s: got %v, %v, %v, want it right and stale: %v", name, ok, stale, err, want)
		}
		if ok, stale, err := h.Verify(t.Context(), phc, "wrong"); ok || stale || err != nil {
			t.Errorf("%s, wrong password: got %v, %v, %v, want neither right nor stale", name, ok, stale, err)
		}
	}
}

// OpaqueString: one password, however the keyboard composes its accents; and an imported hash may be of another form.
func TestHasher_Normalises(t *testing.T) {
	h, done := countingHasher(t, cheapHashes)
	const composed, decomposed = "caf\u00e9 cr\u00e8me", "cafe\u0301 cre\u0300me"
	for _, made := range []string{composed, decomposed} {
		phc, err := h.Hash(t.Context(), made)
		if err != nil {
			t.Fatal(err)
		}
		for _, typed := range []string{composed, decomposed} {
			if ok, stale, err := h.Verify(t.Context(), phc, typed); !ok || stale || err != nil {
				t.Errorf("made of %+q, typed %+q: got %v, %v, %v, want it right and current", made, typed, ok, stale, err)
			}
		}
	}

	raw := h.current // as a system that does not normalise would make it
	raw.salt, raw.key = []byte("saltsaltsaltsalt"), make([]byte, keySize)
	raw.key, _ = computeKey(&raw, decomposed)
	if ok, stale, err := h.Verify(t.Context(), raw.encode(), decomposed); !ok || !stale || err != nil {
		t.Errorf("imported: got %v, %v, %v, want it right and stale", ok, stale, err)
	}

	*done = nil
	if _, _, err := h.Verify(t.Context(), raw.encode(), decomposed+"x"); err != nil {
		t.Fatal(err)
	}
	wrong := len(*done)
	*done = nil
	if err := h.VerifyUnknown(t.Context(), decomposed+"x"); err != nil {
		t.Fatal(err)
	}
	if len(*done) != wrong || wrong != 2 {
		t.Errorf("computed %d for an unknown user and %d for a wrong password, want 2 each", len(*done), wrong)
	}
}

// Ours were once made of the form NFKC. They go on to fit, and are not made anew of what fits that form only: the next
// keyboard may send it otherwise. A new hash tells full-width letters from others, and no space from another.
func TestHasher_OpaqueString(t *testing.T) {
	h := testHasher(t, cheapHashes)
	const wide, plain, spaces = "ｈｏｒｓｅ\u3000ｂａｔｔｅｒｙ", "horse battery", "horse\u00a0battery"
	old := h.current
	old.salt, old.key = []byte("saltsaltsaltsalt"), make([]byte, keySize)
	old.key, _ = computeKey(&old, norm.NFKC.String(wide))
	for _, typed := range []string{wide, plain, spaces} {
		if ok, stale, err := h.Verify(t.Context(), old.encode(), typed); !ok || stale || err != nil {
			t.Errorf("an older hash, typed %q: %v, %v, %v", typed, ok, stale, err)
		}
	}
	for made, typed := range map[string]map[string]bool{
		wide:               {wide: true, plain: false, spaces: false},
		spaces:             {spaces: true, plain: true},
		"straße und ﬁsche": {"straße und ﬁsche": true, "strasse und fische": false, "straße und fische": false},
		"I ❤️ U, tab\tnow": {"I ❤️ U, tab\tnow": true, "I ❤ U, tab\tnow": false, "I\u2003❤️ U, tab\tnow": true},
	} {
		phc, err := h.Hash(t.Context(), made)
		if err != nil {
			t.Fatal(err)
		}
		for typed, right := range typed {
			if ok, _, err := h.Verify(t.Context(), phc, typed); ok != right || err != nil {
				t.Errorf("made of %q, typed %q: %v, %v", made, typed, ok, err)
			}
		}
	}
}

func TestHasher_UnknownUserCostsTheSame(t *testing.T) {
	h, done := countingHasher(t, cheapHashes)
	phc, err := h.Hash(t.Context(), vectorPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"", "wrong", strings.Repeat("ü", 300), strings.Repeat("x", MaxSize), strings.Repeat("x", MaxSize+1), "\xff\x00"} {
		*done = nil
		if _, _, err := h.Verify(t.Context(), phc, password); err != nil {
			t.Fatal(err)
		}
		known := slices.Clone(*done)
		*done = nil
		if err := h.VerifyUnknown(t.Context(), password); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(known, *done) {
			t.Errorf("%.20q: computed %q for a known user and %q for an unknown one", password, known, *done)
		}
	}
}

func TestHasher_TooLong(t *testing.T) {
	h, done := countingHasher(t, cheapHashes)
	if _, err := h.Hash(t.Context(), strings.Repeat("x", MaxSize+1)); !errors.Is(err, ErrPolicy) {
		t.Errorf("hash: got %v, want ErrPolicy", err)
	}
	if ok, _, err := h.Verify(t.Context(), h.dummy, strings.Repeat("x", MaxSize+1)); ok || err != nil {
		t.Errorf("verify: got %v, %v, want it wrong", ok, err)
	}
	if len(*done) != 0 {
		t.Errorf("computed %q", *done)
	}
}

func TestNew_Bounds(t *testing.T) {
	for _, cfg := range []Config{
		{Memory: 262145},
		{Memory: 7},
		{Memory: 262144, Time: 5},
		{Time: 11},
		{Threads: 17},
		{Memory: 16, Threads: 4},
		{Concurrency: -1},
		{Queue: -1},
		{Concurrency: 1 << 30},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
	if _, err := New(Config{Memory: 262144, Time: 4, Threads: 16}); err != nil {
		t.Errorf("the greatest cost that is taken: %v", err)
	}
}

// blockingHasher computes nothing until it is told to.
func blockingHasher(t *testing.T, cfg Config) (h *Hasher, started chan *storedHash, proceed chan struct{}) {
	h, started, proceed = testHasher(t, cfg), make(chan *storedHash), make(chan struct{})
	h.compute = func(p *storedHash, _ string) ([]byte, error) {
		started <- p
		<-proceed
		return make([]byte, keySize), nil
	}
	return h, started, proceed
}

func TestHasher_Queue(t *testing.T) {
	h, started, proceed := blockingHasher(t, cheapHashes) // 2 slots, 3 may wait
	var running, most atomic.Int64
	inner := h.compute
	h.compute = func(p *storedHash, password string) ([]byte, error) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		return inner(p, password)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, cancelled := make(chan error), make(chan error)
	for range 2 {
		go func() { _, err := h.Hash(t.Context(), vectorPassword); done <- err }()
		<-started
	}
	go func() { done <- h.VerifyUnknown(t.Context(), vectorPassword) }()
	go func() { _, _, err := h.Verify(t.Context(), h.dummy, vectorPassword); done <- err }()
	go func() { cancelled <- h.VerifyUnknown(ctx, vectorPassword) }()
	for h.Queued() != 5 {
		runtime.Gosched() // they are on their way
	}

	if _, err := h.Hash(t.Context(), vectorPassword); !errors.Is(err, ErrQueueFull) {
		t.Errorf("hash: got %v, want ErrQueueFull", err)
	}
	if _, _, err := h.Verify(t.Context(), h.dummy, vectorPassword); !errors.Is(err, ErrQueueFull) {
		t.Errorf("verify: got %v, want ErrQueueFull", err)
	}
	if err := h.VerifyUnknown(t.Context(), vectorPassword); !errors.Is(err, ErrQueueFull) {
		t.Errorf("verifyUnknown: got %v, want ErrQueueFull", err)
	}

	cancel() // who waits and gives up makes room
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting: got %v, want context.Canceled", err)
	}
	if h.Queued() != 4 {
		t.Errorf("after one gave up %d are in the queue, want 4", h.Queued())
	}
	go func() { done <- h.VerifyUnknown(t.Context(), vectorPassword) }()

	for range 3 { // one leaves, the next one starts
		proceed <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-started
	}
	for range 2 {
		proceed <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if h.Queued() != 0 || most.Load() != 2 {
		t.Errorf("at the end %d are in the queue, and at most %d ran at a time, want 0 and 2", h.Queued(), most.Load())
	}
	if err := h.VerifyUnknown(ctx, vectorPassword); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: got %v, want context.Canceled", err)
	}
	if h.Queued() != 0 {
		t.Errorf("a cancelled one is still in the queue")
	}
}

// Imported hashes may ask for much more memory than ours: together they get no more than the budget.
func TestHasher_Memory(t *testing.T) {
	h, started, proceed := blockingHasher(t, Config{Memory: 64, Time: 1, Concurrency: 4})
	const big = "$argon2id$v=19$m=131072,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	done := make(chan error)
	for range 3 {
		go func() { _, _, err := h.Verify(t.Context(), big, vectorPassword); done <- err }()
	}
	<-started
	<-started
	for h.Queued() != 3 {
		runtime.Gosched() // it is on its way
	}
	select {
	case <-started:
		t.Fatal("three times 128 MiB at a time")
	default:
	}
	if h.dear.memory.TryAcquire(1) {
		t.Fatal("with two times 128 MiB there is memory left")
	}
	proceed <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-started
	for range 2 {
		proceed <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if !h.dear.memory.TryAcquire(h.budget) || !h.dear.slots.TryAcquire(2) || !h.slots.TryAcquire(4) {
		t.Error("not everything was given back")
	}
}

// Imported hashes that cost a hundred times what ours do take neither every place nor every slot: a cheap one gets in
// and is computed while they wait and are computed.
func TestHasher_DearOnesLeaveRoom(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		h := testHasher(t, Config{Concurrency: concurrency, Queue: 16})
		started, proceed := make(chan *storedHash), make(chan struct{})
		h.compute = func(p *storedHash, _ string) ([]byte, error) {
			if p.algorithm == bcryptHash {
				started <- p
				<-proceed
			}
			return make([]byte, keySize), nil
		}
		const dear = "$2b$14$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe"
		done := make(chan error)
		entered := (16 + concurrency) / 4
		for range entered {
			go func() { _, _, err := h.Verify(t.Context(), dear, vectorPassword); done <- err }()
		}
		for range h.dear.atATime {
			<-started
		}
		for h.Queued() != entered {
			runtime.Gosched() // they are on their way
		}
		if _, _, err := h.Verify(t.Context(), dear, vectorPassword); !errors.Is(err, ErrQueueFull) {
			t.Errorf("%d at a time: one more dear hash: %v", concurrency, err)
		}
		if err := h.VerifyUnknown(t.Context(), vectorPassword); err != nil {
			t.Errorf("%d at a time: a cheap hash beside dear ones: %v", concurrency, err)
		}
		for i := range entered {
			proceed <- struct{}{}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if i < entered-h.dear.atATime {
				<-started
			}
		}
		if h.Queued() != 0 || !h.dear.entrance.TryAcquire(int64(max(h.dear.atATime, entered))) {
			t.Errorf("%d at a time: not everything was given back", concurrency)
		}
	}
}

// Who waits for longer than is of use to anybody is told to come again.
func TestHasher_WaitIsBounded(t *testing.T) {
	h, started, proceed := blockingHasher(t, Config{Memory: 64, Time: 1, Concurrency: 1, Wait: time.Millisecond})
	done := make(chan error)
	go func() { done <- h.VerifyUnknown(t.Context(), vectorPassword) }()
	<-started
	if err := h.VerifyUnknown(t.Context(), vectorPassword); !errors.Is(err, ErrQueueFull) {
		t.Errorf("waited in vain: %v", err)
	}
	proceed <- struct{}{}
	if err := <-done; err != nil || h.Queued() != 0 {
		t.Errorf("%v, %d in the queue", err, h.Queued())
	}
}
