package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// listenGate listens on HOST:PORT or on unix:PATH. The socket of a gate that was killed is replaced, that of one that
// runs is not. Whoever reaches the socket's folder may ask, as whoever is on the machine may on loopback.
func listenGate(ctx context.Context, addr string) (net.Listener, error) {
	path, isPath := strings.CutPrefix(addr, unixPrefix)
	if !isPath {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		conn, dialed := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if dialed == nil {
			conn.Close()
		}
		if info, lost := os.Lstat(path); lost != nil || info.Mode().Type() != os.ModeSocket ||
			!errors.Is(dialed, syscall.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = (&net.ListenConfig{}).Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { // the proxy runs as somebody else
		return nil, errors.Join(fmt.Errorf("the socket's mode: %w", err), l.Close())
	}
	return l, nil
}
