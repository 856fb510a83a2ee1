package redundant

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

// markerKey is where a store keeps what it is known by: in the scope of nobody.
func markerKey() blob.Key { return blob.Key{} }

// maxMarker is more than a marker has.
const maxMarker = 1 << 10

// known is a store that is asked nothing until it has turned out to be the one
// that it was. So a folder that is not mounted, or a bucket that was emptied
// or mixed up with another, is a store that fails, and its name is told.
type known struct {
	blob.Store
	s *Store
	m *member
}

func (s *Store) newMember(m Member) *member {
	made := &member{Member: m, now: s.c.Now, rest: s.c.Rest, identifying: make(chan struct{}, 1)}
	made.Store = known{m.Store, s, made}
	return made
}

// Put implements [blob.Store].
func (k known) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	if err := k.check(ctx); err != nil {
		return err
	}
	return k.Store.Put(ctx, key, parts)
}

// Get implements [blob.Store].
func (k known) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	if err := k.check(ctx); err != nil {
		return nil, err
	}
	return k.Store.Get(ctx, key, offset, length)
}

// Size implements [blob.Store].
func (k known) Size(ctx context.Context, key blob.Key) (int64, error) {
	if err := k.check(ctx); err != nil {
		return 0, err
	}
	return k.Store.Size(ctx, key)
}

// Delete implements [blob.Store].
func (k known) Delete(ctx context.Context, key blob.Key) error {
	if err := k.check(ctx); err != nil {
		return err
	}
	return k.Store.Delete(ctx, key)
}

// List implements [blob.Store].
func (k known) List(ctx context.Context, scope blob.Scope, after id.Pack) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		if err := k.check(ctx); err != nil {
			yield(blob.Object{}, err)
			return
		}
		k.Store.List(ctx, scope, after)(yield)
	}
}

// check fails unless the store is the one that it was.
func (k known) check(ctx context.Context) error {
	if row, done := k.m.identity(); done || row.ID == 0 {
		return nil
	}
	select {
	case k.m.identifying <- struct{}{}:
		defer func() { <-k.m.identifying }()
	case <-ctx.Done():
		return fault.Errorf(fault.Canceled, "wait for a store to be known: %w", ctx.Err())
	}
	row, done := k.m.identity()
	if done {
		return nil
	}
	marker, err := k.s.identify(ctx, k.Store, row)
	k.m.mu.Lock()
	defer k.m.mu.Unlock()
	if k.m.known = err == nil; k.m.known {
		k.m.row.Marker = marker
	}
	if k.m.wrong = nil; fault.Is(err, fault.Integrity) {
		k.m.wrong = err
	}
	if fault.Is(err, fault.Integrity) || fault.Is(err, fault.NotFound) { // which says nothing about what was asked for
		return fault.Errorf(fault.Unreachable, "%w", err)
	}
	return err
}

// identity returns the row of a store, and whether it is the one that it was.
func (m *member) identity() (meta.ObjectStore, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.row, m.known
}

// identify compares what a store is known by with what it holds, and returns
// it. One that has nothing yet gets something. It fails with integrity where
// it is another store.
func (s *Store) identify(ctx context.Context, store blob.Store, row meta.ObjectStore) ([]byte, error) {
	marker, err := readMarker(ctx, store)
	switch {
	case fault.Is(err, fault.NotFound) && len(row.Marker) > 0:
		return nil, fault.WithHint(fault.Errorf(fault.Integrity, "store %s is empty, or another one: it does not hold what it is known by", row.Name),
			"mount or restore it; if it was emptied on purpose, take it back with `parsec-server store add URL` and then run `parsec-server store scrub --repair`")
	case fault.Is(err, fault.NotFound):
		if marker, err = s.mark(ctx, store); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fault.Errorf(fault.KindOf(err), "look whether store %s is what it was: %w", row.Name, err)
	}
	err = s.rows.Write(ctx, func(tx meta.Tx) error {
		all, err := tx.ObjectStores().List()
		if err != nil {
			return err
		}
		for _, other := range all {
			if other.ID != row.ID && bytes.Equal(other.Marker, marker) {
				return fault.Errorf(fault.Integrity, "store %s holds what belongs to store %s", row.Name, other.Name)
			}
			if other.ID == row.ID {
				row = other
			}
		}
		if len(row.Marker) == 0 {
			row.Marker = marker
			return tx.ObjectStores().Set(row)
		}
		return nil
	})
	if err == nil && !bytes.Equal(row.Marker, marker) {
		err = fault.WithHint(fault.Errorf(fault.Integrity, "store %s is another one than it was", row.Name), "look where its URL leads")
	}
	return marker, err
}

// mark gives a store something to be known by, and returns what it has.
func (s *Store) mark(ctx context.Context, store blob.Store) ([]byte, error) {
	err := store.Put(ctx, markerKey(), [][]byte{newMarker()})
	if err != nil && !fault.Is(err, fault.Conflict) { // which is another process that was faster
		return nil, err
	}
	return readMarker(ctx, store)
}

// newMarker returns something to be known by, with a sum over it: it is itself
// read from a store that may give back anything.
func newMarker() []byte {
	text := "a store of a Parsec server, known by " + rand.Text() + " "
	return []byte(text + markerSum(text) + "\n")
}

func markerSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// readMarker reads what a store is known by. It fails with integrity where
// that is damaged.
func readMarker(ctx context.Context, store blob.Store) ([]byte, error) {
	size, err := store.Size(ctx, markerKey())
	if err != nil {
		return nil, err
	}
	r, err := store.Get(ctx, markerKey(), 0, min(size, maxMarker))
	if err != nil {
		return nil, err
	}
	marker, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	text := string(marker)
	if at := strings.LastIndexByte(text, ' ') + 1; text[at:] != markerSum(text[:at])+"\n" {
		return nil, fault.WithHint(fault.Errorf(fault.Integrity, "what the store is known by is damaged"), "if it is the right store, write it anew with `parsec-server store add URL`")
	}
	return marker, nil
}

// Refresh looks up the stores: which were added, and what is done with each.
func (s *Store) Refresh(ctx context.Context) error {
	var rows []meta.ObjectStore
	if err := s.rows.Read(ctx, func(tx meta.Tx) (err error) {
		rows, err = tx.ObjectStores().List()
		return err
	}); err != nil {
		return fault.Errorf(fault.KindOf(err), "look up the stores: %w", err)
	}
	retired := map[meta.StoreID]bool{}
	for _, row := range rows {
		retired[row.ID] = row.State == meta.StoreRetired
	}
	s.mu.Lock()
	s.retired = retired
	s.mu.Unlock()
	var failed error
	for _, row := range rows {
		if m := s.one(row.ID); m != nil {
			m.mu.Lock()
			if !bytes.Equal(m.row.Marker, row.Marker) {
				m.known = false
			}
			m.row = row
			m.mu.Unlock()
		} else if row.URL != "" && row.State != meta.StoreRetired && s.c.Open != nil {
			opened, err := s.c.Open(ctx, row.URL)
			if err != nil {
				failed = fault.Errorf(fault.KindOf(err), "open store %s: %w", row.Name, err)
				continue
			}
			if !s.join(Member{ID: row.ID, Name: row.Name, Store: opened}, row) {
				failed = errors.Join(failed, opened.Close())
			}
		}
	}
	return failed
}

// join adds a store, unless it is there.
func (s *Store) join(m Member, row meta.ObjectStore) bool {
	made := s.newMember(m)
	made.row = row
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.members, func(other *member) bool { return other.ID == m.ID }) {
		return false
	}
	s.members = append(slices.Clone(s.members), made)
	return true
}
