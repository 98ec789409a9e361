package verify

import (
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The default name is a valid one, not another's, and keeps the end of the host's name, which tells pods apart.
func TestDefaultSubscriber(t *testing.T) {
	valid := regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	for host, part := range map[string]string{
		"": "", "web-1": "web-1-", "a host ü": "a-host-", strings.Repeat("orders-api-in-the-north-", 4) +
			"7d9f-x2x4k": "north-7d9f-x2x4k-",
	} {
		one, other := defaultSubscriber(host), defaultSubscriber(host)
		if one == other || !valid.MatchString(one) || !strings.Contains(one, part) {
			t.Errorf("%q: %q, %q", host, one, other)
		}
	}
	var names []string
	for range 2 {
		v, err := New(Config{
			Issuer: "http://127.0.0.1:1", ClientID: "api", ClientSecret: "x",
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, v.cfg.Subscriber)
		v.Close()
	}
	if names[0] == names[1] {
		t.Errorf("two verifiers are called %q", names[0])
	}
}

type otherTransport struct{ http.RoundTripper }

// A program may have put something of its own in http.DefaultTransport.
func TestNew_OtherDefaultTransport(t *testing.T) {
	was := http.DefaultTransport
	defer func() { http.DefaultTransport = was }()
	http.DefaultTransport = otherTransport{was}
	v, err := New(Config{
		Issuer: "http://127.0.0.1:1", ClientID: "api", ClientSecret: "x",
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
}
