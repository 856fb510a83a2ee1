package overlay

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// When work settles.
const (
	settleTime = time.Second
	// A file that keeps changing is taken after busyTime, then at intervals that
	// double up to maxBusyTime.
	busyTime    = 30 * time.Second
	maxBusyTime = 5 * time.Minute
	// What was refused waits for retryTime, then twice as long each time, up to
	// maxRetryTime.
	retryTime    = 30 * time.Second
	maxRetryTime = time.Hour
)

// Limits bound a batch. One operation is taken however large it is.
type Limits struct {
	Ops    int
	Bytes  int64
	Blocks int
}

// Batch is work that was taken to be committed, while programs go on above it.
// It belongs to one goroutine, and ends with Accept, Release or Refuse.
type Batch struct {
	o     *Overlay
	ops   []*op
	files []*Frozen
	// intent is what was noted before the record was sent.
	intent *intent
	bodies map[*state]manifest.FileBody
}

// Frozen is the content of a file in a batch.
type Frozen struct {
	// Entry is the file, Copy the entry of a copy should there be a conflict.
	Entry, Copy id.Entry
	// Base is what is below the changes.
	Base manifest.FileBody
	Size uint64
	// Changed are the parts that differ from Base, all of them below Size, by
	// ascending offset.
	Changed []Range
	// Stored are parts of the content that are on the server in blocks that no
	// commit names yet.
	Stored []Piece

	o     *Overlay
	state *state
}

// Range is a part of a file.
type Range struct{ From, To uint64 }

// ReadAt reads the frozen content. Reading fails with an integrity error where
// local data is damaged; the entry is given up then.
func (f *Frozen) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := f.o.readContent(ctx, f.state.content, p, off)
	if err == nil {
		return n, nil
	}
	f.o.mu.RLock()
	in := f.o.inodes[f.Entry]
	f.o.mu.RUnlock()
	return n, f.o.damaged(in, err)
}

// Take takes work that has settled, in its order, and freezes its contents. It
// returns nil where there is none. There is one batch at a time.
func (o *Overlay) Take(l Limits) (*Batch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.batch != nil || o.closed {
		return nil, fault.Errorf(fault.Conflict, "take local changes: a batch is under way, or the workspace is closed")
	}
	if err := o.flushOthers(nil); err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, p := range o.settled(o.Now(), l) {
		numbers = append(numbers, p.number)
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	if err := o.do(event{kind: evTake, ops: numbers}); err != nil {
		return nil, err
	}
	return o.batch, nil
}

// settled returns the operations that can be taken; the caller holds mu.
func (o *Overlay) settled(now time.Time, l Limits) []*op {
	var out []*op
	h := newHeld()
	bytes, blocks := int64(0), 0
	for _, p := range o.ops {
		if p.dead {
			continue
		}
		if h.depends(p) || o.settles(p, now).After(now) {
			h.hold(p)
			continue
		}
		more, n := p.weight()
		if len(out) > 0 && (len(out) >= l.Ops || bytes+more > l.Bytes || blocks+n > l.Blocks) {
			break
		}
		out = append(out, p)
		bytes, blocks = bytes+more, blocks+n
	}
	return out
}

// weight returns how much an operation is to upload.
func (p *op) weight() (bytes int64, blocks int) {
	if p.now == nil || p.now.content == nil {
		return 0, 0
	}
	c := p.now.content
	for _, s := range c.top.Flat().Written(int64(c.base.Size), c.size) {
		bytes += s.To - s.From
		blocks += int((s.To-1)/manifest.BlockSize-s.From/manifest.BlockSize) + 1
	}
	return bytes, blocks
}

// settles returns when an operation settles. The caller holds mu.
func (o *Overlay) settles(p *op, now time.Time) time.Time {
	at := p.at.Add(settleTime)
	if !p.at.After(o.due) {
		at = p.at
	}
	if p.now != nil && p.now.content != nil && p.kind != opReplace {
		c := p.now.content
		at = p.at
		c.mu.RLock()
		open, touched := c.open || c.busy, c.touched
		c.mu.RUnlock()
		if n := o.inodes[p.entry]; open && n != nil {
			busy := min(busyTime<<min(n.pushed, 4), maxBusyTime)
			if at = touched.Add(settleTime); at.After(n.dirty.Add(busy)) {
				at = n.dirty.Add(busy)
			}
		}
	}
	for _, e := range []id.Entry{p.entry, p.over} {
		if problem := o.problems[e]; problem != nil && problem.Retry.After(at) {
			at = problem.Retry
		}
	}
	return at
}

// Hurry says that who worked until now is done: what was done settles at once, but
// for files that are being written to, and what was refused.
func (o *Overlay) Hurry() {
	o.mu.Lock()
	o.due = o.Now()
	o.mu.Unlock()
	o.tell()
}

// NextSettled returns when there will be something to take, and false if
// nothing waits.
func (o *Overlay) NextSettled() (at time.Time, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	now := o.Now()
	h := newHeld()
	for _, p := range o.ops {
		if p.dead || p.taken {
			continue
		}
		if h.depends(p) {
			h.hold(p)
			continue
		}
		t := o.settles(p, now)
		if !ok || t.Before(at) {
			at, ok = t, true
		}
		if !t.After(now) {
			return t, true
		}
		h.hold(p)
	}
	return at, ok
}

// held is what operations that wait keep from others: an operation that
// depends on one of them waits too.
type held struct {
	entries, inside map[id.Entry]bool
	places          map[merge.Place]bool
}

func newHeld() *held {
	return &held{map[id.Entry]bool{}, map[id.Entry]bool{}, map[merge.Place]bool{}}
}

func (h *held) depends(p *op) bool {
	if len(h.entries) == 0 {
		return false
	}
	return h.entries[p.entry] || h.entries[p.over] || h.entries[p.to.Folder] || h.entries[p.place.Folder] ||
		h.places[p.place] || h.places[p.to] ||
		p.kind == opRemove && h.inside[p.entry] || p.kind == opMove && h.inside[p.over]
}

func (h *held) hold(p *op) {
	for _, e := range []id.Entry{p.entry, p.over} {
		if !e.IsZero() {
			h.entries[e] = true
		}
	}
	for _, at := range []merge.Place{p.place, p.to} {
		if !at.Folder.IsZero() {
			h.places[at], h.inside[at.Folder] = true, true
		}
	}
}

// Files returns the contents that the batch changes.
func (b *Batch) Files() []*Frozen { return b.files }

// Stored notes that a part of a file is on the server.
func (b *Batch) Stored(f *Frozen, p Piece) error {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	return b.o.do(event{kind: evStored, number: int64(f.state.number), piece: p})
}

// Unstored says that what was noted as stored is not on the server: it is sealed
// anew when it is taken again.
func (b *Batch) Unstored() {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	for _, f := range b.files {
		f.Stored = nil
		f.state.newest().content.stored = nil
	}
}

// Body says in which blocks the content of a file is.
func (b *Batch) Body(f *Frozen, body manifest.FileBody) { b.bodies[f.state] = body }

// Ops returns the operations, with the contents that [Batch.Body] gave.
func (b *Batch) Ops() []merge.Op {
	b.o.mu.RLock()
	defer b.o.mu.RUnlock()
	var out []merge.Op
	for _, p := range b.ops {
		if !p.dead {
			out = append(out, p.merge(b.node)...)
		}
	}
	return out
}

// node returns what a state says, with the blocks of its content.
func (b *Batch) node(s *state) merge.Node {
	s = s.newest()
	n := s.node
	c := s.content
	if c == nil {
		return n
	}
	n.Modified = c.modified
	body, ok := b.bodies[s]
	if !ok {
		if body = c.base; len(c.top.Pages) > 0 || c.size != int64(c.base.Size) || c.top.Below != nil {
			body = pendingBody(s.number, c.size)
		}
	}
	body.Executable = n.File.Executable
	n.File = body
	return n
}

// pendingBody stands for a content without blocks. No two are the same.
func pendingBody(number uint64, size int64) manifest.FileBody {
	return manifest.FileBody{Size: uint64(size), Blocks: manifest.List{Items: binary.BigEndian.AppendUint64([]byte("pending"), number)}}
}

// Base returns what is known beside the operations.
func (b *Batch) Base() *merge.Base {
	b.o.mu.RLock()
	defer b.o.mu.RUnlock()
	known := &b.o.known
	out := &merge.Base{Folders: map[id.Entry]merge.Seen{}, Became: maps.Clone(known.Became), Own: maps.Clone(known.Own)}
	for _, p := range b.ops {
		p.folders(func(f id.Entry) {
			for seen, ok := known.Folders[f]; ok; seen, ok = known.Folders[f] {
				if _, again := out.Folders[f]; again {
					return
				}
				out.Folders[f] = seen
				f = seen.Place.Folder
			}
		})
	}
	return out
}

// Intend notes, durably, that a record with this digest is about to be sent
// which commits a plan. It replaces an earlier intent.
func (b *Batch) Intend(digest [32]byte, plan *merge.Plan) error {
	in := &intent{digest: digest, made: plan.Made(), versions: map[id.Entry]uint64{}, bodies: map[uint64]manifest.FileBody{}, copies: map[id.Entry]merge.Place{}}
	for _, put := range plan.Puts {
		if put.Node.Kind != manifest.Folder {
			in.versions[put.Entry] = put.Version
		}
	}
	for s, body := range b.bodies {
		in.bodies[s.number] = body
	}
	for _, note := range plan.Notes {
		if note.What == merge.Copied {
			in.copies[note.Entry] = note.Place
		}
	}
	b.o.mu.Lock()
	err := b.o.do(event{kind: evIntend, intent: in})
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
	if b.intent == nil {
		return fault.Errorf(fault.Failed, "accept local changes: nothing was intended")
	}
	changed := b.touched()
	err := b.o.do(event{kind: evAccept})
	b.o.base.Forget(changed...)
	return err
}

// touched returns the entries that a commit of the batch may have changed.
func (b *Batch) touched() []id.Entry {
	all := slices.Collect(maps.Keys(b.intent.versions))
	for _, p := range b.ops {
		all = append(all, p.entry, p.over, p.place.Folder, p.to.Folder)
	}
	for f := range b.intent.made.Folders {
		all = append(all, f)
	}
	return all
}

// Release gives everything back: it was not committed. It does nothing where the
// batch has ended.
func (b *Batch) Release() error {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	if b.o.batch != b {
		return nil
	}
	return b.o.do(event{kind: evRelease})
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
	now := o.Now()
	for e, err := range reasons {
		p := o.problems[e]
		if p == nil {
			p = &Problem{Entry: e, Since: now}
			o.problems[e] = p
		}
		if n := o.inodes[e]; n != nil {
			p.Place = n.place
		}
		p.Err, p.Retry = err, now.Add(min(retryTime<<min(p.tries, 10), maxRetryTime))
		p.tries++
	}
	return nil
}

// Problems returns the entries that cannot go, or of which data is lost.
func (o *Overlay) Problems() []Problem {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var out []Problem
	for _, p := range o.problems {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Problem) int { return a.Since.Compare(b.Since) })
	return out
}

// Unsettled returns the batch of an intent of which nobody knows whether its
// record is in the log, after a restart. It is to be accepted or released.
func (o *Overlay) Unsettled() (*Batch, [32]byte, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.batch == nil || o.batch.intent == nil {
		return nil, [32]byte{}, false
	}
	return o.batch, o.batch.intent.digest, true
}
