package models

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"curfew/internal/testdb"
)

func benchKit(b *testing.B, url string) (*kit, []*Grant) {
	b.Helper()
	k := &kit{cfg: testConfig(url)}
	if _, err := Migrate(b.Context(), k.cfg); err != nil {
		b.Fatal(err)
	}
	var err error
	if k.Store, err = Open(b.Context(), k.cfg); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { k.Close() })
	if k.client, _, err = k.CreateClient(b.Context(), NewClient{ID: "web", Public: true, Grants: []string{GrantPassword, GrantRefreshToken}, Scopes: []string{"settings"}}, Actor{}); err != nil {
		b.Fatal(err)
	}
	u, err := k.CreateUser(b.Context(), NewUser{Username: "anna", Password: testPassword}, Actor{})
	if err != nil {
		b.Fatal(err)
	}
	grants := make([]*Grant, 32)
	for i := range grants {
		if grants[i], err = k.signInAs(u, uuid.Nil); err != nil {
			b.Fatal(err)
		}
	}
	return k, grants
}

func forEachDBBench(b *testing.B, fn func(b *testing.B, url string)) {
	b.Run("SQLite", func(b *testing.B) { fn(b, testdb.SQLite(b)) })
	b.Run("PostgreSQL", func(b *testing.B) { fn(b, testdb.Postgres(b)) })
}

// BenchmarkRefreshDevice: 32 devices refresh at once, each with its newest token.
func BenchmarkRefreshDevice(b *testing.B) {
	forEachDBBench(b, func(b *testing.B, url string) {
		k, grants := benchKit(b, url)
		work := make(chan int, 64)
		var wg sync.WaitGroup
		b.ResetTimer()
		for _, g := range grants {
			wg.Go(func() {
				for range work {
					next, err := k.RefreshDevice(b.Context(), Refresh{Token: g.RefreshToken, Client: k.client, Origin: origin})
					if err != nil {
						b.Error(err)
						return
					}
					g = next
				}
			})
		}
		for i := range b.N {
			work <- i
		}
		close(work)
		wg.Wait()
	})
}

// BenchmarkCheckAccessToken is the strict check.
func BenchmarkCheckAccessToken(b *testing.B) {
	forEachDBBench(b, func(b *testing.B, url string) {
		k, grants := benchKit(b, url)
		b.SetParallelism(16)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := k.CheckAccessToken(b.Context(), grants[0].AccessToken); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkRevoke moves one timestamp and appends one event, at each level.
func BenchmarkRevoke(b *testing.B) {
	forEachDBBench(b, func(b *testing.B, url string) {
		k, grants := benchKit(b, url)
		for level, target := range map[Level]Target{
			LevelUser: WholeUser(grants[0].UserID), LevelClient: WholeClient("web"), LevelEveryone: Everyone(),
		} {
			b.Run(strings.ToLower(string(level)), func(b *testing.B) {
				for b.Loop() {
					if _, err := k.Revoke(b.Context(), target, ReasonRevoked, Actor{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}
