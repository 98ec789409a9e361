package admin

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

func (a *Admin) listRevocations(c *gin.Context) error {
	q, p, err := web.QueryPage(c, "level", "subject", "reason")
	if err != nil {
		return err
	}
	f, err := revocationFilter(q)
	if err != nil {
		return err
	}
	list, next, err := a.store.ListRevocations(c.Request.Context(), f, p)
	if err != nil {
		return err
	}
	return page(c, "revocations", view.List(list, view.NewRevocation), next)
}

func revocationFilter(q url.Values) (models.RevocationFilter, error) {
	f := models.RevocationFilter{
		Level: models.Level(q.Get("level")), Subject: q.Get("subject"), Reason: models.Reason(q.Get("reason")),
	}
	if f.Level != "" && !slices.Contains(models.Levels[:], f.Level) {
		return f, web.Invalid("level must be device, user, client or everyone")
	}
	if f.Reason != "" && !slices.Contains(models.Reasons, f.Reason) {
		return f, web.Invalid("there is no such reason; there are: %s", oneOf(models.Reasons))
	}
	return f, nil
}

// pathSeq is a sequence number in the path. Another form names nothing.
func pathSeq(c *gin.Context) (int64, error) {
	seq, err := strconv.ParseInt(c.Param("seq"), 10, 64)
	if err != nil || strconv.FormatInt(seq, 10) != c.Param("seq") {
		return 0, models.ErrNotFound
	}
	return seq, nil
}

// getRevocation is one event with its receipt.
func (a *Admin) getRevocation(c *gin.Context) error {
	seq, err := pathSeq(c)
	if err != nil {
		return err
	}
	event, err := a.store.GetRevocation(c.Request.Context(), seq)
	if err != nil {
		return err
	}
	receipt, err := a.store.Receipt(c.Request.Context(), seq)
	if err != nil {
		return err
	}
	told, err := a.store.Told(c.Request.Context(), seq)
	if err != nil {
		return err
	}
	return web.OK(c, view.NewReceipt(event, receipt, told))
}

func (a *Admin) listSubscribers(c *gin.Context) error {
	_, p, err := web.QueryPage(c)
	if err != nil {
		return err
	}
	list, next, err := a.store.ListSubscribers(c.Request.Context(), p)
	if err != nil {
		return err
	}
	return page(c, "subscribers", view.List(list, view.NewSubscriber), next)
}

// deleteSubscriber forgets a resource server that is gone for good: no receipt names it as missing any more.
func (a *Admin) deleteSubscriber(c *gin.Context) error {
	client, err := pathName(c, "client_id")
	if err != nil {
		return err
	}
	name, err := pathName(c, "name")
	if err != nil {
		return err
	}
	id := models.SubscriberID{ClientID: client, Name: name}
	if err := a.store.DeleteSubscriber(c.Request.Context(), id, actor(c)); err != nil {
		return err
	}
	return web.NoContent(c)
}
