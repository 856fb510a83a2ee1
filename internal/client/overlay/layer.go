package overlay

import (
	"maps"
	"slices"

	"parsec/internal/client/journal"
)

// pageSize is how a layer is cut: no extent reaches over a multiple of it, so
// that a write never has to look at more than the extents of one page.
const pageSize = journal.MaxPayload

// extent is a piece of a file that stands in a record's payload.
type extent struct {
	// from and to are offsets in the page.
	from, to uint32
	// at is where it begins in the payload.
	at     uint32
	record uint64
}

// layer is what was written over something below it. It is not safe for
// concurrent use by itself; the content that has it guards it.
type layer struct {
	// pages hold their extents in order, without overlaps.
	pages map[int64][]extent
	// limit is up to where what is below shows through: the smallest size that
	// the file has had since the layer began. Beyond it are zeros.
	limit int64
	// below is a frozen layer, or nil where the base's blocks are below.
	below *layer
}

// put puts a piece of one page over what is there. dead is called with the
// records of which nothing is left in that page.
func (l *layer) put(page int64, e extent) {
	l.pages[page] = append(cut(l.pages[page], e.from, e.to), e)
	slices.SortFunc(l.pages[page], func(a, b extent) int { return int(a.from) - int(b.from) })
}

// cut returns extents without from..to.
func cut(all []extent, from, to uint32) []extent {
	var out []extent
	for _, e := range all {
		if e.from < from {
			left := e
			left.to = min(e.to, from)
			out = append(out, left)
		}
		if e.to > to {
			right := e
			right.from = max(e.from, to)
			right.at += right.from - e.from
			out = append(out, right)
		}
	}
	return out
}

// truncate takes away what is behind size.
func (l *layer) truncate(size int64) {
	l.limit = min(l.limit, size)
	for page, all := range l.pages {
		switch start := page * pageSize; {
		case start >= size:
			delete(l.pages, page)
		case start+pageSize > size:
			if l.pages[page] = cut(all, uint32(size-start), pageSize); len(l.pages[page]) == 0 {
				delete(l.pages, page)
			}
		}
	}
}

// span is a part of a file's content.
type span struct{ from, to int64 }

// read calls found for what stands in the layers between from and to, and
// base for what the base's blocks hold; the rest are zeros. The size of the
// base is the caller's concern.
func (l *layer) read(s span, found func(off int64, e extent) error, base func(span) error) error {
	if s.from >= s.to {
		return nil
	}
	for at := s.from; at < s.to; {
		page := at / pageSize
		end := min(s.to, (page+1)*pageSize)
		for _, e := range l.pages[page] {
			from, to := page*pageSize+int64(e.from), page*pageSize+int64(e.to)
			if to <= at || from >= end {
				continue
			}
			if err := l.under(span{at, min(from, end)}, found, base); err != nil {
				return err
			}
			piece := e
			if from < at {
				piece.at += uint32(at - from)
				piece.from += uint32(at - from)
			}
			piece.to = uint32(min(to, end) - page*pageSize)
			if err := found(page*pageSize+int64(piece.from), piece); err != nil {
				return err
			}
			at = min(to, end)
		}
		if err := l.under(span{at, end}, found, base); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// under reads what shows through the layer.
func (l *layer) under(s span, found func(int64, extent) error, base func(span) error) error {
	s.to = min(s.to, l.limit)
	switch {
	case s.from >= s.to:
		return nil
	case l.below != nil:
		return l.below.read(s, found, base)
	}
	return base(s)
}

// sink puts a layer's content into one that is above it, which then stands
// over what was below both.
func (l *layer) sink() {
	low := l.below
	for page, under := range low.pages {
		start := page * pageSize
		if start >= l.limit {
			continue
		}
		if start+pageSize > l.limit {
			under = cut(under, uint32(l.limit-start), pageSize)
		}
		over := l.pages[page]
		for _, e := range over {
			under = cut(under, e.from, e.to)
		}
		all := append(slices.Clone(under), over...)
		slices.SortFunc(all, func(a, b extent) int { return int(a.from) - int(b.from) })
		if len(all) > 0 {
			l.pages[page] = all
		}
	}
	l.limit, l.below = min(l.limit, low.limit), low.below
}

// written returns what the layer covers or hides of a base of a size, up to
// the file's size, by ascending offset.
func (l *layer) written(base, size int64) []span {
	var out []span
	add := func(s span) {
		s.to = min(s.to, size)
		if n := len(out); n > 0 && out[n-1].to >= s.from {
			out[n-1].to = max(out[n-1].to, s.to)
		} else if s.from < s.to {
			out = append(out, s)
		}
	}
	behind := min(base, l.limit)
	for _, page := range slices.Sorted(maps.Keys(l.pages)) {
		for _, e := range l.pages[page] {
			from, to := page*pageSize+int64(e.from), page*pageSize+int64(e.to)
			if from > behind { // a hole that was not in the base
				add(span{behind, from})
			}
			add(span{from, to})
			behind = max(behind, to)
		}
	}
	add(span{min(base, l.limit), size})
	return out
}

// touches reports whether from..to holds anything that is not in other, which
// was below the layer.
func (l *layer) touches(from, to int64, other *layer) bool {
	if to > l.limit && to > from && l.limit < other.limit {
		return true
	}
	for page := from / pageSize; page*pageSize < to; page++ {
		if !slices.Equal(l.pages[page], other.pages[page]) {
			return true
		}
	}
	return false
}

// flat returns a layer like l with all that is below it in it.
func (l *layer) flat() *layer {
	if l.below == nil {
		return l
	}
	f := &layer{pages: maps.Clone(l.pages), limit: l.limit, below: l.below}
	for f.below != nil {
		f.sink()
	}
	return f
}
