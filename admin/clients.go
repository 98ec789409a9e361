package admin

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// client is a client as an admin sees it: never the secret's hash.
type client struct {
	ID         string        `json:"client_id"`
	Name       string        `json:"name"`
	Public     bool          `json:"public"`
	Grants     []string      `json:"grants"`
	Scopes     []string      `json:"scopes"`
	Introspect bool          `json:"introspect"`
	CreatedAt  models.Micros `json:"created_at"`
	UpdatedAt  models.Micros `json:"updated_at"`
}

func clientView(c *models.Client) client {
	list := func(s string) []string { return append([]string{}, strings.Fields(s)...) }
	return client{
		ID: c.ID, Name: c.Name, Public: c.Public, Grants: list(c.Grants), Scopes: list(c.Scopes), Introspect: c.Introspect,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

func (a *Admin) listClients(c *gin.Context) error {
	q, err := web.Query(c, "limit", "cursor")
	if err != nil {
		return err
	}
	p, err := web.PageFrom(q)
	if err != nil {
		return err
	}
	list, next, err := a.store.ListClients(c.Request.Context(), p)
	if err != nil {
		return err
	}
	clients := make([]client, len(list))
	for i := range list {
		clients[i] = clientView(&list[i])
	}
	return answer(c, http.StatusOK, struct {
		Clients []client `json:"clients"`
		Next    string   `json:"next_cursor,omitempty"`
	}{clients, next})
}

func (a *Admin) createClient(c *gin.Context) error {
	var in struct {
		ID         string   `json:"client_id"`
		Name       string   `json:"name"`
		Public     bool     `json:"public"`
		Grants     []string `json:"grants"`
		Scopes     []string `json:"scopes"`
		Introspect bool     `json:"introspect"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	made, secret, err := a.store.CreateClient(c.Request.Context(), models.NewClient{
		ID: in.ID, Name: in.Name, Public: in.Public, Grants: in.Grants, Scopes: in.Scopes, Introspect: in.Introspect,
	}, web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	c.Header("Location", "/admin/clients/"+made.ID)
	return answer(c, http.StatusCreated, struct {
		client
		Secret string `json:"client_secret,omitempty"` // shown this once
	}{clientView(made), secret})
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
	return answer(c, http.StatusOK, clientView(found))
}

func (a *Admin) updateClient(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	var in struct {
		Name       *string   `json:"name"`
		Grants     *[]string `json:"grants"`
		Scopes     *[]string `json:"scopes"`
		Introspect *bool     `json:"introspect"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	changed, err := a.store.UpdateClient(c.Request.Context(), id, models.ClientPatch(in), web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, clientView(changed))
}

func (a *Admin) deleteClient(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	q, err := web.Query(c, "wait")
	if err != nil {
		return err
	}
	wait, err := web.ParseWait(q)
	if err != nil {
		return err
	}
	out, err := a.store.DeleteClient(c.Request.Context(), id, web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	web.AnswerSignOut(c, a.store, out, wait)
	return nil
}

// rotateSecret gives the client a new secret, shown this once. The old one stops working at once; tokens stay.
func (a *Admin) rotateSecret(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	secret, err := a.store.RotateClientSecret(c.Request.Context(), id, "", web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}{id, secret})
}

func (a *Admin) revokeClient(c *gin.Context) error {
	id, err := pathName(c, "id")
	if err != nil {
		return err
	}
	q, err := web.Query(c, "wait")
	if err != nil {
		return err
	}
	return a.revoke(c, models.WholeClient(id), q)
}
