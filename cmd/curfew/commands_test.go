package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"curfew/internal/testdb"
)

// Ensure the receipt names who has applied a sign-out and who has not.
func TestRevoke_Receipt(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		apiSecret := b.furnish()
		r := b.serve()
		_, api := r.token("grant_type", "client_credentials", "client_id", "api", "client_secret", apiSecret, "scope",
			"revocations")
		prompt, silent := r.follow(api.Access, "prompt", true), r.follow(api.Access, "silent", false)
		r.signIn()

		out := b.signOut("revoke", "user", "alice", "--wait", "100ms")
		if out.Applied == nil || out.Applied.Subscribers != 2 || len(out.Applied.Missing) == 0 ||
			out.Applied.Missing[len(out.Applied.Missing)-1] != "api/silent" {
			t.Errorf("receipt: %+v", out.Applied)
		}
		silent.close()
		prompt.await("event: revocation")
		line := b.run("", "revoke", "user", "alice", "--wait", "10s")
		if !regexp.MustCompile(`^user alice: 0 devices out; applied at 1 of 2 servers, slowest \d+ ms; missing: api/silent\n$`).MatchString(line) {
			t.Errorf("receipt: %q", line)
		}
		prompt.close()
	})
}

// importFile is a file of users, right and wrong; in the comments stand the numbers of its lines.
func importFile(hash, expensive string) string {
	return strings.Join([]string{
		"\uFEFFusername,password_hash", // 1
		"dora," + hash,                 // 2
		`"emil, jr.",` + hash,          // 3
		"ALICE," + hash,                // 4: exists
		"frida," + expensive,           // 5
		"gustav,Geheimnis-im-Klartext", // 6
		"hanna",                        // 7
		"Dora," + hash,                 // 8: twice
		" ida," + hash,                 // 9: a space that does not count
		"jo\"hn," + hash,               // 10: broken CSV
		hash + ",kurt",                 // 11: the wrong way round
		"ludwig,",                      // 12
		"martha,$pbkdf2-sha256$1$c2FsdHNhbHQ$AAAA",                    // 13: damaged
		"nora,\"$argon2id$v=19$m=99999999,t=1,p=1$x\"",                // 14
		"ΝΊΚΟΣ," + hash,                                               // 15
		"Νίκος ," + hash,                                              // 16: twice
		"otto,$pbkdf2-sha1$1$c2FsdHNhbHQ$MNEV9u2pN6dwoHiByKLtK5AJwGc", // 17: worthless
		"paula,bcrypt$" + hash,                                        // 18
	}, "\n") + "\n"
}

// Ensure an import takes what is right, skips who is there, and names what is wrong without repeating a hash.
func TestUserImport(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	expensive := strings.Replace(string(hash), "$04$", "$31$", 1)
	text := importFile(string(hash), expensive)
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		b.furnish()
		file := filepath.Join(t.TempDir(), "users.csv")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{file, "--dry-run"}, {"-"}, {file}} {
			stdout, stderr, code := b.try(text, append([]string{"user", "import", "--json"}, args...)...)
			if code != 1 || !strings.Contains(stderr, "lines could not be imported") {
				t.Fatalf("%v: exit code %d: %s", args, code, stderr)
			}
			var got imported
			decode(t, stdout, &got)
			if got.DryRun != (len(args) == 2) {
				t.Errorf("%v: dry_run is %t", args, got.DryRun)
			}
			wantImported, wantSkipped, failed := 5, 1, []int{5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17}
			if args[0] == file && !got.DryRun { // the second time
				wantImported, wantSkipped = 0, 6
			}
			if got.Imported != wantImported || got.Skipped != wantSkipped || got.Failed != len(failed) {
				t.Errorf("%v: %+v", args, got)
			}
			var lines []int
			for _, l := range got.Lines {
				if l.Reason == "" {
					t.Errorf("%v: line %d has no reason", args, l.Line)
				}
				if l.Result == "failed" {
					lines = append(lines, l.Line)
				}
			}
			if fmt.Sprint(lines) != fmt.Sprint(failed) {
				t.Errorf("%v: failed lines %v, want %v", args, lines, failed)
			}
		}
		_, stderr, _ := b.try("", "user", "import", file)
		if !strings.Contains(stderr, "line 5: failed: ") || !strings.Contains(stderr,
			"line 4: skipped: the user exists already") || !strings.Contains(stderr, "worthless") {
			t.Errorf("what people read: %s", stderr)
		}
		for _, secret := range []string{string(hash), expensive, "Klartext", "99999999,t=1,p=1$x"} {
			if strings.Contains(b.all.String(), secret) {
				t.Errorf("the output repeats %s", secret)
			}
		}
		r := b.serve()
		for _, name := range []string{"dora", "emil, jr.", "Νίκος", " PAULA"} {
			if status, got := r.token("grant_type", "password", "client_id", "web", "username", name, "password",
				testPassword); status != http.StatusOK {
				t.Errorf("sign-in of %s with the imported hash: %d %+v", name, status, got)
			}
		}
	})
}

// Ensure that several starters of a migration do not get into each other's way, and that a second one finds nothing to
// do.
func TestMigrate(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url).with("CURFEW_SECRET=")
		b.refuse(2, "", []string{"cleanup"}, "CURFEW_SECRET")
		var wg sync.WaitGroup
		results := make([]string, 4)
		for i := range results {
			wg.Go(func() {
				stdout, stderr, code := b.try("", "migrate", "--json")
				if code != 0 {
					t.Errorf("migrate: exit code %d: %s", code, stderr)
				}
				results[i] = stdout
			})
		}
		wg.Wait()
		worked, applied := 0, map[int64]int{}
		for _, text := range results {
			var got struct{ Applied []int64 }
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Errorf("%v: %s", err, text)
			}
			if len(got.Applied) > 0 {
				worked++
			}
			for _, version := range got.Applied {
				if applied[version]++; applied[version] > 1 {
					t.Errorf("version %d was applied twice: %q", version, results)
				}
			}
		}
		if worked == 0 || (worked > 1 && strings.HasPrefix(url, "postgres")) { // on SQLite they may share the steps
			t.Errorf("%d of them migrated: %q", worked, results)
		}
		if line := b.run("", "migrate"); line != "the schema is up to date\n" {
			t.Error(line)
		}
	})
}

// Ensure a mistyped path of SQLite is an error, and not a new database in which everyone is signed out already.
func TestCommands_MistypedPath(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.refuse(1, "", []string{"revoke", "everyone", "--yes"}, "CURFEW_DATABASE_URL", "curfew migrate")
	b.refuse(1, "", []string{"user", "list"}, "CURFEW_DATABASE_URL")

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := b.with("CURFEW_DATABASE_URL=sqlite:"+file+"/curfew.db").try("", "user", "list")
	if code != 1 || strings.Contains(stderr, "curfew migrate") {
		t.Errorf("a path that leads through a file: %d %s", code, stderr)
	}
}

// Ensure nothing is asked where nobody answers: standard input is /dev/null here.
func TestCommands_NobodyToAsk(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.furnish()
	out, err := b.command("revoke", "everyone").CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 ||
		string(out) != "curfew: nobody can be asked here: say --yes\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// Ensure an address is found in whatever form it is given.
func TestCommands_DevicesOfAnAddress(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.furnish()
	r := b.with("CURFEW_TRUSTED_PROXIES=127.0.0.1").serve()
	form := url.Values{"grant_type": {"password"}, "client_id": {"web"}, "username": {"alice"}, "password": {testPassword}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.public+"/oauth2/token",
		strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Forwarded-For": {"2001:db8::1"}}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	r.signIn()
	for address, want := range map[string]string{
		"2001:DB8::1": "2001:db8::1", "2001:db8:0:0::1": "2001:db8::1", "127.0.0.1": "127.0.0.1",
		"::ffff:127.0.0.1": "127.0.0.1",
	} {
		var devices []struct{ IP string }
		b.list(&devices, "device", "list", "--ip", address)
		if len(devices) != 1 || devices[0].IP != want {
			t.Errorf("%s: %+v", address, devices)
		}
	}
	b.refuse(2, "", []string{"device", "list", "--ip", "phone"}, "--ip", "phone")
}

// execute runs statements on the database itself.
func execute(t *testing.T, databaseURL string, statements ...string) {
	t.Helper()
	driver, name := "pgx", databaseURL
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		driver, name = "sqlite", path
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// Ensure what is said of a database that does not work leads somewhere.
func TestCommands_BrokenDatabase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		execute(t, url, `CREATE TABLE another_program (id integer)`)
		b.refuse(1, "", []string{"keys", "list"}, "it has no tables yet", "curfew migrate")
		b.run("", "migrate")

		// No key that signs: the message's own way out works.
		b.run("", "keys", "rotate", "--now")
		execute(t, url, `DELETE FROM signing_keys WHERE retires_at = 0`)
		const wayOut = "DELETE FROM signing_keys"
		b.refuse(1, "", []string{"keys", "rotate", "--now"}, wayOut)
		execute(t, url, wayOut)
		var keys []listed
		if b.list(&keys, "keys", "list"); len(ofAccess(keys)) != 1 {
			t.Errorf("keys: %+v", keys)
		}

		// What cannot be read is not called empty.
		execute(t, url, `ALTER TABLE goose_db_version RENAME COLUMN version_id TO other`)
		_, stderr, code := b.try("", "keys", "list")
		if code != 1 || !strings.Contains(stderr, "version_id") || strings.Contains(stderr, "no tables yet") {
			t.Errorf("a schema version that cannot be read: %d %s", code, stderr)
		}
	})
}
