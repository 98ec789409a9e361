package password

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	breachTimeout = 2 * time.Second // for the whole look-up: a person waits for it
	maxRange      = 1 << 20         // bytes of an answer; those of the largest collection have some 80 kB
	prefixSize    = 5               // hexadecimal digits that the service learns
)

// breaches asks a service with the range interface of Have I Been Pwned: GET URL/PREFIX answers with lines of the
// other 35 digits of a SHA-1, a colon and how often it was found. Lines with a zero are padding, which keeps the
// length of the encrypted answer from telling which prefix was asked for.
type breaches struct {
	url    string // ends with a slash
	client http.Client
}

// CheckBreachURL tells whether breaches can be looked up there: https, or http on the machine itself.
func CheckBreachURL(text string) error {
	_, err := newBreaches(text)
	return err
}

func newBreaches(text string) (*breaches, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the URL for breached passwords is no plain URL with a host")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("the URL for breached passwords: must be https, or http on the machine itself")
	}
	return &breaches{
		url: strings.TrimSuffix(u.String(), "/") + "/",
		client: http.Client{
			Timeout:       breachTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:             http.ProxyFromEnvironment,
				DisableKeepAlives: true, // passwords are set now and then
				ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
			},
		},
	}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// has asks for the password. Its errors do not hold the prefix, which is a part of a secret.
func (b *breaches) has(ctx context.Context, password string) (bool, error) {
	sum := sha1.Sum([]byte(password))
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+digits[:prefixSize], nil)
	if err != nil {
		return false, errors.New("the request cannot be made")
	}
	request.Header.Set("Add-Padding", "true")
	request.Header.Set("User-Agent", "curfew")
	answer, err := b.client.Do(request)
	if err != nil {
		if about, ok := errors.AsType[*url.Error](err); ok {
			err = about.Err
		}
		return false, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("it answered %d", answer.StatusCode)
	}
	body := &io.LimitedReader{R: answer.Body, N: maxRange}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		suffix, count, _ := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if strings.EqualFold(suffix, digits[prefixSize:]) {
			return strings.Trim(count, "0") != "", nil
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("reading its answer: %w", err)
	}
	if body.N == 0 {
		return false, fmt.Errorf("its answer has more than %d bytes", maxRange)
	}
	return false, nil
}
