package models

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
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
