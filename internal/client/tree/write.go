package tree

import (
	"context"
	"crypto/sha256"
	"slices"
	"sort"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/list"
	"parsec/internal/format/manifest"
)

// Mark is what a device keeps of each page of a folder's newest snapshot, so
// that the next snapshot uses the pages again whose children are the same,
// without reading any. It changes only with a snapshot; a device that lost
// the marks writes all pages anew.
type Mark struct {
	_     struct{} `cbor:",toarray"`
	Level uint8
	// First is the first name below the page.
	First string
	// Sum is the SHA-256 of the page's plaintext.
	Sum  [sha256.Size]byte
	Page manifest.Page
}

func mark(level int, page manifest.Page, plain []byte) Mark {
	return Mark{Level: uint8(level), Sum: sha256.Sum256(plain), Page: page}
}

// Next is the next version of a folder.
type Next struct {
	// Body is what its manifest holds, and Shape.Base what its commit names.
	Body  manifest.FolderBody
	Shape Shape
	// Snapshot says that Marks replace those kept so far.
	Snapshot bool
	Marks    []Mark
}

// Write returns the version of a folder that follows the one with this shape
// and differs from it by changes, in any order but one for each name. It is a
// delta unless a snapshot is due: when there is none to build on, when deltas
// outweigh it or number [manifest.MaxDeltas]. Only then are the children
// before the changes asked for, with the marks of their snapshot.
func Write(ctx context.Context, s Shape, changes []manifest.Child,
	before func(context.Context) (Children, []Mark, error), sealer list.Sealer,
) (*Next, error) {
	changes, err := inOrder(changes)
	if err != nil {
		return nil, err
	}
	if s.due(changes) {
		return s.snapshot(ctx, changes, before, sealer)
	}
	p := pager{sealer: sealer}
	children, err := p.list(ctx, changes)
	if err != nil {
		return nil, err
	}
	part := &Part{Delta: true, Children: changes}
	return &Next{Body: manifest.FolderBody{Delta: true, Children: children}, Shape: s.after(part)}, nil
}

// due reports whether the next version should be a snapshot.
func (s Shape) due(changes []manifest.Child) bool {
	return s.Base == 0 || s.Version-s.Base >= manifest.MaxDeltas ||
		s.Deltas+weigh(changes) > s.Snapshot || s.Children+uint64(len(changes)) > MaxChildren
}

func (s Shape) snapshot(ctx context.Context, changes []manifest.Child,
	before func(context.Context) (Children, []Mark, error), sealer list.Sealer,
) (*Next, error) {
	var old Children
	p := pager{sealer: sealer, known: map[[sha256.Size]byte]manifest.Page{}}
	if s.Base != 0 {
		var err error
		if old, p.old, err = before(ctx); err != nil {
			return nil, err
		}
	}
	for _, m := range p.old {
		p.known[m.Sum] = m.Page
	}
	children := old.Apply(changes)
	if len(children) > MaxChildren {
		return nil, fault.WithHint(fault.Errorf(fault.TooLarge, "write folder: %d children, at most %d are allowed", len(children), MaxChildren),
			"spread them over several folders")
	}
	l, err := p.list(ctx, children)
	if err != nil {
		return nil, err
	}
	part := &Part{Children: children}
	return &Next{Body: manifest.FolderBody{Children: l}, Shape: s.after(part), Snapshot: true, Marks: p.marks}, nil
}

// inOrder returns the changes by name, and refuses two for one name.
func inOrder(changes []manifest.Child) ([]manifest.Child, error) {
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b manifest.Child) int { return strings.Compare(a.Name, b.Name) })
	for i, c := range changes {
		if err := manifest.CheckName(c.Name); err != nil {
			return nil, fault.Errorf(fault.Invalid, "write folder: %w", err)
		}
		if !c.Removed() && c.Kind == 0 { // what nobody could read is not signed
			return nil, fault.Errorf(fault.Invalid, "write folder: what is under one of its names is of no kind")
		}
		if i > 0 && changes[i-1].Name == c.Name {
			return nil, fault.Errorf(fault.Invalid, "write folder: two changes of one name")
		}
	}
	return changes, nil
}

// Sizes at which a list is cut into pages. A page is split when it outgrows
// the most, and joined to the one before when it falls below the least and
// both together stay within the usual.
const (
	most   = manifest.InlineSize
	usual  = most * 3 / 4
	least  = most / 4
	prefix = 5 // bytes before the items of a list, at most
)

// leastSize is the length of a child's encoding without its name: an array
// of a text, sixteen bytes and a small number.
const leastSize = 1 + 1 + (1 + 16) + 1

// sizeOf returns the length of a child's encoding.
func sizeOf(c manifest.Child) uint64 {
	n := uint64(leastSize + len(c.Name))
	if len(c.Name) > 23 {
		n++ // the length of the text takes a byte of its own
	}
	return n
}

// weigh returns what children weigh: the bytes of their encoding, without
// those that say how many there are. Writers and readers count alike, however
// the children are spread over pages.
func weigh(children []manifest.Child) uint64 {
	var n uint64
	for _, c := range children {
		n += sizeOf(c)
	}
	return n
}

// pager makes lists of children, and uses pages again where it can.
type pager struct {
	sealer list.Sealer
	old    []Mark
	known  map[[sha256.Size]byte]manifest.Page
	marks  []Mark
}

// list returns the list of children.
func (p *pager) list(ctx context.Context, children []manifest.Child) (manifest.List, error) {
	if prefix+weigh(children) <= most {
		return manifest.List{Items: manifest.EncodeItems(children)}, nil
	}
	pages, err := p.leaves(ctx, children)
	if err != nil {
		return manifest.List{}, err
	}
	depth := 1
	for ; len(pages) > manifest.PageItems; depth++ {
		if pages, err = p.raise(ctx, depth, pages); err != nil {
			return manifest.List{}, err
		}
	}
	l := manifest.List{Depth: uint8(depth)}
	for _, n := range pages {
		l.Pages = append(l.Pages, n.page)
	}
	return l, nil
}

// named is a page and the first name below it.
type named struct {
	first string
	page  manifest.Page
}

// leaves puts children into pages.
func (p *pager) leaves(ctx context.Context, children []manifest.Child) ([]named, error) {
	ends := cut(children, p.starts(0), func(c manifest.Child) string { return c.Name }, sizeOf)
	var pages []named
	at := 0
	for _, end := range ends {
		plain := manifest.EncodeItems(children[at:end])
		page, err := p.page(ctx, 0, children[at].Name, plain, uint64(end-at))
		if err != nil {
			return nil, err
		}
		pages, at = append(pages, page), end
	}
	return pages, nil
}

// raise puts pages into pages of the level above. Their items are all counted
// as one size, so that no more than [manifest.PageItems] come together.
func (p *pager) raise(ctx context.Context, level int, below []named) ([]named, error) {
	ends := cut(below, p.starts(level), func(n named) string { return n.first }, func(named) uint64 { return most / manifest.PageItems })
	var pages []named
	at := 0
	for _, end := range ends {
		var items []manifest.Page
		var span uint64
		for _, n := range below[at:end] {
			items = append(items, n.page)
			span += n.page.Span
		}
		page, err := p.page(ctx, level, below[at].first, manifest.EncodeItems(items), span)
		if err != nil {
			return nil, err
		}
		pages, at = append(pages, page), end
	}
	return pages, nil
}

// cut returns where the pages of a list end: at the names at which the old
// pages began, where sizes allow.
func cut[T any](items []T, starts []string, first func(T) string, size func(T) uint64) []int {
	c := cutter{sums: make([]uint64, 1+len(items)), ends: []int{0}}
	for i, item := range items {
		c.sums[i+1] = c.sums[i] + size(item)
	}
	for _, start := range starts {
		c.upTo(sort.Search(len(items), func(i int) bool { return first(items[i]) >= start }))
	}
	c.upTo(len(items))
	return c.ends[1:]
}

type cutter struct {
	// sums[i] is the size of the first i items.
	sums []uint64
	// ends begins with 0, where the first page begins.
	ends []int
}

func (c *cutter) weight(from, to int) uint64 { return prefix + c.sums[to] - c.sums[from] }

// upTo makes pages of the items between the last page and end.
func (c *cutter) upTo(end int) {
	at := c.ends[len(c.ends)-1]
	if end <= at {
		return
	}
	n := uint64(1)
	if w := c.weight(at, end); w > most {
		n = (w + usual - 1) / usual
	}
	for k := uint64(1); k <= n; k++ {
		mark := c.sums[at] + (c.sums[end]-c.sums[at])*k/n
		c.add(sort.Search(len(c.sums)-1, func(i int) bool { return c.sums[i] >= mark }))
	}
}

// add ends a page, or joins it to the one before if either is small.
func (c *cutter) add(end int) {
	last := len(c.ends) - 1
	if last > 0 {
		before := c.ends[last-1]
		small := min(c.weight(before, c.ends[last]), c.weight(c.ends[last], end)) < least
		if small && c.weight(before, end) <= usual {
			c.ends[last] = end
			return
		}
	}
	c.ends = append(c.ends, end)
}

// starts returns the names at which the old pages of a level begin.
func (p *pager) starts(level int) []string {
	var out []string
	for _, m := range p.old {
		if int(m.Level) == level {
			out = append(out, m.First)
		}
	}
	return out
}

// page returns an old page with the same plaintext, or seals a new one.
func (p *pager) page(ctx context.Context, level int, first string, plain []byte, span uint64) (named, error) {
	page, ok := p.known[sha256.Sum256(plain)]
	if !ok {
		ref, err := p.sealer.SealPage(ctx, plain)
		if err != nil {
			return named{}, err
		}
		page = manifest.Page{Ref: ref, Span: span}
	}
	m := mark(level, page, plain)
	m.First = first
	p.marks = append(p.marks, m)
	return named{first, page}, nil
}
