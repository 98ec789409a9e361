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

	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"

	"curfew/internal/testdb"
)

// signOutJSON is what every sign-out prints.
type signOutJSON struct {
	Revocation *struct {
		Seq              int64   `json:"seq"`
		Level            string  `json:"level"`
		Subject          *string `json:"subject"`
		ValidFrom        string  `json:"valid_from"`
		Reason           string  `json:"reason"`
		InitiatingEntity string  `json:"initiating_entity"`
		Actor            string  `json:"actor"`
		CreatedAt        string  `json:"created_at"`
		ExpiresAt        string  `json:"expires_at"`
	} `json:"revocation"`
	Count   *int `json:"count"`
	Applied *struct {
		Subscribers  int      `json:"subscribers"`
		Acknowledged int      `json:"acknowledged"`
		SlowestMS    int64    `json:"slowest_ms"`
		Missing      []string `json:"missing"`
	} `json:"applied"`
}

// listed is what the lists have in common, and what the test looks at; times are text in JSON.
type listed struct {
	ID         string   `json:"id"`
	KID        string   `json:"kid"`
	Name       string   `json:"name"`
	Username   string   `json:"username"`
	ClientID   string   `json:"client_id"`
	Status     string   `json:"status"`
	Admin      bool     `json:"admin"`
	Disabled   bool     `json:"disabled"`
	Public     bool     `json:"public"`
	Introspect bool     `json:"introspect"`
	Grants     []string `json:"grants"`
	RetiresAt  *string  `json:"retires_at"`
}

// signOut runs a command that signs out.
func (b *box) signOut(args ...string) (out signOutJSON) {
	b.t.Helper()
	b.json(&out, "", args...)
	if out.Revocation == nil {
		b.t.Fatalf("curfew %q: no revocation", args)
	}
	return out
}

// count is how many devices it says are out; -1 if it does not.
func (o signOutJSON) count() int {
	if o.Count == nil {
		return -1
	}
	return *o.Count
}

// list runs a command whose JSON has more fields than the test looks at.
func (b *box) list(v any, args ...string) {
	b.t.Helper()
	text := b.run("", append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		b.t.Fatalf("%v in: %s", err, text)
	}
}

// Ensure an operator's day on the command line works beside a running server, and that all JSON is what it shall be.
func TestCommands(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		apiSecret := b.furnish()
		r := b.serve()

		var user struct {
			ID       uuid.UUID `json:"id"`
			Username string    `json:"username"`
		}
		b.json(&user, testPassword, "user", "add", "Boss", "--password-stdin", "--admin")
		if user.Username != "Boss" || user.ID == uuid.Nil {
			t.Errorf("user add: %+v", user)
		}
		b.refuse(1, testPassword, []string{"user", "add", "ALICE", "--password-stdin"}, `user "ALICE" already`)
		b.refuse(2, testPassword, []string{"user", "add", "carol"}, "--password-stdin")
		b.refuse(2, "", []string{"user", "add", "carol", "--password-stdin"}, "empty")
		b.refuse(1, "short\n", []string{"user", "add", "carol", "--password-stdin"}, "at least 8")
		b.refuse(1, testPassword, []string{"user", "disable", "carol"}, `no user "carol"`)
		b.refuse(2, "", []string{"client", "add", "bad", "--grants", "magic"}, "magic")
		b.refuse(1, "", []string{"client", "add", "web", "--grants", "password"}, `client "web" already`)
		b.refuse(2, "", []string{"device", "revoke", "x"}, "GUID")
		b.refuse(2, "", []string{"device", "revoke", uuid.Nil.String()}, "GUID") // not any device, and not all
		b.refuse(2, "", []string{"device", "rename", uuid.Nil.String(), "x"}, "GUID")
		b.refuse(1, "", []string{"device", "revoke", uuid.NewString()}, "no device")

		phone, laptop := r.signIn(), r.signIn()
		var devices []listed
		b.list(&devices, "device", "list", "--user", "alice", "--status", "active")
		if len(devices) != 2 || devices[0].Username != "alice" || devices[0].ClientID != "web" || devices[0].Status != "active" {
			t.Fatalf("device list: %+v", devices)
		}
		var device listed
		b.list(&device, "device", "rename", phone.DeviceID, "Alice's phone")
		if device.Name != "Alice's phone" || device.ID != phone.DeviceID {
			t.Errorf("device rename: %+v", device)
		}
		if table := b.run("", "device", "list"); !strings.Contains(table, "Alice's phone") || strings.Count(table, "\n") != 3 {
			t.Errorf("device list: %s", table)
		}

		// One device, twice: the second time it is out already, and there is no new event.
		out := b.signOut("device", "revoke", phone.DeviceID)
		again := b.signOut("revoke", "device", phone.DeviceID)
		if out.Revocation.Level != "device" || out.Revocation.Actor != "cli" || out.count() != 1 || out.Applied == nil {
			t.Errorf("device revoke: %+v", out)
		}
		if again.Revocation.Seq != out.Revocation.Seq || again.count() != 0 {
			t.Errorf("device revoke, again: %+v", again)
		}
		if status, _ := r.token("grant_type", "refresh_token", "client_id", "web", "refresh_token", phone.Refresh); status != http.StatusBadRequest {
			t.Errorf("refresh of a revoked device: %d", status)
		}
		status, laptop := r.token("grant_type", "refresh_token", "client_id", "web", "refresh_token", laptop.Refresh)
		if status != http.StatusOK {
			t.Errorf("refresh of the other device: %d", status)
		}

		// A user, a client, everyone.
		if line := b.run("", "revoke", "user", "alice"); line != "user alice: 1 device out; no server follows the revocation feed\n" {
			t.Errorf("revoke user: %q", line)
		}
		if status, _ := r.do(http.MethodGet, r.public+"/settings/devices", laptop.Access, nil); status != http.StatusUnauthorized {
			t.Errorf("access token of a user who was signed out: %d", status)
		}
		out = b.signOut("revoke", "client", "web", "--wait", "0s")
		if out.Revocation.Level != "client" || *out.Revocation.Subject != "web" || out.Applied != nil {
			t.Errorf("revoke client: %+v %+v", out.Revocation, out.Applied)
		}
		b.refuse(1, "", []string{"revoke", "client", "nobody"}, `no client "nobody"`)
		b.refuse(2, "", []string{"revoke", "everyone"}, "--yes")
		out = b.signOut("revoke", "everyone", "--yes")
		if out.Revocation.Level != "everyone" || out.Revocation.Subject != nil {
			t.Errorf("revoke everyone: %+v", out)
		}

		// Disabled, enabled, another password.
		r.signIn()
		out = b.signOut("user", "disable", "alice")
		if out.Revocation.Reason != "user_disabled" || out.count() != 1 {
			t.Errorf("user disable: %s, %d devices", out.Revocation.Reason, out.count())
		}
		if status, got := r.token("grant_type", "password", "client_id", "web", "username", "alice", "password", testPassword); status != http.StatusBadRequest || got.Error != "invalid_grant" {
			t.Errorf("sign-in of a disabled user: %d %+v", status, got)
		}
		if line := b.run("", "user", "enable", "alice"); line != "user alice: enabled\n" {
			t.Errorf("user enable: %q", line)
		}
		r.signIn()
		const changed = "Noch-ein-Waldgeist 18"
		if line := b.run(changed+"\n", "user", "passwd", "alice", "--password-stdin"); !strings.HasPrefix(line, "user alice: password changed, 1 device out;") {
			t.Errorf("user passwd: %q", line)
		}
		if status, _ := r.token("grant_type", "password", "client_id", "web", "username", "alice", "password", changed); status != http.StatusOK {
			t.Errorf("sign-in with the new password: %d", status)
		}
		for _, wrong := range [][]string{{}, {"--on", "--off"}} {
			b.refuse(2, "", append([]string{"user", "admin", "alice"}, wrong...), "--off")
		}
		if line := b.run("", "user", "admin", "alice", "--on"); line != "user alice: an admin\n" {
			t.Errorf("user admin --on: %q", line)
		}
		out = b.signOut("user", "admin", "alice", "--off")
		if out.Revocation.Reason != "admin_removed" || out.count() != 1 {
			t.Errorf("user admin --off: %s, %d devices", out.Revocation.Reason, out.count())
		}
		if line := b.run("", "user", "admin", "alice", "--off"); line != "user alice: no admin\n" {
			t.Errorf("user admin --off of somebody who is none: %q", line)
		}
		var users []listed
		b.list(&users, "user", "list")
		if len(users) != 2 || users[0].Username != "alice" || users[0].Disabled || !users[1].Admin {
			t.Errorf("user list: %+v", users)
		}
		b.run("", "user", "list")

		// Clients and their secrets.
		var api struct {
			ClientID     string `json:"client_id"`
			ClientSecret string `json:"client_secret"`
		}
		const given = "a-secret-of-our-own-choice"
		b.json(&api, "", "client", "secret", "api")
		if api.ClientSecret == apiSecret || len(api.ClientSecret) < 26 {
			t.Error("client secret: it is the old one, or short")
		}
		if line := b.run(given+"\n", "client", "secret", "api", "--secret-stdin"); line != "client api: has a new secret\n" {
			t.Errorf("client secret --secret-stdin: %q", line)
		}
		if status, _ := r.token("grant_type", "client_credentials", "client_id", "api", "client_secret", given); status != http.StatusOK {
			t.Errorf("the new client secret: %d", status)
		}
		for _, old := range []string{apiSecret, api.ClientSecret} {
			if status, _ := r.token("grant_type", "client_credentials", "client_id", "api", "client_secret", old); status != http.StatusUnauthorized {
				t.Errorf("an old client secret: %d", status)
			}
		}
		var clients []listed
		b.list(&clients, "client", "list")
		if len(clients) != 2 || clients[0].ClientID != "api" || !clients[0].Introspect || !clients[1].Public || len(clients[1].Grants) != 2 {
			t.Errorf("client list: %+v", clients)
		}
		b.run("", "client", "list")
		out = b.signOut("client", "delete", "web")
		if out.Revocation.Reason != "client_deleted" {
			t.Errorf("client delete: %+v", out)
		}
		out = b.signOut("user", "delete", "alice")
		if out.Revocation.Reason != "user_deleted" {
			t.Errorf("user delete: %+v", out)
		}

		// Keys, clean-up, version.
		var keys []listed
		var rotated listed
		b.list(&rotated, "keys", "rotate")
		b.list(&keys, "keys", "list")
		if len(keys) != 2 || keys[0].KID != rotated.KID || keys[0].RetiresAt != nil || keys[1].RetiresAt == nil {
			t.Errorf("keys list: %+v", keys)
		}
		b.run("", "keys", "list")
		b.run("", "keys", "rotate", "--now")
		var cleaned map[string]int64
		b.json(&cleaned, "", "cleanup")
		if _, ok := cleaned["devices"]; !ok {
			t.Errorf("cleanup: %+v", cleaned)
		}
		b.run("", "cleanup")
		var v map[string]string
		b.json(&v, "", "version")
		if v["version"] == "" {
			t.Error("version: none")
		}

		r.stop()
		said := b.all.String()
		for what, secret := range map[string]string{
			"password": testPassword, "new password": changed, "server's secret": testSecret, "client secret from standard input": given,
			"access token": phone.Access, "refresh token": phone.Refresh, "refresh token of the laptop": laptop.Refresh,
		} {
			if strings.Contains(said, secret) {
				t.Errorf("the %s was written somewhere", what)
			}
		}
		if n := strings.Count(said, apiSecret); n != 1 {
			t.Errorf("a new client secret was shown %d times", n)
		}
	})
}

// Ensure the receipt names who has applied a sign-out and who has not.
func TestRevoke_Receipt(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		apiSecret := b.furnish()
		r := b.serve()
		_, api := r.token("grant_type", "client_credentials", "client_id", "api", "client_secret", apiSecret, "scope", "revocations")
		prompt, silent := r.follow(api.Access, "prompt", true), r.follow(api.Access, "silent", false)
		r.signIn()

		out := b.signOut("revoke", "user", "alice", "--wait", "100ms")
		if out.Applied == nil || out.Applied.Subscribers != 2 || len(out.Applied.Missing) == 0 || out.Applied.Missing[len(out.Applied.Missing)-1] != "api/silent" {
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

// Ensure an import takes what is right, skips who is there, and names what is wrong without repeating a hash.
func TestUserImport(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	expensive := strings.Replace(string(hash), "$04$", "$31$", 1)
	text := strings.Join([]string{
		"\uFEFFusername,password_hash",                 // 1
		"dora," + string(hash),                         // 2
		`"emil, jr.",` + string(hash),                  // 3
		"ALICE," + string(hash),                        // 4: exists
		"frida," + expensive,                           // 5
		"gustav,Geheimnis-im-Klartext",                 // 6
		"hanna",                                        // 7
		"Dora," + string(hash),                         // 8: twice
		" ida," + string(hash),                         // 9: space
		"jo\"hn," + string(hash),                       // 10: broken CSV
		string(hash) + ",kurt",                         // 11: the wrong way round
		"ludwig,",                                      // 12
		"martha,$pbkdf2-sha256$1$c2FsdHNhbHQ$AAAA",     // 13: damaged
		"nora,\"$argon2id$v=19$m=99999999,t=1,p=1$x\"", // 14
	}, "\n") + "\n"
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
			wantImported, wantSkipped, failed := 2, 1, []int{5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
			if args[0] == file && !got.DryRun { // the second time
				wantImported, wantSkipped = 0, 3
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
		if !strings.Contains(stderr, "line 5: failed: ") || !strings.Contains(stderr, "line 4: skipped: the user exists already") {
			t.Errorf("what people read: %s", stderr)
		}
		for _, secret := range []string{string(hash), expensive, "Klartext", "99999999,t=1,p=1$x"} {
			if strings.Contains(b.all.String(), secret) {
				t.Errorf("the output repeats %s", secret)
			}
		}
		r := b.serve()
		for _, name := range []string{"dora", "emil, jr."} {
			if status, got := r.token("grant_type", "password", "client_id", "web", "username", name, "password", testPassword); status != http.StatusOK {
				t.Errorf("sign-in of %s with the imported hash: %d %+v", name, status, got)
			}
		}
	})
}

// Ensure that several starters of a migration do not get into each other's way, and that a second one finds nothing to do.
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
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 || string(out) != "curfew: it takes --yes where nobody can be asked\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// Ensure an address is found in whatever form it is given.
func TestCommands_DevicesOfAnAddress(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.furnish()
	r := b.with("CURFEW_TRUSTED_PROXIES=127.0.0.1").serve()
	form := url.Values{"grant_type": {"password"}, "client_id": {"web"}, "username": {"alice"}, "password": {testPassword}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.public+"/oauth2/token", strings.NewReader(form.Encode()))
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
		"2001:DB8::1": "2001:db8::1", "2001:db8:0:0::1": "2001:db8::1", "127.0.0.1": "127.0.0.1", "::ffff:127.0.0.1": "127.0.0.1",
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
		if b.list(&keys, "keys", "list"); len(keys) != 1 {
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
