package models

import (
	"context"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
)

// originsAge is how long what is known of the clients' origins is used without a look at the database: a change made on
// another node is known on this one after that. One made here is known at once.
const originsAge = time.Second

// unknownOriginsAge is that where the answer is no: an origin that was allowed on another node works at once, and
// strangers' origins ask the database no more often.
const unknownOriginsAge = 50 * time.Millisecond

// maxOriginsText bounds the memory that all origins take.
const maxOriginsText = 4 << 20

// knownOrigins is this node's copy of which pages may call us: a preflight names an origin and no client, and is no
// reason to ask the database. It is read whole, by one reader at a time whatever is asked, and never changed.
type knownOrigins struct {
	mu      sync.Mutex
	current *originTable // nil: not read yet, or changed here since
	change  int          // rises with each change made here
}

type originTable struct {
	readAt  time.Time
	clients map[string]clientOrigins
	all     map[string]bool // by origin: whether a client of its keeps its refresh token in a cookie
}

type clientOrigins struct {
	origins map[string]bool
	cookie  bool
}

// WebOrigin is what a page's origin may do.
type WebOrigin struct {
	Allowed bool // call us
	Cookies bool // with cookies, for a client that keeps its refresh token in one
}

// WebOrigin tells whether an origin is that of any client. It is what a preflight is answered by. It returns
// [ErrUnavailable] if that is not known and the database cannot be asked.
func (s *Store) WebOrigin(ctx context.Context, origin string) (WebOrigin, error) {
	return s.webOrigin(ctx, func(t *originTable) WebOrigin {
		cookies, known := t.all[origin]
		return WebOrigin{Allowed: known, Cookies: cookies}
	})
}

// ClientWebOrigin tells whether an origin is that of one client; an unknown one has none.
func (s *Store) ClientWebOrigin(ctx context.Context, clientID, origin string) (WebOrigin, error) {
	return s.webOrigin(ctx, func(t *originTable) WebOrigin {
		c := t.clients[clientID]
		return WebOrigin{Allowed: c.origins[origin], Cookies: c.cookie && c.origins[origin]}
	})
}

// HasRefreshCookie tells whether a client's refresh tokens are cookies.
func (s *Store) HasRefreshCookie(ctx context.Context, clientID string) (bool, error) {
	table, err := s.originTable(ctx, originsAge)
	if err != nil {
		return false, err
	}
	return table.clients[clientID].cookie, nil
}

func (s *Store) webOrigin(ctx context.Context, find func(*originTable) WebOrigin) (WebOrigin, error) {
	table, err := s.originTable(ctx, originsAge)
	if err != nil {
		return WebOrigin{}, err
	}
	if o := find(table); o.Allowed {
		return o, nil
	}
	if table, err = s.originTable(ctx, unknownOriginsAge); err != nil {
		return WebOrigin{}, err
	}
	return find(table), nil
}

// originTable is a copy that is not older than age.
func (s *Store) originTable(ctx context.Context, age time.Duration) (*originTable, error) {
	o := &s.origins
	o.mu.Lock()
	table, change := o.current, o.change
	o.mu.Unlock()
	if table != nil && time.Since(table.readAt) < age {
		return table, nil
	}
	// Those who ask at the same time share a reading. It goes on when one of them has hung up.
	read, err, _ := s.readingOrigins.Do("", func() (any, error) {
		return s.readOrigins(context.WithoutCancel(ctx))
	})
	if err != nil {
		return nil, err
	}
	table = read.(*originTable)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.change == change && (o.current == nil || o.current.readAt.Before(table.readAt)) {
		o.current = table
	}
	return table, nil
}

func (s *Store) readOrigins(ctx context.Context) (*originTable, error) {
	t := &originTable{readAt: time.Now(), clients: map[string]clientOrigins{}, all: map[string]bool{}}
	return t, s.read(ctx, func(tx *gorm.DB) error {
		return s.rows(tx, `SELECT id, origins, refresh_cookie FROM clients WHERE origins <> '' OR refresh_cookie`, nil,
			func(scan func(...any) error) error {
				var id, origins string
				var cookie bool
				if err := scan(&id, &origins, &cookie); err != nil {
					return err
				}
				c := clientOrigins{origins: map[string]bool{}, cookie: cookie}
				for origin := range strings.FieldsSeq(origins) {
					c.origins[origin] = true
					t.all[origin] = t.all[origin] || cookie
				}
				t.clients[id] = c
				return nil
			})
	})
}

// forgetOrigins is called when a client has changed here.
func (s *Store) forgetOrigins() {
	s.readingOrigins.Forget("")
	s.origins.mu.Lock()
	defer s.origins.mu.Unlock()
	s.origins.current = nil
	s.origins.change++
}

// roomForOrigins keeps the clients' origins within what every node holds in memory.
func (s *Store) roomForOrigins(tx *gorm.DB, c *Client) error {
	if c.Origins == "" {
		return nil
	}
	var others int
	err := s.row(tx, `SELECT coalesce(sum(length(origins)), 0) FROM clients WHERE id <> @id`, args{"id": c.ID}, &others)
	if err == nil && others+len(c.Origins) > maxOriginsText {
		return invalid("the origins of all clients have %d bytes: must be at most %d", others+len(c.Origins), maxOriginsText)
	}
	return err
}
