// Package fault gives errors a kind on which callers decide, and a hint that
// tells a person what to do. It is the one place that maps a kind to an exit
// status, an HTTP status and an RPC code, so that a failure means the same on
// every face of the system. It does not log and does not print.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Kind is what went wrong, as far as a caller may decide on it.
type Kind uint8

const (
	// Failed is any failure without a more telling kind.
	Failed Kind = iota
	// Usage is a command that was called in a wrong way.
	Usage
	// Invalid is a request or input that is malformed or out of bounds.
	Invalid
	// NotFound is something named that does not exist, or may not be seen.
	NotFound
	// Denied is an act that the caller has no right to.
	Denied
	// Unauthenticated is a caller who did not prove who it is.
	Unauthenticated
	// Unreachable is a server that does not answer, or answers that it cannot.
	Unreachable
	// Integrity is an answer of the server that breaks a promise.
	Integrity
	// Conflict is something that exists already, or is in use by somebody else.
	Conflict
	// Stale is a record that was signed for a place in its log that is taken.
	Stale
	// Missing is a commit that names blocks the server does not hold.
	Missing
	// TooLarge is a request beyond a limit of size or count.
	TooLarge
	// Busy is a request beyond a limit of rate; it may succeed later.
	Busy
	// Full is storage that has no room, on a disk or by a quota.
	Full
	// Upgrade is a record or message that only a newer version understands.
	Upgrade
	// Canceled is work that the caller broke off.
	Canceled
	// Frozen is a user or organization that the operator has suspended.
	Frozen
	// Clock is a clock that is too far from the other side's.
	Clock

	kinds // the number of kinds
)

// Exit statuses of the command line, a contract with scripts.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitDenied      = 4
	ExitUnreachable = 5
	ExitIntegrity   = 6
	ExitConflict    = 7
)

// RPC codes, numbered as in the Connect and gRPC protocols.
const (
	rpcCanceled           = 1
	rpcUnknown            = 2
	rpcInvalidArgument    = 3
	rpcNotFound           = 5
	rpcAlreadyExists      = 6
	rpcPermissionDenied   = 7
	rpcResourceExhausted  = 8
	rpcFailedPrecondition = 9
	rpcAborted            = 10
	rpcUnimplemented      = 12
	rpcUnavailable        = 14
	rpcDataLoss           = 15
	rpcUnauthenticated    = 16
)

// meanings has one row for each kind.
var meanings = [kinds]struct {
	name string
	exit int
	http int
	rpc  uint32
}{
	Failed:          {"failed", ExitFailed, http.StatusInternalServerError, rpcUnknown},
	Usage:           {"usage", ExitUsage, http.StatusBadRequest, rpcInvalidArgument},
	Invalid:         {"invalid", ExitFailed, http.StatusBadRequest, rpcInvalidArgument},
	NotFound:        {"not found", ExitNotFound, http.StatusNotFound, rpcNotFound},
	Denied:          {"permission denied", ExitDenied, http.StatusForbidden, rpcPermissionDenied},
	Unauthenticated: {"not authenticated", ExitDenied, http.StatusUnauthorized, rpcUnauthenticated},
	Unreachable:     {"unreachable", ExitUnreachable, http.StatusServiceUnavailable, rpcUnavailable},
	Integrity:       {"integrity", ExitIntegrity, http.StatusBadGateway, rpcDataLoss},
	Conflict:        {"conflict", ExitConflict, http.StatusConflict, rpcAlreadyExists},
	Stale:           {"stale", ExitConflict, http.StatusPreconditionFailed, rpcAborted},
	Missing:         {"missing blocks", ExitFailed, http.StatusFailedDependency, rpcFailedPrecondition},
	TooLarge:        {"too large", ExitFailed, http.StatusRequestEntityTooLarge, rpcResourceExhausted},
	Busy:            {"busy", ExitUnreachable, http.StatusTooManyRequests, rpcResourceExhausted},
	Full:            {"no room left", ExitFailed, http.StatusInsufficientStorage, rpcResourceExhausted},
	Upgrade:         {"upgrade needed", ExitFailed, http.StatusNotImplemented, rpcUnimplemented},
	Canceled:        {"canceled", ExitFailed, 499, rpcCanceled},
	Frozen:          {"frozen", ExitDenied, http.StatusLocked, rpcPermissionDenied},
	Clock:           {"wrong clock", ExitFailed, http.StatusBadRequest, rpcFailedPrecondition},
}

// Kinds returns every kind, for tables that must name them all.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Valid reports whether k is one of the kinds of this package.
func (k Kind) Valid() bool { return k < kinds }

// String returns the kind's name, in lower case.
func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return meanings[k].name
}

// Exit returns the exit status of a command that failed with this kind.
func (k Kind) Exit() int { return meanings[k].exit }

// HTTP returns the status of an HTTP answer that failed with this kind.
func (k Kind) HTTP() int { return meanings[k].http }

// RPC returns the code of an RPC that failed with this kind, numbered as in
// the Connect and gRPC protocols.
func (k Kind) RPC() uint32 { return meanings[k].rpc }

// Error is an error with a kind.
type Error struct {
	// Kind is what callers decide on.
	Kind Kind
	// Promise names the broken promise of an [Integrity] error, and is empty otherwise.
	Promise string
	// Hint tells a person what to do, as a sentence without a full stop; it may be empty.
	Hint string
	// Err says what failed, on what and why.
	Err error
}

// Error returns what failed, on what and why; the hint is not part of it.
func (e *Error) Error() string {
	if e.Promise != "" {
		return fmt.Sprintf("broken promise (%s): %v", e.Promise, e.Err)
	}
	return e.Err.Error()
}

// Unwrap returns the error that says what failed.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of a kind, formatted as by [fmt.Errorf].
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Broken returns an [Integrity] error that names the promise that was broken.
func Broken(promise, format string, args ...any) error {
	return &Error{Kind: Integrity, Promise: promise, Err: fmt.Errorf(format, args...)}
}

// WithHint returns err with a hint for a person. The hint of an error that
// has one already stays: who is nearer to the failure knows better.
func WithHint(err error, format string, args ...any) error {
	if err == nil || HintOf(err) != "" {
		return err
	}
	e := &Error{Kind: KindOf(err), Hint: fmt.Sprintf(format, args...), Err: err}
	return e
}

// KindOf returns the kind of err: that of the outermost [Error] in its chain.
// A cancelled context is [Canceled], a passed deadline [Unreachable].
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Unreachable
	}
	return Failed
}

// Is reports whether err is of a kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// HintOf returns the outermost hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// PromiseOf returns the promise that an [Integrity] error in err's chain
// names, or "".
func PromiseOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Promise != "" {
			return e.Promise
		}
		err = e.Err
	}
	return ""
}

// Exit returns the exit status of a command that ended with err, which may be nil.
func Exit(err error) int {
	if err == nil {
		return ExitDone
	}
	return KindOf(err).Exit()
}
