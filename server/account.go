package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// The account: what somebody who is signed in in a browser sees and does. Its handlers call the same methods of the
// store as the settings API.

const (
	pathAccount  = "/account" // the user's own page, and where a sign-in leads that no app asked for
	pathSecurity = "/account/security"
)

// accountRoutes are the pages of the account and what their forms post. They stand behind [Server.checkSite].
func (s *Server) accountRoutes(own gin.IRoutes) {
	own.Match(web.GetAndHead, pathAccount, s.account(s.showAccount))
	own.POST("/account/rename", s.accountForm(s.postRename))
	own.POST("/account/end", s.accountForm(s.postEnd))
	own.POST("/account/end-others", s.accountForm(s.postEndOthers))
	own.Match(web.GetAndHead, "/account/end-everywhere", s.account(s.showEndEverywhere))
	own.POST("/account/end-everywhere", s.accountForm(s.postEndEverywhere))
	own.GET("/account/receipts/:seq", s.page(s.receiptState))
	own.Match(web.GetAndHead, pathSecurity, s.account(s.showSecurity))
	own.POST("/account/password", s.accountForm(s.postPassword))
	own.POST("/account/not-me", s.accountForm(s.postNotMe))
}

// visitor is somebody who is signed in and asks for a page of the account.
type visitor struct {
	*gin.Context
	b    *models.BrowserSession
	form url.Values // of a post
}

// self is the user, as the audit log names whoever does something.
func (v *visitor) self() models.Actor {
	from := web.Origin(v.Context)
	return models.Actor{Entity: models.EntityUser, ID: v.b.UserID.String(), IP: from.IP, UserAgent: from.UserAgent}
}

// account makes a handler of one that is for whoever is signed in. Others sign in first.
func (s *Server) account(fn func(*visitor) error) gin.HandlerFunc {
	return s.page(func(c *gin.Context) error {
		b, err := s.session(c)
		switch {
		case err != nil:
			return err
		case b == nil:
			return signInFirst(c)
		}
		return fn(&visitor{Context: c, b: b})
	})
}

// signInFirst leads to the sign-in page, and from there to the page that was asked for.
func signInFirst(c *gin.Context) error {
	to := pathAccount
	if path := c.Request.URL.Path; slices.Contains(returnPaths, path) {
		to = path
	} else if path == "/account/password" || path == "/account/not-me" {
		to = pathSecurity
	}
	return seeOther(c, "/sign-in?"+url.Values{fieldReturn: {to}}.Encode())
}

// accountForm is [Server.account] for what a form posts. A form that shows somebody else, because another user has
// signed in in another tab meanwhile, does nothing.
func (s *Server) accountForm(fn func(*visitor) error) gin.HandlerFunc {
	return s.page(func(c *gin.Context) error {
		form, err := readPageForm(c)
		if err != nil {
			return err
		}
		b, err := s.session(c)
		switch {
		case err != nil:
			return err
		case b == nil:
			return signInFirst(c)
		}
		v := &visitor{Context: c, b: b, form: form}
		if form.Get("session") != b.ID.String() {
			return s.renderAccount(v, http.StatusConflict, pages.Account{Problem: &pages.Problem{Code: "stale"}})
		}
		return fn(v)
	})
}

// accountNotices are what the pages of the account may say of what was done; see [visitor.ownLink].
var accountNotices = []string{"renamed", "password_changed", "not_me"}

// ownLink tells whether a page of ours has led here: what an address says has been done is not shown to somebody whom
// another site, or a message, has sent. Old browsers do not say it.
func (v *visitor) ownLink() bool {
	site := v.GetHeader("Sec-Fetch-Site")
	return site == "" || site == "same-origin"
}

// done leads to a page that says what was done, and shows the receipt of what was signed out.
func (v *visitor) done(page string, notice pages.Notice, out *models.SignOut) error {
	q := url.Values{}
	if notice != "" {
		q.Set("notice", string(notice))
	}
	if out != nil {
		seq := int64(0)
		if out.Revocation != nil {
			seq = out.Revocation.Seq
		}
		q.Set("receipt", strconv.FormatInt(seq, 10))
	}
	return seeOther(v.Context, page+"?"+q.Encode())
}

// outcome reads what [visitor.done] has written.
func (s *Server) outcome(v *visitor) (notice pages.Notice, receipt *pages.Receipt, err error) {
	if !v.ownLink() {
		return "", nil, nil
	}
	if text := v.Query("notice"); slices.Contains(accountNotices, text) {
		notice = pages.Notice(text)
	}
	seq, err := strconv.ParseInt(v.Query("receipt"), 10, 64)
	if err != nil {
		return notice, nil, nil
	}
	receipt, err = s.ownReceipt(v, seq)
	if errors.Is(err, models.ErrNotFound) { // it was out already, and by whom is nobody's business
		return notice, &pages.Receipt{}, nil
	}
	return notice, receipt, err
}

// ownReceipt is the receipt of a sign-out of the user's as it is now. Who has to confirm it has no names here.
func (s *Server) ownReceipt(v *visitor, seq int64) (*pages.Receipt, error) {
	r, err := s.store.UserReceipt(v.Request.Context(), v.b.UserID, seq)
	if err != nil {
		return nil, err
	}
	told, err := s.store.Told(v.Request.Context(), seq)
	if err != nil {
		return nil, err
	}
	applied := view.NewApplied(r.Receipt)
	number := strconv.FormatInt(seq, 10)
	return &pages.Receipt{
		Seq: seq, Devices: r.Devices, Subscribers: applied.Subscribers, Acknowledged: applied.Acknowledged,
		Slowest: milliseconds(applied.SlowestMS), Told: (*pages.Told)(&told), Until: r.Until.Time(), URL: "/account/receipts/" + number,
		Reload: v.Request.URL.Path + "?receipt=" + number,
	}, nil
}

// receiptState is GET /account/receipts/SEQ: what the page asks for until the receipt is complete.
func (s *Server) receiptState(c *gin.Context) error {
	b, err := s.session(c)
	if err != nil {
		return err
	}
	seq, bad := strconv.ParseInt(c.Param("seq"), 10, 64)
	if b == nil || bad != nil {
		return models.ErrNotFound
	}
	r, err := s.ownReceipt(&visitor{Context: c, b: b}, seq)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, s.pages.ReceiptState(s.pages.Language(c.Request), *r))
	return nil
}

// showAccount is GET /account.
func (s *Server) showAccount(v *visitor) error {
	notice, receipt, err := s.outcome(v)
	if err != nil {
		return err
	}
	return s.renderAccount(v, http.StatusOK, pages.Account{Notice: notice, Receipt: receipt})
}

// accountProblem is what a page of the account says of an error, and with which status; nil where there is an own page
// for it.
func accountProblem(err error) (*pages.Problem, int) {
	switch {
	case errors.Is(err, models.ErrNotFound):
		return &pages.Problem{Code: "gone"}, http.StatusNotFound
	case errors.Is(err, models.ErrInvalid):
		return &pages.Problem{Code: "name"}, http.StatusBadRequest
	case errors.Is(err, models.ErrCredentials):
		return &pages.Problem{Code: "wrong_password"}, http.StatusBadRequest
	case errors.Is(err, models.ErrPasswordPolicy):
		return &pages.Problem{Code: "password_policy"}, http.StatusBadRequest
	}
	if p := web.ProblemOf(err); p.Status == http.StatusTooManyRequests {
		return &pages.Problem{Code: "throttled", RetryAfter: p.RetryAfter}, p.Status
	}
	return nil, 0
}

// problemOf is [accountProblem] for this visit; an error that has a page of its own is given back.
func (v *visitor) problemOf(err error) (*pages.Problem, int, error) {
	p, status := accountProblem(err)
	if p == nil {
		return nil, 0, err
	}
	if p.RetryAfter > 0 {
		v.Header("Retry-After", web.RetryAfter(p.RetryAfter))
	}
	return p, status, nil
}

// refuse shows the devices with what was wrong.
func (s *Server) refuse(v *visitor, err error) error {
	p, status, err := v.problemOf(err)
	if err != nil {
		return err
	}
	return s.renderAccount(v, status, pages.Account{Problem: p})
}

// device is the id in a form; uuid.Nil, which nothing has, for what is none.
func (v *visitor) device() uuid.UUID {
	id, _ := view.ParseUUID(v.form.Get("device"))
	return id
}

func (s *Server) postRename(v *visitor) error {
	mine := models.DeviceFilter{ID: v.device(), UserID: v.b.UserID} // another user's is not found
	if _, err := s.store.RenameDevice(v.Request.Context(), mine, v.form.Get("name"), v.self()); err != nil {
		return s.refuse(v, err)
	}
	return v.done(pathAccount, "renamed", nil)
}

func (s *Server) postEnd(v *visitor) error {
	id := v.device()
	if id == v.b.ID { // that is signing out here, which asks
		return seeOther(v.Context, "/sign-out")
	}
	out, err := s.store.Revoke(v.Request.Context(), models.UserDevice(v.b.UserID, id), models.ReasonSignedOut, v.self())
	if err != nil {
		return s.refuse(v, err)
	}
	return v.done(pathAccount, "", out)
}

func (s *Server) postEndOthers(v *visitor) error {
	others := models.OtherDevices(v.b.UserID, v.b.ID)
	out, err := s.store.Revoke(v.Request.Context(), others, models.ReasonSignedOut, v.self())
	if err != nil {
		return s.refuse(v, err)
	}
	return v.done(pathAccount, "", out)
}

func (s *Server) showEndEverywhere(v *visitor) error {
	return s.renderEndEverywhere(v, http.StatusOK, nil)
}

func (s *Server) renderEndEverywhere(v *visitor, status int, problem *pages.Problem) error {
	list, err := s.store.UserDevices(v.Request.Context(), v.b.UserID)
	if err != nil {
		return err
	}
	return s.show(v.Context, status, pages.EndEverywhere{
		Username: v.b.User.Username, Session: v.b.ID.String(), Devices: len(list), Problem: problem,
	})
}

// postEndEverywhere asks for the password: whoever finds an open browser does not take all of somebody's devices away.
func (s *Server) postEndEverywhere(v *visitor) error {
	ctx, by := v.Request.Context(), v.self()
	u, err := s.store.AuthenticateUser(ctx, models.PasswordAttempt{
		Username: v.b.User.Username, Password: v.form.Get("password"), IP: web.LimitIP(v.Context), ByProxy: by.IP == "",
		DeviceID: v.b.ID, Agent: by.UserAgent,
	})
	if err == nil && u.ID != v.b.UserID { // the name has gone to somebody else in between
		err = models.ErrCredentials
	}
	if err != nil {
		p, status, err := v.problemOf(err)
		if err != nil {
			return err
		}
		return s.renderEndEverywhere(v, status, p)
	}
	out, err := s.store.Revoke(ctx, models.WholeUser(v.b.UserID), models.ReasonSignedOut, by)
	if err != nil {
		return err
	}
	setCookie(v.Context, sessionCookie, "", noCookie)
	return s.show(v.Context, http.StatusOK, pages.SignedOut{Receipt: s.receipt(ctx, out)})
}
