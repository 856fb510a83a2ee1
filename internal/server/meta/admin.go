package meta

import "parsec/internal/base/id"

// AdminToken is what is kept of a bearer token of the operator.
type AdminToken struct {
	// ID names the token wherever it is told who did something.
	ID id.AdminToken
	// Hash is the SHA-256 of the token.
	Hash [32]byte
	// Created is when it was made, in nanoseconds since the Unix epoch.
	Created int64
}

// AdminTokens are the operator's tokens, for all processes that use the
// store. At most one is valid at a time.
type AdminTokens interface {
	// Add adds a token, which is valid from then on. It fails with conflict
	// where another is valid, or where the id or the hash is that of a token
	// that was added before, valid or not.
	Add(t AdminToken) error
	// Valid returns the token that is valid.
	Valid() (AdminToken, error)
	// Revoke ends the token with this id, at a time in nanoseconds since the
	// Unix epoch. It fails with not found where that is not the valid one.
	Revoke(token id.AdminToken, when int64) error
}
