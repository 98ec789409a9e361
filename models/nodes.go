package models

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Node is a server as the others see it: one that tells receivers says every few seconds that it lives. Those that
// stopped are gone from here; those that broke off stay for an hour.
type Node struct {
	Run       string // what it is called in the database: this run of it, on this host
	Host      string // empty if it said none
	Version   string
	StartedAt Micros // by the node's clock; 0 if it said none
	SeenAt    Micros
	Live      bool // it was seen so lately that nobody takes its place
}

// HostName is what this node is called.
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return name
}

// NewNodeRun names a run of a node that starts now.
func NewNodeRun(host, version string) string {
	one := func(s string) string { return strings.ToValidUTF8(strings.Join(strings.Fields(s), "-"), "") }
	return strings.TrimSpace(uuid.Must(uuid.NewV7()).String() + " " + one(version) + " " + one(host))
}

// ListNodes returns the nodes that have been seen in the last hour, by their names.
func (s *Store) ListNodes(ctx context.Context) (list []Node, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		list = nil
		return s.raw(tx, `SELECT node AS run, until - @lease AS seen_at, until > {now} AS live FROM notifiers
			WHERE until > {now} - @old ORDER BY node`, args{"lease": notifierLease, "old": time.Hour}).Scan(&list).Error
	})
	for i := range list {
		n := &list[i]
		parts := strings.SplitN(n.Run, " ", 3)
		if id, err := uuid.Parse(parts[0]); len(parts) == 3 && err == nil {
			seconds, nanos := id.Time().UnixTime()
			n.Version, n.Host, n.StartedAt = parts[1], parts[2], Micros(time.Unix(seconds, nanos).UnixMicro())
		}
	}
	return list, err
}
