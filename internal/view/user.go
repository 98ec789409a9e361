package view

import "curfew/models"

// User is a user as an admin sees it.
type User struct {
	ID            string        `json:"id"`
	Username      string        `json:"username"`
	Name          string        `json:"name"` // empty: none
	Email         string        `json:"email"`
	EmailVerified bool          `json:"email_verified"`
	Admin         bool          `json:"admin"`
	Disabled      bool          `json:"disabled"`
	DisabledAt    models.Micros `json:"disabled_at"` // null if not
	CreatedAt     models.Micros `json:"created_at"`
	UpdatedAt     models.Micros `json:"updated_at"`
}

// NewUser shows a user to an admin.
func NewUser(u *models.User) User {
	return User{
		ID: u.ID.String(), Username: u.Username, Admin: u.Admin,
		Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified,
		Disabled: u.DisabledAt != 0, DisabledAt: u.DisabledAt, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
}

// OneUser is a user with the limits that the account has reached.
type OneUser struct {
	User
	Limits []ReachedLimit `json:"limits"`
}

// ReachedLimit is a limit that an account has reached.
type ReachedLimit struct {
	Name  string        `json:"limit"`
	Until models.Micros `json:"until"`
}

// NewOneUser shows a user with the limits.
func NewOneUser(u *models.User, limits []models.ReachedLimit) OneUser {
	return OneUser{NewUser(u), List(limits, func(l *models.ReachedLimit) ReachedLimit { return ReachedLimit(*l) })}
}
