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

// Deed is an entry of the audit trail: that an administrative act was begun,
// or what became of it.
type Deed struct {
	// Number is given by [Audit.Append], ascending.
	Number int64
	// At is in nanoseconds since the Unix epoch.
	At int64
	// Act is the same for all entries of one act.
	Act id.Act
	// Token is the operator's token with which it was done; zero where it was
	// done in the database itself.
	Token id.AdminToken
	// What is the name of the act, and Subject what it was done to.
	What, Subject string
	// Outcome is "begun", "ok", or the kind of the failure.
	Outcome string
}

// Audit is the trail of administrative acts. It can only be added to: the
// database refuses to change or remove an entry.
type Audit interface {
	// Append adds an entry.
	Append(d Deed) error
	// List returns the entries since a time, in nanoseconds since the Unix
	// epoch, whose numbers follow after, by ascending number, at most limit of
	// them.
	List(since, after int64, limit int) ([]Deed, error)
}
