package models

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Device is one signed-in installation of a client for one user. It is the session: one row, before the first refresh
// and after the millionth.
type Device struct {
	ID                uuid.UUID `gorm:"primaryKey"`
	UserID            uuid.UUID
	RefreshID         uuid.UUID // names the one refresh token that may be used next
	PreviousRefreshID uuid.UUID // names the one before; uuid.Nil until the first refresh after a sign-in
	RotatedAt         Micros    // when the one before was rotated away, or the sign-in
	IssuedAt          Micros    // the newest issue time: whatever issues for the device writes it
	SignedInAt        Micros    // the issue time of the sign-in: the refresh tokens live while it is above every valid_from
	ValidFrom         Micros    // tokens of the device issued at or before it are dead
	ExpiresAt         Micros    // the end, unless it is used before
	EndsAt            Micros    // the end in any case, fixed at sign-in; see lifetime.go
	LastSeenAt        Micros
	CreatedAt         Micros
	ClientID          string
	Name              string
	Scope             string // what the sign-in granted
	IP                string // of whoever RefreshID was made for
	UserAgent         string
	ParentID          uuid.UUID // the browser session that it was signed in through; uuid.Nil for none
	Offline           bool      // it stays when its parent is signed out (offline_access)
	AuthAt            Micros    // when the password was given; no refresh moves it; 0 in rows older than the column
	Resources         string    // the audience of its tokens, separated by spaces; empty: the server's
}

// The states of a device.
const (
	StatusActive  = "active"
	StatusRevoked = "revoked"
	StatusExpired = "expired"
)

// DeviceInfo is a device as the lists show it.
type DeviceInfo struct {
	Device
	Username   string
	ClientName string
	Status     string
}

// DeviceFilter selects devices; empty fields select all.
type DeviceFilter struct {
	ID       uuid.UUID
	UserID   uuid.UUID
	Username string
	ClientID string
	Status   string // active, revoked, expired
	IP       string // the last address, as it is
	Q        string // part of the device's name, of the user's name or of the user agent; case does not matter
}

// selects is the filter as a condition over d, u, c and r.
func (s *Store) selects(f DeviceFilter) (where string, a args, err error) {
	terms, a := []string{"true"}, args{}
	add := func(term, name string, value any) {
		terms = append(terms, term)
		if name != "" {
			a[name] = value
		}
	}
	if f.ID != uuid.Nil {
		add(`d.id = @id`, "id", f.ID)
	}
	if f.UserID != uuid.Nil {
		add(`d.user_id = @user`, "user", f.UserID)
	}
	if f.Username != "" {
		add(`u.username_key = @username`, "username", usernameKey(f.Username)) // what byUserID has not replaced
	}
	if f.ClientID != "" {
		add(`d.client_id = @client`, "client", f.ClientID)
	}
	if f.IP != "" {
		add(`d.ip = @ip`, "ip", f.IP)
	}
	if f.Q != "" {
		q := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.Q)
		// The database lowers both sides: what it takes for a letter depends on its locale.
		add(`({lower}(d.name) LIKE {lower}(CAST(@q AS text)) ESCAPE '\' OR u.username_key LIKE @q_key ESCAPE '\'
			OR {lower}(d.user_agent) LIKE {lower}(CAST(@q AS text)) ESCAPE '\')`, "q", "%"+q+"%")
		a["q_key"] = foldUsername("%" + q + "%")
	}
	switch f.Status {
	case "":
	case StatusActive:
		add(aliveDevice, "", nil)
	case StatusExpired:
		add(notSignedOut+` AND u.disabled_at = 0 AND d.expires_at <= {now}`, "", nil)
	case StatusRevoked:
		add(signedOutOrDisabled, "", nil)
	default:
		return "", nil, invalid("status %q: must be active, revoked or expired", f.Status)
	}
	return strings.Join(terms, " AND "), a, nil
}

// byUserID puts a user's id in the place of the name, because an index finds the devices of that. It tells whether the
// filter can select any device: there is such a user, and no other one is asked for.
func (s *Store) byUserID(ctx context.Context, f *DeviceFilter) (bool, error) {
	if f.Username == "" {
		return true, nil
	}
	u, err := s.FindUser(ctx, f.Username)
	if errors.Is(err, ErrNotFound) || (err == nil && f.UserID != uuid.Nil && f.UserID != u.ID) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f.Username, f.UserID = "", u.ID
	return true, nil
}

const (
	deviceInfo    = deviceColumns + ` FROM devices` + deviceJoin
	deviceColumns = `SELECT d.*, u.username, c.name AS client_name, CASE WHEN ` + signedOutOrDisabled + ` THEN 'revoked'
		WHEN d.expires_at <= {now} THEN 'expired' ELSE 'active' END AS status`
	deviceJoin = ` d, users u, clients c, realm r WHERE` + ruleJoin + `AND `
)

// ListDevices returns a page of the devices that the filter selects, the newest GUID first. So that every page is
// quick, a page of a filter by status or text looks at some thousands of devices only: it may hold fewer than the
// limit, or none, and still name a next one.
func (s *Store) ListDevices(ctx context.Context, f DeviceFilter, p Page) (list []DeviceInfo, next string, err error) {
	key, err := s.cursorAfter("devices", p)
	if err != nil {
		return nil, "", err
	}
	before := uuid.Max
	if key != "" {
		if before, err = uuid.Parse(key); err != nil {
			return nil, "", invalid("cursor")
		}
	}
	selectsAny, err := s.byUserID(ctx, &f)
	if err != nil || !selectsAny {
		return nil, "", err
	}
	where, a, err := s.selects(f)
	if err != nil {
		return nil, "", err
	}
	a["before"] = before
	var stop uuid.UUID
	devices := boundedList[DeviceInfo]{
		name: "devices", args: a, stop: []any{&stop},
		key:     func(d DeviceInfo) string { return d.ID.String() },
		stopKey: func() string { return stop.String() },
		page: func(bool) string {
			return deviceInfo + where + ` AND d.id < @before ORDER BY d.id DESC`
		},
	}
	if (f.Status != "" || f.Q != "") && f.UserID == uuid.Nil {
		indexed, b, err := s.selects(DeviceFilter{ClientID: f.ClientID, IP: f.IP})
		if err != nil {
			return nil, "", err
		}
		maps.Copy(a, b)
		devices.look = `SELECT d.id FROM devices d WHERE d.id < @before AND ` + indexed + ` ORDER BY d.id DESC`
		devices.page = func(stopped bool) string {
			info := deviceInfo
			if stopped {
				// The limit inside is for the planner: so few devices meet their users. It leaves room for what is
				// inserted meanwhile.
				a["stop"], a["scan"] = stop, 2*scanLimit
				info = deviceColumns + ` FROM (SELECT * FROM devices d WHERE d.id < @before AND d.id >= @stop AND ` + indexed +
					` ORDER BY d.id DESC LIMIT @scan)` + deviceJoin
			}
			return info + where + ` AND d.id < @before ORDER BY d.id DESC`
		}
	}
	return pageOfBounded(ctx, s, p, devices)
}

// UserDevices returns the devices on which a user is signed in, the newest activity first.
func (s *Store) UserDevices(ctx context.Context, user uuid.UUID) (list []DeviceInfo, err error) {
	where, a, err := s.selects(DeviceFilter{UserID: user, Status: StatusActive})
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, deviceInfo+where+` ORDER BY d.last_seen_at DESC, d.id DESC LIMIT 1000`, a).Scan(&list).Error
	})
	return list, err
}

// GetDevice returns the one device that the filter selects.
func (s *Store) GetDevice(ctx context.Context, f DeviceFilter) (*DeviceInfo, error) {
	var d *DeviceInfo
	err := s.read(ctx, func(tx *gorm.DB) (err error) {
		d, err = s.getDevice(tx, f)
		return err
	})
	return d, err
}

func (s *Store) getDevice(tx *gorm.DB, f DeviceFilter) (*DeviceInfo, error) {
	if f.ID == uuid.Nil { // which the filter takes for any device
		return nil, ErrNotFound
	}
	where, a, err := s.selects(f)
	if err != nil {
		return nil, err
	}
	var d DeviceInfo
	if err := s.raw(tx, deviceInfo+where, a).Take(&d).Error; err != nil {
		return nil, err
	}
	return &d, nil
}

// RenameDevice names the one device that the filter selects; whose it is, is part of the filter. It returns
// [ErrNotFound] if there is none, and [*ThrottledError] when a user has renamed too often. The name that it has already
// writes nothing.
func (s *Store) RenameDevice(ctx context.Context, f DeviceFilter, name string, by Actor) (*DeviceInfo, error) {
	name, err := CleanName(name)
	if err != nil {
		return nil, err
	}
	d, err := s.GetDevice(ctx, f)
	if err != nil || d.Name == name {
		return d, err
	}
	if by.Entity == EntityUser {
		if err := s.spend(ctx, s.accountGuess(limitRenames, usernameKey(d.Username)), d.UserID, by); err != nil {
			return nil, err
		}
	}
	err = s.write(ctx, func(tx *gorm.DB) (err error) {
		if d, err = s.getDevice(tx, f); err != nil {
			return err
		}
		var now Micros
		if err := s.row(tx, `UPDATE devices SET name = @name WHERE id = @id RETURNING {now}`,
			args{"name": name, "id": d.ID}, &now); err != nil {
			return err
		}
		old := d.Name
		d.Name = name
		return s.audit(tx, AuditEvent{
			At: now, Type: AuditDeviceRenamed, UserID: d.UserID.String(), ClientID: d.ClientID, DeviceID: d.ID.String(),
			Detail: detail{"from": old, "to": name},
		}, by)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// lockDevice loads a device's row and keeps it from changing until the commit: a refresh that is under way has it
// first.
func (s *Store) lockDevice(tx *gorm.DB, id uuid.UUID, d *Device) error {
	// mutant: retry-answered-by-a-plain-read
	return s.raw(tx, `SELECT * FROM devices WHERE id = @id {lock}`, args{"id": id}).Take(d).Error
}
