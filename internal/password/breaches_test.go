package password

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// SHA-1 of "correct horse battery staple" is ABF7A AD6438836DBE526AA231ABDE2D0EEF74D42.
func TestPolicy_Breaches(t *testing.T) {
	const prefix, suffix = "ABF7A", "AD6438836DBE526AA231ABDE2D0EEF74D42"
	other := strings.Repeat("0", 35)
	redirected := false
	for name, tt := range map[string]struct {
		answer     func(w http.ResponseWriter)
		refused    bool
		unanswered int64
	}{
		"known":    {func(w http.ResponseWriter) { fmt.Fprintf(w, "%s:7\r\n%s:2\r\n", other, suffix) }, true, 0},
		"unknown":  {func(w http.ResponseWriter) { fmt.Fprintf(w, "%s:7\r\n", other) }, false, 0},
		"padding":  {func(w http.ResponseWriter) { fmt.Fprintf(w, "%s:0\r\n%s:3", suffix, other) }, false, 0},
		"in small": {func(w http.ResponseWriter) { fmt.Fprintf(w, "%s:10\n", strings.ToLower(suffix)) }, true, 0},
		"500":      {func(w http.ResponseWriter) { w.WriteHeader(500) }, false, 1},
		"redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "/away"); w.WriteHeader(302) }, false, 1},
		"endless": {func(w http.ResponseWriter) {
			for range maxRange/37 + 2 {
				fmt.Fprintf(w, "%s:1\n", other)
			}
		}, false, 1},
		"one long line": {func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat("A", maxRange/2)) }, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				redirected = redirected || r.URL.Path == "/away"
				if r.URL.Path != "/range/"+prefix || r.Header.Get("Add-Padding") != "true" || r.Method != http.MethodGet {
					t.Errorf("asked for %s %s, %v", r.Method, r.URL, r.Header)
				}
				tt.answer(w)
			}))
			defer service.Close()
			var log bytes.Buffer
			p, err := NewPolicy(PolicyConfig{BreachURL: service.URL + "/range/"}, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			err = p.CheckBreaches(t.Context(), vectorPassword)
			if errors.Is(err, ErrPolicy) != tt.refused || (err != nil) != tt.refused {
				t.Errorf("got %v", err)
			}
			if p.Unanswered.Load() != tt.unanswered || (log.Len() > 0) != (tt.unanswered > 0) {
				t.Errorf("unanswered %d, logged %q", p.Unanswered.Load(), log.String())
			}
			if strings.Contains(log.String(), prefix) || strings.Contains(log.String(), vectorPassword) {
				t.Errorf("the log tells of the password: %s", log.String())
			}
		})
	}
	if redirected {
		t.Error("a redirect was followed")
	}
}

func TestPolicy_BreachesAway(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	url := service.URL
	service.Close()
	var log bytes.Buffer
	p, err := NewPolicy(PolicyConfig{BreachURL: url}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckBreaches(t.Context(), vectorPassword); err != nil {
		t.Errorf("an outage refuses a password: %v", err)
	}
	if p.Unanswered.Load() != 1 || strings.Contains(log.String(), "ABF7A") || !strings.Contains(log.String(), "look-up") {
		t.Errorf("unanswered %d, logged %q", p.Unanswered.Load(), log.String())
	}
}

func TestCheckBreachURL(t *testing.T) {
	for url, good := range map[string]bool{
		"https://api.pwnedpasswords.com/range": true, "https://api.pwnedpasswords.com/range/": true,
		"http://127.0.0.1:8090": true, "http://[::1]/range": true, "http://localhost:1": true,
		"http://api.pwnedpasswords.com/range": false, "http://10.0.0.1/": false, "ftp://localhost/": false, "/range": false,
		"https://user:pw@host/": false, "https://host/?x=1": false, "https://host/#x": false, "https://": false, "x": false,
	} {
		if err := CheckBreachURL(url); (err == nil) != good {
			t.Errorf("%s: %v", url, err)
		}
	}
}
