// Package blob is the contract of the object stores: where the server keeps
// packs of sealed blocks. It says what a store holds and promises, and holds
// almost no code; the adapters are the packages below it, redundancy layers
// are stores made of stores, and package blobtest is the suite that every one
// of them passes.
//
// A store knows nothing of blocks, of encryption or of who may read. It keeps
// objects whole: an object is there with all its bytes or not at all, and
// never changes.
//
// # Errors
//
// A store fails with the kinds of package fault: [fault.NotFound] for an
// object that is not there, [fault.Conflict] for a key that another content
// has, [fault.Invalid] for a range that leaves the object, [fault.Full] where
// there is no room, [fault.Unreachable] where a remote store does not answer,
// [fault.Canceled] where the context ended, and [fault.Failed] for everything
// else. A store retries what it can by itself, within the context; callers do
// not, but may call again with the same arguments after any error.
package blob

import (
	"bytes"
	"context"
	"io"
	"iter"
	"time"

	"parsec/internal/base/id"
)

// Scope is what keys are scoped by, so that nothing in one workspace can
// touch the objects of another.
type Scope struct {
	Organization id.Fingerprint
	Workspace    id.Workspace
}

// Key names an object. Packs are named at random and never again.
type Key struct {
	Scope
	Pack id.Pack
}

// Compare orders keys: by organization, workspace and pack, in the order of
// their bytes, which is that of their text forms too.
func (k Key) Compare(other Key) int {
	if c := bytes.Compare(k.Organization[:], other.Organization[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(k.Workspace[:], other.Workspace[:]); c != 0 {
		return c
	}
	return bytes.Compare(k.Pack[:], other.Pack[:])
}

// Object is a stored object.
type Object struct {
	Key  Key
	Size int64
	// Modified is when the object was stored, by the store's clock and to its
	// precision; it tells a leftover from an upload that is under way.
	Modified time.Time
}

// Store keeps objects of up to some tens of mebibytes. Its methods may be
// called from many goroutines at once.
type Store interface {
	// Put stores an object whose bytes are the parts, one behind the other.
	// The object is durable when Put returns nil: neither a kill nor a power
	// cut takes it back, and every later call finds it. After an error the
	// object is there whole or not at all, and nothing else is left behind
	// that the store does not itself clear away.
	//
	// Nothing is overwritten. Where the key has the same content already, Put
	// returns nil, so it may be repeated; where it has another, it fails with
	// conflict and leaves it.
	//
	// The parts may be empty and may be many. They stay the caller's: the
	// store reads them, perhaps several times, until Put returns, and keeps
	// no copy of the whole.
	Put(ctx context.Context, key Key, parts [][]byte) error

	// Get returns a reader of exactly length bytes of an object from offset
	// on, for one goroutine. The reader ends with io.EOF behind the last of
	// them and with another error, never io.EOF, before. The caller closes
	// it, also where it does not read to the end. ctx covers the reading too.
	//
	// A length of 0 is allowed from 0 to the object's size.
	Get(ctx context.Context, key Key, offset, length int64) (io.ReadCloser, error)

	// Size returns an object's size in bytes.
	Size(ctx context.Context, key Key) (int64, error)

	// Delete removes an object, durably. An object that is not there counts
	// as removed. Readers that Get returned earlier may fail or go on.
	Delete(ctx context.Context, key Key) error

	// List returns the objects whose keys are in one scope and behind after,
	// by ascending key. after is the zero pack to begin. Objects that are
	// stored or removed meanwhile may be listed or not. It ends after the
	// first error.
	List(ctx context.Context, scope Scope, after id.Pack) iter.Seq2[Object, error]

	// Close releases the store, once no call is running and no reader open.
	Close() error
}
