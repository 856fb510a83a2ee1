// Package content reads the content of committed files, a range at a time, as a
// mounted drive does: from memory, from the block cache, or from the server. Who
// reads on finds what follows in memory: it is fetched and opened in the
// background, several blocks at once. It knows blocks and lists of blocks, not
// files or trees.
//
// Invariants: a block counts only once it has the digest that a manifest gives
// it; a block that many ask for at once is fetched once; memory is bounded
// whatever is read; nobody waits for the network but who reads what is not here,
// and no longer than the context allows.
package content

import (
	"container/list"
	"context"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	blocklist "parsec/internal/client/list"
	"parsec/internal/client/seal"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
)

// Reader reads the files of one workspace. Its methods may be called from many
// goroutines.
type Reader struct {
	place    seal.Place
	store    Store
	transfer transfer.Config
	// life ends with the reader; ends ends it, and background is what works
	// until then.
	life       context.Context
	ends       context.CancelFunc
	background sync.WaitGroup

	mu sync.Mutex
	// The rest is guarded by mu.
	//
	// blocks are those in memory and those on their way there; order has the
	// former by their last use, the oldest first, and size is what they take.
	blocks map[id.Block]*block
	order  *list.List
	size   int
	// spare are buffers of whole blocks that nobody needs.
	spare [][]byte
	// outlines are those of the contents that were read last, the newest first.
	outlines []*outline
	// coming is how many bytes are being fetched ahead.
	coming int
	closed bool
}

// New returns a reader of the files of a place, which [Reader.Close] ends.
func New(place seal.Place, store Store, cfg transfer.Config) *Reader {
	r := &Reader{place: place, store: store, transfer: cfg, blocks: map[id.Block]*block{}, order: list.New()}
	r.life, r.ends = context.WithCancel(context.Background())
	return r
}

// Close ends what goes on in the background. Reads still work, without anything
// ahead of them.
func (r *Reader) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.ends()
	r.background.Wait()
}

// ReadAt fills p with the content of a file from an offset on. The content has
// that many bytes.
func (r *Reader) ReadAt(ctx context.Context, body manifest.FileBody, p []byte, off int64) error {
	from, to := uint64(off), uint64(off)+uint64(len(p))
	if off < 0 || to > body.Size {
		return fault.Errorf(fault.Invalid, "read content: bytes %d to %d of %d", from, to, body.Size)
	}
	if len(p) == 0 {
		_, err := blocklist.Open(body)
		return err
	}
	o, err := r.outline(ctx, body, from, to)
	if err != nil {
		return err
	}
	r.readAhead(o, body, from, to)
	pieces := o.between(from, to)
	for i, at := range pieces { // most reads lie within one block
		if at.Ref.Hole() {
			clear(p[max(at.Start, from)-from : min(at.End(), to)-from])
			continue
		}
		b, err := r.get(ctx, pieces[i:])
		if err != nil {
			return err
		}
		copyOverlap(p, from, b.plain, at.Start)
		r.giveBack(b)
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

// get returns the first of some blocks, which the caller gives back. What is not
// here is fetched, with the others.
func (r *Reader) get(ctx context.Context, pieces []blocklist.Piece) (*block, error) {
	for {
		b, mine := r.take(pieces[0].Ref)
		fetch := r.own(b, mine, pieces[1:])
		r.load(ctx, fetch)
		for _, other := range fetch {
			if other != b {
				r.giveBack(other)
			}
		}
		err := b.wait(ctx)
		if err == nil {
			return b, nil
		}
		r.giveBack(b)
		if mine || ctx.Err() != nil {
			return nil, err
		} // what failed another one need not fail this one
	}
}

// own returns the blocks that the caller is to fetch: the first, if it is the
// caller's, and with it what follows and nobody fetches.
func (r *Reader) own(first *block, mine bool, more []blocklist.Piece) []*block {
	if !mine {
		return nil
	}
	all := []*block{first}
	for _, at := range more {
		if at.Ref.Hole() {
			continue
		}
		if b, mine := r.take(at.Ref); mine {
			all = append(all, b)
		} else {
			r.giveBack(b)
		}
	}
	return all
}

// ReadPages implements [blocklist.Reader].
func (r *Reader) ReadPages(ctx context.Context, refs []manifest.Ref) ([][]byte, error) {
	pieces := make([]blocklist.Piece, len(refs))
	for i, ref := range refs {
		pieces[i].Ref = ref
	}
	out := make([][]byte, len(refs))
	for i := range refs {
		b, err := r.get(ctx, pieces[i:])
		if err != nil {
			return nil, err
		}
		out[i] = append([]byte(nil), b.plain...)
		r.giveBack(b)
	}
	return out, nil
}
