//go:build unix

package proc

import (
	"errors"
	"syscall"
)

// MaxFiles is how many files and connections this process may have open (RLIMIT_NOFILE, ulimit -n); ok is false where
// nobody says. Go raises the soft limit to the hard one when it starts.
func MaxFiles() (n int, ok bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return int(min(limit.Cur, 1<<20)), true //nolint:unconvert,gosec // its type differs among systems
}

// WhichLimit names the limit that an error is about; empty if it is about none.
func WhichLimit(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return "open files of this process (ulimit -n, RLIMIT_NOFILE)"
	case errors.Is(err, syscall.ENFILE):
		return "open files of the whole machine (fs.file-max)"
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return "the kernel's memory for sockets"
	}
	return ""
}
