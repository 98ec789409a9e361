package models

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Invariant 5: what a statement was given never reaches the log, whichever way it is run.
func TestStore_LogsNoValues(t *testing.T) {
	var log bytes.Buffer
	forEachDB(t, func(t *testing.T, k *kit) {
		log.Reset()
		var text string
		if err := k.raw(k.db, `SELECT name FROM nowhere WHERE name = @name`, args{"name": "hunter2"}).Scan(&text).Error; err == nil {
			t.Fatal("there is no such table")
		}
		if err := k.db.Table("nowhere").Where("name = ?", "hunter2").Find(&text).Error; err == nil {
			t.Fatal("there is no such table")
		}
		if n := strings.Count(log.String(), "SQL executed"); n != 2 || strings.Contains(log.String(), "hunter2") {
			t.Errorf("the log: %s", &log)
		}
	}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
}

// A statement whose caller has gone, or whose node stops, is no error.
func TestStore_LogsNoCancelledStatement(t *testing.T) {
	var log bytes.Buffer
	forEachDB(t, func(t *testing.T, k *kit) {
		log.Reset()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := k.Revocations(ctx, 0); err == nil {
			t.Fatal("the context was cancelled")
		}
		if log.Len() != 0 {
			t.Errorf("the log: %s", &log)
		}
		expired, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		if _, _, err := k.Revocations(expired, 0); err == nil || log.Len() == 0 {
			t.Errorf("a statement that ran out of time: %v, not in the log", err)
		}
	}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
}

// A name that is taken is the caller's to hear of, and what is run again is nobody's.
func TestStore_LogsNothingExpected(t *testing.T) {
	var log bytes.Buffer
	forEachDB(t, func(t *testing.T, k *kit) {
		log.Reset()
		user := NewUser{Username: "anna", Password: testPassword}
		client := NewClient{ID: "shop", Grants: []string{GrantClientCredentials}}
		for _, want := range []error{nil, ErrConflict} {
			if _, err := k.CreateUser(t.Context(), user, Actor{}); !errors.Is(err, want) {
				t.Errorf("the user: %v, want %v", err, want)
			}
			if _, _, err := k.CreateClient(t.Context(), client, Actor{}); !errors.Is(err, want) {
				t.Errorf("the client: %v, want %v", err, want)
			}
		}
		other, err := k.CreateUser(t.Context(), NewUser{Username: "berta", Password: testPassword}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.UpdateUser(t.Context(), other.ID, UserPatch{Username: &user.Username}, Actor{}); !errors.Is(err, ErrConflict) {
			t.Errorf("another one's name: %v", err)
		}
		for _, code := range []string{"40001", "40P01"} {
			k.db.Logger.Trace(t.Context(), time.Now(), func() (string, int64) { return "", 0 }, &pgconn.PgError{Code: code})
		}
		if log.Len() != 0 {
			t.Errorf("the log: %s", &log)
		}
		k.db.Logger.Trace(t.Context(), time.Now(), func() (string, int64) { return "", 0 }, &pgconn.PgError{Code: "42601"})
		if log.Len() == 0 {
			t.Error("what is wrong is not in the log any more")
		}
	}, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
}
