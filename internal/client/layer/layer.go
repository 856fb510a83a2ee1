// Package layer says which parts of a file stand where: pieces that were written,
// in records of a journal, over layers that do not change any more, over the
// blocks of a committed version. It knows places and lengths; what stands there
// is the concern of who reads it.
//
// Invariants:
//   - Within a page pieces are in order and apart, and none reaches over its end.
//   - What is behind the smallest size that a file has had is never seen again.
package layer

import (
	"maps"
	"slices"

	"parsec/internal/client/journal"
)

// PageSize is how a layer is cut: no extent reaches over a multiple of it, so
// that a write never has to look at more than the extents of one page.
const PageSize = journal.MaxPayload

// Extent is a piece of a file that stands in a record's payload.
type Extent struct {
	// From and To are offsets in the page.
	From, To uint32
	// At is where it begins in the payload.
	At     uint32
	Record uint64
}

// Layer is what was written over something below it. It is not safe for
// concurrent use by itself; the content that has it guards it.
type Layer struct {
	// Pages hold their extents in order, without overlaps.
	Pages map[int64][]Extent
	// Limit is up to where what is below shows through: the smallest size that
	// the file has had since the layer began. Beyond it are zeros.
	Limit int64
	// Below is a frozen layer, or nil where the base's blocks are below.
	Below *Layer
}

// New returns a layer in which nothing is written yet, over what reaches up to a
// limit: the layer below, or the base's blocks where that is nil.
func New(limit int64, below *Layer) *Layer {
	return &Layer{Pages: map[int64][]Extent{}, Limit: limit, Below: below}
}

// Put puts a piece of one page over what is there.
func (l *Layer) Put(page int64, e Extent) {
	if all := l.Pages[page]; len(all) == 0 || all[len(all)-1].To <= e.From { // as most are written
		l.Pages[page] = append(all, e)
		return
	}
	l.Pages[page] = append(cut(l.Pages[page], e.From, e.To), e)
	slices.SortFunc(l.Pages[page], func(a, b Extent) int { return int(a.From) - int(b.From) })
}

// cut returns extents without from..to.
func cut(all []Extent, from, to uint32) []Extent {
	var out []Extent
	for _, e := range all {
		if e.From < from {
			left := e
			left.To = min(e.To, from)
			out = append(out, left)
		}
		if e.To > to {
			right := e
			right.From = max(e.From, to)
			right.At += right.From - e.From
			out = append(out, right)
		}
	}
	return out
}

// Truncate takes away what is behind size.
func (l *Layer) Truncate(size int64) {
	l.Limit = min(l.Limit, size)
	for page, all := range l.Pages {
		switch start := page * PageSize; {
		case start >= size:
			delete(l.Pages, page)
		case start+PageSize > size:
			if l.Pages[page] = cut(all, uint32(size-start), PageSize); len(l.Pages[page]) == 0 {
				delete(l.Pages, page)
			}
		}
	}
}

// Span is a part of a file's content, from an offset up to another.
type Span struct{ From, To int64 }

// Read calls found for what stands in the layers between from and to, and
// base for what the base's blocks hold; the rest are zeros. The size of the
// base is the caller's concern.
func (l *Layer) Read(s Span, found func(off int64, e Extent) error, base func(Span) error) error {
	if s.From >= s.To {
		return nil
	}
	for at := s.From; at < s.To; {
		page := at / PageSize
		end := min(s.To, (page+1)*PageSize)
		for _, e := range l.Pages[page] {
			from, to := page*PageSize+int64(e.From), page*PageSize+int64(e.To)
			if to <= at || from >= end {
				continue
			}
			if err := l.under(Span{at, min(from, end)}, found, base); err != nil {
				return err
			}
			piece := e
			if from < at {
				piece.At += uint32(at - from)
				piece.From += uint32(at - from)
			}
			piece.To = uint32(min(to, end) - page*PageSize)
			if err := found(page*PageSize+int64(piece.From), piece); err != nil {
				return err
			}
			at = min(to, end)
		}
		if err := l.under(Span{at, end}, found, base); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// under reads what shows through the layer.
func (l *Layer) under(s Span, found func(int64, Extent) error, base func(Span) error) error {
	s.To = min(s.To, l.Limit)
	switch {
	case s.From >= s.To:
		return nil
	case l.Below != nil:
		return l.Below.Read(s, found, base)
	}
	return base(s)
}

// Sink puts a layer's content into one that is above it, which then stands
// over what was below both.
func (l *Layer) Sink() {
	low := l.Below
	for page, under := range low.Pages {
		start := page * PageSize
		if start >= l.Limit {
			continue
		}
		if start+PageSize > l.Limit {
			under = cut(under, uint32(l.Limit-start), PageSize)
		}
		over := l.Pages[page]
		for _, e := range over {
			under = cut(under, e.From, e.To)
		}
		all := append(slices.Clone(under), over...)
		slices.SortFunc(all, func(a, b Extent) int { return int(a.From) - int(b.From) })
		if len(all) > 0 {
			l.Pages[page] = all
		}
	}
	l.Limit, l.Below = min(l.Limit, low.Limit), low.Below
}

// Written returns what the layer covers or hides of a base of a size, up to
// the file's size, by ascending offset.
func (l *Layer) Written(base, size int64) []Span {
	var out []Span
	add := func(s Span) {
		s.To = min(s.To, size)
		if n := len(out); n > 0 && out[n-1].To >= s.From {
			out[n-1].To = max(out[n-1].To, s.To)
		} else if s.From < s.To {
			out = append(out, s)
		}
	}
	behind := min(base, l.Limit)
	for _, page := range slices.Sorted(maps.Keys(l.Pages)) {
		for _, e := range l.Pages[page] {
			from, to := page*PageSize+int64(e.From), page*PageSize+int64(e.To)
			if from > behind { // a hole that was not in the base
				add(Span{behind, from})
			}
			add(Span{from, to})
			behind = max(behind, to)
		}
	}
	add(Span{min(base, l.Limit), size})
	return out
}

// Touches reports whether from..to holds anything that is not in other, which
// was below the layer.
func (l *Layer) Touches(from, to int64, other *Layer) bool {
	if to > l.Limit && to > from && l.Limit < other.Limit {
		return true
	}
	for page := from / PageSize; page*PageSize < to; page++ {
		if !slices.Equal(l.Pages[page], other.Pages[page]) {
			return true
		}
	}
	return false
}

// Flat returns a layer like l with all that is below it in it.
func (l *Layer) Flat() *Layer {
	if l.Below == nil {
		return l
	}
	f := &Layer{Pages: maps.Clone(l.Pages), Limit: l.Limit, Below: l.Below}
	for f.Below != nil {
		f.Sink()
	}
	return f
}
