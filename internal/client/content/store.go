package content

import (
	"context"

	"parsec/internal/base/id"
	"parsec/internal/client/blockcache"
	"parsec/internal/client/transfer"
	"parsec/internal/format/pack"
)

// Server stores blocks and gives them back.
type Server interface {
	transfer.Sender
	transfer.Receiver
}

// Store is a server with a cache before it: what comes from the server is kept,
// and what goes there too, since who writes a file reads it next. A block that
// is stored and never committed is in nobody's way: no manifest names it.
type Store struct {
	Server Server
	// Cache may be nil: nothing is kept then.
	Cache *blockcache.Cache
}

var _ Server = Store{}

// Upload implements [transfer.Sender].
func (s Store) Upload(ctx context.Context, w id.Workspace, blocks []pack.Block, bodies [][]byte) error {
	if err := s.Server.Upload(ctx, w, blocks, bodies); err != nil {
		return err
	}
	if len(bodies) != 1 || s.Cache == nil { // package transfer sends one
		return nil
	}
	body := bodies[0]
	for _, b := range blocks {
		if uint64(len(body)) < uint64(b.Length) {
			return nil
		}
		if s.Cache.Put(b.ID, body[:b.Length]) != nil { // a full disk costs time, later
			return nil
		}
		body = body[b.Length:]
	}
	return nil
}

// Download implements [transfer.Receiver].
func (s Store) Download(ctx context.Context, w id.Workspace, blocks []id.Block, take func(id.Block, []byte) error) error {
	var ask []id.Block
	var sealed []byte
	for _, b := range blocks {
		ok := false
		if s.Cache != nil {
			sealed, ok = s.Cache.Get(b, sealed[:0])
		}
		if !ok {
			ask = append(ask, b)
			continue
		}
		if err := take(b, sealed); err != nil {
			return err
		}
	}
	if len(ask) == 0 {
		return nil
	}
	return beyond{s}.Download(ctx, w, ask, take)
}

// beyond is what is behind the cache of a store.
type beyond struct{ Store }

// Download implements [transfer.Receiver].
func (s beyond) Download(ctx context.Context, w id.Workspace, blocks []id.Block, take func(id.Block, []byte) error) error {
	return s.Server.Download(ctx, w, blocks, func(b id.Block, sealed []byte) error {
		if s.Cache != nil {
			// Before it is taken, for whoever takes it may alter it. If it cannot be
			// kept, it is asked for again some day.
			_ = s.Cache.Put(b, sealed)
		}
		return take(b, sealed)
	})
}
