package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// gather makes one statement of what many requests ask for at the same moment. A request that finds nothing under way goes
// at once, alone; those that come while a statement runs share the next one, and when they have become many, a second lane
// opens. So nobody waits for company, and the more there is to do, the less each of it costs. Every statement begins after
// all of its questions were asked.
type gather[Q, A any] struct {
	// run answers all questions with one statement, in their order.
	run func(ctx context.Context, questions []Q) ([]A, error)

	mu      sync.Mutex
	waiting []*asked[Q, A]
	lanes   int // in use
}

type asked[Q, A any] struct {
	question Q
	answer   A
	err      error
	done     chan struct{}
}

const (
	gatherLanes  = 4   // statements at a time
	gatherEnough = 16  // questions that wait make another lane worth its while
	gatherMost   = 128 // questions of one statement
)

// ask waits for the answer. After queryTimeout, or when the caller has hung up, it returns [ErrUnavailable]; a question that
// no statement has taken up by then never was.
func (g *gather[Q, A]) ask(ctx context.Context, question Q) (A, error) {
	late := time.NewTimer(queryTimeout) // a context of its own costs five times as much
	defer late.Stop()
	a := &asked[Q, A]{question: question, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, a)
	open := g.lanes == 0 || (g.lanes < gatherLanes && len(g.waiting) >= gatherEnough)
	if open {
		g.lanes++
	}
	g.mu.Unlock()
	if open {
		go g.work()
	}
	err := context.DeadlineExceeded
	select {
	case <-a.done:
		return a.answer, a.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(w *asked[Q, A]) bool { return w == a })
	var none A
	return none, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// work is one lane, until nothing waits.
func (g *gather[Q, A]) work() {
	for {
		g.mu.Lock()
		n := min(len(g.waiting), gatherMost)
		if n == 0 {
			g.lanes--
			g.mu.Unlock()
			return
		}
		batch := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		g.mu.Unlock()

		err := g.answer(batch)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			for i := range batch { // whatever is wrong with one question is no concern of the others
				batch[i].err = g.answer(batch[i : i+1])
			}
		} else {
			for _, a := range batch {
				a.err = err
			}
		}
		for _, a := range batch {
			close(a.done)
		}
	}
}

func (g *gather[Q, A]) answer(batch []*asked[Q, A]) error {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	questions := make([]Q, len(batch))
	for i, a := range batch {
		questions[i] = a.question
	}
	answers, err := g.run(ctx, questions)
	if err != nil {
		return err
	}
	for i, a := range batch {
		a.answer = answers[i]
	}
	return nil
}
