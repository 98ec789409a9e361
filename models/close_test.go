package models

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// What a caller has given up still runs: Close waits for it, so that nothing uses the database afterwards.
func TestClose_WaitsForWhatWasGivenUp(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		s, g := k.open(), k.signIn(k.newUser("anna"))
		id := SubscriberID{"web", "api"}
		began, goOn := make(chan struct{}, 2), make(chan struct{})
		var ended atomic.Int32
		rotate, acknowledge := s.rotations.run, s.acknowledgements.run
		s.rotations.run = func(ctx context.Context, list []rotation) ([]rotated, error) {
			began <- struct{}{}
			<-goOn
			defer ended.Add(1)
			return rotate(ctx, list)
		}
		s.acknowledgements.run = func(ctx context.Context, list []acknowledgement) ([]error, error) {
			began <- struct{}{}
			<-goOn
			defer ended.Add(1)
			return acknowledge(ctx, list)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		refreshed, acknowledged := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := s.RefreshDevice(ctx, Refresh{Token: g.RefreshToken, Client: k.client, Origin: origin})
			refreshed <- err
		}()
		go func() { acknowledged <- s.Acknowledge(t.Context(), id, 0) }()
		<-began
		<-began
		hangUp()
		if err := <-refreshed; !errors.Is(err, ErrUnavailable) {
			t.Fatalf("hung up: %v", err)
		}
		closed := make(chan struct{})
		go func() {
			s.Close()
			close(closed)
		}()
		select {
		case <-closed:
			t.Error("closed while statements were under way")
		default:
		}
		close(goOn)
		<-closed
		if ended.Load() != 2 {
			t.Errorf("%d of 2 statements had ended when it was closed", ended.Load())
		}
		if err := <-acknowledged; err != nil {
			t.Errorf("the acknowledgement: %v", err)
		}
	})
}
