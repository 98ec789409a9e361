package notify

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strconv"
	"testing"

	"curfew/models"
)

func signature(key []byte, id, stamp, body string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + stamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func rsaKey(t *testing.T, j models.JWK) *rsa.PublicKey {
	t.Helper()
	n, err := base64.RawURLEncoding.DecodeString(j.N)
	if err != nil || j.Kty != "RSA" {
		t.Fatalf("%+v, %v", j, err)
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
}

func jsonNumber(n int64) string { return strconv.FormatInt(n, 10) }
