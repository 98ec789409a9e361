package admin

import (
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"curfew/internal/pages"
	"curfew/models"
)

func (v *visit) users() error {
	page := pages.ConsoleUsers{}
	return v.list(&page, &page.Console, func(q url.Values, p models.Page) error {
		page.Prefix = q.Get("prefix")
		list, next, err := v.store.ListUsers(v.Request.Context(), page.Prefix, p)
		page.Users, page.Next = rows(list, userRow), next
		return err
	}, "prefix")
}

func (v *visit) newUser() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	base, err := v.base(q)
	if err != nil {
		return err
	}
	return v.show(pages.ConsoleUserNew{Console: base})
}

func (v *visit) createUser() error {
	f := v.form
	u, err := v.store.CreateUser(v.Request.Context(), models.NewUser{
		Username: f.Get("username"), Password: f.Get("password"), Admin: f.Get("admin") != "",
		UserProfile: models.UserProfile{Name: f.Get("name"), Email: f.Get("email")},
	}, v.actor())
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error {
			base, err := v.base(nil)
			if err != nil {
				return err
			}
			base.Problem = p
			return v.site.Show(v.Context, status, pages.ConsoleUserNew{Console: base, User: pages.UserRow{
				Username: f.Get("username"), Name: f.Get("name"), Email: f.Get("email"), Admin: f.Get("admin") != "",
			}})
		})
	}
	return v.done("/console/users/"+u.ID.String(), "created", nil)
}

func (v *visit) user() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	return v.showUser(http.StatusOK, q, nil)
}

func (v *visit) showUser(status int, q url.Values, p *pages.Problem) error {
	id, err := pathID(v.Context)
	if err != nil {
		return err
	}
	ctx := v.Request.Context()
	u, err := v.store.GetUser(ctx, id)
	if err != nil {
		return err
	}
	page := pages.ConsoleUser{User: userRow(u)}
	if page.Console, err = v.base(q); err != nil {
		return err
	}
	page.Problem = p
	limits, err := v.store.ReachedLimits(ctx, u)
	if err != nil {
		return err
	}
	for _, l := range limits {
		page.User.Locked = append(page.User.Locked, pages.Lock{Until: l.Until.Time()})
	}
	few := models.Page{Limit: shortList}
	list, next, err := v.store.ListDevices(ctx, models.DeviceFilter{UserID: id, Status: models.StatusActive}, few)
	if err != nil {
		return err
	}
	page.Devices, page.More = rows(list, deviceRow), next != ""
	events, _, err := v.store.ListAuditEvents(ctx, models.AuditFilter{UserID: id.String()}, few)
	if err != nil {
		return err
	}
	names, err := v.names(ctx, nil, events)
	if err != nil {
		return err
	}
	page.Events = rows(events, func(e *models.AuditEvent) pages.AuditRow { return auditRow(e, names) })
	return v.site.Show(v.Context, status, page)
}

// changeUser changes a user, and shows the page again: with what it did, or what is wrong.
func (v *visit) changeUser(notice string, p models.UserPatch) error {
	id, err := pathID(v.Context)
	if err != nil {
		return err
	}
	_, out, err := v.store.UpdateUser(v.Request.Context(), id, p, v.actor())
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error { return v.showUser(status, nil, p) })
	}
	return v.done("/console/users/"+id.String(), notice, out)
}

func (v *visit) setPassword() error {
	password := v.form.Get("password")
	return v.changeUser("password_set", models.UserPatch{Password: &password})
}

func (v *visit) setAdmin() error {
	admin := v.form.Get("admin") == "1"
	return v.changeUser("saved", models.UserPatch{Admin: &admin})
}

func (v *visit) disableUser() error {
	return v.changeUser("disabled", models.UserPatch{Disabled: new(true)})
}

func (v *visit) enableUser() error {
	return v.changeUser("enabled", models.UserPatch{Disabled: new(false)})
}

func (v *visit) unlockUser() error {
	return v.withUser(func(id uuid.UUID) error {
		if _, err := v.store.UnlockUser(v.Request.Context(), id, v.actor()); err != nil {
			return err
		}
		return v.done("/console/users/"+id.String(), "unlocked", nil)
	})
}

func (v *visit) endUser() error {
	return v.withUser(func(id uuid.UUID) error {
		out, err := v.store.Revoke(v.Request.Context(), models.WholeUser(id), models.ReasonRevoked, v.actor())
		if err != nil {
			return err
		}
		return v.out("/console/users/"+id.String(), out)
	})
}

// deleteUser wants the name typed. A wrong one does nothing.
func (v *visit) deleteUser() error {
	return v.withUser(func(id uuid.UUID) error {
		u, err := v.store.GetUser(v.Request.Context(), id)
		if err != nil {
			return err
		}
		if v.form.Get("confirm") != u.Username {
			return v.showUser(http.StatusConflict, nil, &pages.Problem{Code: "confirm"})
		}
		out, err := v.store.DeleteUser(v.Request.Context(), id, v.actor())
		if err != nil {
			return err
		}
		return v.done("/console/users", "deleted", out)
	})
}

func (v *visit) withUser(fn func(id uuid.UUID) error) error {
	id, err := pathID(v.Context)
	if err != nil {
		return err
	}
	return fn(id)
}

func (v *visit) changeProfile() error {
	username, name, email := v.form.Get("username"), v.form.Get("name"), v.form.Get("email")
	verified := v.form.Get("email_verified") != ""
	return v.changeUser("saved", models.UserPatch{
		Username: &username, Name: &name, Email: &email, EmailVerified: &verified,
	})
}
