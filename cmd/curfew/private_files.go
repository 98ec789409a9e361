package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// warnFiles warns of files that hold secrets and that everybody on this machine may read or write.
func (n *node) warnFiles() {
	files := append([]string{n.cfg.tlsKey}, n.cfg.privateFiles...)
	if path, ok := strings.CutPrefix(n.cfg.store.DatabaseURL, "sqlite:"); ok {
		files = append(files, path)
	}
	for _, name := range files {
		if w := openToAll(name); w != "" {
			n.log.Warn(w)
		}
	}
}

// openToAll is a warning of a file with a secret that is not kept from others; empty if there is none. The group may
// read it: that is how secrets come into containers.
func openToAll(name string) (warning string) {
	info, err := os.Stat(name)
	if name == "" || err != nil || runtime.GOOS == "windows" { // which has no such modes
		return ""
	}
	mode := info.Mode().Perm()
	if mode&0o007 == 0 {
		return ""
	}
	return fmt.Sprintf("everybody on this machine may use %s, which is to be secret, by its mode %#o: chmod o= %s", name,
		mode, shellWord(name))
}
