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

// The Go code in docs/resource-servers-go.md is the code above, or the whole program that it names; both compile.
func TestExample_Documented(t *testing.T) {
	doc, err := os.ReadFile("../docs/resource-servers-go.md")
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
	program, err := os.ReadFile("../docs/examples/orders/main.go")
	if err != nil {
		t.Fatal(err)
	}
	source = append(source, program...)
	blocks := strings.Split(string(doc), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("docs/resource-servers-go.md shows no Go")
	}
	for _, block := range blocks {
		code, _, ok := strings.Cut(block, "```")
		if !ok || !strings.Contains(flat(string(source)), flat(code)) {
			t.Errorf("this is not in example_test.go:\n%s", code)
		}
	}
}
