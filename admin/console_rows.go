package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/models"
)

// What the store tells, as the rows of the pages.

func deviceRow(d *models.DeviceInfo) pages.DeviceRow {
	row := pages.DeviceRow{
		ID: d.ID.String(), Name: d.Name, UserID: d.UserID.String(), Username: d.Username, ClientID: d.ClientID,
		Client: d.ClientName, Platform: view.Platform(d.UserAgent), UserAgent: d.UserAgent,
		Address: d.IP, Scope: d.Scope,
		Status: d.Status, FirstSeen: d.CreatedAt.Time(), SignedIn: d.SignedInAt.Time(), LastSeen: d.LastSeenAt.Time(),
		Expires: d.ExpiresAt.Time(),
	}
	if d.ParentID != [16]byte{} {
		row.ParentID = d.ParentID.String()
	}
	return row
}

func userRow(u *models.User) pages.UserRow {
	return pages.UserRow{
		ID: u.ID.String(), Username: u.Username, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified,
		Admin:    u.Admin,
		Disabled: u.DisabledAt.Time(), Created: u.CreatedAt.Time(),
	}
}

func clientRow(c *models.Client) pages.ClientRow {
	shown := view.NewClient(c)
	return pages.ClientRow{
		ID: c.ID, Name: c.Name, Public: c.Public, Grants: shown.Grants, Scopes: c.Scopes, Created: c.CreatedAt.Time(),
		BuiltIn: c.BuiltIn,
	}
}

func clientForm(c *models.Client) pages.ClientForm {
	shown := view.NewClient(c)
	form := pages.ClientForm{
		ID: c.ID, Name: c.Name, Public: c.Public, Grants: shown.Grants, Scopes: c.Scopes, Introspect: c.Introspect,
		RedirectURIs: shown.RedirectURIs, PostLogoutURIs: shown.PostLogoutRedirectURIs, Origins: shown.Origins,
		Resources: shown.Resources, PKCE: c.PKCE, AccessTTL: spanText(c.AccessTTL), RefreshTTL: spanText(c.RefreshTTL),
		DeviceMaxAge: spanText(c.DeviceMaxAge), LostAnswer: spanText(c.LostAnswer), RefreshCookie: c.RefreshCookie,
		BackchannelLogoutURI: c.BackchannelLogoutURI,
	}
	if c.MaxDevices != nil {
		form.MaxDevices = strconv.Itoa(*c.MaxDevices)
	}
	return form
}

func spanText(s *models.Span) string {
	if s == nil {
		return ""
	}
	return time.Duration(*s).String()
}

func followerRow(s *models.Subscriber, last int64) pages.FollowerRow {
	return pages.FollowerRow{
		ClientID: s.ClientID, Name: s.Name, Live: s.Live, Acknowledged: s.AckedSeq, At: s.AckedAt.Time(),
		Behind: max(0, last-s.AckedSeq),
	}
}

func rows[T, R any](list []T, row func(*T) R) []R {
	out := make([]R, 0, len(list))
	for i := range list {
		out = append(out, row(&list[i]))
	}
	return out
}

// names looks up what a page of events calls by an id.
func (v *visit) names(
	ctx context.Context,
	revocations []models.Revocation,
	events []models.AuditEvent,
) (models.Names, error) {
	users, devices, clients := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range revocations {
		users[r.Actor] = true
		switch r.Level {
		case models.LevelUser:
			users[r.Subject] = true
		case models.LevelDevice:
			devices[r.Subject] = true
		case models.LevelClient:
			clients[r.Subject] = true
		case models.LevelEveryone:
		}
	}
	for _, e := range events {
		users[e.Actor], users[e.UserID], devices[e.DeviceID], clients[e.ClientID] = true, true, true, true
	}
	list := func(m map[string]bool) []string { return slices.Collect(maps.Keys(m)) }
	return v.store.Names(ctx, list(users), list(devices), list(clients))
}

func nameOr(names models.Names, id string) string {
	if name, ok := names[id]; ok {
		return name
	}
	return id
}

func revocationRow(r *models.Revocation, names models.Names) pages.RevocationRow {
	return pages.RevocationRow{
		Seq: r.Seq, Level: string(r.Level), Subject: r.Subject, SubjectName: names[r.Subject], Reason: string(r.Reason),
		Entity: r.Entity, Actor: nameOr(names, r.Actor), At: r.CreatedAt.Time(), ValidFrom: r.ValidFrom.Time(),
	}
}

// auditRow shows an event. What of its details has a place of its own is not repeated among them.
func auditRow(e *models.AuditEvent, names models.Names) pages.AuditRow {
	row := pages.AuditRow{
		ID: e.ID, At: e.At.Time(), Type: e.Type, Entity: e.Entity, Actor: nameOr(names, e.Actor), UserID: e.UserID,
		Username: e.Username, ClientID: e.ClientID, Client: names[e.ClientID], DeviceID: e.DeviceID,
		Device:  names[e.DeviceID],
		Address: e.IP, Agent: e.UserAgent,
	}
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		value := e.Detail[name]
		text := fmt.Sprint(value)
		if n, ok := value.(float64); ok {
			text = strconv.FormatFloat(n, 'f', -1, 64)
		}
		switch name {
		case "reason":
			row.Reason = text
		case "level":
			row.Level = text
		case "seq":
			row.Seq, _ = strconv.ParseInt(text, 10, 64)
		case "owner_ip":
			row.BeforeAddress = text
		case "owner_user_agent":
			row.BeforeAgent = text
		case "replay_ip", "replay_user_agent", "retry_ip", "retry_user_agent": // they are the event's own
		default:
			row.Details = append(row.Details, pages.Detail{Name: name, Value: text})
		}
	}
	return row
}
