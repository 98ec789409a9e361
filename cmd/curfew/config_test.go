package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"curfew/internal/testdb"
)

// environment is a small right one, with changes.
func environment(changes ...string) []string {
	return append([]string{"CURFEW_DATABASE_URL=sqlite:curfew.db", "CURFEW_SECRET=" + testSecret}, changes...)
}

// shortSecret is a byte too short.
var shortSecret = base64.StdEncoding.EncodeToString([]byte("only-thirty-one-bytes-of-secret"))

// wrongValues are variables with a value that must not be accepted, and what the error says of it.
var wrongValues = []struct{ variable, says string }{
	{"DATABASE_URL=mysql://root:hunter2@db/curfew", "sqlite:PATH or postgres://"},
	{"DATABASE_URL=sqlite:", "sqlite:PATH"},
	{"DATABASE_URL=sqlite::memory:", "sqlite:PATH"},
	{"DATABASE_URL=postgres://u:hunter2@h:port/db", "postgres://"},
	{"DATABASE_URL=postgres://u:hunter2@h/db?sslmode=hunter3", "postgres://"},
	{"DATABASE_PASSWORD_FILE=/nonexistent", "a file"},
	{"DATABASE_MAX_CONNS=1", "2 to 1000"},
	{"DATABASE_MAX_CONNS=many", "2 to 1000"},
	{"NOTIFY_URL=sqlite:x.db", "postgres://"},
	{"PUBLIC_ADDR=8080", "HOST:PORT"},
	{"PUBLIC_ADDR=localhost:70000", "HOST:PORT"},
	{"ADMIN_ADDR=localhost:http", "HOST:PORT"},
	{"ADMIN_ADDR=127.0.0.1:8080", "kept apart"},
	{"ADMIN_URL=admin.example.com", "http:// or https://"},
	{"ADMIN_URL=https://admin.example.com/console", "no path"},
	{"STEP_UP=-1s", "0s (never) to 24h"},
	{"ISSUER=id.example.com", "http:// or https://"},
	{"ISSUER=https://id.example.com/", "trailing slash"},
	{"ISSUER=https://id.example.com?x=1", "query or a fragment"},
	{"ISSUER=https://id.example.com#x", "query or a fragment"},
	{"ISSUER=https://example.com/auth", "host name of its own"},
	{"ISSUER=https://example.com/a b", "host name of its own"},
	{"ISSUER=https://id.example.com ", "http:// or https://"},
	{"ISSUER=https://id example.com", "http:// or https://"},
	{"ISSUER=HTTPS://id.example.com", "https://id.example.com;"},
	{"ISSUER=https://:8080", "no host"},
	{"ISSUER=ftp://id.example.com", "http:// or https://"},
	{"ISSUER=https://admin:hunter2@id.example.com", "http:// or https://"},
	{"AUDIENCE=a,,b", "separated by commas"},
	{"SECRET=" + shortSecret, "32 random bytes or more"},
	{"SECRET=hunter2 hunter2 hunter2 hunter2 hunter2", "32 random bytes or more"},
	{"SECRET=" + testSecret + "," + testSecret, "32 random bytes or more"},
	{"SECRET=" + testSecret + ",", "32 random bytes or more"},
	{"SECRET_FILE=/nonexistent", "not both"},
	{"PAGES=no", "on or off"},
	{"PAGES_NAME=" + strings.Repeat("x", 41), "up to 40 characters"},
	{"PAGES_LOGO=/nonexistent", "SVG, PNG, JPEG or WebP"},
	{"PAGES_LOGO=config_test.go", "SVG, PNG, JPEG or WebP"},
	{"PAGES_ACCENT=#eeeeee", "4.5"},
	{"PAGES_ACCENT=red", "#rrggbb"},
	{"CODE_TTL=11m", "1s to 10m"},
	{"ACCESS_TTL=5", "1s to 24h"},
	{"ACCESS_TTL=0s", "1s to 24h"},
	{"ACCESS_TTL=-5m", "1s to 24h"},
	{"ACCESS_TTL=721h", "1s to 24h"},
	{"REFRESH_TTL=1m", "ACCESS_TTL"},
	{"REFRESH_TTL=30d", "1s to 87600h"},
	{"DEVICE_MAX_AGE=-1s", "0s (no end)"},
	{"REUSE_INTERVAL=2h", "0s to 1h"},
	{"SIGNING_ALG=HS256", "ES256, EdDSA or RS256"},
	{"SIGNING_ALG=none", "ES256, EdDSA or RS256"},
	{"KEY_ROTATION=5m", "1h to"},
	{"MAX_DEVICES_PER_USER=0", "1 to 1000"},
	{"REVOKED_RETENTION=forever", "0s to"},
	{"AUDIT_RETENTION=0s", "1s to"},
	{"HASH_MEMORY=4", "8 to 262144"},
	{"HASH_TIME=0", "1 to 10"},
	{"HASH_CONCURRENCY=0", "1 to 1024"},
	{"HASH_QUEUE=-1", "1 to 100000"},
	{"PASSWORD_MIN_LENGTH=7", "8 to 128"},
	{"PASSWORD_MIN_LENGTH=129", "8 to 128"},
	{"PASSWORD_WORDS=acme,,widgets", "separated by commas"},
	{"PASSWORD_BREACH_URL=http://breaches.example/range/", "https://"},
	{"PASSWORD_BREACH_URL=breaches.example", "https://"},
	{"LIMIT_WINDOW=0s", "1s to 24h"},
	{"LIMIT_PER_ACCOUNT_ADDRESS=0", "1 to 1000000"},
	{"LIMIT_PER_ACCOUNT=1e3", "1 to 1000000"},
	{"LIMIT_PER_ADDRESS=-1", "1 to 1000000"},
	{"LIMIT_PER_CLIENT=x", "1 to 1000000"},
	{"LIMIT_PER_DEVICE=0", "1 to 1000000"},
	{"LIMIT_SIGN_INS=0", "1 to 1000000"},
	{"LIMIT_CODES=0", "1 to 1000000"},
	{"LIMIT_RENAMES=many", "1 to 1000000"},
	{"LIMIT_SUBSCRIBERS=0", "1 to 1000000"},
	{"LIMIT_WAITS=100001", "1 to 100000"},
	{"HASH_WAIT=26s", "100ms to 25s"},
	{"TRUSTED_PROXIES=everybody", "addresses or prefixes"},
	{"TRUSTED_PROXIES=10.0.0.0/33", "addresses or prefixes"},
	{"TRUSTED_PROXIES=10.0.0.1,fe80::1%eth0", "zone"},
	{"OUTBOUND_ALLOW=10.0.0.0/33", "CIDR"},
	{"TLS_CERT=cert.pem", "both or none"},
	{"TLS_KEY=key.pem", "both or none"},
	{"LOG_LEVEL=loud", "debug, info, warn or error"},
	{"LOG_LEVEL=info+1", "debug, info, warn or error"},
	{"LOG_FORMAT=xml", "json or text"},
	{"PPROF=maybe", "true or false"},
	{"SHUTDOWN_TIMEOUT=0s", "1s to 1h"},
	{"SHUTDOWN_DELAY=1h", "0s to 10m"},
}

// Ensure each variable that is wrong stops the start, with its name and with what it takes, and without its value where
// that is a secret.
func TestReadConfig_WrongValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(file, []byte("c0ffee\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, tt := range append(wrongValues, struct{ variable, says string }{
		"DATABASE_PASSWORD_FILE=" + file,
		"not a postgres:// URL",
	}) {
		name, value, _ := strings.Cut(tt.variable, "=")
		tested[name] = true
		t.Run(tt.variable, func(t *testing.T) {
			_, _, err := readConfig(environment("CURFEW_"+tt.variable), needsSecret)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if _, ok := err.(usageError); !ok {
				t.Errorf("it is a %T", err)
			}
			for _, want := range []string{"CURFEW_" + name, tt.says} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || (name == "SECRET" && strings.Contains(err.Error(), value)) {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
	for _, v := range variables {
		if !tested[v.name] {
			t.Errorf("no wrong value of %s is tested", v.name)
		}
	}
	t.Run("SECRET_FILE", func(t *testing.T) {
		_, _, err := readConfig([]string{"CURFEW_DATABASE_URL=sqlite:x.db", "CURFEW_SECRET_FILE=" + file}, needsSecret)
		if err == nil || !strings.Contains(err.Error(), "CURFEW_SECRET_FILE") || strings.Contains(err.Error(), "c0ffee") {
			t.Fatal(err)
		}
	})
	t.Run("everything that is wrong is named at once", func(t *testing.T) {
		_, _, err := readConfig([]string{"CURFEW_ACCESS_TTL=x", "CURFEW_LOG_LEVEL=y"}, needsSecret)
		for _, name := range []string{"DATABASE_URL", "SECRET", "ACCESS_TTL", "LOG_LEVEL"} {
			if err == nil || !strings.Contains(err.Error(), "CURFEW_"+name) {
				t.Errorf("%s is not named: %v", name, err)
			}
		}
	})
}

// Ensure the defaults are those of the design, and that an empty variable is an unset one.
func TestReadConfig_Defaults(t *testing.T) {
	empty := environment()
	for _, v := range variables {
		if v.name != "DATABASE_URL" && v.name != "SECRET" {
			empty = append(empty, "CURFEW_"+v.name+"=")
		}
	}
	c, warnings, err := readConfig(empty, needsSecret)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if s := c.store; s.AccessTTL != 5*time.Minute || s.RefreshTTL != 720*time.Hour || s.DeviceMaxAge != 0 ||
		s.ReuseInterval != 30*time.Second ||
		s.SigningAlg != "ES256" || s.MaxDevicesPerUser != 100 || s.RevokedRetention != 720*time.Hour ||
		s.KeyRotation != 2160*time.Hour {
		t.Errorf("%+v", s)
	}
	if c.publicAddr != "127.0.0.1:8080" || c.adminAddr != "127.0.0.1:8081" || c.trustedProxies != nil || c.pprof {
		t.Errorf("%+v", c)
	}
	c.defaultIssuer(c.publicAddr)
	if c.store.Issuer != "http://127.0.0.1:8080" {
		t.Error(c.store.Issuer)
	}
}

// Ensure the forms of a secret are understood, and that the first of two is the newest.
func TestReadConfig_Secrets(t *testing.T) {
	older := slices.Repeat([]byte{0xfb, 0xff}, 20)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(older), base64.RawStdEncoding.EncodeToString(older),
		base64.URLEncoding.EncodeToString(older), base64.RawURLEncoding.EncodeToString(older),
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(testSecret+", "+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := readConfig([]string{"CURFEW_DATABASE_URL=sqlite:x.db", "CURFEW_SECRET_FILE=" + file}, needsSecret)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.store.Secrets) != 2 || len(c.store.Secrets[0]) != 32 || !slices.Equal(c.store.Secrets[1], older) {
			t.Errorf("%s: %v", text, c.store.Secrets)
		}
	}
}

// Ensure the password of a file goes into the URL, whatever characters it has.
func TestReadConfig_DatabasePassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("p@ss/w?rd#%\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := readConfig(environment("CURFEW_DATABASE_URL=postgres://curfew@db:5432/curfew?sslmode=disable",
		"CURFEW_DATABASE_PASSWORD_FILE="+file), needsSecret)
	if err != nil {
		t.Fatal(err)
	}
	if want := "postgres://curfew:p%40ss%2Fw%3Frd%23%25@db:5432/curfew?sslmode=disable"; c.store.DatabaseURL != want {
		t.Error(c.store.DatabaseURL)
	}
	for _, u := range []string{"postgres://curfew:other@db/curfew", "postgres://db/curfew"} {
		if _, _, err := readConfig(environment("CURFEW_DATABASE_URL="+u, "CURFEW_DATABASE_PASSWORD_FILE="+file),
			needsSecret); err == nil {
			t.Errorf("%s was accepted", u)
		}
	}
}

// Ensure a mistyped name is noticed, and that other programs' variables are left alone.
func TestReadConfig_UnknownVariables(t *testing.T) {
	_, warnings, err := readConfig(environment("CURFEW_ACESS_TTL=1m", "CURFEW_TEST_X=1", "CURFEW_DEMO_ADDR=:1", "OTHER=1"),
		needsSecret)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "CURFEW_ACESS_TTL") ||
		!strings.Contains(warnings[0], "the nearest is CURFEW_ACCESS_TTL") {
		t.Errorf("%q", warnings)
	}
}

// Ensure the process itself refuses, with exit code 2, and that its help lists every variable.
func TestServe_Configuration(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	b.with("CURFEW_ACCESS_TTL=5").refuse(2, "", []string{"serve"}, "CURFEW_ACCESS_TTL", "1s to 24h")
	b.with("CURFEW_SECRET=").refuse(2, "", []string{"serve"}, "CURFEW_SECRET", "32 random bytes")
	b.with("CURFEW_TLS_CERT=/nonexistent", "CURFEW_TLS_KEY=/nonexistent").refuse(2, "", []string{"serve"},
		"CURFEW_TLS_CERT")
	b.with("CURFEW_HASH_MEMORY=262144", "CURFEW_HASH_TIME=10").refuse(2, "", []string{"serve"}, "argon2id")
	help := b.run("", "serve", "--help")
	for _, v := range variables {
		if !strings.Contains(help, "CURFEW_"+v.name) {
			t.Errorf("the help does not list CURFEW_%s", v.name)
		}
	}
	b.run("", "--help")
	b.refuse(2, "", []string{"serve", "extra"}, "extra")
}

// Ensure the files that people copy from name only variables that exist.
func TestDocumentedVariables(t *testing.T) {
	name := regexp.MustCompile(`CURFEW_[A-Z_]+`)
	for _, file := range []string{
		"README.md", "docs/operations.md", "docker-compose.yml", "deploy/nginx.conf",
		"Dockerfile",
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range name.FindAllString(string(text), -1) {
			short := strings.TrimPrefix(found, prefix)
			// compose's own, curfew-demo's, a group
			if short == "BIND" || strings.HasPrefix(short, "DEMO_") || short == "LIMIT_" || short == "" {
				continue
			}
			if !slices.ContainsFunc(variables, func(v variable) bool { return v.name == short }) {
				t.Errorf("%s names %s, which does not exist", file, found)
			}
		}
	}
}

// Ensure that what stands at the top of each page is no password.
func TestReadConfig_PagesNameIsNoPassword(t *testing.T) {
	c, _, err := readConfig(environment("CURFEW_PAGES_NAME=Wonderland", "CURFEW_PASSWORD_WORDS=acme"), needsSecret)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"acme", "Wonderland"}; !slices.Equal(c.store.Passwords.Words, want) {
		t.Fatalf("words that no password may be made of: %q, want %q", c.store.Passwords.Words, want)
	}
}
