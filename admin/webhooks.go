package admin

import (
	"github.com/gin-gonic/gin"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// listReceivers shows all who have to be told: webhooks, and clients with a back-channel logout URI.
func (a *Admin) listReceivers(c *gin.Context) error { return a.showReceivers(c, "", "receivers") }

func (a *Admin) listWebhooks(c *gin.Context) error {
	return a.showReceivers(c, models.ReceiverWebhook, "webhooks")
}

func (a *Admin) showReceivers(c *gin.Context, kind, name string) error {
	list, err := a.store.ListReceivers(c.Request.Context(), kind)
	if err != nil {
		return err
	}
	return web.OK(c, gin.H{name: view.List(list, view.NewReceiver)})
}

type webhookBody struct {
	URL   string   `json:"url"`
	Types []string `json:"types"`
}

func (a *Admin) createWebhook(c *gin.Context) error {
	var in webhookBody
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	made, secret, err := a.store.CreateWebhook(c.Request.Context(), in.URL, in.Types, actor(c))
	if err != nil {
		return err
	}
	return web.Created(c, "/admin/webhooks/"+made.ID.String(), struct {
		view.Receiver
		Secret string `json:"secret"` // shown this once
	}{view.NewReceiver(&models.ReceiverState{Receiver: *made}), secret})
}

func (a *Admin) getWebhook(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	found, err := a.store.GetReceiverState(c.Request.Context(), models.ReceiverWebhook, id)
	if err != nil {
		return err
	}
	return web.OK(c, view.NewReceiver(found))
}

func (a *Admin) deleteWebhook(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := a.store.DeleteWebhook(c.Request.Context(), id, actor(c)); err != nil {
		return err
	}
	return web.NoContent(c)
}

// rotateWebhook gives a webhook a new secret, shown this once. For a day messages are signed with the old one too.
func (a *Admin) rotateWebhook(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	secret, err := a.store.RotateWebhookSecret(c.Request.Context(), id, actor(c))
	if err != nil {
		return err
	}
	return web.OK(c, view.WebhookSecret{ID: id.String(), Secret: secret})
}

// testWebhook sends one message now, and says what came of it.
func (a *Admin) testWebhook(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	answer, err := a.notifier.Test(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return web.OK(c, view.WebhookTest{
		OK: answer.OK(), Status: answer.Status, Answer: answer.String(), Millis: answer.Took.Milliseconds(),
	})
}
