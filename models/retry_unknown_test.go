package models

import "testing"

// Two requests without a known address are not from the same one.
func TestRefreshDevice_UnknownAddress(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		unknown := Origin{UserAgent: origin.UserAgent}
		first := k.signIn(k.newUser("anna"))
		second, err := k.from(unknown, first.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		k.age(raceWindow)
		retry, err := k.from(unknown, first.RefreshToken)
		if err != nil || retry.RefreshToken == second.RefreshToken || k.alive(second) {
			t.Errorf("a retry from nowhere known has the very same successor, or none: %v", err)
		}
	})
}
