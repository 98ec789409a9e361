package password

import (
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "hash" { // what a worker starts
		n, _ := strconv.Atoi(os.Args[2])
		if err := Serve(os.Stdin, os.Stdout, n); err != nil {
			panic(err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
