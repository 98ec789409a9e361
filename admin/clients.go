package admin

import (
	"github.com/gin-gonic/gin"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

func (a *Admin) listClients(c *gin.Context) error {
	_, p, err := web.QueryPage(c)
	if err != nil {
		return err
	}
	list, next, err := a.store.ListClients(c.Request.Context(), p)
	if err != nil {
		return err
	}
	return page(c, "clients", view.List(list, view.NewClient), next)
}

func (a *Admin) createClient(c *gin.Context) error {
	var in newClientBody
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	made, secret, err := a.store.CreateClient(c.Request.Context(), in.client(), actor(c))
	if err != nil {
		return err
	}
	return web.Created(c, "/admin/clients/"+made.ID, struct {
		view.Client
		Secret string `json:"client_secret,omitempty"` // shown this once
	}{view.NewClient(made), secret})
}

func (a *Admin) getClient(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	found, err := a.store.GetClient(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return web.OK(c, view.NewClient(found))
}

func (a *Admin) updateClient(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	var in clientPatchBody
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	changed, err := a.store.UpdateClient(c.Request.Context(), id, in.patch(), actor(c))
	if err != nil {
		return err
	}
	return web.OK(c, view.NewClient(changed))
}

func (a *Admin) deleteClient(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	q, wait, err := web.QueryWait(c, "dry_run")
	if err != nil {
		return err
	}
	if dry, err := dryRun(q); err != nil || dry {
		return a.countOr(c, models.WholeClient(id), err)
	}
	out, err := a.store.DeleteClient(c.Request.Context(), id, actor(c))
	if err != nil {
		return err
	}
	return web.SignedOutByAdmin(c, a.store, out, wait)
}

// rotateSecret gives the client a new secret, shown this once. The old one stops working at once; tokens stay.
func (a *Admin) rotateSecret(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	secret, err := a.store.RotateClientSecret(c.Request.Context(), id, "", actor(c))
	if err != nil {
		return err
	}
	return web.OK(c, view.ClientSecret{ID: id, Secret: secret})
}

func (a *Admin) revokeClient(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	return a.revoke(c, models.WholeClient(id))
}
