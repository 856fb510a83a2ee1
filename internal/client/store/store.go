// Package store is what one unlocked device keeps on its own disk: two embedded
// SQLite databases in the device's folder.
//
// [State] holds what nobody can give back: the verified records of every log
// with their heads, the workspace keys, and the requests that the server has
// not answered yet. It is written durably and never rebuilt. [Cache] holds
// what follows from the logs and can be fetched again: the live chain of every
// entry and the children of every folder. It may lose its newest changes in a
// crash of the machine, and is thrown away when it is damaged.
//
// The package is thin: it verifies no signature, knows no rule of the logs and
// merges nothing. Its own invariants are these.
//
//   - Every value is sealed under keys derived from the device storage key and
//     bound to its database, table, row and device, so a value that was moved
//     or exchanged does not open. Names never stand in clear, neither in values
//     nor in keys; random ids of entries, users and workspaces do stand in keys,
//     but which entry lies in which folder does not show.
//   - An update is applied whole or not at all, and after a kill the databases
//     hold a prefix of the updates.
//   - A log in the state only grows, by one index after the other.
//   - The cache never stands at a head that the state does not remember: a
//     caller writes the state first, and [Open] forgets what is ahead.
//
// One process opens a store at a time; package home sees to that. Within it
// both databases are safe for concurrent use.
package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
)

// The files in a device's folder, and what they are called in messages.
const (
	stateFile = "state.db"
	cacheFile = "cache.db"
)

// Store is the local store of one device.
type Store struct {
	State *State
	Cache *Cache
}

// Create makes the store of a new device in its folder, which must be there,
// and opens it. It fails with [fault.Conflict] where there is one already.
func Create(ctx context.Context, dir string, device id.Device, key secret.Key) (*Store, error) {
	path := filepath.Join(dir, stateFile)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return nil, fault.Errorf(fault.Conflict, "create local store: %s is there already", path)
	}
	state, err := createDatabase(ctx, stateSettings(dir), device, key)
	if err != nil {
		return nil, err
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("create local store: %w", err), state.close())
	}
	return withCache(ctx, dir, state, device, key)
}

// Open opens the store that [Create] made. A state that is missing or damaged
// is an error and is left alone. A cache that is missing, damaged or of
// another version is made anew, and what of it the state does not know is
// forgotten.
func Open(ctx context.Context, dir string, device id.Device, key secret.Key) (*Store, error) {
	state, err := openDatabase(ctx, stateSettings(dir), device, key)
	if err != nil {
		return nil, err
	}
	return withCache(ctx, dir, state, device, key)
}

func withCache(ctx context.Context, dir string, state *database, device id.Device, key secret.Key) (*Store, error) {
	cache, err := openCache(ctx, dir, device, key)
	if err != nil {
		return nil, errors.Join(err, state.close())
	}
	s := &Store{State: &State{db: state}, Cache: cache}
	err = s.reconcile(ctx)
	if IsDamaged(err) && cache.Damaged() {
		err = cache.Reset(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// reconcile forgets each cached workspace that stands where the state does not.
func (s *Store) reconcile(ctx context.Context) error {
	marks, err := s.Cache.marks(ctx)
	if err != nil {
		return err
	}
	for w, mark := range marks {
		if mark.Position.Index == 0 {
			continue
		}
		head, err := s.State.Head(ctx, w, mark.Position.Index)
		if err == nil && head == mark.Position.Head {
			continue
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err := s.Cache.Drop(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// Work returns how many statements both databases have run since the store was
// opened, or the cache was reset, and how many rows they gave.
func (s *Store) Work() (statements, rows uint64) {
	s.Cache.replacing.RLock()
	defer s.Cache.replacing.RUnlock()
	for _, d := range []*database{s.State.db, s.Cache.db} {
		statements += d.work.statements.Load()
		rows += d.work.rows.Load()
	}
	return statements, rows
}

// Close closes both databases. A cache that was found damaged is removed.
func (s *Store) Close() error {
	return errors.Join(s.Cache.close(), s.State.db.close())
}
