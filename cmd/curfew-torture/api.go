package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"curfew/internal/harness"
)

// answer is what came back over HTTP; err is set when nothing did.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// unknown: the request may have been carried out or not.
func (a answer) unknown() bool { return a.err != nil || a.status >= 500 }

func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, bytes.TrimSpace(a.body))
}

// failure is an answer that the harness did not expect.
func (a answer) failure(what string) error { return fmt.Errorf("%s: %s", what, a) }

func (r *rig) do(ctx context.Context, method, url string, body string, header map[string]string) (a answer) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := r.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	a = answer{status: res.StatusCode, header: res.Header}
	if a.body, a.err = io.ReadAll(io.LimitReader(res.Body, 1<<20)); a.err == nil && a.status >= 400 {
		r.noteError(a.body)
	}
	return a
}

func basic(c credentials) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID)+":"+url.QueryEscape(c.Secret)))
}

// tokens is the answer of the token endpoint.
type tokens struct {
	Access   string `json:"access_token"`
	Refresh  string `json:"refresh_token"`
	ID       string `json:"id_token"`
	DeviceID string `json:"device_id"`
	Error    string `json:"error"`
}

// claims are those of an access token that the harness looks at.
type claims struct {
	Subject   string `json:"sub"`
	ClientID  string `json:"client_id"`
	DeviceID  string `json:"device_id"`
	RefreshID string `json:"rid"`
	IssuedUS  int64  `json:"iat_us"`
}

func (t tokens) claims() (c claims, err error) {
	parts := strings.Split(t.Access, ".")
	if len(parts) != 3 {
		return c, fmt.Errorf("not a JWT: %q", t.Access)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(raw, &c)
}

func (r *rig) token(ctx context.Context, n *harness.Node, address string, basicAuth string,
	values url.Values,
) (t tokens, a answer) {
	header := map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": address,
		"User-Agent": "curfew-torture",
	}
	if basicAuth != "" {
		header["Authorization"] = basicAuth
	}
	a = r.do(ctx, http.MethodPost, "http://"+n.Public+"/oauth2/token", values.Encode(), header)
	if a.err == nil {
		if err := json.Unmarshal(a.body, &t); err != nil {
			a.err = fmt.Errorf("the token endpoint's answer: %w: %s", err, a.body)
		}
	}
	r.note(t.Access, "an access token")
	r.note(t.Refresh, "a refresh token")
	r.note(t.ID, "an ID token")
	return t, a
}

func (r *rig) signIn(ctx context.Context, n *harness.Node, address, client, username, password, device string) (tokens,
	answer,
) {
	r.note(password, "a password")
	return r.token(ctx, n, address, "", form("grant_type", "password", "client_id", client, "username", username,
		"password", password,
		"device_id", device, "device_name", name(0)))
}

func (r *rig) refresh(ctx context.Context, n *harness.Node, address, client, token string) (tokens, answer) {
	return r.token(ctx, n, address, "", form("grant_type", "refresh_token", "client_id", client, "refresh_token", token))
}

// introspect asks strictly whether a token is alive.
func (r *rig) introspect(ctx context.Context, n *harness.Node, token string) (active bool, a answer) {
	a = r.do(ctx, http.MethodPost, "http://"+n.Public+"/oauth2/introspect", form("token", token).Encode(),
		map[string]string{
			"Content-Type": "application/x-www-form-urlencoded", "Authorization": basic(r.api),
		})
	var v struct {
		Active bool `json:"active"`
	}
	if a.err == nil && a.status == http.StatusOK {
		a.err = json.Unmarshal(a.body, &v)
	}
	return v.Active, a
}

// revokeToken is RFC 7009.
func (r *rig) revokeToken(ctx context.Context, n *harness.Node, client, token string) answer {
	return r.do(ctx, http.MethodPost, "http://"+n.Public+"/oauth2/revoke",
		form("token", token, "client_id", client).Encode(),
		map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
}

func (r *rig) settings(ctx context.Context, n *harness.Node, address, method, path, access, body string) answer {
	header := map[string]string{"Authorization": "Bearer " + access, "X-Forwarded-For": address}
	if body != "" {
		header["Content-Type"] = "application/json"
	}
	return r.do(ctx, method, "http://"+n.Public+path, body, header)
}

// adminToken is the harness's own, made anew when everyone was signed out, itself with them.
type adminToken struct {
	rig *rig
	mu  sync.Mutex
	now string
}

func (t *adminToken) get(ctx context.Context, n *harness.Node, stale string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != stale {
		return t.now, nil
	}
	got, a := t.rig.token(ctx, n, "127.0.0.1", basic(t.rig.ops),
		form("grant_type", "client_credentials", "scope", "admin"))
	if a.err != nil || a.status != http.StatusOK {
		return "", a.failure("a token for the admin API")
	}
	t.now = got.Access
	return t.now, nil
}

// do asks the admin API. begun is called before each try, so that the recorded interval is that of the try that
// counted.
func (r *rig) adminDo(ctx context.Context, n *harness.Node, method, path string, body any, begun func()) answer {
	text := ""
	header := map[string]string{}
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{err: err}
		}
		text, header["Content-Type"] = string(raw), "application/json"
	}
	stale := ""
	for try := 0; ; try++ {
		token, err := r.admin.get(ctx, n, stale)
		if err != nil {
			return answer{err: err}
		}
		header["Authorization"] = "Bearer " + token
		if begun != nil {
			begun()
		}
		a := r.do(ctx, method, "http://"+n.Admin+path, text, header)
		if a.status != http.StatusUnauthorized || try == 3 {
			return a
		}
		stale = token
	}
}

// signedOut is the answer of every sign-out.
type signedOut struct {
	Revocation *struct {
		Seq int64 `json:"seq"`
	} `json:"revocation"`
	Count *int `json:"count"`
}

func (r *rig) createUser(ctx context.Context, n *harness.Node, username, password string) (id string, err error) {
	r.note(password, "a password")
	a := r.adminDo(ctx, n, http.MethodPost, "/admin/users", map[string]any{"username": username, "password": password},
		nil)
	var v struct {
		ID string `json:"id"`
	}
	if a.err != nil || a.status != http.StatusCreated {
		return "", a.failure("create a user")
	}
	return v.ID, json.Unmarshal(a.body, &v)
}

func (r *rig) createClient(ctx context.Context, n *harness.Node, id string) error {
	a := r.adminDo(ctx, n, http.MethodPost, "/admin/clients", map[string]any{
		"client_id": id, "public": true, "grants": []string{"password", "refresh_token"},
		"scopes": []string{"settings", "profile"},
	}, nil)
	if a.err != nil || a.status != http.StatusCreated {
		return a.failure("create a client")
	}
	return nil
}

func name(i int8) string { return fmt.Sprintf("phone %d", i) }
