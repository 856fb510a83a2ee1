package list

import (
	"context"

	"parsec/internal/base/fault"
	"parsec/internal/format/manifest"
)

// Builder makes the list of a file's content from refs that come one after
// the other. It holds at most a page of each level. It is used by one
// goroutine at a time, and not after an error.
type Builder struct {
	sealer Sealer
	refs   []manifest.Ref
	levels [manifest.MaxDepth][]manifest.Page
	size   uint64
}

// NewBuilder returns a builder of an empty list.
func NewBuilder(s Sealer) *Builder { return &Builder{sealer: s} }

// Size returns the bytes of content added so far.
func (b *Builder) Size() uint64 { return b.size }

// Add appends a block or a hole. Holes that touch become one. A page is
// sealed as soon as it is full and something follows it.
func (b *Builder) Add(ctx context.Context, ref manifest.Ref) error {
	if ref.Size == 0 || ref.Size > manifest.MaxFileSize-b.size {
		return fault.Errorf(fault.TooLarge, "add block: %d bytes after %d", ref.Size, b.size)
	}
	b.size += ref.Size
	if n := len(b.refs); n > 0 && ref.Hole() && b.refs[n-1].Hole() {
		b.refs[n-1].Size += ref.Size
		return nil
	}
	if len(b.refs) == manifest.PageItems {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.refs = append(b.refs, ref)
	return nil
}

// flush seals the refs at hand.
func (b *Builder) flush(ctx context.Context) error {
	page, _, err := seal(ctx, b.sealer, b.refs)
	if err != nil {
		return err
	}
	b.refs = b.refs[:0]
	return b.push(ctx, 0, page)
}

// push appends a page to a level, and seals the level first if it is full.
func (b *Builder) push(ctx context.Context, level int, page manifest.Page) error {
	if level == len(b.levels) {
		return fault.Errorf(fault.TooLarge, "build list: more than %d levels of pages", len(b.levels))
	}
	if len(b.levels[level]) == manifest.PageItems {
		if err := b.raise(ctx, level); err != nil {
			return err
		}
	}
	b.levels[level] = append(b.levels[level], page)
	return nil
}

// raise seals a level into a page of the next.
func (b *Builder) raise(ctx context.Context, level int) error {
	page, _, err := seal(ctx, b.sealer, b.levels[level])
	if err != nil {
		return err
	}
	b.levels[level] = b.levels[level][:0]
	return b.push(ctx, level+1, page)
}

// Finish returns the list of all that was added.
func (b *Builder) Finish(ctx context.Context) (manifest.List, error) {
	top := 0
	for level, pages := range b.levels {
		if len(pages) > 0 {
			top = level + 1
		}
	}
	if top == 0 {
		return inline(b.refs), nil
	}
	if len(b.refs) > 0 {
		if err := b.flush(ctx); err != nil {
			return manifest.List{}, err
		}
	}
	for level := 0; ; level++ {
		if level+1 >= top && (level+1 == len(b.levels) || len(b.levels[level+1]) == 0) {
			return manifest.List{Depth: uint8(level + 1), Pages: b.levels[level]}, nil
		}
		if len(b.levels[level]) == 0 {
			continue
		}
		if err := b.raise(ctx, level); err != nil {
			return manifest.List{}, err
		}
	}
}

func inline(refs []manifest.Ref) manifest.List {
	return manifest.List{Items: manifest.EncodeItems(refs)}
}

// item is what a page of a file's list holds.
type item interface{ manifest.Ref | manifest.Page }

// seal makes a page of items, and returns its plaintext too.
func seal[T item](ctx context.Context, s Sealer, items []T) (manifest.Page, []byte, error) {
	plain := manifest.EncodeItems(items)
	ref, err := s.SealPage(ctx, plain)
	if err != nil {
		return manifest.Page{}, nil, err
	}
	var span uint64
	for _, i := range items {
		span += spanOf(i)
	}
	return manifest.Page{Ref: ref, Span: span}, plain, nil
}

func spanOf[T item](v T) uint64 {
	switch v := any(v).(type) {
	case manifest.Ref:
		return v.Size
	case manifest.Page:
		return v.Span
	}
	return 0
}
