package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"curfew/internal/pages"
	"curfew/models"
)

func (v *visit) clients() error {
	page := pages.ConsoleClients{}
	return v.list(&page, &page.Console, func(_ url.Values, p models.Page) error {
		list, next, err := v.store.ListClients(v.Request.Context(), p)
		page.Clients, page.Next = rows(list, clientRow), next
		return err
	})
}

func (v *visit) newClient() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	base, err := v.base(q)
	if err != nil {
		return err
	}
	return v.show(pages.ConsoleClientNew{Console: base, Client: pages.ClientForm{
		Grants: []string{models.GrantAuthorizationCode, models.GrantRefreshToken}, PKCE: models.PKCERequired,
	}})
}

// typedClient is the form as it was filled in.
func typedClient(f url.Values) pages.ClientForm {
	return pages.ClientForm{
		ID: f.Get("client_id"), Name: f.Get("name"), Public: f.Get("public") != "", Grants: f["grants"],
		Scopes: f.Get(
			"scopes",
		), Introspect: f.Get("introspect") != "", RedirectURIs: strings.Fields(f.Get("redirect_uris")),
		PostLogoutURIs: strings.Fields(f.Get("post_logout_redirect_uris")), Origins: strings.Fields(f.Get("origins")),
		Resources: strings.Fields(f.Get("resources")), PKCE: f.Get("pkce"), AccessTTL: f.Get("access_ttl"),
		RefreshTTL: f.Get("refresh_ttl"), DeviceMaxAge: f.Get("device_max_age"), LostAnswer: f.Get("lost_answer"),
		MaxDevices: f.Get("max_devices"), RefreshCookie: f.Get("refresh_cookie") != "",
		BackchannelLogoutURI: f.Get("backchannel_logout_uri"),
	}
}

// overrides are what of a client is the server's unless it is given.
type overrides struct {
	access, refresh, maxAge, lost *models.Span
	devices                       *int
}

func readOverrides(f url.Values) (o overrides, err error) {
	for name, to := range map[string]**models.Span{
		"access_ttl": &o.access, "refresh_ttl": &o.refresh, "device_max_age": &o.maxAge, "lost_answer": &o.lost,
	} {
		text := strings.TrimSpace(f.Get(name))
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return o, fmt.Errorf("%w: %s must be a duration like 90s, 5m or 720h", models.ErrInvalid, name)
		}
		*to = new(models.Span(d))
	}
	if text := strings.TrimSpace(f.Get("max_devices")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return o, fmt.Errorf("%w: max_devices must be a number", models.ErrInvalid)
		}
		o.devices = &n
	}
	return o, nil
}

func (v *visit) createClient() error {
	f := typedClient(v.form)
	o, err := readOverrides(v.form)
	var made *models.Client
	var secret string
	if err == nil {
		made, secret, err = v.store.CreateClient(v.Request.Context(), models.NewClient{
			ID: f.ID, Name: f.Name, Public: f.Public, Grants: f.Grants, Scopes: strings.Fields(f.Scopes),
			Introspect:   f.Introspect,
			RedirectURIs: f.RedirectURIs, PostLogoutRedirectURIs: f.PostLogoutURIs, Origins: f.Origins,
			Resources: f.Resources,
			PKCE:      f.PKCE, AccessTTL: o.access, RefreshTTL: o.refresh, DeviceMaxAge: o.maxAge, LostAnswer: o.lost,
			MaxDevices: o.devices, RefreshCookie: f.RefreshCookie, BackchannelLogoutURI: f.BackchannelLogoutURI,
		}, v.actor())
	}
	switch {
	case err != nil:
		return v.withProblem(err, func(status int, p *pages.Problem) error {
			base, err := v.base(nil)
			if err != nil {
				return err
			}
			base.Problem = p
			return v.site.Show(v.Context, status, pages.ConsoleClientNew{Console: base, Client: f})
		})
	case secret == "":
		return v.done("/console/clients/"+made.ID, "created", nil)
	}
	return v.showClient(
		http.StatusOK,
		made,
		pages.ConsoleClient{Secret: secret},
		url.Values{"notice": {"created"}},
		nil,
	)
}

func (v *visit) client() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	c, err := v.findClient()
	if err != nil {
		return err
	}
	return v.showClient(http.StatusOK, c, pages.ConsoleClient{}, q, nil)
}

func (v *visit) findClient() (*models.Client, error) {
	id, err := pathName(v.Context, "id")
	if err != nil {
		return nil, err
	}
	return v.store.GetClient(v.Request.Context(), id)
}

// showClient is a client's page. A form that is filled in stands for what is stored.
func (v *visit) showClient(
	status int, c *models.Client, page pages.ConsoleClient, q url.Values, p *pages.Problem,
) (err error) {
	if page.Client.ID == "" {
		page.Client = clientForm(c)
	}
	page.Created, page.Changed, page.BuiltIn = c.CreatedAt.Time(), c.UpdatedAt.Time(), c.BuiltIn
	if page.Console, err = v.base(q); err != nil {
		return err
	}
	page.Problem = p
	return v.site.Show(v.Context, status, page)
}

func (v *visit) changeClient() error {
	c, err := v.findClient()
	if err != nil {
		return err
	}
	f := typedClient(v.form)
	f.ID, f.Public = c.ID, c.Public
	o, err := readOverrides(v.form)
	if err == nil {
		scopes := strings.Fields(f.Scopes)
		p := models.ClientPatch{
			Grants: &f.Grants, Scopes: &scopes, Introspect: &f.Introspect, LostAnswer: &o.lost,
			RedirectURIs:           &f.RedirectURIs,
			PostLogoutRedirectURIs: &f.PostLogoutURIs, Origins: &f.Origins, Resources: &f.Resources,
			AccessTTL:  &o.access,
			RefreshTTL: &o.refresh, DeviceMaxAge: &o.maxAge, MaxDevices: &o.devices, RefreshCookie: &f.RefreshCookie,
			BackchannelLogoutURI: &f.BackchannelLogoutURI, PKCE: &f.PKCE,
		}
		if f.Name != "" {
			p.Name = &f.Name
		}
		_, err = v.store.UpdateClient(v.Request.Context(), c.ID, p, v.actor())
	}
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error {
			return v.showClient(status, c, pages.ConsoleClient{Client: f}, nil, p)
		})
	}
	return v.done("/console/clients/"+c.ID, "saved", nil)
}

// rotateSecret shows the new secret in this one answer.
func (v *visit) rotateSecret() error {
	c, err := v.findClient()
	if err != nil {
		return err
	}
	secret, err := v.store.RotateClientSecret(v.Request.Context(), c.ID, "", v.actor())
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error {
			return v.showClient(status, c, pages.ConsoleClient{}, nil, p)
		})
	}
	return v.showClient(http.StatusOK, c, pages.ConsoleClient{Secret: secret}, nil, nil)
}

func (v *visit) endClient() error {
	c, err := v.findClient()
	if err != nil {
		return err
	}
	out, err := v.store.Revoke(v.Request.Context(), models.WholeClient(c.ID), models.ReasonRevoked, v.actor())
	if err != nil {
		return err
	}
	return v.out("/console/clients/"+c.ID, out)
}

// deleteClient wants the id typed. A wrong one does nothing.
func (v *visit) deleteClient() error {
	c, err := v.findClient()
	if err != nil {
		return err
	}
	if v.form.Get("confirm") != c.ID {
		return v.showClient(http.StatusConflict, c, pages.ConsoleClient{}, nil, &pages.Problem{Code: "confirm"})
	}
	out, err := v.store.DeleteClient(v.Request.Context(), c.ID, v.actor())
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error {
			return v.showClient(status, c, pages.ConsoleClient{}, nil, p)
		})
	}
	return v.done("/console/clients", "deleted", out)
}
