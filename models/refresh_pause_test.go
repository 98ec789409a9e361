package models

import (
	"sync"
	"testing"
	"time"
)

// After a pause the horizon is behind the clock for everybody at once: one of them pushes it, and nobody is turned
// away.
func TestRefreshDevice_AllAtOnceAfterAPause(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		grants := make([]*Grant, 8)
		for i := range grants {
			grants[i] = k.signIn(anna)
		}
		for range 5 {
			if k.d.postgres {
				if _, err := k.sqldb.ExecContext(t.Context(), `UPDATE realm SET horizon = 0`); err != nil { // as if an hour had passed
					t.Fatal(err)
				}
			} else {
				k.offset.Add(time.Hour.Microseconds())
			}
			var wg sync.WaitGroup
			for i, g := range grants {
				wg.Go(func() {
					next, err := k.refresh(g.RefreshToken)
					if err != nil {
						t.Errorf("device %d: %v", i, err)
						return
					}
					grants[i] = next
				})
			}
			wg.Wait()
		}
	})
}
