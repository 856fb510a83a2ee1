package server

import (
	"context"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

// stores are what a server stands on.
type stores struct {
	meta  meta.Store
	blobs blob.Store
}

// Ready asks both stores for something that is not there, which costs each of
// them next to nothing.
func (s stores) Ready(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return s.meta.Read(ctx, func(tx meta.Tx) error {
			_, err := tx.Organizations().ByName("")
			return unlessMissing("ask the database", err)
		})
	})
	group.Go(func() error {
		nothing := blob.Key{Scope: blob.Scope{Workspace: id.New[id.Workspace]()}, Pack: id.New[id.Pack]()}
		_, err := s.blobs.Size(ctx, nothing)
		return unlessMissing("ask the object store", err)
	})
	return group.Wait()
}

func unlessMissing(what string, err error) error {
	if err == nil || fault.Is(err, fault.NotFound) {
		return nil
	}
	return fault.Errorf(fault.KindOf(err), "%s: %w", what, err)
}
