// Package call holds what goes in and out of every service of the server: who
// calls, and the refusals that carry what the caller needs in order to mend
// the request. It holds no rules.
package call

import (
	"context"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

// Caller is a device whose request token was verified.
type Caller struct {
	Organization id.Fingerprint
	// Key is the organization's in the metadata store.
	Key    meta.OrganizationKey
	User   id.User
	Device id.Device
}

type operatorKey struct{}

// WithOperator returns a context in which the operator calls, with the token
// that has this id.
func WithOperator(ctx context.Context, token id.AdminToken) context.Context {
	return context.WithValue(ctx, operatorKey{}, token)
}

// Operator returns the id of the operator's token; zero where somebody else calls.
func Operator(ctx context.Context) id.AdminToken {
	token, _ := ctx.Value(operatorKey{}).(id.AdminToken)
	return token
}

// Chain is the newest live chain of one entry.
type Chain struct {
	Entry     id.Entry
	Manifests []Manifest
}

// Manifest is one version of an entry as its author sealed it.
type Manifest struct {
	Version uint64
	Sealed  []byte
}

// Stale refuses a record whose place is taken, or that had not seen enough.
// It is of kind [fault.Stale].
type Stale struct {
	// Position is where the record's log stands now.
	Position record.Position
	// Records are those behind what the author had seen, or the first of them.
	Records [][]byte
	// Organization is where the organization's log stands; zero where it does not matter.
	Organization record.Position
	// Chains are the newest of the entries whose versions were taken.
	Chains []Chain
	// Err says why.
	Err error
}

// Error says why the record was refused.
func (s *Stale) Error() string { return s.Err.Error() }

// Unwrap returns an error of kind [fault.Stale].
func (s *Stale) Unwrap() error { return fault.Errorf(fault.Stale, "%w", s.Err) }

// Missing refuses a commit that introduces blocks which the server does not
// hold. It is of kind [fault.Missing].
type Missing struct {
	Blocks []id.Block
}

// Error says how many blocks are missing.
func (m *Missing) Error() string { return m.Unwrap().Error() }

// Unwrap returns an error of kind [fault.Missing].
func (m *Missing) Unwrap() error {
	return fault.WithHint(fault.Errorf(fault.Missing, "%d blocks of the commit are not here", len(m.Blocks)), "upload them and commit again")
}
