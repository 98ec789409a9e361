package models

import (
	"errors"
	"testing"
)

// A remembered signature lets nothing through: not a token with another signature, and not one that was signed out.
func TestVerifiedTokens(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn(k.newUser("anna"))
		for range 2 { // the second time the signature is remembered
			if _, err := k.CheckAccessToken(t.Context(), g.AccessToken); err != nil {
				t.Fatal(err)
			}
		}
		forged := []byte(g.AccessToken)
		if i := len(forged) - 10; forged[i] == 'A' {
			forged[i] = 'B'
		} else {
			forged[i] = 'A'
		}
		if _, err := k.CheckAccessToken(t.Context(), string(forged)); !errors.Is(err, ErrAccessToken) {
			t.Errorf("a token with another signature: %v", err)
		}
		if _, err := k.Revoke(t.Context(), OneDevice(g.DeviceID), ReasonRevoked, Actor{}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.CheckAccessToken(t.Context(), g.AccessToken); !errors.Is(err, ErrAccessToken) {
			t.Errorf("a token that was signed out: %v", err)
		}
	})
}

// The oldest are forgotten, and what is asked for stays.
func TestVerifiedTokensBound(t *testing.T) {
	var v verifiedTokens
	key := func(i int) (k [32]byte) {
		k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16)
		return k
	}
	for i := range 4 * verifiedSize {
		v.add(key(i), &Claims{IssuedUS: int64(i)})
		if i%100 == 0 && v.get(key(0)) == nil {
			t.Fatalf("what is asked for was forgotten after %d", i)
		}
	}
	if n := len(v.young) + len(v.old); n > 2*verifiedSize {
		t.Errorf("%d are remembered", n)
	}
	if v.get(key(1)) != nil {
		t.Error("nothing was forgotten")
	}
}
