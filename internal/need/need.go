// Package need finds the programs that tests run. A test whose program is missing fails, and says the one line that
// gets it; it is never skipped.
package need

import (
	"os/exec"
	"testing"
)

// Program is the path of a program, also where only root's PATH has it; setup is its name in tools/setup.
func Program(t testing.TB, program, setup string) string {
	t.Helper()
	for _, candidate := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Fatalf("%s was not found: `tools/setup %s` installs it, `./test` all that the tests need", program, setup)
	return ""
}
