// Package need finds the programs that tests run. A test whose program is missing fails, and says the one line that
// gets it; it is never skipped.
package need

import (
	"os/exec"
	"testing"
)

// Program is the path of a program; setup is its name in tools/setup.
func Program(t testing.TB, program, setup string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s was not found: `tools/setup %s` installs it, `./test` all that the tests need", program, setup)
	}
	return path
}
