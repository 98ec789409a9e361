package models

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

func outsourced(t *testing.T, cfg HashConfig) *hasher {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := testHasher(t, cfg)
	h.outsource([]string{self, "hash"}, slog.New(slog.DiscardHandler))
	if h.process == nil {
		t.Fatal("the process did not start")
	}
	t.Cleanup(h.close)
	return h
}

// Another process says what this one would, for every algorithm, right and wrong.
func TestHashProcess_SameKeys(t *testing.T) {
	h := outsourced(t, cheapHashes)
	salt, key := []byte("0123456789abcdef"), make([]byte, 32)
	for _, p := range []*passwordHash{
		{algorithm: argon2idHash, memory: 64, cost: 1, lanes: 1, salt: salt, key: key},
		{algorithm: argon2iHash, memory: 64, cost: 2, lanes: 2, salt: salt, key: key[:16]},
		{algorithm: scryptHash, cost: 5, block: 8, lanes: 1, salt: salt, key: key},
		{algorithm: pbkdf2SHA1Hash, cost: 3, salt: salt, key: key[:20]},
		{algorithm: pbkdf2SHA256Hash, cost: 3, salt: salt, key: key},
		{algorithm: pbkdf2SHA512Hash, cost: 3, salt: salt, key: key},
	} {
		for _, password := range []string{"", testPassword, "\x00\xff no text"} {
			want, err := computePassword(p, password)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := h.compute(p, password); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s of %q: %x, %v, want %x", p.algorithm, password, got, err, want)
			}
		}
	}
	// bcrypt gives no key but a verdict.
	bcrypted, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.hash(t.Context(), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, phc := range []string{string(bcrypted), own} {
		for password, right := range map[string]bool{testPassword: true, "another": false} {
			if ok, _, err := h.verify(t.Context(), phc, password); ok != right || err != nil {
				t.Errorf("%s, %q: %v, %v", phc, password, ok, err)
			}
		}
	}
}

// Whoever kills the process, at whatever moment, makes nobody's password wrong.
func TestHashProcess_Dies(t *testing.T) {
	h := outsourced(t, HashConfig{Memory: 4096, Time: 2, Concurrency: 2, Queue: 100})
	phc, err := h.hash(t.Context(), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				ok, _, err := h.verify(t.Context(), phc, testPassword)
				if err != nil && !errors.Is(err, ErrUnavailable) || err == nil && !ok {
					t.Errorf("%d: %v, %v", i, ok, err)
				}
			}
		})
	}
	for range 3 {
		h.process.mu.Lock()
		if c := h.process.current; c != nil {
			_ = c.process.Process.Kill()
		}
		h.process.mu.Unlock()
		if _, _, err := h.verify(t.Context(), phc, testPassword); err != nil && !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
	wg.Wait()
	if ok, _, err := h.verify(t.Context(), phc, testPassword); !ok || err != nil {
		t.Fatalf("afterwards: %v, %v", ok, err)
	}
	if h.queued() != 0 {
		t.Errorf("%d are still in the queue", h.queued())
	}
}

// It ends with its owner, and an interrupt is none of its business.
func TestHashProcess_Ends(t *testing.T) {
	h := outsourced(t, cheapHashes)
	if _, err := h.hash(t.Context(), testPassword); err != nil {
		t.Fatal(err)
	}
	c := h.process.current
	if err := c.Close(); err != nil { // as when the owner is killed
		t.Fatal(err)
	}
	if err := c.process.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if err := c.process.Process.Signal(syscall.Signal(0)); err == nil {
		t.Error("it still runs")
	}
	h.close()
	if _, err := h.hash(t.Context(), testPassword); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// Where no process can be started, this one hashes.
func TestHashProcess_CannotStart(t *testing.T) {
	h := testHasher(t, cheapHashes)
	h.outsource([]string{filepath.Join(t.TempDir(), "nothing")}, slog.New(slog.DiscardHandler))
	phc, err := h.hash(t.Context(), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := h.verify(t.Context(), phc, testPassword); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
