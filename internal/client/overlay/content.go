package overlay

import (
	"context"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/layer"
	"parsec/internal/client/work"
	"parsec/internal/format/manifest"
)

// write takes in some bytes of one page; the caller holds writing.
func (o *Overlay) write(c *work.Content, p []byte, off int64, now time.Time) error {
	if err := o.flushOthers(c); err != nil {
		return err
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	end := c.BufferAt + int64(len(c.Buffer))
	if len(c.Buffer) > 0 && (off < c.BufferAt || off > end || off/layer.PageSize != c.BufferAt/layer.PageSize) {
		if err := o.note(c, true); err != nil {
			return err
		}
	}
	c.Modified, c.Touched, c.Busy = now.UnixNano(), now, true
	switch {
	case len(c.Buffer) > 0:
		overlap := copy(c.Buffer[off-c.BufferAt:], p)
		c.Buffer = append(c.Buffer, p[overlap:]...)
	case len(p) == layer.PageSize: // as it stands, without a copy
		return o.extend(c, off, p, true)
	default:
		c.Buffer, c.BufferAt = append(c.Buffer[:0], p...), off
	}
	o.gathering = c
	if c.BufferAt%layer.PageSize+int64(len(c.Buffer)) == layer.PageSize {
		return o.note(c, true)
	}
	return nil
}

// flushOthers hands what is gathered of another file to the journal, so that
// everything stands there in the order in which it was done; the caller holds
// writing, or the overlay's mu exclusively.
func (o *Overlay) flushOthers(c *work.Content) error {
	other := o.gathering
	if other == nil || other == c {
		return nil
	}
	other.Mu.Lock()
	defer other.Mu.Unlock()
	return o.note(other, true)
}

// closeContent hands what is gathered of a file to the journal, and notes that
// the file is whole; the caller holds writing, or the overlay's mu exclusively.
func (o *Overlay) closeContent(c *work.Content) error {
	if err := o.flushOthers(c); err != nil {
		return err
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if len(c.Buffer) == 0 && !c.Open {
		return nil
	}
	return o.note(c, false)
}

// note hands what is gathered of a file to the journal; the caller holds the
// content's mu too.
func (o *Overlay) note(c *work.Content, open bool) error {
	if len(c.Buffer) > 0 || !open {
		if err := o.extend(c, c.BufferAt, c.Buffer, open); err != nil {
			return err
		}
	}
	c.Buffer, c.BufferAt = c.Buffer[:0], 0
	if cap(c.Buffer) > 64<<10 { // most files are not written again soon
		c.Buffer = nil
	}
	if o.gathering == c {
		o.gathering = nil
	}
	return nil
}

// extend appends a piece of one page to the journal and takes it in; the
// caller holds mu.
func (o *Overlay) extend(c *work.Content, off int64, p []byte, open bool) error {
	e := work.Event{Kind: work.EvWrite, Entry: c.Owner, Number: off, Modified: c.Modified, At: c.Touched, Changes: c.Changes + 1, Open: open}
	record, err := o.journal.Append(e.Encode(), p)
	if err != nil {
		return err
	}
	c.Changes++
	c.Open = open
	if len(p) > 0 {
		c.Extend(off, len(p), record)
	}
	return nil
}

// readContent reads a content, all of what is asked for or nothing. Nothing is
// held while blocks are fetched.
func (o *Overlay) readContent(ctx context.Context, c *work.Content, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.Errorf(fault.Invalid, "read at offset %d", off)
	}
	c.Mu.RLock()
	n, gaps, err := c.Read(o.journal, p, off)
	base := c.Base
	c.Mu.RUnlock()
	if err == nil {
		err = o.fill(ctx, base, gaps)
	}
	if err != nil {
		return 0, err // what a gap would have had is not in p
	}
	return n, nil
}

// mostAtOnce is how far gaps may reach that are filled with one read of the base.
const mostAtOnce = 2 * manifest.BlockSize

// fill reads what the base's blocks hold. Gaps are in order. Many small ones would
// have the same blocks opened again and again; a block that none needs is not read.
func (o *Overlay) fill(ctx context.Context, base manifest.FileBody, gaps []work.Gap) error {
	for len(gaps) > 0 {
		n := 1
		for n < len(gaps) && gaps[n].To-gaps[0].From <= mostAtOnce && gaps[n].From-gaps[n-1].To < manifest.BlockSize {
			n++
		}
		from, to := gaps[0].From, gaps[n-1].To
		p := gaps[0].P
		if n > 1 {
			p = make([]byte, to-from)
		}
		if err := o.Blocks.ReadAt(ctx, base, p, from); err != nil {
			return err
		}
		for _, g := range gaps[:n] {
			copy(g.P, p[g.From-from:])
		}
		gaps = gaps[n:]
	}
	return nil
}
