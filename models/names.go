package models

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Names are what people call things: of users and devices by their ids, of clients by theirs.
type Names map[string]string

// Names looks up what the ids of a page of a list are called. What is gone, and what is no id, has no name.
func (s *Store) Names(ctx context.Context, users, devices, clients []string) (Names, error) {
	names := Names{}
	err := s.read(ctx, func(tx *gorm.DB) error {
		for query, ids := range map[string][]string{
			`SELECT id, username FROM users WHERE id {in ids}`: users,
			`SELECT id, name FROM devices WHERE id {in ids}`:   devices,
		} {
			var known []uuid.UUID
			for _, text := range ids {
				if id, err := uuid.Parse(text); err == nil && len(text) == 36 {
					known = append(known, id)
				}
			}
			if len(known) == 0 {
				continue
			}
			if err := s.rows(tx, query, args{"ids": known}, func(scan func(...any) error) error {
				var id uuid.UUID
				var name string
				err := scan(&id, &name)
				names[id.String()] = name
				return err
			}); err != nil {
				return err
			}
		}
		var list []Client
		if len(clients) == 0 {
			return nil
		}
		err := tx.Select("id", "name").Where("id IN ?", clients).Find(&list).Error
		for _, c := range list {
			names[c.ID] = c.Name
		}
		return err
	})
	return names, err
}

// KeyRotation is how old a signing key becomes before it gets a successor.
func (s *Store) KeyRotation() time.Duration { return s.cfg.KeyRotation }

// DatabaseState is how the database is, for people.
type DatabaseState struct {
	Kind    string // PostgreSQL or SQLite
	Version string
	LastSeq int64 // of the newest revocation event
	Now     Micros
}

// Database asks the database how it is, in one small question.
func (s *Store) Database(ctx context.Context) (d DatabaseState, err error) {
	version := `(SELECT sqlite_version())`
	if d.Kind = "SQLite"; s.d.postgres {
		d.Kind, version = "PostgreSQL", `current_setting('server_version')`
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT `+version+`, last_seq, {now} FROM realm`, nil, &d.Version, &d.LastSeq, &d.Now)
	})
	d.Version, _, _ = strings.Cut(d.Version, " ") // Debian and others add their own
	return d, err
}
