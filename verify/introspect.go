package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// wellKnown cuts an issuer before its path.
func wellKnown(issuer string) (host, path string) {
	u, err := url.Parse(issuer)
	if err != nil {
		return issuer, ""
	}
	path = strings.TrimSuffix(u.Path, "/")
	u.Path = ""
	return u.String(), path
}

// post sends a form as the client that we are: HTTP Basic with form-urlencoded parts, RFC 6749 section 2.3.1.
func (v *Verifier) post(ctx context.Context, to string, form url.Values, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(v.cfg.ClientID), url.QueryEscape(v.cfg.ClientSecret))
	res, err := v.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body := io.LimitReader(res.Body, maxDocument)
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error string `json:"error"`
		}
		_ = json.NewDecoder(body).Decode(&e)
		return fmt.Errorf("%s: %s %s", to, res.Status, e.Error)
	}
	return json.NewDecoder(body).Decode(answer)
}

// introspect asks the issuer about one token, RFC 7662.
func (v *Verifier) introspect(ctx context.Context, token string) (active bool, err error) {
	meta, err := v.metadata(ctx)
	if err != nil {
		return false, err
	}
	var answer struct {
		Active bool `json:"active"`
	}
	err = v.post(ctx, meta.Introspect, url.Values{"token": {token}}, &answer)
	return answer.Active, err
}

// tokenSource is our own access token for the feed.
type tokenSource struct {
	mu      sync.Mutex
	value   string
	expires time.Time
}

func (v *Verifier) ownToken(ctx context.Context) (string, error) {
	t := &v.token
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value != "" && time.Now().Before(t.expires) {
		return t.value, nil
	}
	meta, err := v.metadata(ctx)
	if err != nil {
		return "", err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := v.post(ctx, meta.Token, url.Values{"grant_type": {"client_credentials"}, "scope": {"revocations"}},
		&answer); err != nil {
		return "", err
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	t.value, t.expires = answer.AccessToken, time.Now().Add(life-life/10)
	return t.value, nil
}

// forgetToken makes the next ownToken fetch a new one.
func (v *Verifier) forgetToken() {
	v.token.mu.Lock()
	defer v.token.mu.Unlock()
	v.token.value = ""
}
