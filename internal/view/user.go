package view

import "curfew/models"

// User is a user as an admin sees it.
type User struct {
	ID         string        `json:"id"`
	Username   string        `json:"username"`
	Admin      bool          `json:"admin"`
	Disabled   bool          `json:"disabled"`
	DisabledAt models.Micros `json:"disabled_at"` // null if not
	CreatedAt  models.Micros `json:"created_at"`
	UpdatedAt  models.Micros `json:"updated_at"`
}

// NewUser shows a user to an admin.
func NewUser(u *models.User) User {
	return User{
		ID: u.ID.String(), Username: u.Username, Admin: u.Admin,
		Disabled: u.DisabledAt != 0, DisabledAt: u.DisabledAt, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
}
