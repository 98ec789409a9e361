//go:build !unix

package proc

// MaxFiles knows nothing here.
func MaxFiles() (n int, ok bool) { return 0, false }

// WhichLimit knows nothing here.
func WhichLimit(error) string { return "" }
