package models

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/glebarez/go-sqlite"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"curfew/internal/password"
)

// The errors a caller can act on. Everything else that a method returns is a fault of the program or of the database's
// content: answer 500 and log it.
var (
	// ErrUnavailable: the database could not be asked, or did not answer in time. Nothing is known; answer 503, never a
	// guess.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrNotFound: no such user, client, device, event, or none that the caller may see.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the name is taken, or somebody else changed the same thing at the same time.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: a value that cannot be stored; the message says which and what it must be.
	ErrInvalid = errors.New("invalid value")
	// ErrCredentials: wrong user name or password, or the user is disabled. The three are not told apart.
	ErrCredentials = errors.New("wrong user name or password")
	// ErrClientCredentials: unknown client or wrong secret. The two are not told apart.
	ErrClientCredentials = errors.New("unknown client or wrong secret")
	// ErrRefreshTokenInvalid: not a token that this device may use; nothing was changed.
	ErrRefreshTokenInvalid = errors.New("the refresh token is invalid")
	// ErrRefreshTokenReused: a rotated token came back; its device has been signed out. RFC 9700 section 4.14.2.
	ErrRefreshTokenReused = errors.New("the refresh token was used before")
	// ErrCodeInvalid: not a code that this client may exchange like that; nothing was changed. RFC 6749 section 5.2,
	// invalid_grant.
	ErrCodeInvalid = errors.New("the authorization code is invalid")
	// ErrCodeReused: a spent code came back; the device that it made is signed out. RFC 6749 section 4.1.2.
	ErrCodeReused = errors.New("the authorization code was used before")
	// ErrBrowserSession: the browser is not signed in.
	ErrBrowserSession = errors.New("the browser is not signed in")
	// ErrIDToken: not an ID token that was issued here, or one whose key is gone.
	ErrIDToken = errors.New("the ID token is not valid")
	// ErrTarget: a resource that the client may have no token for. RFC 8707 section 2, invalid_target.
	ErrTarget = errors.New("the resource is not allowed")
	// ErrAccessToken: the access token is malformed, forged, expired, revoked or retired.
	ErrAccessToken = errors.New("the access token is not valid")
	// ErrMayNotIntrospect: the client was not registered for introspection, RFC 7662 section 2.1.
	ErrMayNotIntrospect = errors.New("the client may not introspect")
	// ErrScope: a scope that the client or the user may not have.
	ErrScope = errors.New("the scope is not allowed")
	// ErrTokenType: the token has no device that could be signed out. RFC 7009 section 2.2.1.
	ErrTokenType = errors.New("a token of this type cannot be revoked")
	// ErrHashQueueFull: as many passwords as may wait are waiting already. Answer 503 with Retry-After.
	ErrHashQueueFull = password.ErrQueueFull
	// ErrPasswordPolicy: a new password that may not be used; the message says why, for the user.
	ErrPasswordPolicy = password.ErrPolicy
	// ErrTooManySubscribers: a client has as many subscribers as it may; those that are known go on.
	ErrTooManySubscribers = errors.New("the client has too many subscribers")
	// ErrSchema: the database's schema is not the one this program was built for.
	ErrSchema = errors.New("the database schema does not fit this version")
)

// invalid says which value was wrong and what it must be. It wraps [ErrInvalid].
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// whenNotFound turns "no such row" into what it means here, and leaves every other error as it is.
func whenNotFound(err, instead error) error {
	if errors.Is(dbError(err), ErrNotFound) {
		return instead
	}
	return err
}

// dbError turns what a driver says into one of ours, and leaves the rest as it is.
func dbError(err error) error {
	switch {
	case err == nil, isOurs(err):
		return err
	case errors.Is(err, gorm.ErrRecordNotFound), errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case errors.Is(err, gorm.ErrDuplicatedKey):
		return ErrConflict
	case unavailable(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func isOurs(err error) bool {
	for _, ours := range []error{
		ErrUnavailable, ErrNotFound, ErrConflict, ErrInvalid, ErrCredentials, ErrClientCredentials,
		ErrRefreshTokenInvalid, ErrRefreshTokenReused, ErrCodeInvalid, ErrCodeReused, ErrBrowserSession, ErrIDToken, ErrTarget,
		ErrAccessToken, ErrMayNotIntrospect, ErrScope, ErrTokenType,
		ErrSchema, ErrHashQueueFull, ErrPasswordPolicy, ErrTooManySubscribers,
	} {
		if errors.Is(err, ours) {
			return true
		}
	}
	_, throttled := errors.AsType[*ThrottledError](err)
	_, refused := errors.AsType[refusals](err)
	return throttled || refused
}

// unavailable tells the faults that pass by themselves (or with an operator's help) from a wrong statement.
func unavailable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, net.ErrClosed) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, password.ErrUnavailable) {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok { // whatever the server said to whom it did not let in
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code[:2] {
		case "08", "53", "57", "58", "40", "55": // connection, resources, operator, system, rollback, not in that state
			return true
		}
		return pg.Code == "25006" // read-only: a standby, or a primary that was just demoted
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		// busy, locked, no memory, read-only, interrupted, I/O, full, cannot open, protocol
		case 5, 6, 7, 8, 9, 10, 13, 14, 15:
			return true
		}
		return false
	}
	// What has no value of its own: a connection that broke in mid-statement, a pool that is closed.
	for _, text := range []string{"unexpected EOF", "conn closed", "database is closed"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return pgconn.SafeToRetry(err)
}

// lostRace tells a transaction that lost against another one and may simply be run again: deadlock, serialization
// failure.
func lostRace(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "40P01" || pg.Code == "40001")
}

// stalePlan tells a prepared statement whose table has got a column since: a newer version's migration, while this one
// goes on. The driver has forgotten it with the error, so the next try prepares it anew. Every connection has its own.
func stalePlan(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "0A000" && strings.Contains(pg.Routine, "RevalidateCachedQuery")
}

// maxStalePlans bounds them: so many statements of a transaction may be of the older schema, on so many connections.
const maxStalePlans = 100
