package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/big"
)

// signer is a private key. kid and alg are what the key set says of it.
type signer struct {
	kid, alg string
	private  crypto.Signer
}

// keySet has a key for each algorithm, a second ES256 key, and one that is not published.
type keySet struct{ es, es2, ed, rs, stranger, weak *signer }

func newKeys() (*keySet, error) {
	var all keySet
	var errs []error
	for _, ec := range []struct {
		to   **signer
		kid  string
		seed byte
	}{{&all.es, "es-1", 1}, {&all.es2, "es-2", 2}, {&all.stranger, "stranger", 3}} {
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{ec.seed}, 32))
		errs = append(errs, err)
		*ec.to = &signer{ec.kid, "ES256", private}
	}
	all.ed = &signer{"ed-1", "EdDSA", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, ed25519.SeedSize))}
	all.rs = &signer{"rs-1", "RS256", rsaKey("rs-1", 2048)}
	all.weak = &signer{"rs-weak", "RS256", rsaKey("rs-weak", 1024)}
	return &all, errors.Join(errs...)
}

// rsaKey makes a key from a seed. The library's own generator takes no seed, on purpose.
func rsaKey(seed string, bits int) *rsa.PrivateKey {
	e := big.NewInt(65537)
	one := big.NewInt(1)
	prime := func(label string) *big.Int {
		for n := uint64(0); ; n++ {
			b := stream(seed+label, n, bits/16)
			b[0] |= 0xc0
			b[len(b)-1] |= 1
			p := new(big.Int).SetBytes(b)
			if p.ProbablyPrime(32) && new(big.Int).Mod(new(big.Int).Sub(p, one), e).Sign() != 0 {
				return p
			}
		}
	}
	p, q := prime("p"), prime("q")
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(e, phi), Primes: []*big.Int{p, q},
	}
	key.Precompute()
	return key
}

// stream is length bytes that follow from the seed and n.
func stream(seed string, n uint64, length int) []byte {
	var out []byte
	for block := uint64(0); len(out) < length; block++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte(seed), n), block))
		out = append(out, sum[:]...)
	}
	return out[:length]
}

var b64 = base64.RawURLEncoding.EncodeToString

// header is that of an access token of the key's.
func (k *signer) header() object {
	return object{{"alg", `"` + k.alg + `"`}, {"typ", `"at+jwt"`}, {"kid", `"` + k.kid + `"`}}
}

// token signs a header and claims, whatever they say.
func (k *signer) token(header, claims string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	return signed + "." + b64(k.sign([]byte(signed)))
}

// sign makes the same signature of the same bytes each time: ES256 with the nonce of RFC 6979.
func (k *signer) sign(signed []byte) []byte {
	sum := sha256.Sum256(signed)
	var raw []byte
	var err error
	switch k.alg {
	case "ES256":
		raw = rawECDSA(k.der(signed))
	case "EdDSA":
		raw, err = k.private.Sign(nil, signed, crypto.Hash(0))
	case "RS256":
		raw, err = k.private.Sign(nil, sum[:], crypto.SHA256)
	}
	if err != nil {
		panic(err)
	}
	return raw
}

// der is an ES256 signature in ASN.1, which is not the form of JWS.
func (k *signer) der(signed []byte) []byte {
	sum := sha256.Sum256(signed)
	der, err := k.private.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return der
}

// rawECDSA turns ASN.1 into the two halves of RFC 7518 section 3.4.
func rawECDSA(der []byte) []byte {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		panic(err)
	}
	return append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...)
}

// hmacToken is signed with HS256 under a secret that everybody knows.
func hmacToken(header, claims string, secret []byte) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// jwk is a public key, RFC 7517.
type jwk struct {
	Kty string `json:"kty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
	Kid string `json:"kid,omitempty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	K   string `json:"k,omitempty"`
}

func (k *signer) jwk() jwk {
	j := jwk{Use: "sig", Alg: k.alg, Kid: k.kid}
	switch public := k.private.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		j.Kty, j.Crv, j.X, j.Y = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	case ed25519.PublicKey:
		j.Kty, j.Crv, j.X = "OKP", "Ed25519", b64(public)
	case *rsa.PublicKey:
		j.Kty, j.N, j.E = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	}
	return j
}

type jwks struct {
	Keys []jwk `json:"keys"`
}

// jwks is the key set as the issuer publishes it, and keys among it that a verifier must pass over.
func (a *keySet) jwks() jwks {
	encryption, wrongAlg := a.stranger.jwk(), a.stranger.jwk()
	encryption.Use, encryption.Kid = "enc", "for-encryption"
	wrongAlg.Alg, wrongAlg.Kid = "ES384", "wrong-algorithm"
	offCurve := a.stranger.jwk()
	offCurve.Kid, offCurve.Y = "off-curve", offCurve.X
	return jwks{[]jwk{
		a.es.jwk(), a.es2.jwk(), a.ed.jwk(), a.rs.jwk(), a.weak.jwk(), encryption, wrongAlg, offCurve,
		{Kty: "oct", Alg: "HS256", Kid: "shared", K: b64([]byte("a secret that is none"))},
		{Kty: "something-new", Alg: "XX999", Kid: "new"},
	}}
}
