package blobtest

import (
	"context"
	"sync"

	"parsec/internal/server/blob"
)

// Failure is how a Put fails.
type Failure uint8

// The two ways in which storage fails. A caller cannot tell them apart.
const (
	// NotPersisted fails and has stored nothing.
	NotPersisted Failure = iota + 1
	// Persisted fails and has stored the object.
	Persisted
)

// Faulty is a store whose writes can be made to fail.
type Faulty struct {
	blob.Store

	mu   sync.Mutex // guards the rest
	next Failure
	err  error
}

// FailNext makes the next Put fail in this way, with this error.
func (f *Faulty) FailNext(how Failure, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.err = how, err
}

// Put implements [blob.Store].
func (f *Faulty) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	f.mu.Lock()
	how, failure := f.next, f.err
	f.next, f.err = 0, nil
	f.mu.Unlock()
	if how == NotPersisted {
		return failure
	}
	if err := f.Store.Put(ctx, key, parts); err != nil || how == 0 {
		return err
	}
	return failure
}
