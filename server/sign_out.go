package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/models"
)

// receiptWait is how long the page after a sign-out may wait for its receipt. Whoever is signed out cannot ask for more
// of it later.
const receiptWait = time.Second

// showSignOut is GET /sign-out, with client_id for an app that asks for it. It only asks: an image on another site
// could lead here.
func (s *Server) showSignOut(c *gin.Context) error {
	app, err := s.appName(c.Request.Context(), c.Query("client_id"))
	if err != nil {
		return err
	}
	b, err := s.session(c)
	if err != nil {
		return err
	}
	return s.askSignOut(c, http.StatusOK, b, c.Query("client_id"), app)
}

func (s *Server) askSignOut(c *gin.Context, status int, b *models.BrowserSession, clientID, app string) error {
	if b == nil {
		return s.show(c, status, pages.SignedOut{Client: app})
	}
	apps, err := s.apps(c.Request.Context(), b)
	if err != nil {
		return err
	}
	fields := []pages.Field{{Name: "device", Value: b.ID.String()}}
	if app != "" {
		fields = append(fields, pages.Field{Name: "client_id", Value: clientID})
	}
	return s.show(c, status, pages.SignOut{Fields: fields, Client: app, Username: b.User.Username, Apps: apps})
}

// appName is what people read of a client; empty if it is not known.
func (s *Server) appName(ctx context.Context, clientID string) (string, error) {
	if clientID == "" || len(clientID) > models.MaxName || shown(clientID) != clientID {
		return "", nil
	}
	client, err := s.store.GetClient(ctx, clientID)
	if errors.Is(err, models.ErrNotFound) || (err == nil && client.BuiltIn) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return client.Name, nil
}

// apps is how many devices go with a browser session.
func (s *Server) apps(ctx context.Context, b *models.BrowserSession) (n int, err error) {
	list, err := s.store.UserDevices(ctx, b.UserID)
	for _, d := range list {
		if d.ParentID == b.ID && !d.Offline {
			n++
		}
	}
	return n, err
}

// postSignOut is POST /sign-out. It ends the session that was shown, and no other one: in another tab somebody else
// may have signed in meanwhile.
func (s *Server) postSignOut(c *gin.Context) error {
	form, err := readPageForm(c)
	if err != nil {
		return err
	}
	if form.Get("choice") == "stay" {
		return seeOther(c, pathAccount)
	}
	app, err := s.appName(c.Request.Context(), form.Get("client_id"))
	if err != nil {
		return err
	}
	b, err := s.session(c)
	if err != nil {
		return err
	}
	if b != nil && form.Get("device") != b.ID.String() {
		return s.askSignOut(c, http.StatusConflict, b, form.Get("client_id"), app)
	}
	out, err := s.store.SignOutBrowser(c.Request.Context(), presented(c))
	if err != nil {
		return err
	}
	setCookie(c, sessionCookie, "", noCookie)
	return s.show(c, http.StatusOK, pages.SignedOut{Client: app, Receipt: s.receipt(c.Request.Context(), out)})
}

// receipt is what is known of a sign-out when everybody has confirmed it or the time is over. Whoever has too many that
// wait is not kept waiting: the sign-out stands.
func (s *Server) receipt(ctx context.Context, out *models.SignOut) *pages.Receipt {
	if out == nil || out.Revocation == nil {
		return nil
	}
	wait := receiptWait
	leave, err := s.store.EnterWait(out.Revocation.Actor)
	if err == nil {
		defer leave()
	} else {
		wait = time.Nanosecond
	}
	applied := view.NewSignOut(ctx, s.store, out, wait).Applied
	if applied == nil {
		return nil
	}
	return &pages.Receipt{
		Seq: out.Revocation.Seq, Devices: out.Count, Subscribers: applied.Subscribers, Acknowledged: applied.Acknowledged,
		Slowest: milliseconds(applied.SlowestMS), Until: out.Revocation.ExpiresAt.Time(),
	}
}
