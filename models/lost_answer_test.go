package models

import (
	"errors"
	"testing"
	"time"
)

func TestClient_LostAnswer(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		minute, none, tooLong := Span(time.Minute), (*Span)(nil), Span(25*time.Hour)
		c, _, err := k.CreateClient(t.Context(), NewClient{ID: "phone", Public: true, LostAnswer: &minute}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []struct{ to, want *Span }{{&minute, &minute}, {none, none}, {&minute, &minute}} {
			if c, err = k.UpdateClient(t.Context(), c.ID, ClientPatch{LostAnswer: &change.to}, Actor{}); err != nil {
				t.Fatal(err)
			}
			if c, err = k.GetClient(t.Context(), c.ID); err != nil {
				t.Fatal(err)
			}
			if (c.LostAnswer == nil) != (change.want == nil) || c.LostAnswer != nil && *c.LostAnswer != *change.want {
				t.Fatalf("lost answer %v, want %v", c.LostAnswer, change.want)
			}
		}
		long := &tooLong
		if _, err := k.UpdateClient(t.Context(), c.ID, ClientPatch{LostAnswer: &long}, Actor{}); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	})
}
