package web

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/view"
	"curfew/models"
)

// HandlerFunc is a handler that leaves its error to one writer.
type HandlerFunc func(c *gin.Context) error

// Handle makes a gin handler of it; an error becomes a problem document.
func Handle(fn HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := fn(c); err != nil {
			WriteProblem(c, err)
		}
	}
}

// HandleWithoutQuery is [Handle] for a route without parameters in the query. One that is there was meant to do
// something, dry_run for one, and is not ignored.
func HandleWithoutQuery(fn HandlerFunc) gin.HandlerFunc {
	return Handle(func(c *gin.Context) error {
		if _, err := Query(c); err != nil {
			return err
		}
		return fn(c)
	})
}

// OK answers 200 with JSON.
func OK(c *gin.Context, body any) error {
	c.JSON(http.StatusOK, body)
	return nil
}

// Created answers 201 with what was made, and where it is.
func Created(c *gin.Context, location string, body any) error {
	c.Header("Location", location)
	c.JSON(http.StatusCreated, body)
	return nil
}

// NoContent answers 204.
func NoContent(c *gin.Context) error {
	c.Status(http.StatusNoContent)
	return nil
}

// SignedOut answers a sign-out that has happened, and waits for its receipt first if it is asked to. The receipt has
// counts only: the names of resource servers are for admins.
func SignedOut(c *gin.Context, store *models.Store, out *models.SignOut, wait time.Duration) error {
	return OK(c, view.NewSignOut(c.Request.Context(), store, out, wait))
}

// SignedOutByAdmin is [SignedOut] with the names of those who have not applied it.
func SignedOutByAdmin(c *gin.Context, store *models.Store, out *models.SignOut, wait time.Duration) error {
	return OK(c, view.NewNamedSignOut(c.Request.Context(), store, out, wait))
}
