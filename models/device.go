package models

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Device is one signed-in installation of a client for one user. It is the session: one row, before the first refresh and
// after the millionth.
type Device struct {
	ID                uuid.UUID `gorm:"primaryKey"`
	UserID            uuid.UUID
	RefreshID         uuid.UUID // names the one refresh token that may be used next
	PreviousRefreshID uuid.UUID // names the one before; uuid.Nil until the first refresh after a sign-in
	RotatedAt         Micros    // when RefreshID was made
	IssuedAt          Micros    // the newest issue time: whatever issues for the device writes it
	SignedInAt        Micros    // the issue time of the sign-in: the refresh tokens live while it is above every valid_from
	ValidFrom         Micros    // tokens of the device issued at or before it are dead
	ExpiresAt         Micros    // the end, unless it is used before
	EndsAt            Micros    // the end in any case, fixed at sign-in
	LastSeenAt        Micros
	CreatedAt         Micros
	ClientID          string
	Name              string
	Scope             string // what the sign-in granted
	IP                string
	UserAgent         string
}

const never = Micros(math.MaxInt64)

// aliveDevice is the one rule for the refresh tokens of device d, and with them for the device itself.
const aliveDevice = signedIn + ` AND u.disabled_at = 0`

// signedIn is that without its last condition: what disabling the user is about to end.
const signedIn = notSignedOut + ` AND d.expires_at > {now}`

// notSignedOut is that whatever the clock says.
const notSignedOut = `d.signed_in_at > {greatest}(d.valid_from, u.valid_from, c.valid_from, r.valid_from)`

// ended is the end that somebody made: a sign-out, or the user was disabled.
const ended = `(NOT (` + notSignedOut + `) OR u.disabled_at <> 0)`

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
		add(`u.username_key = @username`, "username", usernameKey(f.Username))
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
		a["q_key"] = usernameKey("%" + q + "%")
	}
	switch f.Status {
	case "":
	case StatusActive:
		add(aliveDevice, "", nil)
	case StatusExpired:
		add(notSignedOut+` AND u.disabled_at = 0 AND d.expires_at <= {now}`, "", nil)
	case StatusRevoked:
		add(ended, "", nil)
	default:
		return "", nil, invalid("status %q: it takes active, revoked or expired", f.Status)
	}
	return strings.Join(terms, " AND "), a, nil
}

// byUserID puts a user's id in the place of the name, because an index finds the devices of that. It tells whether the filter can
// select any device: there is such a user, and no other one is asked for.
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
	deviceInfo    = deviceColumns + `devices` + deviceJoin
	deviceColumns = `SELECT d.*, u.username, c.name AS client_name,
	CASE WHEN ` + ended + ` THEN 'revoked'
		WHEN d.expires_at <= {now} THEN 'expired' ELSE 'active' END AS status FROM `
	deviceJoin = ` d, users u, clients c, realm r WHERE u.id = d.user_id AND c.id = d.client_id AND `
)

// ListDevices returns a page of the devices that the filter selects, the newest GUID first. So that every page is quick,
// a page of a filter by status or text looks at some thousands of devices only: it may hold fewer than the limit, or
// none, and still name a next one.
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
	a["before"], a["limit"] = before, p.limit()+1
	var stop uuid.UUID
	err = s.read(ctx, func(tx *gorm.DB) error {
		info := deviceInfo
		if (f.Status != "" || f.Q != "") && f.UserID == uuid.Nil {
			indexed, b, err := s.selects(DeviceFilter{ClientID: f.ClientID, IP: f.IP})
			if err != nil {
				return err
			}
			b["before"] = before
			found, err := s.scanStop(tx, `SELECT d.id FROM devices d WHERE d.id < @before AND `+indexed+` ORDER BY d.id DESC`, b, scanLimit, &stop)
			if err != nil {
				return err
			}
			if found {
				// The limit inside is for the planner: so few devices meet their users. It leaves room for what is inserted meanwhile.
				info = deviceColumns + `(SELECT * FROM devices d WHERE d.id < @before AND d.id >= @stop AND ` + indexed + ` ORDER BY d.id DESC LIMIT @scan)` + deviceJoin
				a["stop"], a["scan"] = stop, 2*scanLimit
			}
		}
		return s.raw(tx, info+where+` AND d.id < @before ORDER BY d.id DESC LIMIT @limit`, a).Scan(&list).Error
	})
	list, next = pageOf(s, "devices", p, list, func(d DeviceInfo) string { return d.ID.String() })
	if next == "" && stop != uuid.Nil {
		next = s.cursor("devices", stop.String())
	}
	return list, next, err
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

// CountDevices says how many signed-in devices a sign-out with the same filter would end. It looks at all of them: give it
// a context with time.
func (s *Store) CountDevices(ctx context.Context, f DeviceFilter) (n int, err error) {
	where, a, err := s.selects(f)
	if err != nil {
		return 0, err
	}
	err = dbError(s.row(s.db.WithContext(ctx), `SELECT count(*) FROM devices d, users u, clients c, realm r
		WHERE u.id = d.user_id AND c.id = d.client_id AND `+aliveDevice+` AND `+where, a, &n))
	return n, err
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

// RenameDevice names the one device that the filter selects; whose it is, is part of the filter. It returns [ErrNotFound]
// if there is none.
func (s *Store) RenameDevice(ctx context.Context, f DeviceFilter, name string, by Actor) (*DeviceInfo, error) {
	name, err := CleanName(name)
	if err != nil {
		return nil, err
	}
	var d *DeviceInfo
	err = s.write(ctx, func(tx *gorm.DB) (err error) {
		if d, err = s.getDevice(tx, f); err != nil {
			return err
		}
		var now int64
		if err := s.row(tx, `UPDATE devices SET name = @name WHERE id = @id RETURNING {now}`, args{"name": name, "id": d.ID}, &now); err != nil {
			return err
		}
		old := d.Name
		d.Name = name
		return s.audit(tx, AuditEvent{
			At: Micros(now), Type: AuditDeviceRenamed, UserID: d.UserID.String(), ClientID: d.ClientID, DeviceID: d.ID.String(),
			Detail: detail{"from": old, "to": name},
		}, by)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Origin is where a request came from.
type Origin struct {
	IP        string
	UserAgent string
}

func (o Origin) clean() Origin {
	return Origin{IP: cleanText(o.IP, 64), UserAgent: cleanText(o.UserAgent, 512)}
}

// SignIn is a password grant whose client and password have been checked.
type SignIn struct {
	User     *User
	Client   *Client
	Scope    string    // granted already; see [GrantedScope]
	DeviceID uuid.UUID // what the app says it is; uuid.Nil for a new device
	Name     string    // of a new device
	Origin   Origin
}

// SignIn makes a device and its first tokens, or signs the same device in again: same user, same client, same GUID. A
// GUID that nobody has becomes the new device's; one that belongs to somebody else is not touched, and a fresh one is
// given. With too many devices the longest unseen is signed out.
//
// It signs in the user only as it was when the password was checked: a password that was changed, or a user that was
// disabled or deleted since then, is [ErrCredentials]. The scope admin for somebody else is [ErrScope]; the audit log tells of
// it, so that a password is not tried out in silence.
func (s *Store) SignIn(ctx context.Context, in SignIn) (*Grant, error) {
	name, err := CleanName(in.Name)
	if err != nil {
		return nil, err
	}
	in.Name, in.Origin = name, in.Origin.clean()
	var d *Device
	var again bool
	var now int64
	_, err = s.change(ctx, func(tx *gorm.DB) (out *SignOut, err error) {
		d, again, now, out, err = s.signIn(tx, in)
		return out, err
	})
	if err == nil && d == nil {
		err = ErrScope
	}
	if err != nil {
		return nil, err
	}
	s.Stats.SignIns.Add(1)
	if again {
		s.Stats.SignInsAgain.Add(1)
	}
	return s.grant(d, in.Client, d.Scope, now)
}

// signIn gives no device where an admin's scope was refused.
func (s *Store) signIn(tx *gorm.DB, in SignIn) (d *Device, again bool, now int64, out *SignOut, err error) {
	fail := func(err error) (*Device, bool, int64, *SignOut, error) { return nil, false, 0, nil, err }
	u, err := s.lockUser(tx, in.User.ID)
	if errors.Is(dbError(err), ErrNotFound) || (err == nil && (u.PasswordVersion != in.User.PasswordVersion || u.DisabledAt != 0)) {
		return fail(ErrCredentials)
	}
	if err != nil {
		return fail(err)
	}
	self := Actor{Entity: EntityUser, ID: u.ID.String(), IP: in.Origin.IP, UserAgent: in.Origin.UserAgent}
	if slices.Contains(strings.Fields(in.Scope), ScopeAdmin) && !u.Admin {
		if err := s.row(tx, `SELECT {now} FROM realm`, nil, &now); err != nil {
			return fail(err)
		}
		return nil, false, 0, nil, s.audit(tx, AuditEvent{At: Micros(now), Type: AuditAdminRefused, UserID: u.ID.String(), ClientID: in.Client.ID}, self)
	}
	out = &SignOut{}

	if in.DeviceID != uuid.Nil {
		var mine []*Device
		if err := s.raw(tx, `SELECT * FROM devices WHERE id = @id AND user_id = @user AND client_id = @client {lock}`,
			args{"id": in.DeviceID, "user": u.ID, "client": in.Client.ID}).Scan(&mine).Error; err != nil {
			return fail(err)
		}
		if again = len(mine) == 1; again {
			d = mine[0]
		}
	}
	own := uuid.Nil
	if again {
		own = d.ID
	}
	st, err := s.signInState(tx, in, own)
	if err != nil {
		return fail(err)
	}
	if st.others >= s.cfg.MaxDevicesPerUser {
		if err := s.makeRoom(tx, out, u.ID, own, st.others+1-s.cfg.MaxDevicesPerUser); err != nil {
			return fail(err)
		}
	}
	if again {
		// Its older tokens die. A device that is out already has none, and makes no event.
		var alive bool
		if err := s.row(tx, `SELECT `+aliveDevice+` FROM devices d, users u, clients c, realm r
			WHERE d.id = @id AND u.id = d.user_id AND c.id = d.client_id`, args{"id": d.ID}, &alive); err != nil {
			return fail(err)
		}
		if alive {
			if err := s.revokeDevices(tx, out, []*Device{d}, ReasonSignedInAgain, self, nil); err != nil {
				return fail(err)
			}
		}
		d.ValidFrom = max(d.ValidFrom, d.IssuedAt)
	} else {
		d = &Device{ID: in.DeviceID, UserID: u.ID, ClientID: in.Client.ID, Name: in.Name}
	}
	issued := max(st.now, st.floor+1, d.ValidFrom+1)
	for issued > st.horizon {
		if err := s.pushHorizonIn(tx, int64(issued)); err != nil {
			return fail(err)
		}
		if st, err = s.signInState(tx, in, own); err != nil {
			return fail(err)
		}
		issued = max(st.now, st.floor+1, d.ValidFrom+1)
	}
	now = int64(st.now)
	s.ahead(now, int64(st.horizon))

	d.SignedInAt, d.IssuedAt, d.RotatedAt, d.LastSeenAt = issued, issued, Micros(now), Micros(now)
	next := uuid.New()
	if again {
		next = nextRefreshID(d.RefreshID)
	} else {
		d.ValidFrom = issued - 1 // a row of the same GUID may have been removed: its tokens, issued before, stay dead
	}
	d.RefreshID, d.PreviousRefreshID = next, uuid.Nil
	d.EndsAt = never
	if s.cfg.DeviceMaxAge > 0 {
		d.EndsAt = Micros(now + s.cfg.DeviceMaxAge.Microseconds())
	}
	life := s.cfg.RefreshTTL
	if !in.Client.HasGrant(GrantRefreshToken) {
		life = s.cfg.AccessTTL + 2*time.Second // what rounding up can add
	}
	d.ExpiresAt = min(Micros(now+life.Microseconds()), d.EndsAt)
	d.Scope, d.IP, d.UserAgent = in.Scope, in.Origin.IP, in.Origin.UserAgent
	kind := AuditSignedIn
	if again {
		kind = AuditSignedInAgain
		res := tx.Model(d).Select("*").Omit("id", "user_id", "client_id", "name", "created_at").Updates(d)
		if res.Error != nil || res.RowsAffected != 1 {
			return fail(errors.Join(res.Error, errIf(res.RowsAffected != 1, errAgain)))
		}
	} else {
		d.CreatedAt = Micros(now)
		if err := s.insertDevice(tx, d); err != nil {
			return fail(err)
		}
	}
	return d, again, now, out, s.audit(tx, AuditEvent{
		At: Micros(now), Type: kind, UserID: u.ID.String(), ClientID: d.ClientID, DeviceID: d.ID.String(), Detail: detail{"name": d.Name, "scope": d.Scope},
	}, self)
}

// signInState is what decides about the issue time of a sign-in, all of one snapshot.
type signInState struct {
	floor, horizon, now Micros
	others              int // devices of the user that are signed in, without the one that signs in again
}

// signInState comes after the user's row was locked: it is newer than what that waited for, and the user's devices do
// not become more.
func (s *Store) signInState(tx *gorm.DB, in SignIn, own uuid.UUID) (st signInState, err error) {
	var version int64
	err = s.row(tx, `SELECT c.version, {greatest}(u.valid_from, c.valid_from, r.valid_from), r.horizon, {now}, (SELECT count(*)`+otherDevices+`)
		FROM users u, clients c, realm r WHERE u.id = @user AND c.id = @client`,
		args{"user": in.User.ID, "client": in.Client.ID, "device": own}, &version, &st.floor, &st.horizon, &st.now, &st.others)
	if errors.Is(dbError(err), ErrNotFound) {
		return st, ErrClientCredentials
	}
	return st, cmp.Or(err, errIf(version != in.Client.Version, errStaleClient))
}

// otherDevices are those of a user that are signed in, but for one.
const otherDevices = ` FROM devices d, users u, clients c, realm r
	WHERE d.user_id = @user AND d.id <> @device AND u.id = d.user_id AND c.id = d.client_id AND ` + aliveDevice

// makeRoom signs out the longest unseen of the other devices.
func (s *Store) makeRoom(tx *gorm.DB, out *SignOut, user, device uuid.UUID, surplus int) error {
	var unseen []*Device
	if err := s.raw(tx, `SELECT d.*`+otherDevices+` ORDER BY d.last_seen_at, d.id LIMIT @surplus {lock d}`,
		args{"user": user, "device": device, "surplus": surplus}).Scan(&unseen).Error; err != nil {
		return err
	}
	return s.revokeDevices(tx, out, unseen, ReasonTooManyDevices, Actor{Entity: EntityPolicy}, nil)
}

func errIf(cond bool, err error) error {
	if cond {
		return err
	}
	return nil
}

// insertDevice stores a new device. Where somebody has its GUID it gets a fresh one, and the answer does not tell.
func (s *Store) insertDevice(tx *gorm.DB, d *Device) error {
	for try := 0; ; try++ {
		if d.ID == uuid.Nil || try > 0 {
			var err error
			if d.ID, err = uuid.NewV7(); err != nil {
				return err
			}
		}
		n, err := s.exec(tx, `INSERT INTO devices (id, user_id, refresh_id, previous_refresh_id, rotated_at, issued_at, signed_in_at, valid_from,
			expires_at, ends_at, last_seen_at, created_at, client_id, name, scope, ip, user_agent)
			VALUES (@id, @user, @refresh, @previous, @rotated, @issued, @signed, @valid, @expires, @ends, @seen, @created, @client, @name, @scope, @ip, @agent)
			ON CONFLICT (id) DO NOTHING`, args{
			"id": d.ID, "user": d.UserID, "refresh": d.RefreshID, "previous": d.PreviousRefreshID, "rotated": int64(d.RotatedAt),
			"issued": int64(d.IssuedAt), "signed": int64(d.SignedInAt), "valid": int64(d.ValidFrom), "expires": int64(d.ExpiresAt),
			"ends": int64(d.EndsAt), "seen": int64(d.LastSeenAt), "created": int64(d.CreatedAt), "client": d.ClientID, "name": d.Name,
			"scope": d.Scope, "ip": d.IP, "agent": d.UserAgent,
		})
		if n > 0 || err != nil {
			return err
		}
	}
}

// grant makes the tokens of a device's present state.
func (s *Store) grant(d *Device, c *Client, scope string, now int64) (*Grant, error) {
	g, err := s.sign(Claims{
		Subject:  d.UserID.String(),
		ClientID: d.ClientID, Scope: scope, DeviceID: d.ID.String(), RefreshID: d.RefreshID.String(),
	}, int64(d.IssuedAt), now, int64(d.ExpiresAt))
	if err != nil {
		return nil, err
	}
	if c.HasGrant(GrantRefreshToken) {
		g.RefreshToken = s.secret.refreshToken(refreshToken{DeviceID: d.ID, RefreshID: d.RefreshID})
	}
	return g, nil
}

// GrantedScope is what a client gets for what it asks for (RFC 6749 section 3.3): what it was registered with; without a
// request all of that but admin, which must be asked for by name, and which [Store.SignIn] gives to admins only. It returns
// [ErrScope] for anything else.
func GrantedScope(c *Client, requested string) (string, error) {
	allowed := strings.Fields(c.Scopes)
	if requested == "" {
		return strings.Join(slices.DeleteFunc(allowed, func(sc string) bool { return sc == ScopeAdmin }), " "), nil
	}
	var granted []string
	for _, sc := range strings.Split(requested, " ") {
		if !slices.Contains(allowed, sc) {
			return "", ErrScope
		}
		if !slices.Contains(granted, sc) {
			granted = append(granted, sc)
		}
	}
	return strings.Join(granted, " "), nil
}
