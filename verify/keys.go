package verify

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	requestTimeout = 10 * time.Second
	keysMaxAge     = 5 * time.Minute
	// keysCoolDown is the least time between two fetches for key ids that are not known: a stream of forged ones costs
	// the issuer no more than that.
	keysCoolDown = 10 * time.Second
	maxDocument  = 1 << 20
	maxHeaders   = 64
)

// key is a public key with the one algorithm it is for.
type key struct {
	alg    string
	public crypto.PublicKey
}

// keySet is the issuer's published keys. It keeps the last good set when a fetch fails.
type keySet struct {
	v *Verifier

	mu      sync.RWMutex
	keys    map[string]*key
	headers map[string]crypto.PublicKey // by the header's exact text: it need not be parsed again
	fetched time.Time                   // the last try
	flight  chan struct{}               // closed when the fetch that is under way has ended
	etag    string
}

func newKeySet(v *Verifier) *keySet {
	return &keySet{v: v, headers: map[string]crypto.PublicKey{}}
}

// known returns the key of a header that was found before, by the header's exact text; nil if there is none.
func (s *keySet) known(head string) crypto.PublicKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.headers[head]
}

// algorithms are those that a key may be for.
var algorithms = []string{"ES256", "EdDSA", "RS256"}

// find returns the key that a header names.
func (s *keySet) find(ctx context.Context, head string, h *header) (crypto.PublicKey, error) {
	if h.kid == "" || !slices.Contains(algorithms, h.alg) {
		return nil, ErrUnknownKey
	}
	for try := 0; ; try++ {
		s.mu.RLock()
		k, ok := s.keys[h.kid]
		empty := s.keys == nil
		s.mu.RUnlock()
		switch {
		case ok && k.alg == h.alg:
			s.mu.Lock()
			if len(s.headers) < maxHeaders && s.keys[h.kid] == k {
				s.headers[head] = k.public
			}
			s.mu.Unlock()
			return k.public, nil
		case ok:
			return nil, ErrUnknownKey
		case try > 0 && empty:
			return nil, fmt.Errorf("%w: its keys have not been fetched yet", ErrUnavailable)
		case try > 0:
			return nil, ErrUnknownKey
		}
		s.refresh(ctx, keysCoolDown)
	}
}

// maxAge is how old the keys may become: no age at all while there are none.
func (s *keySet) maxAge() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.keys == nil {
		return 0
	}
	return keysMaxAge
}

// refresh fetches the keys unless they were tried less than age ago. Only one fetch is under way; the others wait for
// it.
func (s *keySet) refresh(ctx context.Context, age time.Duration) {
	s.mu.Lock()
	if !s.fetched.IsZero() && time.Since(s.fetched) < age && s.flight == nil {
		s.mu.Unlock()
		return
	}
	flight := s.flight
	if flight == nil {
		if s.v.ctx.Err() != nil { // closed; under the lock, see Close
			s.mu.Unlock()
			return
		}
		flight = make(chan struct{})
		s.flight, s.fetched = flight, time.Now()
		s.v.done.Go(func() {
			// For all who wait, so not with one's context.
			ctx, cancel := context.WithTimeout(s.v.ctx, requestTimeout)
			defer cancel()
			err := s.fetch(ctx)
			s.mu.Lock()
			s.flight = nil
			if err != nil && s.keys == nil {
				s.fetched = time.Now().Add(time.Second - keysCoolDown) // nothing to keep: try again soon
			}
			s.mu.Unlock()
			close(flight)
			if err != nil && s.v.ctx.Err() == nil {
				s.v.log.Warn("the issuer's keys could not be fetched", "error", err)
			}
		})
	}
	s.mu.Unlock()
	select {
	case <-flight:
	case <-ctx.Done():
	}
}

func (s *keySet) fetch(ctx context.Context) error {
	s.v.stats.keyFetches.Add(1)
	meta, err := s.v.metadata(ctx)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, meta.JWKS, nil)
	if err != nil {
		return err
	}
	s.mu.RLock()
	if s.etag != "" {
		r.Header.Set("If-None-Match", s.etag)
	}
	s.mu.RUnlock()
	res, err := s.v.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotModified {
		return nil
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", meta.JWKS, res.Status)
	}
	keys, err := parseKeys(io.LimitReader(res.Body, maxDocument))
	if err != nil {
		return err
	}
	s.mu.Lock()
	withdrawn := false
	for kid, old := range s.keys {
		if next, ok := keys[kid]; !ok || next.alg != old.alg {
			withdrawn = true
		}
	}
	s.keys, s.etag = keys, res.Header.Get("ETag")
	clear(s.headers)
	s.mu.Unlock()
	if withdrawn {
		s.v.cache.clear()
	}
	return nil
}

// parseKeys reads a key set, RFC 7517 section 5, and passes over the keys that it does not understand.
func parseKeys(r io.Reader) (map[string]*key, error) {
	var doc map[string]json.RawMessage // in which names are exact
	var list []map[string]any
	err := json.NewDecoder(r).Decode(&doc)
	if err = cmp.Or(err, json.Unmarshal(doc["keys"], &list)); err != nil {
		return nil, fmt.Errorf("the key set: %w", err)
	}
	keys := map[string]*key{}
	for _, j := range list {
		text := func(name string) string { s, _ := j[name].(string); return s }
		kid, alg, use := text("kid"), text("alg"), text("use")
		if kid == "" || (use != "" && use != "sig") {
			continue
		}
		if public := parseKey(alg, text); public != nil {
			keys[kid] = &key{alg, public}
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no key that signs access tokens")
	}
	return keys, nil
}

// parseKey returns nil for a key that is not understood: RFC 7518 section 6, RFC 8037 section 2.
func parseKey(alg string, text func(name string) string) crypto.PublicKey {
	number := func(name string) []byte { b, _ := decode(text(name)); return b }
	switch kty, crv := text("kty"), text("crv"); {
	case kty == "EC" && crv == "P-256" && alg == "ES256":
		x, y := number("x"), number("y")
		if len(x) != 32 || len(y) != 32 {
			return nil
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err == nil {
			return public
		}
	case kty == "OKP" && crv == "Ed25519" && alg == "EdDSA":
		if x := number("x"); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	case kty == "RSA" && alg == "RS256":
		n, e := number("n"), number("e")
		if len(n) >= 256 && len(n) <= 1024 && len(e) > 0 && len(e) <= 4 {
			return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		}
	}
	return nil
}

// metadata is what we need of RFC 8414.
type metadata struct {
	Issuer     string `json:"issuer"`
	Token      string `json:"token_endpoint"`
	Introspect string `json:"introspection_endpoint"`
	JWKS       string `json:"jwks_uri"`
	Feed       string `json:"revocation_feed_endpoint"`
	Ack        string `json:"revocation_ack_endpoint"`
}

// metadata fetches the issuer's metadata once, RFC 8414 section 3.
func (v *Verifier) metadata(ctx context.Context) (*metadata, error) {
	if m := v.meta.Load(); m != nil {
		return m, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// Section 3.1: the well-known part goes between the host and the issuer's path.
	at, path := wellKnown(v.cfg.Issuer)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"/.well-known/oauth-authorization-server"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := v.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", r.URL, res.Status)
	}
	var m metadata
	if err := json.NewDecoder(io.LimitReader(res.Body, maxDocument)).Decode(&m); err != nil {
		return nil, fmt.Errorf("the issuer's metadata: %w", err)
	}
	if m.Issuer != v.cfg.Issuer { // section 3.3
		return nil, fmt.Errorf("the metadata is of the issuer %q", m.Issuer)
	}
	for _, u := range []string{m.Token, m.Introspect, m.JWKS, m.Feed, m.Ack} {
		if err := endpoint(v.cfg.Issuer, u); err != nil {
			return nil, err
		}
	}
	v.meta.Store(&m)
	return &m, nil
}
