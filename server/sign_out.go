package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/models"
)

// receiptWait is how long the page after a sign-out may wait for its receipt. Whoever is signed out cannot ask for more
// of it later.
const receiptWait = time.Second

// fieldLogout carries the log-out request of an app in the form that asks.
const fieldLogout = "logout"

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
	return s.askSignOut(c, http.StatusOK, b, leaving{clientID: c.Query("client_id"), app: app})
}

// leaving is who asks for a sign-out: nobody, an app by its id, or an app by a log-out request.
type leaving struct {
	clientID string
	app      string // what people read of it
	logout   *logout
}

// askSignOut asks. Where nobody is signed in there is nothing to ask, and an app's request leads back at once.
func (s *Server) askSignOut(c *gin.Context, status int, b *models.BrowserSession, l leaving) error {
	if b == nil {
		return s.showSignedOut(c, status, l, nil)
	}
	apps, err := s.apps(c.Request.Context(), b)
	if err != nil {
		return err
	}
	fields := []pages.Field{{Name: "device", Value: b.ID.String()}}
	switch {
	case l.logout != nil:
		fields = append(fields, pages.Field{Name: fieldLogout, Value: l.logout.query})
	case l.app != "":
		fields = append(fields, pages.Field{Name: "client_id", Value: l.clientID})
	}
	return s.show(c, status, pages.SignOut{Fields: fields, Client: l.app, Username: b.User.Username, Apps: apps})
}

// showSignedOut is where a sign-out ends: back at the app, or here.
func (s *Server) showSignedOut(c *gin.Context, status int, l leaving, out *models.SignOut) error {
	if l.logout != nil && l.logout.redirectURI != "" {
		return seeOther(c, l.logout.back())
	}
	return s.show(c, status, pages.SignedOut{Client: l.app, Receipt: s.receipt(c.Request.Context(), out)})
}

// appName is what people read of a client; empty if it is not known.
func (s *Server) appName(ctx context.Context, clientID string) (string, error) {
	client, err := s.clientForPage(ctx, clientID)
	if client == nil {
		return "", err
	}
	return client.Name, nil
}

// clientForPage is the client that a link to a page of ours names; nil if it is not known.
func (s *Server) clientForPage(ctx context.Context, clientID string) (*models.Client, error) {
	if clientID == "" || len(clientID) > models.MaxName || shown(clientID) != clientID {
		return nil, nil
	}
	client, err := s.store.GetClient(ctx, clientID)
	if errors.Is(err, models.ErrNotFound) || (err == nil && client.BuiltIn) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return client, nil
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
	l, err := s.readLeaving(c.Request.Context(), form)
	if err != nil {
		return err
	}
	b, err := s.session(c)
	if err != nil {
		return err
	}
	if b != nil && form.Get("device") != b.ID.String() {
		return s.askSignOut(c, http.StatusConflict, b, l)
	}
	out, err := s.store.SignOutBrowser(c.Request.Context(), presented(c))
	if err != nil {
		return err
	}
	setCookie(c, sessionCookie, "", noCookie)
	return s.showSignedOut(c, http.StatusOK, l, out)
}

// readLeaving reads what the form carries, and looks at all of it again.
func (s *Server) readLeaving(ctx context.Context, form url.Values) (l leaving, err error) {
	if form.Has(fieldLogout) {
		if l.logout, err = s.readLogout(ctx, form.Get(fieldLogout)); err == nil {
			l.app = l.logout.name()
		}
		return l, err
	}
	l.clientID = form.Get("client_id")
	l.app, err = s.appName(ctx, l.clientID)
	return l, err
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
	shown := view.NewSignOut(ctx, s.store, out, wait)
	applied := shown.Applied
	if applied == nil {
		return nil
	}
	return &pages.Receipt{
		Seq: out.Revocation.Seq, Devices: out.Count, Subscribers: applied.Subscribers, Acknowledged: applied.Acknowledged,
		Slowest: milliseconds(applied.SlowestMS), Told: (*pages.Told)(shown.Told), Until: out.Revocation.ExpiresAt.Time(),
	}
}
