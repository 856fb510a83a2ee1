package list

import (
	"context"
	"errors"
	"iter"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/format/manifest"
)

// Blocks is a file's content as its manifest lists it. It is a value that
// nothing changes, safe for concurrent use.
type Blocks struct {
	list manifest.List
	size uint64
}

// Piece is a block or a hole, and where in the content it begins.
type Piece struct {
	Start uint64
	Ref   manifest.Ref
}

// End returns where the piece ends.
func (p Piece) End() uint64 { return p.Start + p.Ref.Size }

// Open returns the content of a file. It fails with [fault.Invalid] when what
// the manifest holds of the list is malformed or does not sum up to the
// file's size; pages are checked as they are read.
func Open(b manifest.FileBody) (Blocks, error) {
	if b.Size > manifest.MaxFileSize || b.Blocks.Depth > manifest.MaxDepth || len(b.Blocks.Pages) > manifest.PageItems {
		return Blocks{}, fault.Errorf(fault.Invalid, "open content: %d bytes in %d levels of pages", b.Size, b.Blocks.Depth)
	}
	if b.Blocks.Depth == 0 {
		if _, err := manifest.DecodeRefs(b.Blocks.Items, b.Size); err != nil {
			return Blocks{}, fault.Errorf(fault.KindOf(err), "open content: %w", err)
		}
		return Blocks{b.Blocks, b.Size}, nil
	}
	sum, err := measure(b.Blocks.Pages)
	if err != nil {
		return Blocks{}, err
	}
	if sum != b.Size {
		return Blocks{}, fault.Errorf(fault.Invalid, "open content: pages of %d bytes in a file of %d", sum, b.Size)
	}
	return Blocks{b.Blocks, b.Size}, nil
}

// Size returns the length of the content in bytes.
func (b Blocks) Size() uint64 { return b.size }

// List returns the list as it stands in a manifest.
func (b Blocks) List() manifest.List { return b.list }

// errEnough ends a walk whose consumer has seen enough.
var errEnough = errors.New("enough")

// Range returns the pieces that overlap the bytes from..to of the content, in
// order. It reads the pages above them, as it goes and a few at a time, and
// no others. An error comes as the last value.
func (b Blocks) Range(ctx context.Context, r Reader, from, to uint64) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		visit := func(v Visit) error {
			if v.Level > 0 {
				return nil
			}
			refs, err := manifest.DecodeRefs(v.Plain, v.Page.Span)
			if err != nil {
				return fault.Errorf(fault.KindOf(err), "read page of blocks: %w", err)
			}
			return pieces(refs, v.Start, from, to, yield)
		}
		var err error
		if from >= to {
			return
		}
		if b.list.Depth > 0 {
			err = Walk(ctx, b.list, r, from, to, visit)
		} else if b.size > 0 {
			err = visit(Visit{Plain: b.list.Items, Page: manifest.Page{Span: b.size}})
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(Piece{}, err)
		}
	}
}

// pieces yields what overlaps from..to of the refs that begin at start.
func pieces(refs []manifest.Ref, start, from, to uint64, yield func(Piece, error) bool) error {
	for _, ref := range refs {
		p := Piece{start, ref}
		start = p.End()
		if p.Start < to && p.End() > from && !yield(p, nil) {
			return errEnough
		}
	}
	return nil
}

// All returns all pieces in order; see [Blocks.Range].
func (b Blocks) All(ctx context.Context, r Reader) iter.Seq2[Piece, error] {
	return b.Range(ctx, r, 0, b.size)
}

// Pages returns the pages of the list at every level, for whoever copies,
// counts or checks all blocks of a file.
func (b Blocks) Pages(ctx context.Context, r Reader) iter.Seq2[manifest.Page, error] {
	return func(yield func(manifest.Page, error) bool) {
		err := Walk(ctx, b.list, r, 0, b.size, func(v Visit) error {
			if !yield(v.Page, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(manifest.Page{}, err)
		}
	}
}

// Replace returns the content with refs in place of the bytes from..to; from
// = to inserts, and from = to = Size appends. Both ends lie between blocks or
// within holes, which are cut. Only the pages above the range are read and
// sealed again: one for each level when the range lies within one page.
func (b Blocks) Replace(ctx context.Context, r Reader, s Sealer, from, to uint64, refs []manifest.Ref) (Blocks, error) {
	e := editor{r: r, s: s, from: from, to: to, refs: refs, end: to == b.size}
	var added uint64
	for _, ref := range refs {
		if ref.Size == 0 || ref.Size > manifest.MaxFileSize-added {
			return Blocks{}, fault.Errorf(fault.TooLarge, "replace blocks: %d bytes after %d", ref.Size, added)
		}
		added += ref.Size
	}
	if from > to || to > b.size || added > manifest.MaxFileSize-b.size+(to-from) {
		return Blocks{}, fault.Errorf(fault.TooLarge, "replace blocks: %d bytes in place of %d..%d of %d", added, from, to, b.size)
	}
	if from == to && added == 0 {
		return b, nil
	}
	list, err := e.edit(ctx, b)
	if err != nil {
		return Blocks{}, err
	}
	return Blocks{list, b.size - (to - from) + added}, nil
}

type editor struct {
	r        Reader
	s        Sealer
	from, to uint64
	refs     []manifest.Ref
	// end says that the range reaches the end of the content, so that pages
	// are filled rather than halved: more will come behind.
	end bool
	// sealed are the new pages, which the reader does not know yet.
	sealed map[manifest.Page][]byte
}

// placed is an item and where it begins.
type placed[T item] struct {
	start uint64
	item  T
}

func (p placed[T]) end() uint64 { return p.start + spanOf(p.item) }

func place[T item](items []T, start uint64) []placed[T] {
	out := make([]placed[T], len(items))
	for i, v := range items {
		out[i] = placed[T]{start, v}
		start += spanOf(v)
	}
	return out
}

func (e *editor) edit(ctx context.Context, b Blocks) (manifest.List, error) {
	e.sealed = map[manifest.Page][]byte{}
	if b.list.Depth == 0 {
		old, err := manifest.DecodeRefs(b.list.Items, b.size)
		if err != nil {
			return manifest.List{}, err
		}
		refs, err := e.splice(place(old, 0))
		if err != nil || len(refs) <= manifest.PageItems {
			return inline(refs), err
		}
		pages, err := group(ctx, e, refs)
		if err != nil {
			return manifest.List{}, err
		}
		return e.grow(ctx, pages, 1)
	}
	pages, err := e.pages(ctx, place(b.list.Pages, 0), int(b.list.Depth)-1)
	if err != nil {
		return manifest.List{}, err
	}
	if len(pages) > manifest.PageItems {
		return e.grow(ctx, pages, int(b.list.Depth))
	}
	return e.shrink(ctx, pages, int(b.list.Depth))
}

// grow adds levels until the topmost fits in a manifest.
func (e *editor) grow(ctx context.Context, pages []manifest.Page, depth int) (manifest.List, error) {
	for len(pages) > manifest.PageItems {
		if depth++; depth > manifest.MaxDepth {
			return manifest.List{}, fault.Errorf(fault.TooLarge, "replace blocks: more than %d levels of pages", manifest.MaxDepth)
		}
		var err error
		if pages, err = group(ctx, e, pages); err != nil {
			return manifest.List{}, err
		}
	}
	return manifest.List{Depth: uint8(depth), Pages: pages}, nil
}

// shrink takes away levels that hold a single page.
func (e *editor) shrink(ctx context.Context, pages []manifest.Page, depth int) (manifest.List, error) {
	for len(pages) == 1 {
		plain, err := e.open(ctx, pages[0])
		if err != nil {
			return manifest.List{}, err
		}
		if depth == 1 {
			_, err := manifest.DecodeRefs(plain, pages[0].Span)
			return manifest.List{Items: plain}, err
		}
		if pages, err = manifest.DecodePages(plain, pages[0].Span); err != nil {
			return manifest.List{}, err
		}
		depth--
	}
	if len(pages) == 0 {
		return inline(nil), nil
	}
	return manifest.List{Depth: uint8(depth), Pages: pages}, nil
}

// pages returns the pages of one level after the replacement, given those
// before it, among which ones within the range may be left out.
func (e *editor) pages(ctx context.Context, old []placed[manifest.Page], level int) ([]manifest.Page, error) {
	i, j := touched(old, e.from, e.to)
	var fresh []manifest.Page
	var err error
	if level == 0 {
		fresh, err = refill(ctx, e, old[i:j], manifest.DecodeRefs, e.splice)
	} else {
		fresh, err = refill(ctx, e, old[i:j], manifest.DecodePages, func(below []placed[manifest.Page]) ([]manifest.Page, error) {
			return e.pages(ctx, below, level-1)
		})
	}
	if err != nil {
		return nil, err
	}
	out := make([]manifest.Page, 0, len(old)-(j-i)+len(fresh))
	for _, p := range old[:i] {
		out = append(out, p.item)
	}
	out = append(out, fresh...)
	for _, p := range old[j:] {
		out = append(out, p.item)
	}
	return out, nil
}

// touched returns the run of items that overlap from..to; for an insertion the
// one that ends there or goes on beyond.
func touched(items []placed[manifest.Page], from, to uint64) (int, int) {
	if len(items) == 0 {
		return 0, 0
	}
	i := 0
	for i < len(items)-1 && (items[i].end() < from || items[i].end() == from && from < to) {
		i++
	}
	j := i + 1
	for j < len(items) && items[j].start < to {
		j++
	}
	return i, j
}

// refill reads the first and the last of the pages, since those between lie
// within the range, changes what they hold, and groups it anew.
func refill[T item](ctx context.Context, e *editor, old []placed[manifest.Page],
	decode func([]byte, uint64) ([]T, error), change func([]placed[T]) ([]T, error),
) ([]manifest.Page, error) {
	var items []placed[T]
	for i, p := range old {
		if i > 0 && i < len(old)-1 {
			continue
		}
		plain, err := e.open(ctx, p.item)
		if err != nil {
			return nil, err
		}
		held, err := decode(plain, p.item.Span)
		if err != nil {
			return nil, fault.Errorf(fault.KindOf(err), "read page: %w", err)
		}
		items = append(items, place(held, p.start)...)
	}
	changed, err := change(items)
	if err != nil {
		return nil, err
	}
	return group(ctx, e, changed)
}

// splice puts the new refs in place of the range.
func (e *editor) splice(old []placed[manifest.Ref]) ([]manifest.Ref, error) {
	var before, after []manifest.Ref
	for _, p := range old {
		if p.start < e.from {
			ref, err := cut(p.item, min(p.end(), e.from)-p.start)
			if err != nil {
				return nil, err
			}
			before = append(before, ref)
		}
		if p.end() > e.to {
			ref, err := cut(p.item, p.end()-max(p.start, e.to))
			if err != nil {
				return nil, err
			}
			after = append(after, ref)
		}
	}
	return join(before, e.refs, after), nil
}

// cut returns n bytes of a ref: all of a block, any number of a hole.
func cut(ref manifest.Ref, n uint64) (manifest.Ref, error) {
	if n != ref.Size && !ref.Hole() {
		return ref, fault.Errorf(fault.Invalid, "replace blocks: the range cuts a block of %d bytes", ref.Size)
	}
	ref.Size = n
	return ref, nil
}

// join puts runs of refs together; holes that touch become one.
func join(runs ...[]manifest.Ref) []manifest.Ref {
	var out []manifest.Ref
	for _, ref := range slices.Concat(runs...) {
		if n := len(out); n > 0 && ref.Hole() && out[n-1].Hole() {
			out[n-1].Size += ref.Size
			continue
		}
		out = append(out, ref)
	}
	return out
}

// group seals items into pages.
func group[T item](ctx context.Context, e *editor, items []T) ([]manifest.Page, error) {
	n := (len(items) + manifest.PageItems - 1) / manifest.PageItems
	var pages []manifest.Page
	for k := range n {
		from, to := k*len(items)/n, (k+1)*len(items)/n
		if e.end {
			from, to = k*manifest.PageItems, min((k+1)*manifest.PageItems, len(items))
		}
		page, plain, err := seal(ctx, e.s, items[from:to])
		if err != nil {
			return nil, err
		}
		e.sealed[page] = plain
		pages = append(pages, page)
	}
	return pages, nil
}

func (e *editor) open(ctx context.Context, p manifest.Page) ([]byte, error) {
	if plain := e.sealed[p]; plain != nil {
		return plain, nil
	}
	plains, err := read(ctx, e.r, []manifest.Ref{p.Ref})
	if err != nil {
		return nil, err
	}
	return plains[0], nil
}
