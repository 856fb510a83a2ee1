package content

import (
	"container/list"
	"context"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/client/seal"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
)

const (
	// memory is how many bytes of blocks are held in clear, so that many small
	// reads of a block open it once.
	memory = 48 << 20
	// opening is how many blocks are opened at once for one read.
	opening = 4
	// mostSpare is how many buffers are kept for the blocks to come.
	mostSpare = 8
)

// block is a block in memory, or on its way there.
type block struct {
	ref manifest.Ref
	// done is closed when it is here or will not come; plain and err are written
	// before, and not altered after.
	done  chan struct{}
	plain []byte
	err   error
	// Of what follows, the reader's mu guards all: users are those who may look at
	// plain, at is where it stands in the order, nil if it is not in memory (any more).
	users int
	at    *list.Element
}

// wait waits until a block is here.
func (b *block) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take returns a block, and whether the caller is the one to fetch it. The caller
// gives it back.
func (r *Reader) take(ref manifest.Ref) (b *block, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken(ref)
}

// taken is take; mu is held.
func (r *Reader) taken(ref manifest.Ref) (b *block, mine bool) {
	b = r.blocks[ref.ID]
	if b != nil && b.ref == ref { // else another manifest says something else of it
		b.users++
		if b.at != nil {
			r.order.MoveToBack(b.at)
		}
		return b, false
	}
	fresh := &block{ref: ref, done: make(chan struct{}), users: 1}
	if b == nil {
		r.blocks[ref.ID] = fresh
	}
	return fresh, true
}

// giveBack says that the caller looks at a block no more.
func (r *Reader) giveBack(b *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.users--
	r.reuse(b)
}

// reuse keeps the buffer of a block that nobody needs; mu is held.
func (r *Reader) reuse(b *block) {
	if b.users == 0 && b.at == nil && cap(b.plain) == whole && len(r.spare) < mostSpare {
		r.spare = append(r.spare, b.plain)
		b.plain = nil
	}
}

// whole is what a block of the usual size takes when it is sealed.
var whole = seal.SealedBlockSize(manifest.BlockSize)

// buffer returns an empty buffer for a sealed block.
func (r *Reader) buffer(ref manifest.Ref) []byte {
	n := seal.SealedBlockSize(int(min(ref.Size, manifest.MaxBlockSize)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := len(r.spare) - 1; n == whole && last >= 0 {
		b := r.spare[last]
		r.spare = r.spare[:last]
		return b[:0]
	}
	return make([]byte, 0, n)
}

// finish says what became of a block.
func (r *Reader) finish(b *block, plain []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.plain, b.err = plain, err
	close(b.done)
	if r.blocks[b.ref.ID] != b {
		return
	}
	if err != nil {
		delete(r.blocks, b.ref.ID)
		return
	}
	b.at = r.order.PushBack(b)
	r.size += cap(plain)
	for r.size > memory && r.order.Len() > 1 {
		oldest := r.order.Remove(r.order.Front()).(*block)
		delete(r.blocks, oldest.ref.ID)
		r.size -= cap(oldest.plain)
		oldest.at = nil
		r.reuse(oldest)
	}
}

// load gets blocks that are the caller's to fetch, and says what became of each.
func (r *Reader) load(ctx context.Context, mine []*block) {
	here := make([]bool, len(mine))
	if len(mine) == 1 {
		here[0] = r.open(mine[0])
	} else {
		var group errgroup.Group
		group.SetLimit(opening)
		for i, b := range mine {
			group.Go(func() error {
				here[i] = r.open(b)
				return nil
			})
		}
		_ = group.Wait()
	}
	var ask []*block
	for i, b := range mine {
		if !here[i] {
			ask = append(ask, b)
		}
	}
	if len(ask) > 0 {
		r.download(ctx, ask)
	}
}

// open opens a block that the cache holds, and reports whether it does.
func (r *Reader) open(b *block) bool {
	if r.store.Cache == nil || b.ref.Size > manifest.MaxBlockSize {
		return false
	}
	buffer := r.buffer(b.ref)
	sealed, ok := r.store.Cache.Get(b.ref.ID, buffer)
	if ok {
		if plain, err := r.place.OpenBlock(sealed[:0], b.ref, sealed); err == nil {
			r.finish(b, plain, nil)
			return true
		} // the server may have what the manifest means
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reuse(&block{plain: buffer})
	return false
}

// download gets blocks from the server.
func (r *Reader) download(ctx context.Context, ask []*block) {
	finished := make([]bool, len(ask))
	err := transfer.Download(ctx, r.transfer, r.place, beyond{r.store}, func(_ context.Context, in *transfer.Incoming[int]) error {
		for i, b := range ask {
			if err := in.Want(b.ref, i); err != nil {
				return err
			}
		}
		return nil
	}, func(i int, content []byte, err error) error {
		finished[i] = true // each is taken once
		if err != nil {
			r.finish(ask[i], nil, fault.Errorf(fault.KindOf(err), "read content: %w", err))
			return nil
		}
		r.finish(ask[i], append(r.buffer(ask[i].ref), content...), nil)
		return nil
	})
	for i, b := range ask {
		if finished[i] {
			continue
		}
		if err == nil {
			err = fault.Errorf(fault.Failed, "block %s did not come", b.ref.ID)
		}
		r.finish(b, nil, fault.Errorf(fault.KindOf(err), "read content: %w", err))
	}
}
