package models

import (
	"strings"
	"testing"

	"curfew/internal/testdb"
)

// read reads a webhook's log to its end, as far as it is settled.
func (k *kit) readOutbox(after Position) (list []OutboxEvent, o Outbox) {
	k.t.Helper()
	for {
		o, err := k.ReadOutbox(k.t.Context(), ReceiverWebhook, after, false)
		if err != nil {
			k.t.Fatal(err)
		}
		if list = append(list, o.Events...); len(o.Events) == 0 {
			return list, o
		}
		after = list[len(list)-1].At
	}
}

// An event of a transaction that began before another's, and commits after it, is behind no position.
func TestOutbox_OrderOfCommits(t *testing.T) {
	k := newKit(t, testdb.Postgres(t))
	r, _, err := k.CreateWebhook(t.Context(), "https://hooks.example.com/", nil, Actor{})
	if err != nil {
		t.Fatal(err)
	}
	k.readOutbox(r.Position())
	slow, err := k.sqldb.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback()
	if _, err := slow.Exec(`INSERT INTO audit_events (at, type, entity, actor, ip, user_agent, user_id, client_id, device_id, detail)
		VALUES (1, 'slow', '', '', '', '', '', '', '', '{}')`); err != nil {
		t.Fatal(err)
	}
	k.newUser("anna") // commits before it
	list, o := k.readOutbox(r.Position())
	for _, e := range list {
		if e.Audit.Type == AuditUserCreated {
			t.Fatal("told of an event that another may still come before")
		}
	}
	if !o.Unready {
		t.Error("nothing says that there is more")
	}
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	list, _ = k.readOutbox(r.Position())
	if n := len(list); n < 2 || list[n-2].Audit.Type != "slow" || list[n-1].Audit.Type != AuditUserCreated {
		t.Errorf("%d events", len(list))
	}
}

// A dump of a cluster whose transaction numbers are ahead: what was told stays told, what waits is told, and what
// happens from now on.
func TestOutbox_Restored(t *testing.T) {
	k := newKit(t, testdb.Postgres(t))
	r, _, err := k.CreateWebhook(t.Context(), "https://hooks.example.com/", nil, Actor{})
	if err != nil {
		t.Fatal(err)
	}
	k.newUser("told")
	list, _ := k.readOutbox(r.Position())
	told := list[len(list)-1].At
	k.newUser("waits")
	for _, statement := range []string{
		`UPDATE audit_events SET tx = tx + 1000000000 WHERE tx > 0`,
	} {
		if _, err := k.sqldb.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.sqldb.Exec(`UPDATE receivers SET pos_tx = $1, pos_id = $2`, told.TX+1000000000, told.ID); err != nil {
		t.Fatal(err)
	}
	other := k.open() // the first start
	for range 2 {
		if err := other.noteRestored(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	k.newUser("new")
	after, err := k.GetWebhook(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	list, _ = k.readOutbox(after.Position())
	var users []string
	for _, e := range list {
		users = append(users, e.Username)
	}
	if got := strings.Join(users, " "); got != "waits new" {
		t.Errorf("%q after %+v", got, after.Position())
	}
}
