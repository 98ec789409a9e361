package admin

import (
	"github.com/gin-gonic/gin"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

func (a *Admin) listUsers(c *gin.Context) error {
	q, p, err := web.QueryPage(c, "q")
	if err != nil {
		return err
	}
	list, next, err := a.store.ListUsers(c.Request.Context(), q.Get("q"), p)
	if err != nil {
		return err
	}
	return page(c, "users", view.List(list, view.NewUser), next)
}

func (a *Admin) createUser(c *gin.Context) error {
	var in struct {
		Username      string `json:"username"`
		Password      string `json:"password"`
		PasswordHash  string `json:"password_hash"`
		Admin         bool   `json:"admin"`
		Name          string `json:"name"`
		Email         string `json:"email"`
		EmailVerified bool   `json:"email_verified"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if (in.Password == "") == (in.PasswordHash == "") {
		return web.Invalid("there must be a password or a password_hash, one of the two")
	}
	u, err := a.store.CreateUser(c.Request.Context(), models.NewUser{
		Username: in.Username, Password: in.Password, PasswordHash: in.PasswordHash, Admin: in.Admin,
		UserProfile: models.UserProfile{Name: in.Name, Email: in.Email, EmailVerified: in.EmailVerified},
	}, actor(c))
	if err != nil {
		return err
	}
	return web.Created(c, "/admin/users/"+u.ID.String(), view.NewUser(u))
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
	return a.answerUser(c, u)
}

// answerUser answers a user with the limits that the account has reached.
func (a *Admin) answerUser(c *gin.Context, u *models.User) error {
	limits, err := a.store.ReachedLimits(c.Request.Context(), u)
	if err != nil {
		return err
	}
	return web.OK(c, view.NewOneUser(u, limits))
}

// unlockUser clears what counts against a user's account.
func (a *Admin) unlockUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	u, err := a.store.UnlockUser(c.Request.Context(), id, actor(c))
	if err != nil {
		return err
	}
	return a.answerUser(c, u)
}

// updateUser answers the user, and what was signed out by the change.
func (a *Admin) updateUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	_, wait, err := web.QueryWait(c)
	if err != nil {
		return err
	}
	var in struct {
		Username      *string `json:"username"`
		Password      *string `json:"password"`
		Admin         *bool   `json:"admin"`
		Disabled      *bool   `json:"disabled"`
		Name          *string `json:"name"`
		Email         *string `json:"email"`
		EmailVerified *bool   `json:"email_verified"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if in.Password != nil || in.Admin != nil {
		if err := a.freshEnough(c); err != nil {
			return err
		}
	}
	u, out, err := a.store.UpdateUser(c.Request.Context(), id, models.UserPatch(in), actor(c))
	if err != nil {
		return err
	}
	if out == nil {
		return web.OK(c, view.NewUser(u))
	}
	return web.OK(c, struct {
		view.User
		view.SignOut
	}{view.NewUser(u), view.NewNamedSignOut(c.Request.Context(), a.store, out, wait)})
}

func (a *Admin) deleteUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	q, wait, err := web.QueryWait(c, "dry_run")
	if err != nil {
		return err
	}
	if dry, err := dryRun(q); err != nil || dry {
		return a.countOr(c, models.WholeUser(id), err)
	}
	out, err := a.store.DeleteUser(c.Request.Context(), id, actor(c))
	if err != nil {
		return err
	}
	return web.SignedOutByAdmin(c, a.store, out, wait)
}

func (a *Admin) listUserDevices(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	q, p, err := web.QueryPage(c, "status")
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
	return a.answerDevices(c, f, p)
}

func (a *Admin) revokeUser(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	return a.revoke(c, models.WholeUser(id))
}
