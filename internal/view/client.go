package view

import (
	"strings"

	"curfew/models"
)

// Client is a client as an admin sees it.
type Client struct {
	ID         string        `json:"client_id"`
	Name       string        `json:"name"`
	Public     bool          `json:"public"`
	Grants     []string      `json:"grants"`
	Scopes     []string      `json:"scopes"`
	Introspect bool          `json:"introspect"`
	CreatedAt  models.Micros `json:"created_at"`
	UpdatedAt  models.Micros `json:"updated_at"`
}

// NewClient shows a client to an admin.
func NewClient(c *models.Client) Client {
	list := func(s string) []string { return append([]string{}, strings.Fields(s)...) }
	return Client{
		ID: c.ID, Name: c.Name, Public: c.Public, Grants: list(c.Grants), Scopes: list(c.Scopes),
		Introspect: c.Introspect, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

// ClientSecret is a client's new secret, which is shown this once.
type ClientSecret struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret,omitempty"` // a public client has none
}
