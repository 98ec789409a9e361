// Package testdb gives every test a database of its own, on SQLite and on PostgreSQL.
//
// PostgreSQL is TEST_DATABASE_URL if that is set, else a throwaway cluster from installed binaries; without either the
// tests fail and say how to get one. They are never skipped.
package testdb

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/internal/pgcluster"
)

var (
	once    sync.Once
	cluster *pgcluster.Cluster
	server  string // URL of a database from which others are created
	failure error
	number  atomic.Int64
)

// Main runs a package's tests and stops the cluster that they used: os.Exit(testdb.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	if cluster != nil {
		if err := cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}

// Each runs fn on both databases, each time with the URL of a new, empty one.
func Each(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { fn(t, Postgres(t)) })
}

// SQLite is the URL of a new database file.
func SQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "curfew.db") }

// Postgres is the URL of a new database, dropped at the end of the test.
func Postgres(t testing.TB) string {
	t.Helper()
	once.Do(start)
	if failure != nil {
		t.Fatal(failure)
	}
	name := fmt.Sprintf("curfew_test_%d_%d", os.Getpid(), number.Add(1))
	run := func(statement string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, statement)
		return err
	}
	if err := run("CREATE DATABASE " + name); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := run("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			t.Logf("drop the test's database: %v", err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func start() {
	if server = os.Getenv("TEST_DATABASE_URL"); server != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Durability is not what these tests are about; the fault tests run a cluster with fsync on.
	if cluster, failure = pgcluster.Start(ctx, "fsync=off", "synchronous_commit=off",
		"full_page_writes=off"); failure == nil {
		server = cluster.URL("postgres")
	}
}
