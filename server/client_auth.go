package server

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

const (
	formType = "application/x-www-form-urlencoded"
	// maxForm bounds a form.
	maxForm = 16 << 10
)

// readForm reads a request's form, once and strictly (RFC 6749 section 3.2): the right type, nothing in the query, no
// parameter twice but for resource (RFC 8707 section 2), text that a database can store. Afterwards r.Form is the body
// and nothing else, also for go-oauth2, and empty parameters are gone, which is what the RFC says of them.
func readForm(c *gin.Context) error {
	r := c.Request
	if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || ct != formType {
		return invalidRequest("the Content-Type must be " + formType)
	}
	if r.URL.RawQuery != "" {
		return invalidRequest("parameters belong in the body, not in the query")
	}
	// Not r.ParseForm: it keeps the parameters twice.
	body := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), maxForm)+bytes.MinRead))
	_, err := body.ReadFrom(http.MaxBytesReader(c.Writer, r.Body, maxForm))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return invalidRequest("the body is too large")
	}
	if err == nil {
		r.PostForm, err = url.ParseQuery(body.String())
	}
	if err != nil {
		return invalidRequest("the body is not a form")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			return invalidRequest("a parameter is there more than once")
		}
		for _, value := range append(values, name) {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return invalidRequest("a parameter is not UTF-8 text without NUL")
			}
		}
		if values = slices.DeleteFunc(values, func(v string) bool { return v == "" }); len(values) == 0 {
			delete(r.PostForm, name)
			continue
		}
		r.PostForm[name] = values
	}
	r.Form = r.PostForm
	return nil
}

// clientCredentials reads the form and finds who the client says it is, RFC 6749 section 2.3.1: HTTP Basic whose
// parts are form-urlencoded, or the form; not both. What is asked for comes later, when the store has authenticated
// the client.
func clientCredentials(c *gin.Context) (models.ClientCredentials, error) {
	if err := readForm(c); err != nil {
		return models.ClientCredentials{}, err
	}
	r := c.Request
	in := models.ClientCredentials{
		ID: r.PostForm.Get("client_id"), Secret: r.PostForm.Get("client_secret"), IP: web.LimitIP(c),
		ByProxy: web.ClientIP(c) == "",
	}
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		if in.ID == "" {
			return in, unreadableClient("client_id is missing, and so is an Authorization header")
		}
		return in, nil
	}
	scheme, _, _ := strings.Cut(headers[0], " ")
	id, secret, ok := r.BasicAuth()
	switch {
	case len(headers) > 1:
		return in, unreadableClient("there is more than one Authorization header")
	case !strings.EqualFold(scheme, "Basic"):
		return in, unreadableClient("the Authorization header is for Basic and nothing else: no Bearer token belongs " +
			"here; leave it out where the body says who the client is")
	case !ok:
		return in, unreadableClient("the Authorization header is not Basic with client_id:client_secret in base64")
	}
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	if errID != nil || errSecret != nil {
		return in, unreadableClient("client_id and client_secret in the Authorization header must be form-urlencoded: " +
			"% as %25, + as %2B (RFC 6749 section 2.3.1)")
	}
	if in.Secret != "" || (in.ID != "" && in.ID != id) {
		return in, invalidRequest("the client authenticates in two ways at once")
	}
	in.ID, in.Secret = id, secret
	return in, nil
}
