package admin

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"curfew/internal/pages"
	"curfew/internal/web"
	"curfew/models"
)

func (v *visit) followers() error {
	page := pages.ConsoleFollowers{}
	return v.list(&page, &page.Console, func(_ url.Values, p models.Page) error {
		db, err := v.store.Database(v.Request.Context())
		if err != nil {
			return err
		}
		page.Last = db.LastSeq
		page.Followers, page.Next, err = v.followerRows(db.LastSeq, p)
		return err
	})
}

func (v *visit) followerRows(last int64, p models.Page) ([]pages.FollowerRow, string, error) {
	list, next, err := v.store.ListSubscribers(v.Request.Context(), p)
	return rows(list, func(s *models.Subscriber) pages.FollowerRow { return followerRow(s, last) }), next, err
}

func (v *visit) forgetFollower() error {
	id := models.SubscriberID{ClientID: v.form.Get("client_id"), Name: v.form.Get("name")}
	if !nameForm.MatchString(id.ClientID) || !nameForm.MatchString(id.Name) {
		return models.ErrNotFound
	}
	if err := v.store.DeleteSubscriber(v.Request.Context(), id, v.actor()); err != nil {
		return err
	}
	return v.done("/console/followers", "deleted", nil)
}

func (v *visit) revocations() error {
	page := pages.ConsoleRevocations{}
	return v.list(&page, &page.Console, func(q url.Values, p models.Page) error {
		page.Filter = pages.RevocationFilter{Level: q.Get("level"), Subject: q.Get("subject"), Reason: q.Get("reason")}
		f, err := revocationFilter(q)
		if err != nil {
			return err
		}
		list, next, err := v.store.ListRevocations(v.Request.Context(), f, p)
		if err != nil {
			return err
		}
		names, err := v.names(v.Request.Context(), list, nil)
		page.Next = next
		page.Revocations = rows(list, func(r *models.Revocation) pages.RevocationRow { return revocationRow(r, names) })
		return err
	}, "level", "subject", "reason")
}

// revocation is an event with its receipt.
func (v *visit) revocation() error {
	seq, err := pathSeq(v.Context)
	if err != nil {
		return err
	}
	q, err := v.query()
	if err != nil {
		return err
	}
	ctx := v.Request.Context()
	event, err := v.store.GetRevocation(ctx, seq)
	if err != nil {
		return err
	}
	receipt, err := v.store.Receipt(ctx, seq)
	if err != nil {
		return err
	}
	names, err := v.names(ctx, []models.Revocation{*event}, nil)
	if err != nil {
		return err
	}
	q = url.Values{"receipt": {strconv.FormatInt(seq, 10)}, "ended": q["ended"], "notice": q["notice"]}
	base, err := v.base(q)
	if err != nil {
		return err
	}
	page := pages.ConsoleRevocation{Console: base, Revocation: revocationRow(event, names)}
	for _, s := range receipt.Subscribers {
		page.Confirmations = append(page.Confirmations, pages.Confirmation{
			ClientID: s.ClientID, Name: s.Name, Live: s.Live, Acknowledged: s.Acknowledged, At: s.AcknowledgedAt.Time(),
			After: time.Duration(s.Millis) * time.Millisecond,
		})
	}
	return v.show(page)
}

// receiptState is what the module asks for until a receipt is complete.
func (v *visit) receiptState() error {
	seq, err := pathSeq(v.Context)
	if err != nil {
		return err
	}
	if _, err := v.query(); err != nil {
		return err
	}
	receipt, err := v.receipt(seq)
	switch {
	case err != nil:
		return err
	case receipt == nil:
		return models.ErrNotFound
	}
	return web.OK(v.Context, v.site.ReceiptState(v.Context, *receipt))
}

// events is the audit log.
func (v *visit) events() error {
	page := pages.ConsoleEvents{Types: slices.Clone(models.AuditTypes)}
	return v.list(&page, &page.Console, func(q url.Values, p models.Page) error {
		page.Filter = pages.AuditFilter{
			Type: q.Get("type"), UserID: q.Get("user_id"), ClientID: q.Get("client_id"), DeviceID: q.Get("device_id"),
			Actor: q.Get("actor"), IP: q.Get("ip"), From: q.Get("from"), To: q.Get("to"),
		}
		f, err := auditFilter(q)
		if err != nil {
			return err
		}
		list, next, err := v.store.ListAuditEvents(v.Request.Context(), f, p)
		if err != nil {
			return err
		}
		names, err := v.names(v.Request.Context(), nil, list)
		page.Next = next
		page.Events = rows(list, func(e *models.AuditEvent) pages.AuditRow { return auditRow(e, names) })
		return err
	}, auditFilters[:]...)
}
