package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
)

// Two rows are always written together, so nobody may ever see one alone, and
// a cache that is thrown away meanwhile never answers with what it held.
func TestReadersSeeWholeUpdatesWhileOthersWriteAndReset(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	w, folder := id.New[id.Workspace](), id.New[id.Entry]()
	const rounds = 15
	var group sync.WaitGroup
	for worker := range 3 {
		group.Go(func() {
			for i := range rounds {
				err := s.Cache.Update(ctx, w, func(tx *store.CacheTx) error {
					e := id.New[id.Entry]()
					child := func(half string) store.Child {
						return store.Child{Folder: folder, Name: fmt.Sprintf("%d.%d%s", worker, i, half), Entry: e, Kind: manifest.File}
					}
					return tx.PutChildren(child("a"), child("b"))
				})
				logged := s.State.Update(ctx, func(tx *store.StateTx) error {
					_, err := tx.Queue(store.Pending{Workspace: w})
					return err
				})
				if err := errors.Join(err, logged); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for range rounds {
				for c, err := range s.Cache.Children(ctx, w, folder, "") {
					if err != nil {
						t.Error(err)
						return
					}
					if places, err := s.Cache.Places(ctx, w, c.Entry); err != nil || len(places)%2 != 0 {
						t.Errorf("an entry in %d places, %v", len(places), err)
					}
				}
			}
		})
	}
	group.Go(func() {
		for range 5 {
			if err := s.Cache.Reset(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	if n := len(collect(t, s.State.Outbox(ctx))); n != 3*rounds {
		t.Errorf("%d requests, want %d", n, 3*rounds)
	}
}
