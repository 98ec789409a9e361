package verify_test

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"

	"curfew/verify"
)

func Example() {
	secret := os.Getenv("CLIENT_SECRET")
	orders := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "the orders of", verify.ClaimsFrom(r.Context()).Subject)
	}

	v, err := verify.New(verify.Config{Issuer: "https://id.example.com", ClientID: "api", ClientSecret: secret})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/orders", v.Middleware("orders")(http.HandlerFunc(orders)))
}

// The Go code in docs/resource-servers.md is the code above, which compiles.
func TestExample_Documented(t *testing.T) {
	doc, err := os.ReadFile("../docs/resource-servers.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	// Without indentation, which differs.
	flat := func(s string) string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return strings.Join(lines, "\n")
	}
	blocks := strings.Split(string(doc), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("docs/resource-servers.md shows no Go")
	}
	for _, block := range blocks {
		code, _, ok := strings.Cut(block, "```")
		if !ok || !strings.Contains(flat(string(source)), flat(code)) {
			t.Errorf("this is not in example_test.go:\n%s", code)
		}
	}
}
