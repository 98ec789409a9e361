package main

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"curfew/internal/proc"
)

const (
	// ownFiles is what the process needs beside connections of clients: the log, the listeners, the hash process,
	// certificates, connections to a collector of traces.
	ownFiles = 48
	// filesPerDBConn is what SQLite has open for one connection of the pool: the file, its log, the index of that.
	filesPerDBConn = 3
	// leastConnections is what a listener gets also where that is more than the limit on files leaves.
	leastConnections = 8

	limitLoggedEvery = time.Minute
	makeRoomEvery    = 200 * time.Millisecond
)

// shareFiles divides the files that the process may open: what each listener may have as connections at most. The admin
// listener's share is its own, so that whatever comes to the public one, an operator can look and sign out.
func shareFiles(files, dbConns int) (public, admin int) {
	left := files - ownFiles - dbConns*filesPerDBConn
	admin = max(leastConnections, left/8)
	return max(leastConnections, left-admin), admin
}

// boundConnections gives each listener its share. Where nobody says how many files there may be, there is no bound.
func (n *node) boundConnections() {
	files, ok := proc.MaxFiles()
	if !ok {
		return
	}
	public, admin := shareFiles(files, n.store.DB().Stats().MaxOpenConnections)
	for i, most := range []int{public, admin} {
		l := n.listeners[i]
		l.Listener.(*boundedListener).bound(most, files, func() {
			l.server.SetKeepAlivesEnabled(false) // ends those that idle, and those that never sent a request
			l.server.SetKeepAlivesEnabled(true)
		})
		if most == leastConnections {
			n.log.Warn("this process may open too few files", "listener", l.name, "connections", most,
				"limit", "open files of this process (ulimit -n, RLIMIT_NOFILE)", "files", files)
		}
	}
}

// boundedListener has a number of connections at most. One more waits until another has ended, and the next ones in the
// kernel's queue; those that idle are ended for them.
type boundedListener struct {
	net.Listener
	name     string
	files    int           // that the process may open
	places   chan struct{} // its share of them; nil: no bound is known
	makeRoom func()        // ends the connections that idle
	log      *slog.Logger
	closed   context.Context
	close    context.CancelFunc
	logged   time.Time
}

func newBoundedListener(l net.Listener, name string, log *slog.Logger) *boundedListener {
	b := &boundedListener{Listener: l, name: name, log: log}
	b.closed, b.close = context.WithCancel(context.Background())
	return b
}

// bound sets how many connections there may be, before the first is accepted.
func (l *boundedListener) bound(most, files int, makeRoom func()) {
	l.places, l.files, l.makeRoom = make(chan struct{}, most), files, makeRoom
}

// Accept waits for a connection, and for a place for it.
func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		if limit := proc.WhichLimit(err); limit != "" {
			l.tell("a connection could not be accepted", "limit", limit, "error", err)
		}
		return nil, err
	}
	if l.places == nil {
		return conn, nil
	}
	if !l.take() {
		conn.Close()
		return nil, net.ErrClosed
	}
	return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// take takes a place; false says that the listener was closed meanwhile.
func (l *boundedListener) take() bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
	}
	l.tell("all connections of this listener are taken; those that idle are closed", "connections", cap(l.places),
		"limit", "its share of the open files of this process (ulimit -n, RLIMIT_NOFILE)", "files", l.files)
	room := time.NewTicker(makeRoomEvery)
	defer room.Stop()
	for {
		l.makeRoom()
		select {
		case l.places <- struct{}{}:
			return true
		case <-room.C:
		case <-l.closed.Done():
			return false
		}
	}
}

// tell warns now and then. Only Accept calls it, and that one caller.
func (l *boundedListener) tell(what string, more ...any) {
	if time.Since(l.logged) >= limitLoggedEvery {
		l.logged = time.Now()
		l.log.Warn(what, append([]any{"listener", l.name}, more...)...)
	}
}

// Close ends also a wait for a place.
func (l *boundedListener) Close() error {
	l.close()
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
