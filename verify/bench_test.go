package verify

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const benchIssuer = "https://curfew.example"

// benchVerifier is a verifier with fresh knowledge and one key, that follows nothing.
func benchVerifier(b testing.TB, alg string) (*Verifier, func(n int) string) {
	b.Helper()
	v := &Verifier{
		cfg: Config{Issuer: benchIssuer, Audience: benchIssuer, Bound: time.Hour}, index: newIndex(),
		cache: newCache(10_000), now: clocksSince(time.Now()), ctx: context.Background(),
	}
	v.keys = newKeySet(v)
	now := v.now()
	v.lastHeartbeat.Store(&heartbeat{now, now.wall.Microseconds()})
	var private crypto.Signer
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 3072)
	}
	if err != nil {
		b.Fatal(err)
	}
	v.keys.keys = map[string]*key{"kid": {alg, private.Public()}}
	return v, func(n int) string {
		t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), jwt.MapClaims{
			"iss": benchIssuer, "sub": fmt.Sprintf("0197a1b2-0000-7000-8000-%012d", n), "aud": benchIssuer,
			"exp": time.Now().Add(time.Hour).Unix(),
			"iat": time.Now().Unix(), "jti": fmt.Sprint(n), "client_id": "web", "scope": "settings profile",
			"iat_us":    time.Now().UnixMicro(),
			"device_id": fmt.Sprintf("0197a1b2-0001-7000-8000-%012d", n),
			"rid":       fmt.Sprintf("0197a1b2-0002-7000-8000-%012d", n),
		})
		t.Header["typ"], t.Header["kid"] = "at+jwt", "kid"
		raw, err := t.SignedString(private)
		if err != nil {
			b.Fatal(err)
		}
		return raw
	}
}

func fill(v *Verifier, entries int) {
	for n := range entries {
		var u uuid
		binary.BigEndian.PutUint64(u[:], uint64(n)*0x9e3779b97f4a7c15)
		level := levelDevice
		if n%4 == 0 {
			level = levelUser
		}
		v.index.apply(level, fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), validFrom{
			1,
			forever, forever,
		}, instant{})
	}
}

// BenchmarkVerify_Seen is a token that was verified before, with an empty index and with a million entries.
func BenchmarkVerify_Seen(b *testing.B) {
	for _, entries := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			v, mint := benchVerifier(b, "ES256")
			fill(v, entries)
			tokens := make([]string, 1000)
			for i := range tokens {
				tokens[i] = mint(i)
				if _, err := v.Verify(context.Background(), tokens[i]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := v.Verify(context.Background(), tokens[i%len(tokens)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerify_New is a token that was not seen before against the bare signature check of the standard library. The
// two take turns in short blocks, and the ratio is the median of the pairs': what else the machine does meets both.
func BenchmarkVerify_New(b *testing.B) {
	const block = 20
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			v, mint := benchVerifier(b, alg)
			token := mint(0)
			dot := strings.LastIndexByte(token, '.')
			sig, err := decode(token[dot+1:])
			if err != nil {
				b.Fatal(err)
			}
			signed := []byte(token[:dot])
			var asn1 []byte
			if alg == "ES256" {
				asn1 = asn1Signature(nil, sig)
			}
			bare := func() (ok bool) {
				switch k := v.keys.keys["kid"].public.(type) {
				case *ecdsa.PublicKey:
					sum := sha256.Sum256(signed)
					ok = ecdsa.VerifyASN1(k, sum[:], asn1)
				case ed25519.PublicKey:
					ok = ed25519.Verify(k, signed, sig)
				case *rsa.PublicKey:
					sum := sha256.Sum256(signed)
					ok = rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], sig) == nil
				}
				return ok
			}
			var bares, verifies, ratios []float64
			for b.Loop() {
				began := time.Now()
				for range block {
					if !bare() {
						b.Fatal("the signature is wrong")
					}
				}
				between := time.Now()
				for range block {
					delete(v.cache.young, token)
					if _, err := v.Verify(context.Background(), token); err != nil {
						b.Fatal(err)
					}
				}
				one, other := float64(between.Sub(began))/block, float64(time.Since(between))/block
				bares, verifies, ratios = append(bares, one), append(verifies, other), append(ratios, other/one)
			}
			median := func(list []float64) float64 { slices.Sort(list); return list[len(list)/2] }
			b.ReportMetric(0, "ns/op") // of a block of both
			b.ReportMetric(median(bares), "bare-ns")
			b.ReportMetric(median(verifies), "verify-ns")
			b.ReportMetric(median(ratios), "verify/bare")
		})
	}
}

// BenchmarkIndex_Bytes says what an entry takes, in the worst and the best moment between two growths.
func BenchmarkIndex_Bytes(b *testing.B) {
	for _, entries := range []int{1_000_000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		v := &Verifier{index: newIndex()}
		fill(v, entries)
		runtime.GC()
		runtime.ReadMemStats(&after)
		for b.Loop() {
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(entries), "bytes/entry")
		runtime.KeepAlive(v)
	}
}
