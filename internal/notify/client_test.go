package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// This machine and link-local addresses, in every spelling that reaches them, and what is lifted for allowed networks.
func TestClient_Forbidden(t *testing.T) {
	strict := NewClient(ClientConfig{})
	own := ""
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && p.Addr().Is4() {
			own = p.Addr().String()
		}
	}
	forbidden := []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255", "100.100.100.200",
		"::1", "::", "fe80::1", "fe80::1%lo", "ff02::1", "fec0::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
		"::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:7f00:1::1", "2002:a9fe:a9fe::",
	}
	if own != "" {
		forbidden = append(forbidden, own, "::ffff:"+own, "64:ff9b::"+own)
	}
	for _, addr := range forbidden {
		if err := strict.check(net.JoinHostPort(addr, "443"), false); !errors.Is(err, errSelf) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{"192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1", "64:ff9b::c000:201"} {
		if err := strict.check(net.JoinHostPort(addr, "443"), false); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		if err := strict.check(net.JoinHostPort(addr, "80"), true); !errors.Is(err, errPlain) {
			t.Errorf("plain to %s: %v", addr, err)
		}
	}
	lifted := NewClient(ClientConfig{Allow: loopback})
	for _, plain := range []bool{true, false} {
		if err := lifted.check("[::ffff:127.0.0.1]:80", plain); err != nil {
			t.Error(err)
		}
		if err := lifted.check("169.254.169.254:80", plain); err == nil {
			t.Error("link-local")
		}
	}
	for _, spelled := range []string{"http://localhost:1", "https://localhost:1", "https://2130706433/", "https://0x7f.1/", "https://[::]:1", "ftp://192.0.2.1", "https://0/"} {
		if a := strict.send(t.Context(), request{url: spelled, header: http.Header{}}); a.Err == nil || a.Status != 0 || strings.Contains(a.String(), "refused") {
			t.Errorf("%s: %s", spelled, a)
		}
	}
}

// A name that answers with a good address first and with this machine's at the second look.
func TestClient_SecondLook(t *testing.T) {
	var asked, reached atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(server.Close)
	resolver := rebinding(t, &asked)
	ips, err := resolver.LookupNetIP(t.Context(), "ip4", "hooks.example.com")
	if err != nil || len(ips) != 1 || ips[0].String() != "192.0.2.1" {
		t.Fatalf("%v, %v", ips, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for allow, want := range map[string]bool{"198.51.100.0/24": false, "127.0.0.0/8": true} {
		c := NewClient(ClientConfig{
			Allow: []netip.Prefix{netip.MustParsePrefix(allow)}, Resolver: resolver, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		})
		t.Cleanup(c.Close)
		a := c.send(t.Context(), request{url: "https://example.com:" + port + "/", header: http.Header{}})
		if a.OK() != want || (reached.Load() > 0) != want {
			t.Errorf("%s: %s, reached %d times", allow, a, reached.Load())
		}
		reached.Store(0)
	}
}

// rebinding is a real name server: the first answer for a name is far away, all others are here.
func rebinding(t *testing.T, asked *atomic.Int64) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response = true
			q := m.Questions[0]
			if q.Type == dnsmessage.TypeA {
				addr := [4]byte{127, 0, 0, 1}
				if asked.Add(1) == 1 {
					addr = [4]byte{192, 0, 2, 1}
				}
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type}, Body: &dnsmessage.AResource{A: addr},
				}}
			}
			m.Additionals = nil
			if answer, err := m.Pack(); err == nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}
