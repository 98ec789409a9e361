package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"curfew/internal/password"
	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
)

const (
	fuzzPassword = "correct horse battery"
	fuzzSecret   = "0123456789abcdef+/=:%&"
)

// fuzzed is the public listener with a user, two clients and one device.
type fuzzed struct {
	handler http.Handler
	store   *models.Store
	grant   *models.Grant
}

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	ctx := f.Context()
	cfg := models.Config{
		DatabaseURL: testdb.SQLite(f), Issuer: "https://curfew.test", Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)},
		ReuseInterval: time.Hour,
		Hash:          password.Config{Memory: 64, Time: 1, Threads: 1},
		Limits: models.Limits{
			PerAccountAddress: 1_000_000, PerAccount: 1_000_000, PerAddress: 1_000_000, PerClient: 1_000_000,
		},
	}
	if _, err := models.Migrate(ctx, cfg); err != nil {
		f.Fatal(err)
	}
	store, err := models.Open(ctx, cfg)
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(
		Config{Store: store, Metrics: web.NewMetrics(store), Logger: slog.New(slog.DiscardHandler), Issuer: cfg.Issuer},
	)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		s.Close()
		store.Close()
	})
	fz := &fuzzed{handler: s.Handler(), store: store}
	for _, c := range []models.NewClient{
		{ID: "web", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"settings", "profile"}},
		{
			ID: "api", Secret: fuzzSecret, Grants: []string{"client_credentials"}, Scopes: []string{"revocations"},
			Introspect: true,
		},
	} {
		if _, _, err := store.CreateClient(ctx, c, models.Actor{}); err != nil {
			f.Fatal(err)
		}
	}
	u, err := store.CreateUser(ctx, models.NewUser{Username: "anna", Password: fuzzPassword}, models.Actor{})
	if err != nil {
		f.Fatal(err)
	}
	client, err := store.GetClient(ctx, "web")
	if err != nil {
		f.Fatal(err)
	}
	if fz.grant, err = store.SignIn(
		ctx, models.SignIn{User: u, Client: client, Scope: "settings", Name: "phone"},
	); err != nil {
		f.Fatal(err)
	}
	return fz
}

func (fz *fuzzed) post(path, body string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	fz.handler.ServeHTTP(w, r)
	return w
}

// checkAnswer is what holds for every answer of the token endpoint, RFC 6749 sections 5.1 and 5.2.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) (granted bool) {
	t.Helper()
	var answer struct {
		Access string `json:"access_token"`
		Error  string `json:"error"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%d with a body that is no JSON: %q", w.Code, w.Body)
	}
	switch {
	case w.Header().Get("Cache-Control") != "no-store":
		t.Fatalf("%d may be cached: %q", w.Code, w.Header().Get("Cache-Control"))
	case w.Code == http.StatusOK && answer.Access != "":
		return true
	case (w.Code == http.StatusBadRequest || w.Code == http.StatusUnauthorized || w.Code == http.StatusTooManyRequests) &&
		answer.Error != "" && answer.Access == "":
		return false
	}
	t.Fatalf("%d %s", w.Code, w.Body)
	return false
}

// FuzzTokenRequest: any body and any content type are answered as RFC 6749 says, never with 500, and tokens only go
// to whoever presented the password or a refresh token.
func FuzzTokenRequest(f *testing.F) {
	fz := newFuzzed(f)
	const form = "application/x-www-form-urlencoded"
	for _, body := range []string{
		"grant_type=password&client_id=web&username=anna&password=correct+horse+battery",
		"grant_type=password&client_id=web&username=anna&password=wrong",
		"grant_type=password&client_id=web&username=anna&password=correct+horse+battery&device_id=0190f5fe-7c00-7a00-8000-000000000001&device_name=x",
		"grant_type=refresh_token&client_id=web&refresh_token=" + fz.grant.RefreshToken,
		"grant_type=refresh_token&client_id=web&scope=admin&refresh_token=" + fz.grant.RefreshToken,
		"grant_type=client_credentials&client_id=api&client_secret=wrong", "grant_type=", "", "%zz", "a=1&a=2",
		"grant_type=password&grant_type=password",
		"grant_type=password&client_id=web&username=%00&password=%ff",
		"grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=web", "&&&=;=",
	} {
		f.Add(body, form)
	}
	f.Add("grant_type=password", "application/json")
	f.Add("grant_type=password", form+"; charset=utf-16")
	f.Add("--x\r\n\r\n--x--", "multipart/form-data; boundary=x")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		if checkAnswer(t, fz.post("/oauth2/token", body, map[string]string{"Content-Type": contentType})) {
			knowsPassword := strings.Contains(body, "grant_type") && strings.Contains(body, "anna")
			if !knowsPassword && !strings.Contains(body, "refresh_token") {
				t.Fatalf("tokens for %q", body)
			}
		}
	})
}

// FuzzBasicHeader: whatever stands in Authorization, only the right id and secret in the form of RFC 6749 section
// 2.3.1 get a token, and a refused one is told how to authenticate.
func FuzzBasicHeader(f *testing.F) {
	fz := newFuzzed(f)
	enc := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	right := "api:0123456789abcdef%2B%2F%3D%3A%25%26"
	for _, h := range []string{
		enc(right), enc("api:" + fuzzSecret), enc("api"), enc("api:"), enc(":"), enc("web:"), enc("api:%zz"), "Basic",
		"Basic ", "basic " + enc(right)[6:],
		"Bearer x", enc("api:\x00"), enc("a%70i:x"), enc(strings.Repeat("a", 5000)), "Basic =", enc(right) + "=",
		"Basic " + base64.RawURLEncoding.EncodeToString([]byte(right)),
	} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, header string) {
		w := fz.post(
			"/oauth2/token", "grant_type=client_credentials",
			map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": header},
		)
		granted := checkAnswer(t, w)
		if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
			t.Fatal("401 without WWW-Authenticate")
		}
		if !granted {
			return
		}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Authorization", header)
		if id, _, ok := r.BasicAuth(); !ok || !strings.Contains(id, "i") {
			t.Fatalf("a token for %q", header)
		}
	})
}
