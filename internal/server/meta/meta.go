// Package meta is the contract of the metadata store: what the server keeps
// in its SQL database. It says what a store holds and promises, and holds no
// code; the adapters are the packages below it, and package metatest is the
// suite that every one of them passes.
//
// A store is thin. It has no rules of its own about who may do what, whether
// a chain continues or which version is next: the services above it decide
// that, inside the transaction, from what the store answers. It keeps rows,
// finds them by the keys named here, and refuses only what would break a key.
//
// # Batches
//
// Whatever there is many of is passed and answered in slices, so that a
// commit of a thousand changes is a few statements and not thousands of
// round trips. The answer to a batch is parallel to the question: element i
// answers element i, and is the zero value where there is nothing. An empty
// batch is allowed and does nothing.
//
// # Bounds
//
// A method with a limit in bytes answers as much as fits, counting the opaque
// bytes only, but at least one element if there is any, so that a caller who
// asks on from where the answer ends gets to the end.
//
// # Errors
//
// A store fails with the kinds of package fault: [fault.NotFound] where one
// row was asked for and is not there, [fault.Conflict] where a key is taken,
// [fault.Stale] where a compare-and-swap found another version, [fault.Full]
// where the storage has no room, [fault.Unreachable] where the database does
// not answer, [fault.Busy] where a write collided again and again,
// [fault.Canceled] where the context ended, and [fault.Failed] for everything
// else. A store may write what a method that answers only an error was given
// at a later method or at the end of the transaction, and fail there.
//
// # Numbers
//
// Numbers without a sign are below 1<<63.
//
// # Buffers
//
// A store does not keep what it is passed and does not write into it. What it
// returns belongs to the caller, also after the transaction.
package meta

import (
	"context"
)

// Store is a database of metadata. Its methods may be called from many
// goroutines at once.
type Store interface {
	// Write runs fn in a transaction, and makes what it wrote durable before
	// it returns nil: neither a kill nor a power cut takes it back.
	//
	// Transactions that decide by what they have locked, by a key or by a
	// version that is compared, are serializable. Where fn locks a workspace
	// or an organization first, those that lock the same wait for each other,
	// and a store with concurrent writers lets all others run side by side;
	// see [Workspaces.Lock] for the order of locks. What fn read without a
	// lock may have changed when the transaction ends. A store may instead run
	// all writes one after the other, and make several durable at once.
	//
	// The store retries where its transactions collide, so fn may run several
	// times. It must not leave anything behind but through its Tx, must set
	// afresh at its start whatever it hands out through its closure, and must
	// not wait for anything but the store. It runs in the caller's goroutine.
	// Other calls of this store are not allowed inside it.
	//
	// An error of fn is returned as it is, and nothing was written. After any
	// other error the write either happened whole or not at all, and which of
	// the two is not known; the caller, or the client behind it, asks again
	// and finds out from the rows (the digest of a record, the id of a block).
	// Once fn has returned nil, the end of ctx no longer breaks the write off.
	Write(ctx context.Context, fn func(Tx) error) error

	// Read runs fn, once and in the caller's goroutine, on a snapshot: all
	// its questions are answered from one state, which holds every Write that
	// returned before Read was called. It neither waits for writers nor holds
	// them up. Methods that write fail, and locks do nothing. fn must not wait
	// for a client: a snapshot that stays keeps the store from tidying up.
	Read(ctx context.Context, fn func(Tx) error) error

	// Close waits for the calls that are running and releases the store.
	// Later calls fail.
	Close() error
}

// Tx is one transaction. It and what its methods return may be used only
// inside the function that was given it, and by one goroutine at a time.
//
// After an error of any kind but not found and stale the transaction is lost:
// Write fails even where fn returns nil.
type Tx interface {
	Organizations() Organizations
	Users() Users
	Logs() Logs
	Workspaces() Workspaces
	Entries() Entries
	Blocks() Blocks
	Grants() Grants
	Invitations() Invitations
	Placements() Placements
	AdminTokens() AdminTokens
	Audit() Audit
	ObjectStores() ObjectStores
	Turns() Turns
	Leftovers() Leftovers
	Deletions() Deletions
}
