package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curfew/internal/testdb"
)

// writePair writes a certificate for localhost, and returns its serial number.
func writePair(t *testing.T, certFile, keyFile string) *big.Int {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return serial
}

// Ensure TLS by file: HSTS, an https issuer, nothing below TLS 1.2, and the health check of a container.
func TestServe_TLS(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writePair(t, certFile, keyFile)
	b = b.with("CURFEW_TLS_CERT="+certFile, "CURFEW_TLS_KEY="+keyFile)
	r := b.serve()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Get(r.public + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var metadata struct{ Issuer string }
	if err := json.NewDecoder(res.Body).Decode(&metadata); err != nil {
		t.Fatal(err)
	}
	if metadata.Issuer != r.public || !strings.HasPrefix(r.public, "https://") ||
		res.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("issuer %q on %s, HSTS %q", metadata.Issuer, r.public, res.Header.Get("Strict-Transport-Security"))
	}
	host := strings.TrimPrefix(r.public, "https://")
	if conn, err := tls.Dial("tcp", host, &tls.Config{
		InsecureSkipVerify: true,
		MaxVersion:         tls.VersionTLS11,
	}); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
	b.with("CURFEW_PUBLIC_ADDR="+host).run("", "healthcheck")
	r.stop()
	// A listener that speaks TLS says so whatever the issuer is.
	other := b.with("CURFEW_ISSUER=http://id.example.com").serve()
	for _, address := range []string{other.public, other.admin} {
		res, err := client.Get(address + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: no HSTS", address)
		}
	}
	other.stop()
	b.with("CURFEW_PUBLIC_ADDR="+host).refuse(1, "", []string{"healthcheck"})
}

// Ensure a renewed certificate is used without a restart, and a broken one is not.
func TestCertificate_Renewed(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	serial := writePair(t, certFile, keyFile)
	cfg := config{logFormat: "text"}
	c, err := loadCertificate(certFile, keyFile, cfg.logger(io.Discard, false))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want *big.Int) {
		t.Helper()
		c.checked = time.Time{}
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		if pair.Leaf.SerialNumber.Cmp(want) != 0 {
			t.Errorf("serial number %s, want %s", pair.Leaf.SerialNumber, want)
		}
	}
	expect(serial)
	if err := os.WriteFile(keyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(serial)
	renewed := writePair(t, certFile, keyFile)
	// a coarse clock of the file system
	if err := os.Chtimes(certFile, time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	expect(renewed)
}
