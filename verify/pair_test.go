package verify

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func med(a []time.Duration) float64 { slices.Sort(a); return float64(a[len(a)/2]) }
func BenchmarkPairNew(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			v, mint := benchVerifier(b, alg)
			token := mint(0)
			dot := strings.LastIndexByte(token, '.')
			sig, _ := decode(token[dot+1:])
			signed := []byte(token[:dot])
			var asn1 []byte
			if alg == "ES256" {
				asn1 = asn1Signature(nil, sig)
			}
			var p, q []time.Duration
			for b.Loop() {
				t0 := time.Now()
				switch k := v.keys.keys["kid"].public.(type) {
				case *ecdsa.PublicKey:
					sum := sha256.Sum256(signed)
					ecdsa.VerifyASN1(k, sum[:], asn1)
				case ed25519.PublicKey:
					ed25519.Verify(k, signed, sig)
				case *rsa.PublicKey:
					sum := sha256.Sum256(signed)
					rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], sig)
				}
				t1 := time.Now()
				delete(v.cache.young, token)
				if _, err := v.Verify(context.Background(), token); err != nil {
					b.Fatal(err)
				}
				t2 := time.Now()
				p = append(p, t1.Sub(t0))
				q = append(q, t2.Sub(t1))
			}
			x, y := med(p), med(q)
			b.ReportMetric(x, "bare-ns")
			b.ReportMetric(y, "verify-ns")
			b.ReportMetric(y/x, "ratio")
		})
	}
}

func BenchmarkPairSeen(b *testing.B) {
	var vs [2]*Verifier
	var toks [2][]string
	for i := range vs {
		v, mint := benchVerifier(b, "ES256")
		if i == 1 {
			fill(v, 1_000_000)
		}
		for n := range 1000 {
			tk := mint(n)
			toks[i] = append(toks[i], tk)
			if _, err := v.Verify(context.Background(), tk); err != nil {
				b.Fatal(err)
			}
		}
		vs[i] = v
	}
	var d [2][]time.Duration
	n := 0
	for b.Loop() {
		for i := range vs {
			t0 := time.Now()
			for j := range 100 {
				if _, err := vs[i].Verify(context.Background(), toks[i][(n+j)%1000]); err != nil {
					b.Fatal(err)
				}
			}
			d[i] = append(d[i], time.Since(t0)/100)
		}
		n += 100
	}
	x, y := med(d[0]), med(d[1])
	b.ReportMetric(x, "none-ns")
	b.ReportMetric(y, "million-ns")
	b.ReportMetric(y/x, "ratio")
	_ = fmt.Sprint
}
