package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curfew/internal/testdb"
	"curfew/internal/view"
	"curfew/models"
)

// Ensure --dry-run does nothing, says how many, and fails where the real command would.
func TestCommands_DryRun(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		b.furnish()
		r := b.serve()
		alice := r.signIn()
		r.signIn()
		for _, args := range [][]string{
			{"revoke", "user", "alice"},
			{"revoke", "client", "web"},
			{"revoke", "everyone"},
			{"user", "delete", "alice"},
			{"client", "delete", "web"},
			{"revoke", "device", alice.DeviceID},
			{"device", "revoke", alice.DeviceID},
		} {
			want := 2
			if strings.Contains(args[0]+args[1], "device") {
				want = 1
			}
			var got view.DryRun
			b.json(&got, "", append(args, "--dry-run")...)
			if got != (view.DryRun{DryRun: true, Count: want}) {
				t.Errorf("%q: %+v, want %d", args, got, want)
			}
			if text := b.run("", append(args, "--dry-run")...); !strings.Contains(text, "nothing was done") ||
				!strings.Contains(text, devicesOut(want)) {
				t.Errorf("%q: %s", args, text)
			}
		}
		nobody := "0198c2f0-7a3e-7c51-9d0a-5b6e1f2a3b4c"
		for _, args := range [][]string{
			{"revoke", "user", "nobody"},
			{"revoke", "client", "nobody"},
			{"revoke", "device", nobody},
			{"user", "delete", "nobody"},
			{"client", "delete", "nobody"},
		} {
			b.refuse(1, "", append(args, "--dry-run"), "there is no ")
			b.refuse(1, "", args, "there is no ")
		}
		if status, _ := r.do(http.MethodGet, r.public+"/settings/devices", alice.Access, nil); status != http.StatusOK {
			t.Errorf("a dry run signed somebody out: %d", status)
		}
		b.refuse(2, "", []string{"device", "list", "--status", "none"}, "status")
	})
}

// Ensure a name that is taken is said in one line, without the statement that found out.
func TestCommands_Duplicates(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		b.furnish()
		for _, args := range [][]string{
			{"user", "add", "alice", "--password-stdin"}, {"client", "add", "api", "--grants", "client_credentials"},
		} {
			_, stderr, code := b.try(testPassword, args...)
			if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "already") {
				t.Errorf("%q: %d %s", args, code, stderr)
			}
		}
	})
}

// Ensure a secret that many clients cannot send in HTTP Basic is taken, with a warning that does not repeat it.
func TestClient_SecretToEncode(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.run("", "migrate")
	for name, secret := range map[string]string{"plus": "a-secret+of-our-own-choice", "percent": "100%-of-our-own-choice-x"} {
		for _, args := range [][]string{
			{"client", "add", name, "--grants", "client_credentials", "--secret-stdin"}, {"client", "secret", name, "--secret-stdin"},
		} {
			_, stderr, code := b.try(secret, args...)
			if code != 0 || !strings.Contains(stderr, "warning") || !strings.Contains(stderr, "%2B") || strings.Contains(stderr, secret) {
				t.Errorf("%q: %d %s", args, code, stderr)
			}
		}
	}
	b.run("a/secret:of=our&own-choice", "client", "add", "fine", "--grants", "client_credentials", "--secret-stdin")
}

// Ensure the receipt in a line reads well, also while nobody has acknowledged.
func TestRevoke_NobodyHasApplied(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	secret := b.furnish()
	r := b.serve()
	_, api := r.token("grant_type", "client_credentials", "client_id", "api", "client_secret", secret)
	r.follow(api.Access, "silent", false)
	want := "client web: signed out; applied at 0 of 1 servers; missing: api/silent\n"
	if line := b.run("", "revoke", "client", "web", "--wait", "100ms"); line != want {
		t.Errorf("%q, want %q", line, want)
	}
}

// Ensure files that hold secrets and that everybody may read are named at the start, and others are not.
func TestServe_ReadableFiles(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.run("", "migrate")
	dir := t.TempDir()
	secret, cert, key := filepath.Join(dir, "secret"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	writePair(t, cert, key)
	b = b.with("CURFEW_SECRET=", "CURFEW_SECRET_FILE="+secret, "CURFEW_TLS_CERT="+cert, "CURFEW_TLS_KEY="+key)
	database := strings.TrimPrefix(strings.TrimPrefix(b.env[2], "CURFEW_DATABASE_URL="), "sqlite:")
	for _, mode := range []os.FileMode{0o640, 0o644} {
		for _, file := range []string{secret, key, database} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
		}
		r := b.serve()
		r.stop()
		named := map[string]bool{}
		for line := range strings.Lines(r.log.String()) {
			for _, file := range []string{secret, key, database} {
				if strings.Contains(line, `"WARN"`) && strings.Contains(line, "chmod o= "+file) {
					named[file] = true
				}
			}
		}
		for _, file := range []string{secret, key, database} {
			if named[file] != (mode == 0o644) {
				t.Errorf("%s with the mode %#o: named %v", file, mode, named[file])
			}
		}
	}
}

// Likewise the gate's.
func TestGate_ReadableFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]int{0o644: 1, 0o640: 0, 0o602: 1} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, warnings, _ := readGateConfig([]string{"CURFEW_GATE_CLIENT_SECRET_FILE=" + file})
		if len(warnings) != want {
			t.Errorf("%#o: %q", mode, warnings)
		}
	}
}

// Ensure TLS 1.2 without the suites that encrypt and authenticate one after the other, by real handshakes.
func TestServe_TLSSuites(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writePair(t, cert, key)
	r := b.with("CURFEW_TLS_CERT="+cert, "CURFEW_TLS_KEY="+key).serve()
	for _, address := range []string{r.public, r.admin} {
		for suite, good := range map[uint16]bool{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: false, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: false,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: true, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: true,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: true,
		} {
			conn, err := tls.Dial("tcp", strings.TrimPrefix(address, "https://"), &tls.Config{
				InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite},
			})
			if err == nil {
				conn.Close()
			}
			if (err == nil) != good {
				t.Errorf("%s: %v, want it taken: %v", tls.CipherSuiteName(suite), err, good)
			}
		}
	}
}

// Ensure who comes through a proxy that gives no readable address is nobody known, and counts for the proxy's limits;
// others behind it keep theirs.
func TestServe_UnreadableAddress(t *testing.T) {
	testdb.Each(t, func(t *testing.T, databaseURL string) {
		b := newBox(t, databaseURL).with("CURFEW_TRUSTED_PROXIES=127.0.0.1", "CURFEW_LIMIT_PER_ADDRESS=3")
		b.furnish()
		r := b.serve()
		ask := func(forwarded, password string) int {
			t.Helper()
			form := url.Values{"grant_type": {"password"}, "client_id": {"web"}, "username": {"alice"}, "password": {password}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.public+"/oauth2/token",
				strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
			if forwarded != "" {
				req.Header.Set("X-Forwarded-For", forwarded)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res.StatusCode
		}
		for forwarded, ip := range map[string]string{"203.0.113.7:51234": "203.0.113.7", "6.6.6.6, unknown": ""} {
			if status := ask(forwarded, testPassword); status != http.StatusOK {
				t.Fatalf("%s: %d", forwarded, status)
			}
			var devices []struct{ IP string }
			if b.list(&devices, "device", "list"); devices[0].IP != ip {
				t.Errorf("%s: %+v, want %q", forwarded, devices, ip)
			}
		}
		// The password's change signs its device in anew, from nowhere known.
		alice := r.signIn()
		body := `{"current_password":"` + testPassword + `","new_password":"` + testPassword + `!"}`
		change, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.public+"/settings/password", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		change.Header = http.Header{
			"Content-Type": {"application/json"}, "Authorization": {"Bearer " + alice.Access}, "X-Forwarded-For": {"unknown"},
		}
		res, err := http.DefaultClient.Do(change)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		var devices []struct{ IP string }
		b.list(&devices, "device", "list", "--status", "active")
		if res.StatusCode != http.StatusOK || len(devices) != 1 || devices[0].IP != "" {
			t.Errorf("after a new password: %s %+v", res.Status, devices)
		}
		testPassword := testPassword + "!"
		for _, forwarded := range []string{"unknown", "_hidden", "203.0.113.7, x"} {
			if status := ask(forwarded, "wrong"); status != http.StatusBadRequest {
				t.Errorf("%s: %d", forwarded, status)
			}
		}
		// The guesses are in the audit log without the proxy's address.
		execute(t, databaseURL, `CREATE TABLE guesses AS SELECT ip FROM audit_events WHERE type = 'wrong_password'`,
			`ALTER TABLE guesses ADD COLUMN one integer CHECK (one = 1)`, `UPDATE guesses SET one = CASE WHEN ip = '' THEN 1 ELSE 2 END`)
		for _, forwarded := range []string{"unknown", ""} {
			if status := ask(forwarded, testPassword); status != http.StatusTooManyRequests {
				t.Errorf("%q after three guesses through that proxy: %d", forwarded, status)
			}
		}
		if status := ask("203.0.113.7:1", testPassword); status != http.StatusOK {
			t.Errorf("another one behind it: %d", status)
		}
		r.stop()
		if n := strings.Count(r.log.String(), "X-Forwarded-For that cannot be read"); n != 1 {
			t.Errorf("the log has it %d times", n)
		}
	})
}

// Ensure the commands find the data of dev where they are run, or by the line that dev prints; that dev takes a
// lifetime and an issuer; and that it says which variables it leaves alone.
func TestDev_Commands(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	dir := filepath.Join(t.TempDir(), "it's a folder")
	data := filepath.Join(dir, "curfew-data")
	printed, stop := b.startDev(data, "--access-ttl", "90s", "--issuer", "https://id.example.com")
	defer stop()
	text := strings.Join(printed, "\n")
	if !strings.Contains(text, "https://id.example.com/oauth2/token") {
		t.Errorf("another issuer: %s", text)
	}
	for _, name := range []string{"CURFEW_DATABASE_URL", "CURFEW_SECRET", "CURFEW_HASH_MEMORY"} {
		if _, said, _ := strings.Cut(text, "not read here: "); !strings.Contains(said, name) {
			t.Errorf("that %s is not read is not said: %s", name, text)
		}
	}
	var export string
	for _, line := range printed {
		if strings.HasPrefix(strings.TrimSpace(line), "export ") {
			export = line
		}
	}
	bare := &box{t: t, env: b.env[:2]} // PATH and HOME
	// In the folder.
	cmd := bare.command("revoke", "user", "demo", "--wait", "0s")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "curfew-data") || !strings.Contains(string(out), "user demo: ") {
		t.Errorf("in the folder: %v %s", err, out)
	}
	// Elsewhere.
	_, stderr, code := bare.try("", "user", "list")
	if code != 2 || !strings.Contains(stderr, "CURFEW_DATABASE_URL is missing") {
		t.Errorf("elsewhere: %d %s", code, stderr)
	}
	bare.prefix = []string{"sh", "-c", export + "\n" + `exec "$@"`, "sh"}
	if users := bare.run("", "user", "list"); !strings.Contains(users, "demo") {
		t.Errorf("with the line: %s", users)
	}
	// A variable that is set wins.
	cmd = b.command("user", "list")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "curfew-data") {
		t.Errorf("in the folder, with a database of one's own: %v %s", err, out)
	}
	b.refuse(2, "", []string{"dev", "--issuer", "id.example.com"}, "--issuer", "it must be")
	b.refuse(2, "", []string{"dev", "--access-ttl", "0s"}, "--access-ttl", "it must be")
}

// The lifetime that dev was started with is the one its tokens have.
func TestDev_AccessTTL(t *testing.T) {
	pairs, err := (&devCommand{AccessTTL: "90s"}).serverVariables()
	if err != nil || len(pairs) != 1 || pairs[0] != "CURFEW_ACCESS_TTL=90s" {
		t.Fatal(pairs, err)
	}
	b := newBox(t, testdb.SQLite(t))
	data := filepath.Join(t.TempDir(), "data")
	printed, stop := b.startDev(data, "--access-ttl", "90s")
	defer stop()
	issuer := strings.Fields(printed[slicesIndex(printed, "Curfew runs on ")])[3]
	var demo demoSecrets
	text, err := os.ReadFile(filepath.Join(data, "demo.json"))
	if err == nil {
		err = json.Unmarshal(text, &demo)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, public: issuer}
	status, got := r.token("grant_type", models.GrantPassword, "client_id", demoClient, "username", demoUser, "password",
		demo.DemoPassword)
	if status != http.StatusOK || got.Expires != 90 {
		t.Errorf("%d %+v", status, got)
	}
}

// slicesIndex is the first line that begins so.
func slicesIndex(lines []string, begin string) int {
	for i, line := range lines {
		if strings.HasPrefix(line, begin) {
			return i
		}
	}
	return -1
}
