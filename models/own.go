package models

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// What a user may see of the logs: what is about the user alone.

// OwnEvent is an event of the audit log about a user, with what things are called today.
type OwnEvent struct {
	AuditEvent
	DeviceName string // empty if the device has been forgotten
	ClientName string
}

// UserEvents returns a page of what happened to a user's account, newest first.
func (s *Store) UserEvents(ctx context.Context, user uuid.UUID, p Page) (list []OwnEvent, next string, err error) {
	if user == uuid.Nil { // which a filter takes for any user
		return nil, "", ErrNotFound
	}
	events, next, err := s.ListAuditEvents(ctx, AuditFilter{UserID: user.String()}, p)
	if err != nil {
		return nil, "", err
	}
	names, err := s.namesOf(ctx, user, events)
	if err != nil {
		return nil, "", err
	}
	for _, e := range events {
		list = append(list, OwnEvent{e, names.devices[e.DeviceID], names.clients[e.ClientID]})
	}
	return list, next, nil
}

type thingNames struct{ devices, clients map[string]string }

// namesOf looks up what the user's devices and the clients of a page of events are called.
func (s *Store) namesOf(ctx context.Context, user uuid.UUID, events []AuditEvent) (thingNames, error) {
	found := thingNames{map[string]string{}, map[string]string{}}
	ids, clients := []uuid.UUID{uuid.Nil}, []string{""} // no list is empty
	for _, e := range events {
		if id, err := uuid.Parse(e.DeviceID); err == nil {
			ids = append(ids, id)
		}
		clients = append(clients, e.ClientID)
	}
	err := s.read(ctx, func(tx *gorm.DB) error {
		var of []Client
		if err := tx.Select("id", "name").Where("id IN ?", slices.Compact(clients)).Find(&of).Error; err != nil {
			return err
		}
		for _, c := range of {
			found.clients[c.ID] = c.Name
		}
		var devices []Device
		err := s.raw(tx, `SELECT id, name FROM devices WHERE user_id = @user AND id {in ids}`,
			args{"user": user, "ids": slices.Compact(ids)}).Scan(&devices).Error
		for _, d := range devices {
			found.devices[d.ID.String()] = d.Name
		}
		return err
	})
	return found, err
}

// OwnReceipt is the receipt of a sign-out of the user's.
type OwnReceipt struct {
	*Receipt
	Devices int    // that it signed out, if it was one of devices
	Until   Micros // when the last token that it ended has expired
}

// UserReceipt returns the receipt of an event about the user or about one of the user's devices as it is now. Any other
// is [ErrNotFound].
func (s *Store) UserReceipt(ctx context.Context, user uuid.UUID, seq int64) (*OwnReceipt, error) {
	own := &OwnReceipt{}
	err := s.read(ctx, func(tx *gorm.DB) error {
		var event Revocation
		if err := s.raw(tx, `SELECT v.* FROM revocations v
			WHERE v.seq = @seq AND ((v.level = @of_user AND v.subject = @subject)
				OR (v.level = @of_device AND EXISTS (SELECT 1 FROM devices d
					WHERE d.user_id = @user AND CAST(d.id AS text) = v.subject)))`, args{
			"seq": seq, "of_user": LevelUser, "of_device": LevelDevice, "user": user, "subject": user.String(),
		}).Take(&event).Error; err != nil {
			return err
		}
		own.Until = event.ExpiresAt
		if event.Level != LevelDevice {
			return nil
		}
		// The events of one commit have one time, and numbers without a gap.
		return s.row(tx, `SELECT count(*) FROM revocations WHERE seq <= @seq AND seq > @seq - @batch AND created_at = @at
			AND level = @of_device AND actor = @actor`, args{
			"seq": seq, "batch": batchSize, "at": event.CreatedAt, "of_device": LevelDevice, "actor": event.Actor,
		}, &own.Devices)
	})
	if err != nil {
		return nil, err
	}
	own.Receipt, err = s.Receipt(ctx, seq)
	return own, err
}
