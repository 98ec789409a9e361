package models

import (
	"testing"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// {in …} is a list on both databases, of none, one and many.
func TestBind_List(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		ids := []uuid.UUID{k.signIn(anna).DeviceID, k.signIn(anna).DeviceID, uuid.New()}
		k.signIn(anna)
		for n, want := range []int{0, 1, 2, 2} {
			var found int
			if err := k.read(t.Context(), func(tx *gorm.DB) error {
				return k.row(tx, `SELECT count(*) FROM devices WHERE id {in ids}`, args{"ids": ids[:n]}, &found)
			}); err != nil || found != want {
				t.Errorf("%d ids: %d devices, %v, want %d", n, found, err, want)
			}
		}
	})
}

// What would be right on one database only is refused on both.
func TestBind_Refuses(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for name, statement := range map[string]string{
			"the clock as a parameter": `SELECT @now`, "an unknown word": `SELECT {least } FROM realm {lock x}`, "no value": `SELECT @other`,
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				k.d.bind(statement, args{"now": 1})
			}()
		}
	})
}

// The zero value of a duration is its default, and None is none at all.
func TestConfig_Defaults(t *testing.T) {
	c, err := Config{ReuseInterval: None, RevokedRetention: None}.withDefaults()
	if err != nil || c.ReuseInterval != 0 || c.RevokedRetention != 0 || c.AccessTTL != Default().AccessTTL {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = (Config{}).withDefaults(); err != nil || c.ReuseInterval != Default().ReuseInterval || c.ReuseInterval <= 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
