package overlay

import (
	"context"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/work"
	"parsec/internal/format/manifest"
)

// Batch is work that was taken to be committed, while programs go on above it.
// It belongs to one goroutine, and ends with Accept, Release or Refuse.
type Batch struct {
	o     *Overlay
	taken *work.Taken
	files []*Frozen
}

// Frozen is the content of a file in a batch.
type Frozen struct {
	*work.TakenFile
	o *Overlay
}

// under returns the batch of what is taken; the caller holds mu.
func (o *Overlay) under() *Batch {
	b := &Batch{o: o, taken: o.work.Batch}
	for _, f := range b.taken.Files {
		b.files = append(b.files, &Frozen{f, o})
	}
	return b
}

// ReadAt reads the frozen content. Reading fails with an integrity error where
// local data is damaged; the entry is given up then.
func (f *Frozen) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := f.o.readContent(ctx, f.State.Content, p, off)
	if err == nil {
		return n, nil
	}
	f.o.mu.RLock()
	in := f.o.work.Inodes[f.Entry]
	f.o.mu.RUnlock()
	return n, f.o.damaged(in, err)
}

// Take takes work that has settled, in its order, and freezes its contents. It
// returns nil where there is none. There is one batch at a time.
func (o *Overlay) Take(l Limits) (*Batch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.work.Batch != nil || o.closed {
		return nil, fault.Errorf(fault.Conflict, "take local changes: a batch is under way, or the workspace is closed")
	}
	if err := o.flushOthers(nil); err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, p := range o.work.Settled(o.Now(), l) {
		numbers = append(numbers, p.Number)
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	if err := o.do(work.Event{Kind: work.EvTake, Ops: numbers}); err != nil {
		return nil, err
	}
	return o.under(), nil
}

// Hurry says that who worked until now is done: what was done settles at once, but
// for files that are being written to, and what was refused.
func (o *Overlay) Hurry() {
	o.mu.Lock()
	o.work.Due = o.Now()
	o.mu.Unlock()
	o.tell()
}

// NextSettled returns when there will be something to take, and false if
// nothing waits.
func (o *Overlay) NextSettled() (at time.Time, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.work.NextSettled(o.Now())
}

// Files returns the contents that the batch changes.
func (b *Batch) Files() []*Frozen { return b.files }

// Stored notes that a part of a file is on the server.
func (b *Batch) Stored(f *Frozen, p Piece) error {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	return b.o.do(work.Event{Kind: work.EvStored, Number: int64(f.State.Number), Piece: p})
}

// Unstored says that what was noted as stored is not on the server: it is sealed
// anew when it is taken again.
func (b *Batch) Unstored() {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	b.taken.Unstored()
}

// Body says in which blocks the content of a file is.
func (b *Batch) Body(f *Frozen, body manifest.FileBody) { b.taken.Bodies[f.State] = body }

// Ops returns the operations, with the contents that [Batch.Body] gave.
func (b *Batch) Ops() []merge.Op {
	b.o.mu.RLock()
	defer b.o.mu.RUnlock()
	return b.taken.Operations()
}

// Base returns what is known beside the operations.
func (b *Batch) Base() *merge.Base {
	b.o.mu.RLock()
	defer b.o.mu.RUnlock()
	return b.o.work.KnownOf(b.taken)
}

// Times returns when the folders that it changes were changed here.
func (b *Batch) Times() map[id.Entry]int64 {
	b.o.mu.RLock()
	defer b.o.mu.RUnlock()
	return b.o.work.Times(b.taken)
}

// Intend notes, durably, that a record with this digest is about to be sent
// which commits a plan. It replaces an earlier intent.
func (b *Batch) Intend(digest [32]byte, plan *merge.Plan) error {
	b.o.mu.Lock()
	err := b.o.do(b.taken.Intend(digest, plan))
	b.o.mu.Unlock()
	if err != nil {
		return err
	}
	return b.o.journal.Sync()
}

// Accept says that the record of the last intent is in the log, and that the
// base has it. The operations have ended; what was done meanwhile stays.
func (b *Batch) Accept() error {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	if b.taken.Intent == nil {
		return fault.Errorf(fault.Failed, "accept local changes: nothing was intended")
	}
	changed := b.taken.Touched()
	err := b.o.do(work.Event{Kind: work.EvAccept})
	b.o.base.Forget(changed...)
	return err
}

// Release gives everything back: it was not committed. It does nothing where the
// batch has ended.
func (b *Batch) Release() error {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	if b.o.work.Batch != b.taken {
		return nil
	}
	return b.o.do(work.Event{Kind: work.EvRelease})
}

// Refuse gives everything back and says which entries cannot go. What depends
// on them waits with them, the rest can be taken again at once.
func (b *Batch) Refuse(reasons map[id.Entry]error) error {
	if err := b.Release(); err != nil {
		return err
	}
	o := b.o
	o.mu.Lock()
	defer o.mu.Unlock()
	o.work.Refuse(reasons, o.Now())
	return nil
}

// Problems returns the entries that cannot go, or of which data is lost.
func (o *Overlay) Problems() []Problem {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.work.Problems()
}

// Unsettled returns the batch of an intent of which nobody knows whether its
// record is in the log, after a restart. It is to be accepted or released.
func (o *Overlay) Unsettled() (*Batch, [32]byte, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.work.Batch == nil || o.work.Batch.Intent == nil {
		return nil, [32]byte{}, false
	}
	return o.under(), o.work.Batch.Intent.Digest, true
}
