package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/models"
)

func setText(field func(*config) *string) setter {
	return func(c *config, value string) error {
		*field(c) = value
		return nil
	}
}

// setChecked takes what check says nothing against.
func setChecked(field func(*config) *string, check func(string) error) setter {
	return func(c *config, value string) error {
		*field(c) = value
		return check(value)
	}
}

func setOneOf(field func(*config) *string, values ...string) setter {
	return func(c *config, value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("%q is none of them", value)
		}
		*field(c) = value
		return nil
	}
}

func setBool(field func(*config) *bool) setter {
	return func(c *config, value string) error {
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither", value)
		}
		*field(c) = b
		return nil
	}
}

func setInt(low, high int, field func(*config) *int) setter {
	return func(c *config, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", value)
		}
		if n < low || n > high {
			return fmt.Errorf("%d is out of bounds", n)
		}
		*field(c) = n
		return nil
	}
}

func setUint32(low, high int, field func(*config) *uint32) setter {
	return func(c *config, value string) error {
		var n int
		if err := setInt(low, high, func(*config) *int { return &n })(c, value); err != nil {
			return err
		}
		*field(c) = uint32(n)
		return nil
	}
}

func setDuration(low, high time.Duration, field func(*config) *time.Duration) setter {
	return func(c *config, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is not a duration like 90s, 5m or 720h", value)
		}
		if d < low || d > high {
			return fmt.Errorf("%s is out of bounds", d)
		}
		*field(c) = d
		return nil
	}
}

// setList splits at commas.
func setList(field func(*config) *[]string, check func(string) error) setter {
	return func(c *config, value string) error {
		var list []string
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item == "" {
				return errors.New("there is an empty entry")
			}
			if check != nil {
				if err := check(item); err != nil {
					return err
				}
			}
			list = append(list, item)
		}
		*field(c) = list
		return nil
	}
}

func checkProxy(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return fmt.Errorf("%q has a zone, which X-Forwarded-For does not", s)
		}
		return nil
	}
	if _, err := netip.ParsePrefix(s); err != nil {
		return fmt.Errorf("%q is neither an address nor a prefix like 10.0.0.0/8", s)
	}
	return nil
}

func setAddr(field func(*config) *string) setter {
	return func(c *config, value string) error {
		_, port, err := net.SplitHostPort(value)
		if err != nil {
			return fmt.Errorf("%q is not an address with a port", value)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("the port of %q is not a number from 0 to 65535", value)
		}
		*field(c) = value
		return nil
	}
}

// setOrigin, as the issuer, follows RFC 8414 section 2, and allows http for a machine of one's own. A path is refused:
// every route is at the root, where a client of such an issuer does not look (section 3.1). It is compared as a string,
// so it has one form.
func setOrigin(field func(*config) *string) setter {
	return func(c *config, value string) error {
		u, err := url.Parse(value)
		switch {
		case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Opaque != "":
			return fmt.Errorf("%q is not an absolute http or https URL", value)
		case u.User != nil:
			return errors.New("it has a user name")
		case strings.ContainsAny(value, "?#"):
			return fmt.Errorf("%q has a query or a fragment", value)
		case strings.HasSuffix(value, "/"):
			return fmt.Errorf("%q ends with a slash", value)
		case u.Path != "":
			return fmt.Errorf("%q has a path; Curfew needs a host name of its own", value)
		case u.Hostname() == "":
			return fmt.Errorf("%q names no host", value)
		case value != u.Scheme+"://"+u.Host:
			return fmt.Errorf("%q is not written as %s", value, u.Scheme+"://"+u.Host)
		}
		*field(c) = value
		return nil
	}
}

// A database URL may hold a password: it is never repeated.
func setDatabaseURL(field func(*config) *string) setter {
	return func(c *config, value string) error {
		if path, ok := strings.CutPrefix(value, "sqlite:"); ok {
			if path == "" || strings.HasPrefix(path, "//") || strings.Contains(path, ":memory:") {
				return errors.New("the path of the SQLite file is missing or is none")
			}
			*field(c) = value
			return nil
		}
		return setPostgresURL(field)(c, value)
	}
}

func setPostgresURL(field func(*config) *string) setter {
	return func(c *config, value string) error {
		if !strings.HasPrefix(value, "postgres://") && !strings.HasPrefix(value, "postgresql://") {
			return errors.New("it begins with something else")
		}
		if _, err := url.Parse(value); err != nil {
			return errors.New("it is not a URL; characters like @ / ? # % in the password are written as %40 and so on")
		}
		if _, err := pgx.ParseConfig(value); err != nil {
			return errors.New(strings.ReplaceAll(err.Error(), value, "…"))
		}
		*field(c) = value
		return nil
	}
}

// setURLPassword puts a password into a postgres:// URL that has none.
func setURLPassword(field *string, password string) error {
	if *field == "" {
		return nil
	}
	u, err := url.Parse(*field)
	if err != nil || u.Scheme == "sqlite" {
		return errors.New("is not a postgres:// URL")
	}
	if _, has := u.User.Password(); has {
		return errors.New("has a password already")
	}
	if u.User.Username() == "" {
		return errors.New("has no user name")
	}
	u.User = url.UserPassword(u.User.Username(), password)
	*field = u.String()
	return nil
}

func setLogLevel(c *config, value string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, value) {
		return fmt.Errorf("%q is none of them", value)
	}
	return c.logLevel.UnmarshalText([]byte(value))
}

// setSecret takes one secret or more, the newest first.
func setSecret(c *config, value string) error {
	c.store.Secrets = nil
	for i, text := range strings.Split(value, ",") {
		secret, ok := decodeSecret(strings.TrimSpace(text))
		if !ok {
			return fmt.Errorf("number %d is neither hex nor base64", i+1)
		}
		if len(secret) < models.MinSecretSize {
			return fmt.Errorf("number %d has %d bytes", i+1, len(secret))
		}
		if slices.ContainsFunc(c.store.Secrets, func(other []byte) bool { return string(other) == string(secret) }) {
			return fmt.Errorf("number %d is there twice", i+1)
		}
		c.store.Secrets = append(c.store.Secrets, secret)
	}
	return nil
}

// decodeSecret tries hex first: 64 hex digits are also base64, of other bytes.
func decodeSecret(text string) ([]byte, bool) {
	if b, err := hex.DecodeString(text); err == nil {
		return b, true
	}
	for _, enc := range []*base64.Encoding{
		base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding,
		base64.RawURLEncoding,
	} {
		if b, err := enc.DecodeString(text); err == nil {
			return b, true
		}
	}
	return nil, false
}

// setFirstLine takes the content of a file, without the line end that editors add.
func setFirstLine(field func(*config) *string) setter {
	return func(c *config, path string) error {
		b, err := readSmallFile(path)
		if err != nil {
			return err
		}
		text := strings.TrimRight(string(b), "\r\n")
		if text == "" {
			return fmt.Errorf("%s is empty", path)
		}
		*field(c) = text
		c.privateFiles = append(c.privateFiles, path)
		return nil
	}
}

func readSmallFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, err
	}
	return b, nil
}
