// Command makecommon makes common.txt.gz from lists of passwords, the most frequent first, one a line:
//
//	go run ./internal/password/makecommon -n 150000 LIST... > internal/password/common.txt.gz
//
// It takes passwords of eight characters and more in the form in which [password.Policy] compares them, each once,
// until it has n, in the order of the lists. The same lists make the same file.
package main

import (
	"bufio"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"curfew/internal/password"
)

func main() {
	most := flag.Int("n", 150_000, "how many passwords")
	flag.Parse()
	if err := run(os.Stdout, flag.Args(), *most); err != nil {
		fmt.Fprintln(os.Stderr, "makecommon:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, lists []string, most int) error {
	seen := map[string]bool{}
	for _, name := range lists {
		if err := read(name, seen, most); err != nil {
			return err
		}
	}
	passwords := make([]string, 0, len(seen))
	for p := range seen {
		passwords = append(passwords, p)
	}
	slices.Sort(passwords)
	w, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	for _, p := range passwords {
		if _, err := io.WriteString(w, p+"\n"); err != nil {
			return err
		}
	}
	return w.Close()
}

// read adds the passwords of one list until there are enough.
func read(name string, seen map[string]bool, most int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(seen) < most {
		p := strings.ToLower(norm.NFKC.String(lines.Text()))
		if utf8.ValidString(p) && utf8.RuneCountInString(p) >= password.MinLength && strings.TrimSpace(p) == p {
			seen[p] = true
		}
	}
	return lines.Err()
}
