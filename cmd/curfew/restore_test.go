package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curfew/internal/testdb"
	"curfew/verify"
)

// Ensure the restore of docs/operations.md brings no token back: neither one that was signed out after the backup, nor
// one that was issued after it.
func TestRestore(t *testing.T) {
	url := testdb.SQLite(t)
	file := strings.TrimPrefix(url, "sqlite:")
	const issuer = "http://curfew.localhost"
	b := newBox(t, url).with("CURFEW_ISSUER=" + issuer)
	secret := b.furnish()
	r := b.serve()
	// A resource server follows through it all.
	var address atomic.Pointer[string]
	moved := func() {
		at := strings.TrimPrefix(r.public, "http://")
		address.Store(&at)
	}
	moved()
	v := followAt(t, issuer, secret, &address)
	says := func(token tokens, want error) {
		t.Helper()
		for tries := 0; ; tries++ {
			_, err := v.Verify(t.Context(), token.Access)
			if errors.Is(err, want) {
				return
			}
			if tries == 3000 {
				t.Fatalf("the resource server says %v, want %v", err, want)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	before := r.signIn()
	says(before, nil)
	r.stop()
	backup, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r = b.serve()
	moved()
	b.run("", "device", "revoke", before.DeviceID)
	says(before, verify.ErrRevoked)
	after := r.signIn()
	says(after, nil)
	status, kept := r.token("grant_type", "refresh_token", "client_id", "web", "refresh_token", after.Refresh)
	if status != http.StatusOK {
		t.Fatalf("refresh: %d", status)
	}
	r.stop()

	putBack(t, file, backup)
	b.run("", "migrate")
	b.run("", "revoke", "everyone", "--yes")
	r = b.serve()
	moved()
	says(after, verify.ErrRevoked)
	says(before, verify.ErrRevoked)
	for name, old := range map[string]tokens{
		"signed out after the backup": before, "issued after the backup": after,
		"refreshed after the backup": kept,
	} {
		if status, got := r.token("grant_type", "refresh_token", "client_id", "web", "refresh_token",
			old.Refresh); status != http.StatusBadRequest {
			t.Errorf("%s: the refresh token gives %d %+v", name, status, got)
		}
		if status, body := r.do(http.MethodGet, r.public+"/settings/devices", old.Access,
			nil); status != http.StatusUnauthorized {
			t.Errorf("%s: the access token gives %d %s", name, status, body)
		}
	}
	if status, body := r.do(http.MethodGet, r.public+"/settings/devices", r.signIn().Access,
		nil); status != http.StatusOK {
		t.Errorf("a sign-in after the restore: %d %s", status, body)
	}
	says(r.signIn(), nil)
}

// putBack writes a backup of a SQLite database in its place, without what is left of the newer one.
func putBack(t *testing.T, file string, backup []byte) {
	t.Helper()
	for _, side := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + side); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, backup, 0o600); err != nil {
		t.Fatal(err)
	}
}

// followAt is a resource server that finds the issuer at an address which may change.
func followAt(t *testing.T, issuer, secret string, address *atomic.Pointer[string]) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{
		Issuer: issuer, ClientID: "api", ClientSecret: secret, WhenStale: verify.StaleReject,
		Logger: slog.New(slog.DiscardHandler),
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
			error,
		) {
			return new(net.Dialer).DialContext(ctx, "tcp", *address.Load())
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}
