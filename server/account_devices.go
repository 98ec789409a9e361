package server

import (
	"cmp"
	"time"

	"github.com/google/uuid"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/models"
)

// endedShown is how many devices that are out the page of the devices shows.
const endedShown = 20

// renderAccount shows the devices of whoever visits.
func (s *Server) renderAccount(v *visitor, status int, page pages.Account) error {
	ctx := v.Request.Context()
	list, err := s.store.UserDevices(ctx, v.b.UserID)
	if err != nil {
		return err
	}
	ended, more, err := s.store.EndedDevices(ctx, v.b.UserID, endedShown)
	if err != nil {
		return err
	}
	page.Username, page.Session = v.b.User.Username, v.b.ID.String()
	page.Devices, page.Ended, page.More = family(list, v.b), view.List(ended, endedDevice), more
	return s.show(v.Context, status, page)
}

// family groups devices: this browser first, and under each browser what was signed in through it.
func family(list []models.DeviceInfo, b *models.BrowserSession) []pages.Device {
	here := models.DeviceInfo{Device: b.Device} // also where the list does not reach that far
	present := map[uuid.UUID]bool{b.ID: true}
	for _, d := range list {
		present[d.ID] = true
		if d.ID == b.ID {
			here = d
		}
	}
	children := map[uuid.UUID][]pages.Device{}
	for i := range list {
		if d := &list[i]; d.ID != b.ID && present[d.ParentID] {
			children[d.ParentID] = append(children[d.ParentID], pageDevice(d))
		}
	}
	first := pageDevice(&here)
	first.Current, first.Children = true, children[b.ID]
	devices := []pages.Device{first}
	for i := range list {
		d := &list[i]
		if d.ID == b.ID || present[d.ParentID] {
			continue
		}
		top := pageDevice(d)
		top.Children = children[d.ID]
		devices = append(devices, top)
	}
	return devices
}

func pageDevice(d *models.DeviceInfo) pages.Device {
	return pages.Device{
		ID: d.ID.String(), Name: d.Name, App: appOf(d), Platform: view.Platform(d.UserAgent), Address: d.IP,
		FirstSeen: d.CreatedAt.Time(), LastSeen: d.LastSeenAt.Time(), Expires: d.ExpiresAt.Time(),
		Browser: d.ClientID == models.ClientBrowser, Stays: d.Offline,
	}
}

// appOf is what people know a client by.
func appOf(d *models.DeviceInfo) string { return cmp.Or(d.ClientName, d.ClientID) }

func endedDevice(d *models.EndedDevice) pages.Ended {
	return pages.Ended{
		Name: d.Name, App: appOf(&d.DeviceInfo), Platform: view.Platform(d.UserAgent), At: d.EndedAt.Time(),
		Address: d.EndedFrom, Reason: string(d.Reason),
	}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
