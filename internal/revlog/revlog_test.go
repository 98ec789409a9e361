package revlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"testing"

	"curfew/internal/revlog"
	"curfew/internal/testdb"
	"curfew/models"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// Two readers of one copy, each with its own place in it.
func TestLog_TwoReaders(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		cfg := models.Config{
			DatabaseURL: url, Issuer: "https://curfew.test", Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)},
		}
		if _, err := models.Migrate(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		store, err := models.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		log := revlog.Follow(store, slog.New(slog.DiscardHandler))
		t.Cleanup(log.Close)
		signOut := func() int64 {
			t.Helper()
			by := models.Actor{Entity: models.EntityAdmin}
			out, err := store.Revoke(t.Context(), models.Everyone(), models.ReasonRevoked, by)
			if err != nil {
				t.Fatal(err)
			}
			return out.Revocation.Seq
		}
		early, _, moved := log.After(0)
		if len(early) != 0 {
			t.Fatalf("%+v", early)
		}
		first := signOut()
		<-moved // for whoever waits
		second := signOut()
		if err := log.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now, fresh := log.Now(); !fresh || now.IsZero() {
			t.Errorf("%s, %t", now, fresh)
		}
		for after, want := range map[int64][]int64{
			0: {first, second}, first: {second}, second: {}, second + 1000: {first, second}, // of a database that is gone
		} {
			events, upTo, _ := log.After(after)
			if len(events) != len(want) || upTo != second {
				t.Errorf("after %d: %+v, up to %d", after, events, upTo)
				continue
			}
			for i, e := range events {
				var sent struct{ Seq int64 }
				if err := json.Unmarshal(e.JSON, &sent); err != nil || e.Seq != want[i] || sent.Seq != want[i] {
					t.Errorf("after %d: %s, %v, want %d", after, e.JSON, err, want[i])
				}
				old := &models.AccessToken{Claims: &models.Claims{IssuedUS: int64(e.ValidFrom)}}
				young := &models.AccessToken{Claims: &models.Claims{IssuedUS: int64(e.ValidFrom) + 1}}
				if !e.Ends(old) || e.Ends(young) {
					t.Errorf("%s: ends %t, %t", e.JSON, e.Ends(old), e.Ends(young))
				}
			}
		}

		log.Close()
		if err := log.CatchUp(t.Context()); !errors.Is(err, models.ErrUnavailable) {
			t.Errorf("caught up after the end: %v", err)
		}
		if events, _, _ := log.After(0); len(events) != 2 {
			t.Errorf("%+v", events)
		}
	})
}
