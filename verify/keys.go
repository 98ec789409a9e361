package verify

import (
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
	"maps"
	"math/big"
	"net/http"
	"sync"
	"time"
)

const (
	requestTimeout = 10 * time.Second
	keysMaxAge     = 5 * time.Minute
	// keysCoolDown is the least time between two fetches for key ids that are not known: a stream of forged ones costs the
	// issuer no more than that.
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

// find returns the key that a header names.
func (s *keySet) find(ctx context.Context, head string) (crypto.PublicKey, error) {
	s.mu.RLock()
	public := s.headers[head]
	s.mu.RUnlock()
	if public != nil {
		return public, nil
	}
	h, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		s.mu.RLock()
		k, ok := s.keys[h.Kid]
		empty := s.keys == nil
		s.mu.RUnlock()
		switch {
		case ok && k.alg == h.Alg:
			s.mu.Lock()
			if len(s.headers) < maxHeaders && s.keys[h.Kid] == k {
				s.headers[head] = k.public
			}
			s.mu.Unlock()
			return k.public, nil
		case ok:
			return nil, ErrUnknownKey
		case try > 0 && empty:
			return nil, fmt.Errorf("%w: %w: the issuer's keys have not been fetched yet", ErrUnknownKey, ErrUnavailable)
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

// refresh fetches the keys unless they were tried less than age ago. Only one fetch is under way; the others wait for it.
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
	var doc struct {
		Keys []struct{ Kty, Use, Alg, Kid, Crv, X, Y, N, E string }
	}
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return nil, fmt.Errorf("the key set: %w", err)
	}
	keys := map[string]*key{}
	for _, j := range doc.Keys {
		if j.Kid == "" || (j.Use != "" && j.Use != "sig") {
			continue
		}
		x, errX := decode(j.X)
		y, errY := decode(j.Y)
		n, errN := decode(j.N)
		e, errE := decode(j.E)
		if errors.Join(errX, errY, errN, errE) != nil {
			continue
		}
		switch {
		case j.Kty == "EC" && j.Crv == "P-256" && j.Alg == "ES256" && len(x) == 32 && len(y) == 32:
			public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
			if err == nil {
				keys[j.Kid] = &key{j.Alg, public}
			}
		case j.Kty == "OKP" && j.Crv == "Ed25519" && j.Alg == "EdDSA" && len(x) == ed25519.PublicKeySize:
			keys[j.Kid] = &key{j.Alg, ed25519.PublicKey(x)}
		case j.Kty == "RSA" && j.Alg == "RS256" && len(n) >= 256 && len(n) <= 1024 && len(e) > 0 && len(e) <= 4:
			keys[j.Kid] = &key{j.Alg, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}}
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no key that signs access tokens")
	}
	return maps.Clone(keys), nil
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
