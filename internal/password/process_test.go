package password

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func outsourced(t *testing.T, cfg Config) *Hasher {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := testHasher(t, cfg)
	h.Outsource([]string{self, "hash"}, slog.New(slog.DiscardHandler))
	if h.worker == nil {
		t.Fatal("the process did not start")
	}
	t.Cleanup(h.Close)
	return h
}

// Another process says what this one would, for every algorithm, right and wrong.
func TestWorker_SameKeys(t *testing.T) {
	h := outsourced(t, cheapHashes)
	salt, key := []byte("0123456789abcdef"), make([]byte, 32)
	for _, p := range []*storedHash{
		{algorithm: argon2idHash, memory: 64, cost: 1, lanes: 1, salt: salt, key: key},
		{algorithm: argon2iHash, memory: 64, cost: 2, lanes: 2, salt: salt, key: key[:16]},
		{algorithm: scryptHash, cost: 5, block: 8, lanes: 1, salt: salt, key: key},
		{algorithm: pbkdf2SHA1Hash, cost: 3, salt: salt, key: key[:20]},
		{algorithm: pbkdf2SHA256Hash, cost: 3, salt: salt, key: key},
		{algorithm: pbkdf2SHA512Hash, cost: 3, salt: salt, key: key},
	} {
		for _, password := range []string{"", vectorPassword, "\x00\xff no text"} {
			want, err := computeKey(p, password)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := h.compute(p, password); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s of %q: %x, %v, want %x", p.algorithm, password, got, err, want)
			}
		}
	}
	// bcrypt gives no key but a verdict.
	bcrypted, err := bcrypt.GenerateFromPassword([]byte(vectorPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.Hash(t.Context(), vectorPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, phc := range []string{string(bcrypted), own} {
		for password, right := range map[string]bool{vectorPassword: true, "another": false} {
			if ok, _, err := h.Verify(t.Context(), phc, password); ok != right || err != nil {
				t.Errorf("%s, %q: %v, %v", phc, password, ok, err)
			}
		}
	}
}

// Whoever kills the process, at whatever moment, makes nobody's password wrong.
func TestWorker_Dies(t *testing.T) {
	h := outsourced(t, Config{Memory: 4096, Time: 2, Concurrency: 2, Queue: 100})
	phc, err := h.Hash(t.Context(), vectorPassword)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				ok, _, err := h.Verify(t.Context(), phc, vectorPassword)
				if err != nil && !errors.Is(err, ErrUnavailable) || err == nil && !ok {
					t.Errorf("%d: %v, %v", i, ok, err)
				}
			}
		})
	}
	for range 3 {
		h.worker.mu.Lock()
		if c := h.worker.current; c != nil {
			_ = c.process.Process.Kill()
		}
		h.worker.mu.Unlock()
		if _, _, err := h.Verify(t.Context(), phc, vectorPassword); err != nil && !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
	wg.Wait()
	if ok, _, err := h.Verify(t.Context(), phc, vectorPassword); !ok || err != nil {
		t.Fatalf("afterwards: %v, %v", ok, err)
	}
	if h.Queued() != 0 {
		t.Errorf("%d are still in the queue", h.Queued())
	}
}

// It ends with its owner, and an interrupt is none of its business.
func TestWorker_Ends(t *testing.T) {
	h := outsourced(t, cheapHashes)
	if _, err := h.Hash(t.Context(), vectorPassword); err != nil {
		t.Fatal(err)
	}
	c := h.worker.current
	if err := c.Close(); err != nil { // as when the owner is killed
		t.Fatal(err)
	}
	if err := c.process.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if err := c.process.Process.Signal(syscall.Signal(0)); err == nil {
		t.Error("it still runs")
	}
	h.Close()
	if _, err := h.Hash(t.Context(), vectorPassword); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// Where no process can be started, this one hashes.
func TestWorker_CannotStart(t *testing.T) {
	h := testHasher(t, cheapHashes)
	h.Outsource([]string{filepath.Join(t.TempDir(), "nothing")}, slog.New(slog.DiscardHandler))
	phc, err := h.Hash(t.Context(), vectorPassword)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := h.Verify(t.Context(), phc, vectorPassword); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
