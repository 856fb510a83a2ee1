package metrics

import (
	"context"
	"io"
	"iter"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

var _ blob.Store = (*store)(nil)

// store passes everything on to another store, and counts it.
type store struct {
	blob.Store
	name string
	m    *Metrics
}

// Store returns a store that counts its operations under a name, which holds
// no credentials.
func (m *Metrics) Store(name string, s blob.Store) blob.Store { return &store{s, name, m} }

// done counts an operation.
func (s *store) done(operation string, begin time.Time, err error) {
	outcome := "ok"
	if err != nil {
		outcome = fault.KindOf(err).String()
	}
	s.m.operations.WithLabelValues(s.name, operation, outcome).Inc()
	s.m.operationTimes.WithLabelValues(s.name, operation).Observe(time.Since(begin).Seconds())
}

// Put counts storing an object.
func (s *store) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	begin := time.Now()
	err := s.Store.Put(ctx, key, parts)
	s.done("put", begin, err)
	return err
}

// Get counts reading from an object, which is done when the reader is closed.
func (s *store) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	begin := time.Now()
	r, err := s.Store.Get(ctx, key, offset, length)
	if err != nil {
		s.done("get", begin, err)
		return nil, err
	}
	return &reader{ReadCloser: r, done: func(err error) { s.done("get", begin, err) }}, nil
}

// reader remembers how reading went.
type reader struct {
	io.ReadCloser
	err  error
	done func(error)
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// Close ends reading, and counts it the first time.
func (r *reader) Close() error {
	err := r.ReadCloser.Close()
	if r.done != nil {
		r.done(r.err)
		r.done = nil
	}
	return err
}

// Size counts asking for an object's size.
func (s *store) Size(ctx context.Context, key blob.Key) (int64, error) {
	begin := time.Now()
	size, err := s.Store.Size(ctx, key)
	s.done("size", begin, err)
	return size, err
}

// Delete counts removing an object.
func (s *store) Delete(ctx context.Context, key blob.Key) error {
	begin := time.Now()
	err := s.Store.Delete(ctx, key)
	s.done("delete", begin, err)
	return err
}

// List counts listing, to where its reader ends it.
func (s *store) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		begin := time.Now()
		var failed error
		for o, err := range s.Store.List(ctx, scope, after) {
			failed = err
			if !yield(o, err) {
				break
			}
		}
		s.done("list", begin, failed)
	}
}
