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
	// strategy is how a database is copied.
	strategy string
	number   atomic.Int64
)

// Prepare, set before the first test, fills the database of which [Each] gives every test a copy. Migrations and the
// keys of a new installation take longer than most tests.
var Prepare func(url string) error

// Main runs a package's tests and stops the cluster that they used: os.Exit(testdb.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	if template != "" {
		drop(template)
	}
	if cluster != nil {
		if err := cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}

// Each runs fn on both databases, each time with the URL of a new one: empty, or as [Prepare] has filled it.
func Each(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { fn(t, preparedSQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { fn(t, preparedPostgres(t)) })
}

// SQLite is the URL of a new, empty database file.
func SQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "curfew.db") }

// Postgres is the URL of a new, empty database, dropped at the end of the test.
func Postgres(t testing.TB) string {
	t.Helper()
	return postgresLike(t, "template1")
}

func postgresLike(t testing.TB, original string) string {
	t.Helper()
	needServer(t)
	name := newName()
	if err := run("CREATE DATABASE " + name + " TEMPLATE " + original + strategy); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() { drop(name) })
	return urlOf(name)
}

func needServer(t testing.TB) {
	t.Helper()
	once.Do(start)
	if failure != nil {
		t.Fatal(failure)
	}
}

func newName() string { return fmt.Sprintf("curfew_test_%d_%d", os.Getpid(), number.Add(1)) }

func urlOf(name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(err)
	}
	u.Path = "/" + name
	return u.String()
}

func run(statement string) error {
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

func drop(name string) {
	if err := run("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
		fmt.Fprintf(os.Stderr, "drop the test's database: %v\n", err)
	}
}

// What Prepare has filled, once for each database.
var (
	preparedFile = sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "curfew-prepared-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "curfew.db")
		if err := Prepare("sqlite:" + file); err != nil {
			return nil, err
		}
		return os.ReadFile(file)
	})
	template     string // name of the database on PostgreSQL
	makeTemplate = sync.OnceValue(func() error {
		name := newName()
		if err := run("CREATE DATABASE " + name); err != nil {
			return err
		}
		template = name
		return Prepare(urlOf(name))
	})
)

func preparedSQLite(t *testing.T) string {
	t.Helper()
	if Prepare == nil {
		return SQLite(t)
	}
	b, err := preparedFile()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "curfew.db")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + file
}

func preparedPostgres(t *testing.T) string {
	t.Helper()
	if Prepare == nil {
		return Postgres(t)
	}
	needServer(t)
	if err := makeTemplate(); err != nil {
		t.Fatal(err)
	}
	return postgresLike(t, template)
}

func start() {
	if server = os.Getenv("TEST_DATABASE_URL"); server != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Durability is not what these tests are about; the fault tests run a cluster with fsync on.
	if cluster, failure = pgcluster.Start(ctx, "fsync=off", "synchronous_commit=off",
		"full_page_writes=off"); failure != nil {
		return
	}
	server = cluster.URL("postgres")
	// Without fsync a copy of the files is made in a quarter of the time that PostgreSQL's own log of it takes. Before
	// version 15 there is nothing else, and no word for it.
	if run("CREATE DATABASE tried STRATEGY file_copy") == nil {
		strategy = " STRATEGY file_copy"
	}
}
