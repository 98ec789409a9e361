package models

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

// doubled answers twice the question, and refuses a statement with a 13 in it.
func doubled(_ context.Context, questions []int) ([]int, error) {
	if slices.Contains(questions, 13) {
		return nil, errors.New("13")
	}
	answers := make([]int, len(questions))
	for i, q := range questions {
		answers[i] = 2 * q
	}
	return answers, nil
}

func TestBatch_EachGetsItsOwnAnswer(t *testing.T) {
	var workers sync.WaitGroup
	g := &batch[int, int]{run: doubled, start: workers.Go, workers: 4, most: 128}
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			got, err := g.do(t.Context(), i)
			if (err != nil) != (i == 13) || (err == nil && got != 2*i) {
				t.Errorf("%d: got %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	workers.Wait()
	if g.working != 0 || len(g.waiting) != 0 {
		t.Fatalf("%d workers and %d questions are left", g.working, len(g.waiting))
	}
}

// A caller that hangs up while its question waits takes it back; the others share the statement that comes next.
func TestBatch_QuestionTakenBack(t *testing.T) {
	began, goOn := make(chan []int, 8), make(chan struct{})
	var workers sync.WaitGroup
	defer workers.Wait()
	run := func(ctx context.Context, questions []int) ([]int, error) {
		began <- questions
		<-goOn
		return doubled(ctx, questions)
	}
	g := &batch[int, int]{run: run, start: workers.Go, workers: 4, most: 128}
	waiting := func(n int) {
		for {
			g.mu.Lock()
			got := len(g.waiting)
			g.mu.Unlock()
			if got == n {
				return
			}
		}
	}
	ask := func(ctx context.Context, q int) chan error {
		answer := make(chan error, 1)
		go func() {
			_, err := g.do(ctx, q)
			answer <- err
		}()
		return answer
	}
	first := ask(t.Context(), 1)
	<-began
	second := ask(t.Context(), 2)
	waiting(1)
	ctx, hangUp := context.WithCancel(t.Context())
	third := ask(ctx, 3)
	waiting(2)
	hangUp()
	if err := <-third; !errors.Is(err, ErrUnavailable) {
		t.Fatalf("hung up: %v", err)
	}
	fourth := ask(t.Context(), 4)
	waiting(2)
	close(goOn)
	if together := <-began; !slices.Equal(together, []int{2, 4}) {
		t.Fatalf("the second statement asks %v", together)
	}
	if err := errors.Join(<-first, <-second, <-fourth); err != nil {
		t.Fatal(err)
	}
}

// Devices that refresh at once share statements; each token twice, as an app's two threads do: both get the same
// successor.
func TestRefreshDevice_ManyAtOnce(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		grants := make([]*Grant, 40)
		for i := range grants {
			grants[i] = k.signIn(anna)
		}
		for range 3 {
			next := make([][2]*Grant, len(grants))
			var wg sync.WaitGroup
			for i, g := range grants {
				for j := range 2 {
					wg.Go(func() {
						var err error
						if next[i][j], err = k.refresh(g.RefreshToken); err != nil {
							t.Errorf("device %d: %v", i, err)
						}
					})
				}
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			for i, g := range grants {
				if next[i][0].RefreshToken != next[i][1].RefreshToken || next[i][0].RefreshToken == g.RefreshToken || next[i][0].DeviceID != g.DeviceID {
					t.Fatalf("device %d: %+v, then %+v and %+v", i, g, next[i][0], next[i][1])
				}
				if !k.alive(next[i][0]) || !k.alive(next[i][1]) {
					t.Fatalf("device %d: a new token is dead", i)
				}
				grants[i] = next[i][0]
			}
		}
	})
}

// Somebody who holds one device's row, be it a node that froze, delays nobody else's refresh. SQLite has one writer.
func TestRefreshDevice_HeldRowDelaysNobodyElse(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		if !k.d.postgres {
			return
		}
		anna := k.newUser("anna")
		held, free := k.signIn(anna), k.signIn(anna)
		tx, err := k.sqldb.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM devices WHERE id = $1 FOR UPDATE`, held.DeviceID); err != nil {
			t.Fatal(err)
		}
		waits := make(chan error, 1)
		go func() {
			_, err := k.refresh(held.RefreshToken)
			waits <- err
		}()
		for range 20 {
			if free, err = k.refresh(free.RefreshToken); err != nil {
				t.Fatalf("another device: %v", err)
			}
		}
		select {
		case err := <-waits:
			t.Fatalf("the held device did not wait: %v", err)
		default:
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-waits; err != nil {
			t.Fatalf("after the row was let go: %v", err)
		}
		if k.Stats.Retries.Load() != 0 || k.Stats.Replays.Load() != 0 {
			t.Fatal("a refresh that waited was taken for a retry or a replay")
		}
	})
}
