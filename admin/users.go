package admin

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// user is a user as an admin sees it: never the hash.
type user struct {
	ID         string        `json:"id"`
	Username   string        `json:"username"`
	Admin      bool          `json:"admin"`
	Disabled   bool          `json:"disabled"`
	DisabledAt models.Micros `json:"disabled_at"` // null if not
	CreatedAt  models.Micros `json:"created_at"`
	UpdatedAt  models.Micros `json:"updated_at"`
}

func userView(u *models.User) user {
	return user{
		ID: u.ID.String(), Username: u.Username, Admin: u.Admin, Disabled: u.DisabledAt != 0, DisabledAt: u.DisabledAt,
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
}

func (a *Admin) listUsers(c *gin.Context) error {
	q, err := web.Query(c, "q", "limit", "cursor")
	if err != nil {
		return err
	}
	p, err := web.PageFrom(q)
	if err != nil {
		return err
	}
	list, next, err := a.store.ListUsers(c.Request.Context(), q.Get("q"), p)
	if err != nil {
		return err
	}
	users := make([]user, len(list))
	for i := range list {
		users[i] = userView(&list[i])
	}
	return answer(c, http.StatusOK, struct {
		Users []user `json:"users"`
		Next  string `json:"next_cursor,omitempty"`
	}{users, next})
}

func (a *Admin) createUser(c *gin.Context) error {
	var in struct {
		Username     string `json:"username"`
		Password     string `json:"password"`
		PasswordHash string `json:"password_hash"`
		Admin        bool   `json:"admin"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if (in.Password == "") == (in.PasswordHash == "") {
		return web.Invalid("it takes a password, or the password_hash of one; one of the two")
	}
	u, err := a.store.CreateUser(c.Request.Context(), models.NewUser{
		Username: in.Username, Password: in.Password, PasswordHash: in.PasswordHash, Admin: in.Admin,
	}, web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	c.Header("Location", "/admin/users/"+u.ID.String())
	return answer(c, http.StatusCreated, userView(u))
}

func (a *Admin) getUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	u, err := a.store.GetUser(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, userView(u))
}

// updateUser answers the user, and what was signed out by the change.
func (a *Admin) updateUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	q, err := web.Query(c, "wait")
	if err != nil {
		return err
	}
	wait, err := web.ParseWait(q)
	if err != nil {
		return err
	}
	var in struct {
		Username *string `json:"username"`
		Password *string `json:"password"`
		Admin    *bool   `json:"admin"`
		Disabled *bool   `json:"disabled"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	u, out, err := a.store.UpdateUser(c.Request.Context(), id, models.UserPatch(in), web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	if out == nil {
		return answer(c, http.StatusOK, userView(u))
	}
	return answer(c, http.StatusOK, struct {
		user
		web.SignOut
	}{userView(u), web.SignOutView(c.Request.Context(), a.store, out, wait)})
}

func (a *Admin) deleteUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	q, err := web.Query(c, "wait")
	if err != nil {
		return err
	}
	wait, err := web.ParseWait(q)
	if err != nil {
		return err
	}
	out, err := a.store.DeleteUser(c.Request.Context(), id, web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	web.AnswerSignOut(c, a.store, out, wait)
	return nil
}

func (a *Admin) listUserDevices(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	q, err := web.Query(c, "status", "limit", "cursor")
	if err != nil {
		return err
	}
	f, err := deviceFilter(q)
	if err != nil {
		return err
	}
	if _, err := a.store.GetUser(c.Request.Context(), id); err != nil {
		return err
	}
	f.UserID = id
	return a.answerDevices(c, f, q)
}

func (a *Admin) revokeUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	q, err := web.Query(c, "wait")
	if err != nil {
		return err
	}
	return a.revoke(c, models.WholeUser(id), q)
}
