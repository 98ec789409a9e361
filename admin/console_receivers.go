package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/models"
)

func receiverRow(r *models.ReceiverState) pages.ReceiverRow {
	shown := view.NewReceiver(r)
	return pages.ReceiverRow{
		ID: shown.ID, Kind: r.Kind, URL: r.URL, ClientID: r.ClientID, Types: strings.Fields(r.Types),
		Created: r.CreatedAt.Time(), LastTry: r.LastTryAt.Time(), LastAnswer: r.LastAnswer,
		FailingSince: r.FailingSince.Time(), NextTry: r.NextTryAt.Time(), Tries: r.Tries, Behind: r.Behind,
		More: r.Behind >= models.MaxBehind, BehindSince: r.BehindSince.Time(), Told: r.Told, Dropped: r.Dropped,
		Ending: shown.Ending,
	}
}

func (v *visit) receivers() error {
	q, err := v.query()
	page := pages.ConsoleReceivers{}
	if page.Console, err = v.orBase(q, err); err != nil {
		return err
	}
	list, err := v.store.ListReceivers(v.Request.Context(), "")
	if err != nil {
		return err
	}
	page.Receivers = rows(list, receiverRow)
	return v.show(page)
}

func (v *visit) newWebhook() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	return v.showNewWebhook(http.StatusOK, q, nil)
}

// showNewWebhook is the form, as it was filled in.
func (v *visit) showNewWebhook(status int, q url.Values, p *pages.Problem) (err error) {
	page := pages.ConsoleWebhookNew{URL: v.form.Get("url")}
	for _, kind := range models.NoticeTypes {
		page.Types = append(page.Types, pages.Choice{Value: kind, Chosen: slices.Contains(v.form["types"], kind)})
	}
	if page.Console, err = v.base(q); err != nil {
		return err
	}
	page.Problem = p
	return v.site.Show(v.Context, status, page)
}

func (v *visit) createWebhook() error {
	made, secret, err := v.store.CreateWebhook(v.Request.Context(), v.form.Get("url"), v.form["types"], v.actor())
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error { return v.showNewWebhook(status, nil, p) })
	}
	return v.showReceiver(http.StatusOK, &models.ReceiverState{Receiver: *made}, pages.ConsoleReceiver{Secret: secret},
		url.Values{"notice": {"created"}}, nil)
}

func (v *visit) receiver() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	r, err := v.findReceiver("")
	if err != nil {
		return err
	}
	return v.showReceiver(http.StatusOK, r, pages.ConsoleReceiver{}, q, nil)
}

// findReceiver is the receiver that the path names, if it is of the kind.
func (v *visit) findReceiver(kind string) (*models.ReceiverState, error) {
	id, err := pathID(v.Context)
	if err != nil {
		return nil, err
	}
	return v.store.GetReceiverState(v.Request.Context(), kind, id)
}

func (v *visit) showReceiver(
	status int, r *models.ReceiverState, page pages.ConsoleReceiver, q url.Values, p *pages.Problem,
) (err error) {
	page.Receiver = receiverRow(r)
	if page.Console, err = v.base(q); err != nil {
		return err
	}
	page.Problem = p
	return v.site.Show(v.Context, status, page)
}

// testWebhook shows what came of a test message in this one answer.
func (v *visit) testWebhook() error {
	r, err := v.findReceiver(models.ReceiverWebhook)
	if err != nil {
		return err
	}
	answer, err := v.notifier.Test(v.Request.Context(), r.ID)
	if err != nil {
		return err
	}
	return v.showReceiver(http.StatusOK, r, pages.ConsoleReceiver{
		Test: &pages.WebhookAnswer{OK: answer.OK(), Answer: answer.String(), Took: answer.Took},
	}, nil, nil)
}

// rotateWebhook shows the new secret in this one answer.
func (v *visit) rotateWebhook() error {
	r, err := v.findReceiver(models.ReceiverWebhook)
	if err != nil {
		return err
	}
	secret, err := v.store.RotateWebhookSecret(v.Request.Context(), r.ID, v.actor())
	if err != nil {
		return err
	}
	return v.showReceiver(http.StatusOK, r, pages.ConsoleReceiver{Secret: secret}, nil, nil)
}

// deleteWebhook wants the host of its address typed. A wrong one does nothing.
func (v *visit) deleteWebhook() error {
	r, err := v.findReceiver(models.ReceiverWebhook)
	if err != nil {
		return err
	}
	if v.form.Get("confirm") != receiverRow(r).Host() {
		return v.showReceiver(http.StatusConflict, r, pages.ConsoleReceiver{}, nil, &pages.Problem{Code: "confirm"})
	}
	if err := v.store.DeleteWebhook(v.Request.Context(), r.ID, v.actor()); err != nil {
		return err
	}
	return v.done("/console/receivers", "deleted", nil)
}
