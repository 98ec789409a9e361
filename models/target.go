package models

import (
	"context"

	"github.com/google/uuid"
)

// Target says what a sign-out ends. Make one with [OneDevice], [UserDevice], [OtherDevices], [Devices], [WholeUser],
// [WholeClient] or [Everyone]; the zero value is an error, so that nobody signs out everyone by leaving something out.
type Target struct {
	level   Level
	subject string       // the id of a user or of a client
	filter  DeviceFilter // of the device level
	keep    uuid.UUID    // one device that stays signed in
	one     bool         // the filter names one device: it must exist, and need not be signed in
}

// OneDevice is the device with this id.
func OneDevice(id uuid.UUID) Target {
	return Target{level: LevelDevice, filter: DeviceFilter{ID: id}, one: true}
}

// UserDevice is that device if it is the user's; another one's is not found.
func UserDevice(user, id uuid.UUID) Target {
	if user == uuid.Nil { // which a filter takes for any user
		id = uuid.Nil
	}
	return Target{level: LevelDevice, filter: DeviceFilter{UserID: user, ID: id}, one: true}
}

// OtherDevices are all devices of the user but one and the browser session through which that one was signed in.
func OtherDevices(user, keep uuid.UUID) Target {
	return Target{level: LevelDevice, filter: DeviceFilter{UserID: user}, keep: keep}
}

// Devices are those that the filter selects and that are signed in, each on its own. The empty filter is an error: say
// [Everyone]. See [Store.TargetFor] for a filter that is a whole level.
func Devices(f DeviceFilter) Target { return Target{level: LevelDevice, filter: f} }

// WholeUser is the user, with every device.
func WholeUser(id uuid.UUID) Target { return Target{level: LevelUser, subject: id.String()} }

// WholeClient is every token that was ever issued to the client. Of a built-in client it is each of its browser
// sessions, on its own: who checks tokens locally knows the parent of none, so their children need events of their own.
func WholeClient(id string) Target {
	if builtIn(id) {
		return Devices(DeviceFilter{ClientID: id})
	}
	return Target{level: LevelClient, subject: id}
}

// Everyone is every user and every client.
func Everyone() Target { return Target{level: LevelEveryone} }

// Level is the level whose valid_from the sign-out moves.
func (t Target) Level() Level { return t.level }

// TargetFor is the whole user or client, or everyone, where the filter selects exactly that; else the devices that it
// selects. It returns [ErrNotFound] if it names a user that does not exist.
func (s *Store) TargetFor(ctx context.Context, f DeviceFilter) (Target, error) {
	if f == (DeviceFilter{}) {
		return Everyone(), nil
	}
	named := f
	if named.Status == StatusActive { // a sign-out ends no others anyway
		named.Status = ""
	}
	switch named {
	case DeviceFilter{UserID: f.UserID}:
		if f.UserID != uuid.Nil {
			return WholeUser(f.UserID), nil
		}
	case DeviceFilter{Username: f.Username}:
		u, err := s.FindUser(ctx, f.Username)
		if err != nil {
			return Target{}, err
		}
		return WholeUser(u.ID), nil
	case DeviceFilter{ClientID: f.ClientID}:
		return WholeClient(f.ClientID), nil
	}
	return Devices(f), nil
}
