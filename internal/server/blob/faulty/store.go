// Package faulty makes storage fail on command, for tests: a blob store around
// another one, and a proxy before an HTTP service. Only tests import it. It
// fails nothing by chance and nothing by itself: what is not asked for passes
// unchanged.
//
// Whatever fails can do so in both ways, since a caller cannot tell them
// apart: failed and not persisted, failed but persisted.
package faulty

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

var _ blob.Store = (*Store)(nil)

// Op is a method of [blob.Store].
type Op uint8

// The methods of a store.
const (
	Put Op = iota
	Get
	Size
	Delete
	List

	ops // their number
)

// Fault is what befalls calls. The zero value befalls none.
type Fault struct {
	// Err is what the call fails with.
	Err error
	// Persisted says that a Put or Delete that fails is done nevertheless.
	Persisted bool
	// Lost says that a Put or Delete succeeds and is not done.
	Lost bool
	// After is how many bytes of a Get are read before Err, and how many
	// objects List yields; with 0, Get itself fails.
	After int64
	// Stall holds reading, where After bytes were read, until it is closed or
	// the call's context ends.
	Stall <-chan struct{}
	// Rot changes bytes that a Get reads: b is what lies at offset at of the object.
	Rot func(at int64, b []byte)
	// Wait holds the call, before anything else, until it is closed or the
	// call's context ends.
	Wait <-chan struct{}
	// Delay holds it likewise for so long.
	Delay time.Duration
	// Only is the objects that are concerned; nil means all. List asks with
	// the scope and no pack.
	Only func(blob.Key) bool
	// Times is how many calls are concerned; 0 means all, until [Store.Heal].
	Times int
}

// Flip returns a Rot that changes the byte at one offset of an object.
func Flip(offset int64) func(int64, []byte) {
	return func(at int64, b []byte) {
		if i := offset - at; i >= 0 && i < int64(len(b)) {
			b[i] ^= 1
		}
	}
}

// Store is a store around another one. It is safe for concurrent use.
type Store struct {
	inner blob.Store

	mu     sync.Mutex // guards the rest
	faults [ops]*Fault
	calls  [ops]int
}

// New returns a store that does what inner does, until a fault is injected.
func New(inner blob.Store) *Store { return &Store{inner: inner} }

// Inject lets a fault befall the calls of one method, in place of an earlier fault.
func (s *Store) Inject(op Op, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[op] = &f
}

// Fail makes every call of every method fail: a store that is away.
func (s *Store) Fail(err error) {
	for op := range ops {
		s.Inject(op, Fault{Err: err})
	}
}

// Heal ends all faults. Calls that wait go on waiting.
func (s *Store) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = [ops]*Fault{}
}

// Calls returns how often a method was called.
func (s *Store) Calls(op Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// befall counts a call, and returns what befalls it once it has waited.
func (s *Store) befall(ctx context.Context, op Op, key blob.Key) (Fault, error) {
	f := s.next(op, key)
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-ctx.Done():
			return f, fault.Errorf(fault.KindOf(ctx.Err()), "wait for a slow store: %w", ctx.Err())
		}
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return f, fault.Errorf(fault.KindOf(ctx.Err()), "wait for a slow store: %w", ctx.Err())
		}
	}
	return f, nil
}

func (s *Store) next(op Op, key blob.Key) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	f := s.faults[op]
	if f == nil || f.Only != nil && !f.Only(key) {
		return Fault{}
	}
	now := *f
	if f.Times == 1 {
		s.faults[op] = nil
	}
	f.Times--
	return now
}

// change does a Put or a Delete.
func (s *Store) change(ctx context.Context, op Op, key blob.Key, do func() error) error {
	f, err := s.befall(ctx, op, key)
	switch {
	case err != nil:
		return err
	case f.Lost:
		return nil
	case f.Err != nil && !f.Persisted:
		return f.Err
	}
	if err := do(); err != nil {
		return err
	}
	return f.Err
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	return s.change(ctx, Put, key, func() error { return s.inner.Put(ctx, key, parts) })
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	return s.change(ctx, Delete, key, func() error { return s.inner.Delete(ctx, key) })
}

// Size implements [blob.Store].
func (s *Store) Size(ctx context.Context, key blob.Key) (int64, error) {
	f, err := s.befall(ctx, Size, key)
	if err != nil {
		return 0, err
	}
	if f.Err != nil {
		return 0, f.Err
	}
	return s.inner.Size(ctx, key)
}

// Get implements [blob.Store].
func (s *Store) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	f, err := s.befall(ctx, Get, key)
	if err != nil {
		return nil, err
	}
	if f.Err != nil && f.After == 0 {
		return nil, f.Err
	}
	r, err := s.inner.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return &reader{ReadCloser: r, ctx: ctx, fault: f, at: offset}, nil
}

// reader is a reader that a fault may have befallen.
type reader struct {
	io.ReadCloser
	ctx   context.Context
	fault Fault
	at    int64 // where in the object the next byte lies
	read  int64
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if r.fault.Stall != nil && r.read == r.fault.After {
		select {
		case <-r.fault.Stall:
		case <-r.ctx.Done():
			return 0, fault.Errorf(fault.KindOf(r.ctx.Err()), "wait for a slow store: %w", r.ctx.Err())
		}
	}
	if r.fault.Err != nil || r.fault.Stall != nil && r.read < r.fault.After {
		if r.fault.Err != nil && r.read == r.fault.After {
			return 0, r.fault.Err
		}
		p = p[:min(int64(len(p)), r.fault.After-r.read)]
	}
	n, err := r.ReadCloser.Read(p)
	if r.fault.Rot != nil {
		r.fault.Rot(r.at, p[:n])
	}
	r.at += int64(n)
	r.read += int64(n)
	return n, err
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		f, err := s.befall(ctx, List, blob.Key{Scope: scope})
		if err != nil {
			yield(blob.Object{}, err)
			return
		}
		left := f.After
		for o, err := range s.inner.List(ctx, scope, after) {
			if f.Err != nil && left == 0 {
				break
			}
			left--
			if !yield(o, err) {
				return
			}
		}
		if f.Err != nil {
			yield(blob.Object{}, f.Err)
		}
	}
}

// Close implements [blob.Store].
func (s *Store) Close() error { return s.inner.Close() }
