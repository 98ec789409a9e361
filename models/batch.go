package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// batch makes one statement of what many requests ask for at the same moment. A request that finds nothing under way
// goes at once, alone; those that come while a statement runs share the next one, and when they have become many,
// another worker starts. So nobody waits for company, and the more there is to do, the less each of it costs. Every
// statement begins after all of its requests were made.
type batch[Q, A any] struct {
	run     func(ctx context.Context, questions []Q) ([]A, error) // answers all with one statement, in their order
	start   func(work func())                                     // starts a goroutine; the owner waits for its end
	workers int                                                   // statements at a time
	most    int                                                   // questions of one statement

	mu      sync.Mutex
	waiting []*question[Q, A]
	working int
}

type question[Q, A any] struct {
	asks   Q
	answer A
	err    error
	done   chan struct{}
}

// enoughForAWorker is how many questions that wait make another worker worth its while.
const enoughForAWorker = 16

// do waits for the answer. After queryTimeout, or when the caller has hung up, it returns [ErrUnavailable]; a question
// that no statement has taken up by then never was.
func (b *batch[Q, A]) do(ctx context.Context, asks Q) (A, error) {
	late := time.NewTimer(queryTimeout) // a context of its own costs five times as much
	defer late.Stop()
	q := &question[Q, A]{asks: asks, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, q)
	another := b.working == 0 || (b.working < b.workers && len(b.waiting) >= enoughForAWorker)
	if another {
		b.working++
	}
	b.mu.Unlock()
	if another {
		b.start(b.work)
	}
	err := context.DeadlineExceeded
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, func(w *question[Q, A]) bool { return w == q })
	var none A
	return none, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// work is one worker, until nothing waits.
func (b *batch[Q, A]) work() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), b.most)
		if n == 0 {
			b.working--
			b.mu.Unlock()
			return
		}
		taken := slices.Clone(b.waiting[:n])
		b.waiting = slices.Delete(b.waiting, 0, n)
		b.mu.Unlock()

		err := b.answer(taken)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			for i := range taken { // whatever is wrong with one question is no concern of the others
				taken[i].err = b.answer(taken[i : i+1])
			}
		} else {
			for _, q := range taken {
				q.err = err
			}
		}
		for _, q := range taken {
			close(q.done)
		}
	}
}

func (b *batch[Q, A]) answer(taken []*question[Q, A]) error {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	asks := make([]Q, len(taken))
	for i, q := range taken {
		asks[i] = q.asks
	}
	answers, err := b.run(ctx, asks)
	if err != nil {
		return err
	}
	for i, q := range taken {
		q.answer = answers[i]
	}
	return nil
}
