package admin

import (
	"cmp"
	"context"
	"errors"
	"time"

	"curfew/internal/pages"
	"curfew/models"
)

// overview is the console's first page: counters of this node, and reads that are bounded whatever the number of
// devices.
func (v *visit) overview() error {
	q, err := v.query()
	page := pages.ConsoleOverview{}
	if page.Console, err = v.orBase(q, err); err != nil {
		return err
	}
	page.Charts = v.history.charts()
	ctx := v.Request.Context()
	if page.Nodes, err = v.nodes(ctx); err != nil {
		return err
	}
	asked := time.Now()
	db, err := v.store.Database(ctx)
	if err != nil {
		return err
	}
	pool := v.store.DB().Stats()
	page.Database = pages.Database{
		Kind: db.Kind, Version: db.Version, Connections: pool.InUse, Limit: pool.MaxOpenConnections,
		Answered: time.Since(asked),
	}
	var next string
	if page.Followers, next, err = v.followerRows(db.LastSeq, models.Page{Limit: shortList}); err != nil {
		return err
	}
	page.MoreFollowers = next != ""
	keys, err := v.store.ListKeys(ctx)
	if err != nil {
		return err
	}
	page.Keys = v.keyRows(keys, db.Now)
	return v.show(page)
}

// nodes are this node and those that the database knows besides.
func (v *visit) nodes(ctx context.Context) ([]pages.Node, error) {
	known, err := v.store.ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	list := []pages.Node{v.history.node()}
	for _, n := range known {
		if v.notifier != nil && n.Run == v.notifier.Node() {
			continue
		}
		list = append(list, pages.Node{
			Name: cmp.Or(n.Host, n.Run), Version: n.Version, Started: n.StartedAt.Time(), Seen: n.SeenAt.Time(), Away: !n.Live,
		})
	}
	return list, nil
}

// keyRows says of each key what it does now, and until when: the one that signs until the next takes its place, or else
// until the rotation makes one.
func (v *visit) keyRows(keys []models.SigningKey, now models.Micros) (list []pages.KeyRow) {
	var next models.Micros // when the key that comes after begins to sign
	signs := false
	for _, k := range keys { // newest first
		row := pages.KeyRow{ID: k.KID, Algorithm: k.Alg, Created: k.CreatedAt.Time()}
		switch {
		case k.ActivatesAt > now:
			row.State, row.Until, next = "next", k.ActivatesAt.Time(), k.ActivatesAt
		case !signs:
			signs = true
			row.State, row.Until = "active", next.Time()
			if next == 0 {
				row.Until = k.ActivatesAt.Add(v.store.KeyRotation()).Time()
			}
		default:
			row.State, row.Until = "retired", k.RetiresAt.Time()
			if k.RetiresAt != 0 && k.RetiresAt <= now {
				continue // it is published no more
			}
		}
		list = append(list, row)
	}
	return list
}

func unlessGone(err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return nil
	}
	return err
}
