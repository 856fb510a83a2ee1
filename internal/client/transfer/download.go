package transfer

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/seal"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
)

// PromiseStored is that the server keeps what was stored.
const PromiseStored = "nothing lost"

// Incoming gathers blocks into requests. It belongs to one goroutine, the
// producer of a [Download].
type Incoming[T any] struct {
	ctx    context.Context
	cfg    Config
	fetch  func(*request[T])
	asking *request[T]
}

type wanted[T any] struct {
	ref    manifest.Ref
	target T
}

type request[T any] struct {
	blocks []id.Block
	wanted map[id.Block][]wanted[T]
	size   int
}

// Take takes the content of a block for a target; it is valid until Take
// returns. Where the block is not on the server, is not the one that was
// signed, or does not open, err says so instead: a member may have signed it
// thus, so that the others have nothing to do with it.
type Take[T any] func(target T, content []byte, err error) error

// Download runs produce, which asks for blocks, gets them with several
// requests under way, and hands each to take, from several goroutines at once
// and in any order. It returns the first error of any, after all have ended.
func Download[T any](ctx context.Context, cfg Config, place seal.Place, from Receiver,
	produce func(context.Context, *Incoming[T]) error, take Take[T],
) error {
	cfg = cfg.withDefaults()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cfg.Parallel + 1) // the producer is one
	in := &Incoming[T]{ctx: ctx, cfg: cfg}
	in.fetch = func(r *request[T]) {
		group.Go(func() error { return fetch(ctx, place, from, r, take) })
	}
	group.Go(func() error {
		if err := produce(ctx, in); err != nil {
			return err
		}
		in.flush()
		return nil
	})
	return group.Wait()
}

func fetch[T any](ctx context.Context, place seal.Place, from Receiver, r *request[T], take Take[T]) error {
	err := from.Download(ctx, place.Workspace, r.blocks, func(b id.Block, sealed []byte) error {
		targets := r.wanted[b]
		if len(targets) == 0 {
			return fault.Broken(seal.PromiseContent, "block %s came, which was not asked for or came before", b)
		}
		delete(r.wanted, b)
		return open(place, targets, sealed, take)
	})
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if len(r.blocks) > 1 { // the server refuses all for one
		a, b := r.halves()
		return errors.Join(fetch(ctx, place, from, a, take), fetch(ctx, place, from, b, take))
	}
	missing := fault.Broken(PromiseStored, "block %s is signed, and not there: its author never stored it, or the server lost it", r.blocks[0])
	for _, w := range r.wanted[r.blocks[0]] {
		if err := take(w.target, nil, missing); err != nil {
			return err
		}
	}
	return nil
}

// open opens a block for all who want it.
func open[T any](place seal.Place, targets []wanted[T], sealed []byte, take Take[T]) error {
	var plain []byte // where a block is opened that serves several targets
	for i, w := range targets {
		dst := sealed[:0] // in place, but for all who need it again
		if i < len(targets)-1 {
			dst = plain[:0]
		}
		content, err := place.OpenBlock(dst, w.ref, sealed)
		if err == nil && i < len(targets)-1 {
			plain = content
		}
		if err := take(w.target, content, err); err != nil {
			return err
		}
	}
	return nil
}

// halves splits a request, of which nothing has come, in two.
func (r *request[T]) halves() (a, b *request[T]) {
	middle := len(r.blocks) / 2
	return &request[T]{blocks: r.blocks[:middle], wanted: r.wanted}, &request[T]{blocks: r.blocks[middle:], wanted: r.wanted}
}

// Want asks for the content of a block, which is not a hole, for target.
func (in *Incoming[T]) Want(ref manifest.Ref, target T) error {
	if in.ctx.Err() != nil {
		return context.Cause(in.ctx)
	}
	size := seal.SealedBlockSize(int(min(ref.Size, manifest.MaxBlockSize)))
	if r := in.asking; r != nil && (r.size+size > in.cfg.Pack || len(r.blocks) == pack.MaxBlocks) {
		in.flush()
	}
	if in.asking == nil {
		in.asking = &request[T]{wanted: map[id.Block][]wanted[T]{}}
	}
	r := in.asking
	if r.wanted[ref.ID] == nil {
		r.blocks = append(r.blocks, ref.ID)
		r.size += size
	}
	r.wanted[ref.ID] = append(r.wanted[ref.ID], wanted[T]{ref, target})
	return nil
}

func (in *Incoming[T]) flush() {
	if r := in.asking; r != nil {
		in.asking = nil
		in.fetch(r)
	}
}
