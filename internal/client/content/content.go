// Package content reads the content of committed files, a range at a time, as a
// mounted drive does: from memory, from the block cache, or from the server, with
// several blocks in one request and some more ahead of whoever reads on. It knows
// blocks and lists of blocks, not files or trees.
//
// Invariants: a block counts only once it has the digest that a manifest gives
// it; a block that many ask for at once is fetched once; memory is bounded
// whatever is read; nobody waits for the network but who reads what is not here,
// and no longer than the context allows.
package content

import (
	"context"
	"fmt"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/list"
	"parsec/internal/client/seal"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
)

const (
	// ahead is how far beyond a read that has to ask the server it asks for
	// more. A drive reads in parts of some 128 KiB, one after the other.
	ahead = 4 << 20
	// memory is how many bytes of blocks are held in clear, so that many small
	// reads of a block open it once.
	memory = 32 << 20
)

// Reader reads the files of one workspace. Its methods may be called from many
// goroutines.
type Reader struct {
	place    seal.Place
	from     transfer.Receiver
	transfer transfer.Config

	mu sync.Mutex
	// The rest is guarded by mu.
	//
	// plain are blocks in clear; order has them by their last use, the oldest
	// first, and size is what they take.
	plain map[id.Block][]byte
	order []id.Block
	size  int
	// loading are the blocks that somebody is fetching.
	loading map[id.Block]*loading
}

// loading is a fetch that others may wait for.
type loading struct {
	done chan struct{}
	err  error // written before done is closed
}

// New returns a reader of the files of a place, whose blocks are had from a
// receiver, such as a [Store].
func New(place seal.Place, from transfer.Receiver, cfg transfer.Config) *Reader {
	return &Reader{place: place, from: from, transfer: cfg, plain: map[id.Block][]byte{}, loading: map[id.Block]*loading{}}
}

// ReadAt fills p with the content of a file from an offset on. The content has
// that many bytes.
func (r *Reader) ReadAt(ctx context.Context, body manifest.FileBody, p []byte, off int64) error {
	blocks, err := list.Open(body)
	if err != nil {
		return err
	}
	from, to := uint64(off), uint64(off)+uint64(len(p))
	if off < 0 || to > blocks.Size() {
		return fault.Errorf(fault.Invalid, "read content: bytes %d to %d of %d", from, to, blocks.Size())
	}
	pieces, err := r.pieces(ctx, blocks, from, to)
	if err != nil {
		return err
	}
	clear(p)
	for i, at := range pieces {
		if at.Ref.Hole() {
			continue
		}
		plain, ok := r.get(at.Ref.ID)
		if !ok {
			plain, err = r.fetch(ctx, blocks, pieces[i:], to)
			if err != nil {
				return err
			}
		}
		copyOverlap(p, from, plain, at.Start)
	}
	return nil
}

// copyOverlap copies what a block at an offset has of the bytes from an offset on.
func copyOverlap(p []byte, from uint64, plain []byte, start uint64) {
	if start >= from {
		copy(p[start-from:], plain)
		return
	}
	copy(p, plain[from-start:])
}

func (r *Reader) pieces(ctx context.Context, blocks list.Blocks, from, to uint64) (all []list.Piece, err error) {
	for piece, err := range blocks.Range(ctx, r, from, to) {
		if err != nil {
			return nil, err
		}
		all = append(all, piece)
	}
	return all, nil
}

// fetch gets the first of some pieces, and with it the others and what follows
// them. What fails beyond the first is the next reader's to find out.
func (r *Reader) fetch(ctx context.Context, blocks list.Blocks, wanted []list.Piece, to uint64) ([]byte, error) {
	more, err := r.pieces(ctx, blocks, to, min(to+ahead, blocks.Size()))
	if err != nil {
		return nil, err
	}
	var refs []manifest.Ref
	for _, piece := range append(wanted[:len(wanted):len(wanted)], more...) {
		if !piece.Ref.Hole() && (len(refs) == 0 || refs[len(refs)-1].ID != piece.Ref.ID) {
			refs = append(refs, piece.Ref)
		}
	}
	got, err := r.load(ctx, refs)
	if plain, ok := got[wanted[0].Ref.ID]; ok {
		return plain, nil
	}
	if err == nil {
		err = fault.Errorf(fault.Failed, "read content: block %s did not come", wanted[0].Ref.ID)
	}
	return nil, err
}

// ReadPages implements [list.Reader].
func (r *Reader) ReadPages(ctx context.Context, refs []manifest.Ref) ([][]byte, error) {
	out := make([][]byte, len(refs))
	var ask []manifest.Ref
	for i, ref := range refs {
		var ok bool
		if out[i], ok = r.get(ref.ID); !ok {
			ask = append(ask, ref)
		}
	}
	if len(ask) == 0 {
		return out, nil
	}
	got, err := r.load(ctx, ask)
	if err != nil {
		return nil, err
	}
	for i, ref := range refs {
		if out[i] == nil {
			out[i] = got[ref.ID]
		}
	}
	return out, nil
}

// get returns a block that is in memory, which nobody alters.
func (r *Reader) get(b id.Block) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	plain, ok := r.plain[b]
	if ok {
		r.use(b)
	}
	return plain, ok
}

// use moves a block to the end of the order; the caller holds mu. There are
// some dozens of them.
func (r *Reader) use(b id.Block) {
	for i, other := range r.order {
		if other == b {
			copy(r.order[i:], r.order[i+1:])
			r.order[len(r.order)-1] = b
			return
		}
	}
	r.order = append(r.order, b)
}

// keep keeps a block in memory, and lets go what was not used for longest.
func (r *Reader) keep(b id.Block, plain []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.plain[b]; !ok {
		r.size += len(plain)
	}
	r.plain[b] = plain
	r.use(b)
	for r.size > memory && len(r.order) > 1 {
		oldest := r.order[0]
		r.order = r.order[1:]
		r.size -= len(r.plain[oldest])
		delete(r.plain, oldest)
	}
}

// load gets blocks, those that others fetch already from them. It returns what
// it got, also beside an error.
func (r *Reader) load(ctx context.Context, refs []manifest.Ref) (map[id.Block][]byte, error) {
	got := map[id.Block][]byte{}
	mine, others := r.begin(refs, got)
	var mu sync.Mutex // guards got
	err := r.download(ctx, mine, func(b id.Block, plain []byte) {
		mu.Lock()
		got[b] = plain
		mu.Unlock()
	})
	r.end(mine, err)
	if err != nil {
		return got, err
	}
	for b, l := range others {
		select {
		case <-l.done:
		case <-ctx.Done():
			return got, context.Cause(ctx)
		}
		if plain, ok := r.get(b); ok {
			got[b] = plain
		}
	}
	return got, r.again(ctx, refs, got)
}

// again gets by itself what another fetch did not bring, or has let go since.
func (r *Reader) again(ctx context.Context, refs []manifest.Ref, got map[id.Block][]byte) error {
	var lacking []manifest.Ref
	for _, ref := range refs {
		if got[ref.ID] == nil && ref.Size > 0 {
			lacking = append(lacking, ref)
		}
	}
	var mu sync.Mutex // guards got
	return r.download(ctx, lacking, func(b id.Block, plain []byte) {
		mu.Lock()
		got[b] = plain
		mu.Unlock()
	})
}

// begin divides blocks into those that the caller fetches, those that others do,
// and those that came meanwhile, which it adds to got.
func (r *Reader) begin(refs []manifest.Ref, got map[id.Block][]byte) (mine []manifest.Ref, others map[id.Block]*loading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	others = map[id.Block]*loading{}
	for _, ref := range refs {
		if plain, ok := r.plain[ref.ID]; ok {
			got[ref.ID] = plain
			continue
		}
		if l, ok := r.loading[ref.ID]; ok {
			others[ref.ID] = l
			continue
		}
		r.loading[ref.ID] = &loading{done: make(chan struct{})}
		mine = append(mine, ref)
	}
	return mine, others
}

func (r *Reader) end(mine []manifest.Ref, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range mine {
		l := r.loading[ref.ID]
		l.err = err
		close(l.done)
		delete(r.loading, ref.ID)
	}
}

func (r *Reader) download(ctx context.Context, refs []manifest.Ref, take func(id.Block, []byte)) error {
	if len(refs) == 0 {
		return nil
	}
	err := transfer.Download(ctx, r.transfer, r.place, r.from,
		func(_ context.Context, in *transfer.Incoming[id.Block]) error {
			for _, ref := range refs {
				if err := in.Want(ref, ref.ID); err != nil {
					return err
				}
			}
			return nil
		}, func(b id.Block, content []byte, err error) error {
			if err != nil {
				return err
			}
			plain := append(make([]byte, 0, len(content)), content...)
			r.keep(b, plain)
			take(b, plain)
			return nil
		})
	if err != nil {
		return fmt.Errorf("read content: %w", err)
	}
	return nil
}
