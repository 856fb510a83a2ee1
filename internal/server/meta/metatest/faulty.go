package metatest

import (
	"context"
	"sync"

	"parsec/internal/server/meta"
)

// Failure is how a write fails.
type Failure uint8

// The two ways in which storage fails. A caller cannot tell them apart.
const (
	// NotPersisted fails and has written nothing.
	NotPersisted Failure = iota + 1
	// Persisted fails and has written everything.
	Persisted
)

// Faulty is a store whose writes can be made to fail.
type Faulty struct {
	meta.Store

	mu   sync.Mutex // guards the rest
	next Failure
	err  error
}

// FailNext makes the next write fail in this way, with this error. The
// write's function runs in both ways, and a refusal of its own is returned
// instead and uses up nothing.
func (f *Faulty) FailNext(how Failure, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.err = how, err
}

// undo takes back what a write did that is to fail.
type undo struct{ error }

// Write implements [meta.Store].
func (f *Faulty) Write(ctx context.Context, fn func(meta.Tx) error) error {
	f.mu.Lock()
	how, failure := f.next, f.err
	f.mu.Unlock()
	err := f.Store.Write(ctx, func(tx meta.Tx) error {
		err := fn(tx)
		if err == nil && how == NotPersisted {
			return undo{failure}
		}
		return err
	})
	if _, undone := err.(undo); !undone && (how == 0 || err != nil) {
		return err
	}
	f.FailNext(0, nil)
	return failure
}
