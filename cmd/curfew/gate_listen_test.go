package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// A gate's socket is for the proxy, which is somebody else; one that was left behind is replaced, one in use is not,
// and neither is anything that is no socket.
func TestListenGate_Socket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.sock")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false) // as if it had been killed
	left.Close()
	l, err := listenGate(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal("a socket that was left behind: ", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v: the proxy cannot use it", info, err)
	}
	if second, err := listenGate(t.Context(), "unix:"+path); err == nil {
		second.Close()
		t.Error("a second gate took the socket of the first")
	}
	l.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays after the end: %v", err)
	}
	if err := os.WriteFile(path, []byte("a letter"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listenGate(t.Context(), "unix:"+path); err == nil {
		l.Close()
		t.Error("a file was taken for a socket")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "a letter" {
		t.Errorf("%q, %v", text, err)
	}
}
