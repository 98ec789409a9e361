package notify

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"curfew/models"
)

// One message an event, in the order of the log, and only of the types that were asked for.
func TestWebhooks_OneForEachEvent(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.client("web", "")
		all, some := newHook(t, nil), newHook(t, nil)
		k.webhook(all)
		k.webhook(some, models.NoticeUserOut, models.NoticeReuse)
		n := k.start(k.Store)
		anna := k.user("anna")
		g := k.signIn(anna, "web", uuid.Nil)
		k.signIn(anna, "web", g.DeviceID)
		k.signIn(anna, "web", uuid.Nil)
		k.revoke(models.OneDevice(g.DeviceID))
		k.revoke(models.WholeUser(anna.ID))
		k.revoke(models.WholeClient("web"))
		last := k.revoke(models.Everyone())
		if told := k.settled(last.Seq); told != (models.Told{Receivers: 1, Answered: 1}) {
			t.Errorf("%+v", told)
		}
		const want = "device.signed_in device.signed_in device.signed_in device.ended user.signed_out client.signed_out " +
			"everyone.signed_out"
		if got := all.kinds(); got != want {
			t.Errorf("%s", got)
		}
		eventually(t, func() bool { return some.kinds() != "" }) // by another worker
		if got := some.kinds(); got != "user.signed_out" {
			t.Errorf("%s", got)
		}
		first, second := message(t, all.all()[0]), message(t, all.all()[1])
		if d := first.Data; d.New == nil || !*d.New || d.Username != "anna" || d.DeviceID != g.DeviceID.String() ||
			d.DeviceName != "phone" || d.IP != "203.0.113.7" || *second.Data.New {
			t.Errorf("%+v, %+v", first, second)
		}
		if m := message(t, all.all()[4]); m.Data.Level != "user" || m.Data.UserID != anna.ID.String() || m.Data.Seq == 0 {
			t.Errorf("%+v", m)
		}
		eventually(t, func() bool { return n.Stats.Told[0].Load() == 8 && n.Behind() == 0 })
	})
}

type sentMessage struct {
	Type      string
	Timestamp time.Time
	Data      Data
}

func message(t *testing.T, r received) (m sentMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A webhook's secret signs as the specification says; once it is rotated, both do for a while.
func TestWebhooks_Signatures(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		h := newHook(t, nil)
		id, first := k.webhook(h)
		n := New(Config{Store: k.Store, Client: NewClient(ClientConfig{Allow: loopback})})
		defer n.Close()
		if a, err := n.Test(t.Context(), id); err != nil || !a.OK() {
			t.Fatalf("%v, %v", a, err)
		}
		second, err := k.RotateWebhookSecret(t.Context(), id, models.Actor{})
		if err != nil || second == first || !strings.HasPrefix(second, "whsec_") {
			t.Fatalf("%q, %v", second, err)
		}
		if a, err := n.Test(t.Context(), id); err != nil || !a.OK() {
			t.Fatalf("%v, %v", a, err)
		}
		for i, secrets := range [][]string{{first}, {second, first}} {
			r := h.all()[i]
			var want []string
			for _, s := range secrets {
				key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, signature(key, r.header.Get("webhook-id"), r.header.Get("webhook-timestamp"), r.body))
			}
			if got := r.header.Get("webhook-signature"); got != strings.Join(want, " ") {
				t.Errorf("%s, want %s", got, want)
			}
		}
		// Another server secret: sealed anew. One that opens nothing: it says so.
		k.cfg.Secrets = [][]byte{[]byte(strings.Repeat("n", 32)), k.cfg.Secrets[0]}
		other := New(Config{Store: k.open(), Client: NewClient(ClientConfig{Allow: loopback})})
		defer other.Close()
		if a, err := other.Test(t.Context(), id); err != nil || !a.OK() {
			t.Fatalf("%v, %v", a, err)
		}
		if a, err := n.Test(t.Context(), id); err != nil || a.OK() {
			t.Fatalf("%v, %v", a, err)
		}
	})
}

// Two nodes (on SQLite a restart): each event is told once; when the one that tells is gone, the other goes on.
func TestNotifier_TwoNodes(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.client("web", "")
		h := newHook(t, nil)
		k.webhook(h, models.NoticeUserOut)
		first, _ := k.start(k.Store), k.start(k.open())
		anna := k.user("anna")
		var last *models.Revocation
		for range 5 {
			last = k.revoke(models.WholeUser(anna.ID))
		}
		k.settled(last.Seq)
		if n := len(h.all()); n != 5 {
			t.Errorf("told %d times of 5", n)
		}
		first.Close()
		last = k.revoke(models.WholeUser(anna.ID))
		k.settled(last.Seq)
		if n := len(h.all()); n != 6 {
			t.Errorf("told %d times of 6", n)
		}
	})
}

// What does not answer as it should is told later, in order, and delays nobody else.
func TestNotifier_BadReceivers(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		elsewhere := newHook(t, nil)
		bad := map[string]*hook{
			"500": newHook(t, once(func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) })),
			"302": newHook(t, once(func(w http.ResponseWriter) { w.Header().Set("Location", elsewhere.URL); w.WriteHeader(302) })),
			"410": newHook(t, once(func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) })),
			// What it says instead is kept as the last answer, cut somewhere: in the middle of one of these letters.
			"words, even": newHook(t, once(func(w http.ResponseWriter) { sayRaw(w, strings.Repeat("é", 150)) })),
			"words, odd":  newHook(t, once(func(w http.ResponseWriter) { sayRaw(w, "a"+strings.Repeat("é", 150)) })),
			"hang":        newHook(t, nil),
			"endless": newHook(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			}),
		}
		bad["hang"].answer = func(int, http.ResponseWriter, *http.Request) { <-bad["hang"].hang }
		for _, h := range bad {
			k.webhook(h, models.NoticeUserOut)
		}
		good := newHook(t, nil)
		k.webhook(good, models.NoticeUserOut)
		n := k.start(k.Store)
		anna, ben := k.user("anna"), k.user("ben")
		k.revoke(models.WholeUser(anna.ID))
		last := k.revoke(models.WholeUser(ben.ID))
		eventually(t, func() bool { return good.kinds() == "user.signed_out user.signed_out" })
		var told models.Told
		eventually(t, func() bool { told, _ = k.Told(t.Context(), last.Seq); return told.Pending == 1 })
		if told != (models.Told{Receivers: 8, Answered: 7, Pending: 1}) || n.Behind() == 0 {
			t.Errorf("%+v, %v", told, n.Behind())
		}
		for name, want := range map[string]int{
			"500": 3, "302": 3, "410": 3, "words, even": 3, "words, odd": 3, "hang": 1, "endless": 2,
		} {
			list := bad[name].all()
			if len(list) != want && (name != "hang" || len(list) < want) { // it is given up after ten seconds
				t.Errorf("%s: asked %d times", name, len(list))
				continue
			}
			if want == 3 {
				ids := []string{}
				for _, r := range list {
					ids = append(ids, r.header.Get("webhook-id"))
				}
				if ids[0] != ids[1] || ids[1] == ids[2] || message(t, list[0]).Data.UserID != anna.ID.String() {
					t.Errorf("%s: %v", name, ids)
				}
			}
		}
		if len(elsewhere.all()) != 0 {
			t.Error("a redirect was followed")
		}
	})
}

// sayRaw answers with what is no HTTP.
func sayRaw(w http.ResponseWriter, words string) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		fmt.Fprintf(conn, "%s\r\n\r\n", words)
		conn.Close()
	}
}

func once(fail func(w http.ResponseWriter)) func(int, http.ResponseWriter, *http.Request) {
	return func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			fail(w)
		}
	}
}

// A crash between the answer and the position: told twice, never not.
func TestNotifier_CrashBeforeThePosition(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.user("anna")
		k.client("web", "")
		h := newHook(t, nil)
		id, _ := k.webhook(h, models.NoticeUserOut)
		var before struct{ tx, at int64 }
		if err := k.DB().QueryRow(`SELECT pos_tx, pos_id FROM receivers`).Scan(&before.tx, &before.at); err != nil {
			t.Fatal(err)
		}
		n := k.start(k.Store)
		event := k.revoke(models.WholeUser(anna.ID))
		k.settled(event.Seq)
		n.Close()
		r, err := k.GetWebhook(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		r.PosTX, r.PosID = before.tx, before.at // as kill -9 would have left it
		if err := k.SaveReceiver(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if told, _ := k.Told(t.Context(), event.Seq); told.Pending != 1 {
			t.Fatalf("%+v", told)
		}
		k.start(k.Store)
		k.settled(event.Seq)
		list := h.all()
		if len(list) != 2 || list[0].header.Get("webhook-id") != list[1].header.Get("webhook-id") {
			t.Errorf("%d messages", len(list))
		}
	})
}

// What is too old is not told, and said: in the receipt, the audit log and the receiver's row.
func TestNotifier_TooOld(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		h := newHook(t, nil)
		id, _ := k.webhook(h, models.NoticeUserOut)
		anna := k.user("anna")
		old, older := k.revoke(models.WholeUser(anna.ID)), k.revoke(models.WholeUser(anna.ID))
		ago := (models.NoticeTTL + time.Minute).Microseconds()
		for _, table := range []string{"audit_events SET at = at", "revocations SET created_at = created_at", "receivers SET created_at = created_at"} {
			k.exec("UPDATE " + table + " - " + jsonNumber(ago))
		}
		k.start(k.Store)
		fresh := k.revoke(models.WholeUser(anna.ID))
		if told := k.settled(fresh.Seq); told != (models.Told{Receivers: 1, Answered: 1}) {
			t.Errorf("%+v", told)
		}
		for _, event := range []*models.Revocation{old, older} {
			if told := k.settled(event.Seq); told != (models.Told{Receivers: 1, Failed: 1}) {
				t.Errorf("%+v", told)
			}
		}
		r, err := k.GetWebhook(t.Context(), id)
		if err != nil || r.Dropped != 2 || r.Told != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		events, _, err := k.ListAuditEvents(t.Context(), models.AuditFilter{Type: models.AuditNoticesDropped}, models.Page{})
		if err != nil || len(events) != 1 {
			t.Errorf("%+v, %v", events, err)
		}
		if h.kinds() != "user.signed_out" {
			t.Errorf("%s", h.kinds())
		}
	})
}
