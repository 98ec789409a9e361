package server

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"curfew/internal/pages"
	"curfew/internal/password"
	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// eventsShown is how many events a page of what happened holds.
const eventsShown = 30

// showSecurity is GET /account/security, with cursor for an older page.
func (s *Server) showSecurity(v *visitor) error {
	notice, receipt, err := s.outcome(v)
	if err != nil {
		return err
	}
	return s.renderSecurity(v, http.StatusOK, pages.Security{Notice: notice, Receipt: receipt})
}

func (s *Server) renderSecurity(v *visitor, status int, page pages.Security) error {
	ctx, older := v.Request.Context(), models.Page{Limit: eventsShown, Cursor: v.Query("cursor")}
	events, next, err := s.store.UserEvents(ctx, v.b.UserID, older)
	if err != nil {
		return err
	}
	list, err := s.store.UserDevices(ctx, v.b.UserID)
	if err != nil {
		return err
	}
	page.Username, page.Session, page.MinPassword = v.b.User.Username, v.b.ID.String(), password.MinLength
	page.Events, page.Next = ownEvents(events, list, v.b), next
	return s.show(v.Context, status, page)
}

// notMine are the types of events of which somebody may say "this wasn't me".
var notMine = []string{models.AuditSignedIn, models.AuditSignedInAgain, models.AuditRetried, models.AuditRenewed}

// ownEvents are a page of events; wrong passwords from one address in a row are one. What an event has signed in, and
// is still, can be ended there, but for this browser: that is signing out.
func ownEvents(events []models.OwnEvent, signedIn []models.DeviceInfo, b *models.BrowserSession) (list []pages.Event) {
	for i := range events {
		e := view.NewOwnEvent(&events[i])
		event := pages.Event{
			Type: e.Type, Level: e.Level, Reason: e.Reason, At: e.At.Time(), Device: e.DeviceName,
			App: cmp.Or(e.ClientName, e.ClientID), Platform: e.Platform, Address: e.IP, Before: e.OwnerIP,
			By: e.Entity, Count: 1,
		}
		if e.ClientID == models.ClientBrowser {
			event.App = "" // ourselves
		}
		if n := len(list); n > 0 && e.Type == models.AuditWrongPassword {
			if last := &list[n-1]; last.Type == e.Type && last.Address == e.IP {
				last.Count++
				continue
			}
		}
		ends := func(d models.DeviceInfo) bool { return d.ID.String() == e.DeviceID }
		if slices.Contains(notMine, e.Type) && e.DeviceID != b.ID.String() && slices.ContainsFunc(signedIn, ends) {
			event.DeviceID = e.DeviceID
		}
		list = append(list, event)
	}
	return list
}

// postPassword changes the password: everything else is signed out, and this browser signed in anew, with a new cookie.
func (s *Server) postPassword(v *visitor) error {
	by := v.self()
	cookie, out, err := s.store.ChangePasswordInBrowser(v.Request.Context(), v.b, models.PasswordChange{
		Current: v.form.Get("current_password"), New: v.form.Get("new_password"),
		IP: web.LimitIP(v.Context), ByProxy: by.IP == "",
	}, by)
	if errors.Is(err, models.ErrBrowserSession) {
		return signInFirst(v.Context)
	}
	if err != nil {
		p, status, err := v.problemOf(err)
		if err != nil {
			return err
		}
		return s.renderSecurity(v, status, pages.Security{Problem: p})
	}
	age := cookieAge
	if v.b.EndsAt <= v.b.SignedInAt.Add(sharedLife) { // a shared computer
		age = 0
	}
	setCookie(v.Context, sessionCookie, cookie, age)
	return v.done(pathSecurity, "password_changed", out)
}

// postNotMe ends a device that somebody else has signed in, and leads to the password.
func (s *Server) postNotMe(v *visitor) error {
	id := v.device()
	if id == v.b.ID {
		return seeOther(v.Context, "/sign-out")
	}
	out, err := s.store.Revoke(v.Request.Context(), models.UserDevice(v.b.UserID, id), models.ReasonSignedOut, v.self())
	if err != nil {
		p, status, err := v.problemOf(err)
		if err != nil {
			return err
		}
		return s.renderSecurity(v, status, pages.Security{Problem: p})
	}
	return v.done(pathSecurity, "not_me", out)
}
