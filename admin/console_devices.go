package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"curfew/internal/pages"
	"curfew/internal/web"
	"curfew/models"
)

// shortList is how many rows a page shows of a list that is not its own.
const shortList = 20

func formFilter(q url.Values) pages.DeviceFilter {
	return pages.DeviceFilter{
		Q: q.Get("q"), Username: q.Get("username"), UserID: q.Get("user_id"), ClientID: q.Get("client_id"),
		Status: q.Get("status"), IP: q.Get("ip"),
	}
}

// filterPairs are the names and values of a filter, in turn.
func filterPairs(q url.Values) (pairs []string) {
	for _, name := range filters {
		pairs = append(pairs, name, q.Get(name))
	}
	return pairs
}

// devices is the list of devices.
func (v *visit) devices() error {
	page := pages.ConsoleDevices{}
	return v.list(&page, &page.Console, func(q url.Values, p models.Page) error {
		page.Filter = formFilter(q)
		f, err := deviceFilter(q)
		if err != nil {
			return err
		}
		list, next, err := v.store.ListDevices(v.Request.Context(), f, p)
		page.Devices, page.Next = rows(list, deviceRow), next
		return err
	}, filters[:]...)
}

// device is a device's own page, with its history.
func (v *visit) device() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	return v.showDevice(http.StatusOK, q, nil)
}

func (v *visit) showDevice(status int, q url.Values, p *pages.Problem) error {
	id, err := pathID(v.Context)
	if err != nil {
		return err
	}
	ctx := v.Request.Context()
	d, err := v.store.GetDevice(ctx, models.DeviceFilter{ID: id})
	if err != nil {
		return err
	}
	page := pages.ConsoleDevice{Device: deviceRow(d)}
	if page.Console, err = v.base(q); err != nil {
		return err
	}
	page.Problem = p
	if d.ClientID == models.ClientBrowser && d.Status == models.StatusActive {
		own, err := v.store.UserDevices(ctx, d.UserID)
		if err != nil {
			return err
		}
		for i := range own {
			if own[i].ParentID == d.ID {
				page.Children = append(page.Children, deviceRow(&own[i]))
			}
		}
	}
	few := models.Page{Limit: shortList}
	ended, _, err := v.store.ListRevocations(
		ctx,
		models.RevocationFilter{Level: models.LevelDevice, Subject: id.String()},
		few,
	)
	if err != nil {
		return err
	}
	events, _, err := v.store.ListAuditEvents(ctx, models.AuditFilter{DeviceID: id.String()}, few)
	if err != nil {
		return err
	}
	names, err := v.names(ctx, ended, events)
	if err != nil {
		return err
	}
	page.Revocations = rows(ended, func(r *models.Revocation) pages.RevocationRow { return revocationRow(r, names) })
	page.Events = rows(events, func(e *models.AuditEvent) pages.AuditRow { return auditRow(e, names) })
	return v.site.Show(v.Context, status, page)
}

func (v *visit) renameDevice() error {
	id, err := pathID(v.Context)
	if err != nil {
		return err
	}
	_, err = v.store.RenameDevice(v.Request.Context(), models.DeviceFilter{ID: id}, v.form.Get("name"), v.actor())
	if err != nil {
		return v.withProblem(err, func(status int, p *pages.Problem) error { return v.showDevice(status, nil, p) })
	}
	return v.done("/console/devices/"+id.String(), "renamed", nil)
}

func (v *visit) endDevice() error {
	id, err := pathID(v.Context)
	if err != nil {
		return err
	}
	out, err := v.store.Revoke(v.Request.Context(), models.OneDevice(id), models.ReasonRevoked, v.actor())
	if err != nil {
		return err
	}
	back := "/console/devices/" + id.String()
	if v.form.Get("back") != "" {
		back = ownPage(v.form.Get("back"))
	}
	return v.out(back, out)
}

// askEnd shows how many devices a filter selects. The number is that of a dry run.
func (v *visit) askEnd() error {
	q, err := v.query(filters[:]...)
	if err != nil {
		return err
	}
	return v.showEnd(http.StatusOK, q, nil)
}

func (v *visit) showEnd(status int, q url.Values, p *pages.Problem) error {
	f, err := deviceFilter(q)
	if err != nil {
		return err
	}
	if f == (models.DeviceFilter{}) {
		return web.SeeOther(v.Context, "/console/everyone")
	}
	page := pages.ConsoleEnd{Filter: formFilter(q)}
	if page.Console, err = v.base(q); err != nil {
		return err
	}
	page.Problem = p
	if page.Count, err = v.count(f); err != nil {
		return err
	}
	sample := f
	if sample.Status == "" {
		sample.Status = models.StatusActive
	}
	list, _, err := v.store.ListDevices(v.Request.Context(), sample, models.Page{Limit: shortList})
	if err != nil {
		return err
	}
	page.Sample = rows(list, deviceRow)
	return v.site.Show(v.Context, status, page)
}

// count is the dry run of signing out what a filter selects.
func (v *visit) count(f models.DeviceFilter) (int, error) {
	target, err := v.store.TargetFor(v.Request.Context(), f)
	if err != nil {
		return 0, unlessGone(err) // a user that nobody is has no devices
	}
	ctx, cancel := context.WithTimeout(v.Request.Context(), countTimeout)
	defer cancel()
	return v.store.CountTarget(ctx, target)
}

// endSelected signs out what a filter selects, if the number that was typed is the one that was shown and is still
// right. Else nothing happens, and the number is shown anew.
func (v *visit) endSelected() error {
	f, err := deviceFilter(v.form)
	if err != nil {
		return err
	}
	expected, err := strconv.Atoi(v.form.Get("expected"))
	typed, err2 := strconv.Atoi(strings.TrimSpace(v.form.Get("count")))
	wrong := func() error { return v.showEnd(http.StatusConflict, v.form, &pages.Problem{Code: "count"}) }
	if err != nil || err2 != nil || typed != expected || f == (models.DeviceFilter{}) {
		return wrong()
	}
	now, err := v.count(f)
	switch {
	case err != nil:
		return err
	case now != typed:
		return wrong()
	}
	target, err := v.store.TargetFor(v.Request.Context(), f)
	if err != nil {
		return err
	}
	out, err := v.store.Revoke(v.Request.Context(), target, models.ReasonRevoked, v.actor())
	if err != nil {
		return err
	}
	return v.out(withQuery("/console/devices", filterPairs(v.form)...), out)
}

func (v *visit) askEveryone() error {
	q, err := v.query()
	if err != nil {
		return err
	}
	return v.showEveryone(http.StatusOK, q, nil)
}

func (v *visit) showEveryone(status int, q url.Values, p *pages.Problem) error {
	base, err := v.base(q)
	if err != nil {
		return err
	}
	base.Problem = p
	return v.site.Show(v.Context, status, pages.ConsoleEveryone{Console: base})
}

// endEveryone ends this browser's session too, so the receipt is not shown here: the sign-in comes next.
func (v *visit) endEveryone() error {
	if v.form.Get("confirm") != "everyone" {
		return v.showEveryone(http.StatusConflict, nil, &pages.Problem{Code: "count"})
	}
	out, err := v.store.Revoke(v.Request.Context(), models.Everyone(), models.ReasonRevoked, v.actor())
	if err != nil {
		return err
	}
	return v.out("/console/revocations/"+strconv.FormatInt(out.Revocation.Seq, 10), out)
}
