package postgres

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// away reports whether an error's code says that the server is stopping,
// starting, or full.
func away(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", // is shutting down, has crashed, is starting
		"53300", // too many connections
		"25006": // a standby, while another takes over
		return true
	}
	return strings.HasPrefix(code, "08") // connection exception
}

// broken reports whether err is that of a connection, and not an answer of
// the database.
func broken(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return away(e.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return pgconn.SafeToRetry(err)
}

// innermost returns the reason without the address and the user that the
// errors around it name.
func innermost(err error) error {
	for {
		var next error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				next = all[len(all)-1]
			}
		}
		if next == nil {
			return reason{err}
		}
		err = next
	}
}

// reason is an error that names no address.
type reason struct{ error }

// Error implements error.
func (r reason) Error() string {
	if e, ok := r.error.(*net.DNSError); ok {
		return e.Err
	}
	if _, ok := r.error.(*pgconn.ConnectError); ok {
		return "no connection"
	}
	return r.error.Error()
}

// Unwrap returns the error itself.
func (r reason) Unwrap() error { return r.error }
