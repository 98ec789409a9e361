package models

import (
	"errors"
	"testing"
	"time"
)

// Lifetimes that were made shorter hold for devices that exist, from the next start on: at refresh, at a retry, and for
// who asks about a refresh token.
func TestLifetimes_MadeShorter(t *testing.T) {
	for name, shorter := range map[string]func(*Config){
		"REFRESH_TTL":    func(c *Config) { c.RefreshTTL = 10 * time.Minute },
		"DEVICE_MAX_AGE": func(c *Config) { c.DeviceMaxAge = 10 * time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			forEachDB(t, func(t *testing.T, k *kit) {
				u := k.newUser("anna")
				// A quarter of an hour ago, by the database: the new lifetime is over, the one of then is not.
				old, young := k.signIn(u), k.signIn(u)
				if _, err := k.sqldb.ExecContext(t.Context(), `UPDATE devices SET rotated_at = rotated_at - 900000000,
					signed_in_at = signed_in_at - 900000000, valid_from = valid_from - 900000000 WHERE id = '`+old.DeviceID.String()+`'`); err != nil {
					t.Fatal(err)
				}
				for _, table := range []string{"users", "clients", "realm"} {
					if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE "+table+" SET valid_from = 0"); err != nil {
						t.Fatal(err)
					}
				}
				asks, _, err := k.CreateClient(t.Context(), NewClient{ID: "api", Grants: []string{GrantClientCredentials}, Introspect: true}, Actor{})
				if err != nil {
					t.Fatal(err)
				}
				shorter(&k.cfg)
				after := k.open()
				if i, err := after.Introspect(t.Context(), asks, old.RefreshToken); err != nil || i != nil {
					t.Errorf("introspection: %+v, %v", i, err)
				}
				in := Refresh{Token: old.RefreshToken, Client: k.client, Origin: origin}
				if _, err := after.RefreshDevice(t.Context(), in); !errors.Is(err, ErrRefreshTokenInvalid) {
					t.Errorf("refresh: %v", err)
				}
				in.Token = young.RefreshToken
				before := time.Now()
				if _, err := after.RefreshDevice(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				d, err := after.GetDevice(t.Context(), DeviceFilter{ID: young.DeviceID})
				if end := d.ExpiresAt.Time(); err != nil || end.After(before.Add(15*time.Minute)) {
					t.Errorf("a refreshed device ends at %s: %v", end, err)
				}
				if _, err := after.RefreshDevice(t.Context(), in); err != nil {
					t.Errorf("its retry: %v", err)
				}
				// Nothing was written that the longer lifetime of before could not mend.
				in.Token = old.RefreshToken
				if _, err := k.RefreshDevice(t.Context(), in); err != nil {
					t.Errorf("with the old lifetime: %v", err)
				}
			})
		})
	}
}
