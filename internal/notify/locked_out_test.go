package notify

import (
	"errors"
	"testing"

	"curfew/models"
)

// Wrong passwords that use up an account's allowance are told once, and those of a name that nobody has never.
func TestWebhooks_LockedOut(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		h := newHook(t, nil)
		k.webhook(h, models.NoticeLockedOut, models.NoticeUserOut)
		k.start(k.Store)
		anna := k.user("anna")
		for _, name := range []string{"nobody", "anna"} {
			refused := false
			for range 200 {
				_, err := k.AuthenticateUser(t.Context(), models.PasswordAttempt{
					Username: name, Password: "wrong", IP: "203.0.113.9",
				})
				if _, refused = errors.AsType[*models.ThrottledError](err); refused {
					break
				}
			}
			if !refused {
				t.Fatalf("%s: there is no limit", name)
			}
		}
		k.settled(k.revoke(models.WholeUser(anna.ID)).Seq) // whatever comes before is told by then
		if got := h.kinds(); got != "user.locked_out user.signed_out" {
			t.Fatalf("%s", got)
		}
		if m := message(t, h.all()[0]); m.Data != (Data{
			UserID: anna.ID.String(), Username: "anna", IP: "203.0.113.9", Entity: "user",
		}) {
			t.Errorf("%+v", m)
		}
	})
}
