package overlay

import (
	"context"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/journal"
	"parsec/internal/client/layer"
	"parsec/internal/format/manifest"
)

// content is what a file holds: layers over the blocks of a version of the
// base. It is a value of one state of a file; a frozen one never changes.
type content struct {
	mu sync.RWMutex
	// The rest is guarded by mu. Who holds the overlay's exclusively may read
	// it, since nobody writes then.
	//
	// owner is under which entry writes are noted.
	owner id.Entry
	size  int64
	// modified is in nanoseconds since the Unix epoch, touched when it changed last.
	modified int64
	touched  time.Time
	top      *layer.Layer
	base     manifest.FileBody
	// buffer holds what was written at bufferAt, all in one page, and is not in
	// the journal yet.
	buffer   []byte
	bufferAt int64
	// stored are parts that are on the server already, by ascending offset.
	stored []Piece
	// changes counts the events that changed it, so that a missing one is
	// noticed; open says that more of them may come before a close.
	changes uint64
	open    bool
	// busy says that it was changed and not closed since: who syncs a file goes on
	// with it. It is not kept; after a restart nobody has the file.
	busy bool
}

// Piece is a part of a file's content that is on the server in blocks that no
// commit names yet.
type Piece struct {
	From, To uint64
	Refs     []manifest.Ref
}

// baseContent returns what a file of the base holds.
func baseContent(owner id.Entry, n int64, body manifest.FileBody) *content {
	size := int64(body.Size)
	return &content{owner: owner, size: size, modified: n, base: body, top: layer.New(size, nil)}
}

// above returns a content that goes on where c ends; c must not change any more.
func (c *content) above() *content {
	top := layer.New(c.size, c.top)
	if len(c.top.Pages) == 0 && c.top.Below == nil {
		top.Limit, top.Below = c.top.Limit, nil
	}
	return &content{owner: c.owner, size: c.size, modified: c.modified, touched: c.touched, base: c.base, changes: c.changes, top: top}
}

// settle says that the base has the content of a frozen state, in this body.
func (s *state) settle(body manifest.FileBody) {
	c := s.content
	c.mu.Lock()
	defer c.mu.Unlock()
	if up := s.above; up != nil && up.content.top.Below == c.top {
		up.content.mu.Lock()
		up.content.top.Below, up.content.base = nil, body
		up.content.mu.Unlock()
	}
	c.base, c.size, c.stored = body, int64(body.Size), nil
	c.top = layer.New(c.size, nil)
}

// takeBack makes a frozen state part of the one above it.
func (s *state) takeBack(up *state) {
	c := up.content
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.top.Below == s.content.top {
		c.top.Sink()
	}
	for _, p := range s.content.stored {
		if int64(p.To) <= c.size && !c.top.Touches(int64(p.From), int64(p.To), s.content.top) {
			c.stored = append(c.stored, p)
		}
	}
	s.became = up
}

// lengths returns the size and the time of modification.
func (c *content) lengths() (size, modified int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return max(c.size, c.bufferAt+int64(len(c.buffer))), c.modified
}

// write takes in some bytes of one page; the caller holds writing.
func (o *Overlay) write(c *content, p []byte, off int64, now time.Time) error {
	if err := o.flushOthers(c); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.bufferAt + int64(len(c.buffer))
	if len(c.buffer) > 0 && (off < c.bufferAt || off > end || off/layer.PageSize != c.bufferAt/layer.PageSize) {
		if err := o.note(c, true); err != nil {
			return err
		}
	}
	c.modified, c.touched, c.busy = now.UnixNano(), now, true
	switch {
	case len(c.buffer) > 0:
		overlap := copy(c.buffer[off-c.bufferAt:], p)
		c.buffer = append(c.buffer, p[overlap:]...)
	case len(p) == layer.PageSize: // as it stands, without a copy
		return o.extend(c, off, p, true)
	default:
		c.buffer, c.bufferAt = append(c.buffer[:0], p...), off
	}
	o.gathering = c
	if c.bufferAt%layer.PageSize+int64(len(c.buffer)) == layer.PageSize {
		return o.note(c, true)
	}
	return nil
}

// flushOthers hands what is gathered of another file to the journal, so that
// everything stands there in the order in which it was done; the caller holds
// writing, or the overlay's mu exclusively.
func (o *Overlay) flushOthers(c *content) error {
	other := o.gathering
	if other == nil || other == c {
		return nil
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	return o.note(other, true)
}

// closeContent hands what is gathered of a file to the journal, and notes that
// the file is whole; the caller holds writing, or the overlay's mu exclusively.
func (o *Overlay) closeContent(c *content) error {
	if err := o.flushOthers(c); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.buffer) == 0 && !c.open {
		return nil
	}
	return o.note(c, false)
}

// note hands what is gathered of a file to the journal; the caller holds the
// content's mu too.
func (o *Overlay) note(c *content, open bool) error {
	if len(c.buffer) > 0 || !open {
		if err := o.extend(c, c.bufferAt, c.buffer, open); err != nil {
			return err
		}
	}
	c.buffer, c.bufferAt = c.buffer[:0], 0
	if cap(c.buffer) > 64<<10 { // most files are not written again soon
		c.buffer = nil
	}
	if o.gathering == c {
		o.gathering = nil
	}
	return nil
}

// extend appends a piece of one page to the journal and takes it in; the
// caller holds mu.
func (o *Overlay) extend(c *content, off int64, p []byte, open bool) error {
	e := event{kind: evWrite, entry: c.owner, number: off, modified: c.modified, at: c.touched, changes: c.changes + 1, open: open}
	record, err := o.journal.Append(e.encode(), p)
	if err != nil {
		return err
	}
	c.changes++
	c.open = open
	if len(p) > 0 {
		c.extend(off, len(p), record)
	}
	return nil
}

// extend takes in a piece that stands in a record.
func (c *content) extend(off int64, n int, record uint64) {
	from := uint32(off % layer.PageSize)
	c.top.Put(off/layer.PageSize, layer.Extent{From: from, To: from + uint32(n), Record: record})
	c.size = max(c.size, off+int64(n))
	c.unstore(off, off+int64(n))
}

// truncate gives the content another size; the caller holds mu, and nothing
// is in the buffer.
func (c *content) truncate(size int64) {
	c.unstore(min(size, c.size), max(size, c.size))
	if size < c.size {
		c.top.Truncate(size)
	}
	c.size = size
}

// unstore forgets what is stored of a part that changes.
func (c *content) unstore(from, to int64) {
	kept := c.stored[:0]
	for _, p := range c.stored {
		if int64(p.To) <= from || int64(p.From) >= to {
			kept = append(kept, p)
		}
	}
	c.stored = kept
}

// gap is a part of what is read that the base's blocks hold.
type gap struct {
	layer.Span
	p []byte
}

// read reads what is here into p and returns the parts that are to be read
// from the base. The caller holds mu, shared at least.
func (c *content) read(j *journal.Journal, p []byte, off int64) (n int, gaps []gap, err error) {
	size := max(c.size, c.bufferAt+int64(len(c.buffer)))
	if off >= size {
		return 0, nil, nil
	}
	p = p[:min(int64(len(p)), size-off)]
	clear(p)
	err = c.top.Read(layer.Span{From: off, To: min(off+int64(len(p)), c.size)}, func(at int64, e layer.Extent) error {
		return j.ReadAt(e.Record, p[at-off:][:e.To-e.From], int(e.At))
	}, func(s layer.Span) error {
		if s.To = min(s.To, int64(c.base.Size)); s.From < s.To {
			gaps = append(gaps, gap{s, p[s.From-off:][:s.To-s.From]})
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	if from, to := max(off, c.bufferAt), min(off+int64(len(p)), c.bufferAt+int64(len(c.buffer))); from < to {
		copy(p[from-off:], c.buffer[from-c.bufferAt:][:to-from])
		gaps = clip(gaps, from, to)
	}
	return len(p), gaps, nil
}

// clip takes from..to out of what is to be read from the base.
func clip(gaps []gap, from, to int64) []gap {
	var out []gap
	for _, g := range gaps {
		if left := min(g.To, from); g.From < left {
			out = append(out, gap{layer.Span{From: g.From, To: left}, g.p[:left-g.From]})
		}
		if right := max(g.From, to); right < g.To {
			out = append(out, gap{layer.Span{From: right, To: g.To}, g.p[right-g.From:]})
		}
	}
	return out
}

// readContent reads a content. Nothing is held while blocks are fetched.
func (o *Overlay) readContent(ctx context.Context, c *content, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.Errorf(fault.Invalid, "read at offset %d", off)
	}
	c.mu.RLock()
	n, gaps, err := c.read(o.journal, p, off)
	base := c.base
	c.mu.RUnlock()
	if err != nil {
		return 0, err
	}
	return n, o.fill(ctx, base, gaps)
}

// mostAtOnce is how far gaps may reach that are filled with one read of the base.
const mostAtOnce = 2 * manifest.BlockSize

// fill reads what the base's blocks hold. Gaps are in order. Many small ones would
// have the same blocks opened again and again; a block that none needs is not read.
func (o *Overlay) fill(ctx context.Context, base manifest.FileBody, gaps []gap) error {
	for len(gaps) > 0 {
		n := 1
		for n < len(gaps) && gaps[n].To-gaps[0].From <= mostAtOnce && gaps[n].From-gaps[n-1].To < manifest.BlockSize {
			n++
		}
		from, to := gaps[0].From, gaps[n-1].To
		p := gaps[0].p
		if n > 1 {
			p = make([]byte, to-from)
		}
		if err := o.Blocks.ReadAt(ctx, base, p, from); err != nil {
			return err
		}
		for _, g := range gaps[:n] {
			copy(g.p, p[g.From-from:])
		}
		gaps = gaps[n:]
	}
	return nil
}

// records calls f with every record of the content.
func (c *content) records(f func(uint64)) {
	for l := c.top; l != nil; l = l.Below {
		for _, page := range l.Pages {
			for _, e := range page {
				f(e.Record)
			}
		}
	}
}
