package work

import (
	"sync"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/journal"
	"parsec/internal/client/layer"
	"parsec/internal/format/manifest"
)

// Content is what a file holds: layers over the blocks of a version of the
// base. It is a value of one state of a file; a frozen one never changes.
type Content struct {
	Mu sync.RWMutex
	// The rest is guarded by Mu. Who has the tree alone may read it without, since
	// nobody writes then.
	//
	// Owner is under which entry writes are noted.
	Owner id.Entry
	Size  int64
	// Modified is in nanoseconds since the Unix epoch, Touched when it changed last.
	Modified int64
	Touched  time.Time
	Top      *layer.Layer
	Base     manifest.FileBody
	// Buffer holds what was written at BufferAt, all in one page, and is not in
	// the journal yet.
	Buffer   []byte
	BufferAt int64
	// stored are parts that are on the server already, by ascending offset.
	stored []Piece
	// Changes counts the events that changed it, so that a missing one is
	// noticed; Open says that more of them may come before a close.
	Changes uint64
	Open    bool
	// Busy says that it was changed and not closed since: who syncs a file goes on
	// with it. It is not kept; after a restart nobody has the file.
	Busy bool
}

// Piece is a part of a file's content that is on the server in blocks that no
// commit names yet.
type Piece struct {
	From, To uint64
	Refs     []manifest.Ref
}

// baseContent returns what a file of the base holds.
func baseContent(owner id.Entry, n int64, body manifest.FileBody) *Content {
	size := int64(body.Size)
	return &Content{Owner: owner, Size: size, Modified: n, Base: body, Top: layer.New(size, nil)}
}

// Above returns a content that goes on where c ends; c must not change any more.
func (c *Content) Above() *Content {
	top := layer.New(c.Size, c.Top)
	if len(c.Top.Pages) == 0 && c.Top.Below == nil {
		top.Limit, top.Below = c.Top.Limit, nil
	}
	return &Content{Owner: c.Owner, Size: c.Size, Modified: c.Modified, Touched: c.Touched, Base: c.Base, Changes: c.Changes, Top: top}
}

// settle says that the base has the content of a frozen state, in this body.
func (s *State) settle(body manifest.FileBody) {
	c := s.Content
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if up := s.above; up != nil && up.Content.Top.Below == c.Top {
		up.Content.Mu.Lock()
		up.Content.Top.Below, up.Content.Base = nil, body
		up.Content.Mu.Unlock()
	}
	c.Base, c.Size, c.stored = body, int64(body.Size), nil
	c.Top = layer.New(c.Size, nil)
}

// takeBack makes a frozen state part of the one above it.
func (s *State) takeBack(up *State) {
	c := up.Content
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if c.Top.Below == s.Content.Top {
		c.Top.Sink()
	}
	for _, p := range s.Content.stored {
		if int64(p.To) <= c.Size && !c.Top.Touches(int64(p.From), int64(p.To), s.Content.Top) {
			c.stored = append(c.stored, p)
		}
	}
	s.became = up
}

// Lengths returns the size and the time of modification.
func (c *Content) Lengths() (size, modified int64) {
	c.Mu.RLock()
	defer c.Mu.RUnlock()
	return max(c.Size, c.BufferAt+int64(len(c.Buffer))), c.Modified
}

// Extend takes in a piece that stands in a record.
func (c *Content) Extend(off int64, n int, record uint64) {
	from := uint32(off % layer.PageSize)
	c.Top.Put(off/layer.PageSize, layer.Extent{From: from, To: from + uint32(n), Record: record})
	c.Size = max(c.Size, off+int64(n))
	c.unstore(off, off+int64(n))
}

// truncate gives the content another size; the caller holds Mu, and nothing
// is in the buffer.
func (c *Content) truncate(size int64) {
	c.unstore(min(size, c.Size), max(size, c.Size))
	if size < c.Size {
		c.Top.Truncate(size)
	}
	c.Size = size
}

// unstore forgets what is stored of a part that changes.
func (c *Content) unstore(from, to int64) {
	kept := c.stored[:0]
	for _, p := range c.stored {
		if int64(p.To) <= from || int64(p.From) >= to {
			kept = append(kept, p)
		}
	}
	c.stored = kept
}

// Gap is a part of what is read that the base's blocks hold.
type Gap struct {
	layer.Span
	P []byte
}

// Read reads what is here into p and returns the parts that are to be read
// from the base. The caller holds Mu, shared at least.
func (c *Content) Read(j *journal.Journal, p []byte, off int64) (n int, gaps []Gap, err error) {
	size := max(c.Size, c.BufferAt+int64(len(c.Buffer)))
	if off >= size {
		return 0, nil, nil
	}
	p = p[:min(int64(len(p)), size-off)]
	clear(p)
	err = c.Top.Read(layer.Span{From: off, To: min(off+int64(len(p)), c.Size)}, func(at int64, e layer.Extent) error {
		return j.ReadAt(e.Record, p[at-off:][:e.To-e.From], int(e.At))
	}, func(s layer.Span) error {
		if s.To = min(s.To, int64(c.Base.Size)); s.From < s.To {
			gaps = append(gaps, Gap{s, p[s.From-off:][:s.To-s.From]})
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	if from, to := max(off, c.BufferAt), min(off+int64(len(p)), c.BufferAt+int64(len(c.Buffer))); from < to {
		copy(p[from-off:], c.Buffer[from-c.BufferAt:][:to-from])
		gaps = clip(gaps, from, to)
	}
	return len(p), gaps, nil
}

// clip takes from..to out of what is to be read from the base.
func clip(gaps []Gap, from, to int64) []Gap {
	var out []Gap
	for _, g := range gaps {
		if left := min(g.To, from); g.From < left {
			out = append(out, Gap{layer.Span{From: g.From, To: left}, g.P[:left-g.From]})
		}
		if right := max(g.From, to); right < g.To {
			out = append(out, Gap{layer.Span{From: right, To: g.To}, g.P[right-g.From:]})
		}
	}
	return out
}

// records calls f with every record of the content.
func (c *Content) records(f func(uint64)) {
	for l := c.Top; l != nil; l = l.Below {
		for _, page := range l.Pages {
			for _, e := range page {
				f(e.Record)
			}
		}
	}
}
