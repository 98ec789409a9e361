// Package apitest holds what the listeners answer against openapi.yaml, and the routes against it both ways. A test
// package wraps its client's transport in [Transport], compares its routes with [Routes], and ends with [Main].
package apitest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/uuid"

	"github.com/gin-gonic/gin"

	"curfew/internal/harness"
)

// document is openapi.yaml, loaded once.
var document = sync.OnceValue(func() *openapi3.T {
	root, err := harness.Root(context.Background())
	if err != nil {
		panic(err)
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		panic(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		panic(err)
	}
	for _, kind := range []string{
		"text/plain", "text/event-stream", "application/jwk-set+json",
		"application/problem+json", "text/html", "text/css", "text/javascript", "image/svg+xml",
	} {
		if strings.HasPrefix(kind, "text/") || kind == "image/svg+xml" {
			openapi3filter.RegisterBodyDecoder(kind, openapi3filter.PlainBodyDecoder)
		} else {
			openapi3filter.RegisterBodyDecoder(kind, openapi3filter.RegisteredBodyDecoder("application/json"))
		}
	}
	return doc
})

var router = sync.OnceValue(func() routers.Router {
	r, err := gorillamux.NewRouter(document())
	if err != nil {
		panic(err)
	}
	return r
})

var options = &openapi3filter.Options{
	IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	SchemaValidationOptions: []openapi3.SchemaValidationOption{
		openapi3.EnableFormatValidation(),
		openapi3.WithStringFormatValidator("uuid",
			openapi3.NewCallbackValidator(func(s string) error { return uuid.Validate(s) })),
	},
}

var (
	mu   sync.Mutex
	seen = map[string]map[string]bool{} // operation id -> statuses that it has been answered with
)

// Transport checks every answer that passes through. Fail is called with what does not fit.
type Transport struct {
	Fail     func(format string, args ...any)
	Listener string // public or admin: what the document has for the other one must not be there
}

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	var body []byte
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		if body, err = io.ReadAll(res.Body); err != nil {
			return nil, err
		}
		res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := t.check(r, res, body); err != nil {
		t.Fail("openapi.yaml does not fit: %s %s answered %d %s: %v", r.Method, r.URL.Path, res.StatusCode, body, err)
	}
	return res, nil
}

func (t Transport) check(r *http.Request, res *http.Response, body []byte) error {
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		return nil // a preflight is a browser's question about a route, and none itself
	}
	route, params, err := router().FindRoute(r)
	if err == nil && t.Listener != "" && !slices.Contains(route.Operation.Tags, t.Listener) {
		err = fmt.Errorf("it is not on the listener %s", t.Listener)
	}
	if err != nil { // not in the document: then it must not be there either, the profiles apart
		if strings.HasPrefix(r.URL.Path, "/debug/pprof/") || res.StatusCode == http.StatusNotFound ||
			res.StatusCode == http.StatusMethodNotAllowed {
			return nil
		}
		return err
	}
	mu.Lock()
	if seen[route.Operation.OperationID] == nil {
		seen[route.Operation.OperationID] = map[string]bool{}
	}
	seen[route.Operation.OperationID][strconv.Itoa(res.StatusCode)] = true
	mu.Unlock()
	referrer := "no-referrer"
	if route.Operation.Extensions["x-policy"] == "pages" { // see web.Pages
		referrer = "same-origin"
	}
	if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("X-Request-Id") == "" ||
		res.Header.Get("Referrer-Policy") != referrer {
		return fmt.Errorf("headers are missing: %v", res.Header)
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, PathParams: params, Route: route,
			Options: options,
		},
		Status: res.StatusCode, Header: res.Header, Options: options,
	}
	in.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		return err
	}
	if res.StatusCode >= http.StatusBadRequest {
		return nil
	}
	return accepted(r, in.RequestValidationInput)
}

// accepted checks a request that was accepted: what a listener takes is in the document too.
func accepted(r *http.Request, in *openapi3filter.RequestValidationInput) error {
	for name := range r.URL.Query() {
		if in.Route.Operation.Parameters.GetByInAndName("query", name) == nil &&
			in.Route.PathItem.Parameters.GetByInAndName("query", name) == nil {
			return fmt.Errorf("the parameter %s was accepted and is not documented", name)
		}
	}
	in.Request = r.Clone(context.Background())
	if r.GetBody != nil { // the first one has been read
		body, err := r.GetBody()
		if err != nil {
			return err
		}
		in.Request.Body = body
	}
	return openapi3filter.ValidateRequest(context.Background(), in)
}

// Routes compares a listener's routes with the document, both ways.
func Routes(listener string, routes gin.RoutesInfo) error {
	parameter := regexp.MustCompile(`:([a-z_]+)`)
	have := map[string]bool{}
	for _, r := range routes {
		if !strings.HasPrefix(r.Path, "/debug/pprof/") {
			have[r.Method+" "+parameter.ReplaceAllString(r.Path, "{$1}")] = true
		}
	}
	var wrong []string
	for path, item := range document().Paths.Map() {
		for method, op := range item.Operations() {
			if name := method + " " + path; slices.Contains(op.Tags, listener) && !have[name] {
				wrong = append(wrong, "documented, but not there: "+name)
			} else if slices.Contains(op.Tags, listener) {
				delete(have, name)
			}
		}
	}
	for name := range have {
		wrong = append(wrong, "there, but not documented: "+name)
	}
	if wrong != nil {
		return fmt.Errorf("%s listener: %s", listener, strings.Join(wrong, "; "))
	}
	return nil
}

// Main ends a package's test run. In a full run that passed, each operation of the listener must have been answered
// once, and each of those named in full with every status that the document gives it, but for 500: nobody can ask for
// that.
func Main(listener string, code int, full ...string) int {
	for _, part := range []string{"test.run", "test.skip", "test.bench", "test.fuzz", "test.list"} {
		if code != 0 || flag.Lookup(part).Value.String() != "" {
			return code
		}
	}
	for _, gap := range unseen(listener, full) {
		fmt.Fprintln(os.Stderr, "openapi.yaml: no test has seen", gap)
		code = 1
	}
	return code
}

func unseen(listener string, full []string) (gaps []string) {
	for path, item := range document().Paths.Map() {
		for method, op := range item.Operations() {
			if !slices.Contains(op.Tags, listener) {
				continue
			}
			if seen[op.OperationID] == nil {
				gaps = append(gaps, method+" "+path)
				continue
			}
			if !slices.Contains(full, AllOperations) && !slices.Contains(full, op.OperationID) {
				continue
			}
			for status := range op.Responses.Map() {
				if status != "500" && status != "default" && !seen[op.OperationID][status] {
					gaps = append(gaps, method+" "+path+" answer "+status)
				}
			}
		}
	}
	slices.Sort(gaps)
	return gaps
}

// AllOperations names all of them to [Main].
const AllOperations = "*"
