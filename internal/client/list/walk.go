// Package list handles lists that may be too long for one manifest: it builds
// them as they grow, finds the part that covers a range, and replaces a part
// by rewriting only the pages it touches. File content is such a list, of
// blocks and holes; package tree keeps the children of folders in the same way.
//
// It does no I/O of its own. The caller opens and seals pages, which are
// blocks like any other.
//
// Invariants: a page holds exactly what its span says, or reading fails with
// [fault.Invalid]; memory is bounded by the depth of a list and never by a
// number that somebody else wrote; a list never refers to a page that was not
// sealed before.
package list

import (
	"context"

	"parsec/internal/base/fault"
	"parsec/internal/format/manifest"
)

// Reader opens pages.
type Reader interface {
	// ReadPages returns the plaintexts of pages, without padding and in the
	// order of their refs. At most [Batch] are asked for at once, each at most
	// [manifest.InlineSize] long by its ref. The caller does not alter them.
	ReadPages(ctx context.Context, refs []manifest.Ref) ([][]byte, error)
}

// Sealer seals pages.
type Sealer interface {
	// SealPage makes a block of a page and returns how to find it. It may keep
	// plain, which is not altered afterwards.
	SealPage(ctx context.Context, plain []byte) (manifest.Ref, error)
}

// Batch is the largest number of pages that are read at once: enough for few
// round trips, and 2 MiB at most.
const Batch = 32

// Visit is one page on a walk.
type Visit struct {
	// Level is 0 for a page of items, and above for a page of pages.
	Level int
	// Start is what the list measures before the page.
	Start uint64
	Page  manifest.Page
	Plain []byte
}

// Walk visits the pages of l that overlap the range from..to of what the list
// measures, each before those below it, in order. Pages of pages are checked;
// that a page of items agrees with its span is for visit to check.
func Walk(ctx context.Context, l manifest.List, r Reader, from, to uint64, visit func(Visit) error) error {
	if l.Depth > manifest.MaxDepth {
		return fault.Errorf(fault.Invalid, "walk list: %d levels of pages", l.Depth)
	}
	if _, err := measure(l.Pages); err != nil {
		return err
	}
	w := walker{r, from, to, visit}
	return w.level(ctx, l.Pages, int(l.Depth)-1, 0)
}

type walker struct {
	r        Reader
	from, to uint64
	visit    func(Visit) error
}

func (w *walker) level(ctx context.Context, pages []manifest.Page, level int, start uint64) error {
	var wanted []Visit
	for _, p := range pages {
		if start < w.to && start+p.Span > w.from {
			wanted = append(wanted, Visit{Level: level, Start: start, Page: p})
		}
		start += p.Span
	}
	for len(wanted) > 0 {
		n := min(len(wanted), Batch)
		if err := w.batch(ctx, wanted[:n]); err != nil {
			return err
		}
		wanted = wanted[n:]
	}
	return nil
}

func (w *walker) batch(ctx context.Context, visits []Visit) error {
	refs := make([]manifest.Ref, len(visits))
	for i, v := range visits {
		refs[i] = v.Page.Ref
	}
	plains, err := read(ctx, w.r, refs)
	if err != nil {
		return err
	}
	for i, v := range visits {
		v.Plain = plains[i]
		if err := w.visit(v); err != nil {
			return err
		}
		if v.Level == 0 {
			continue
		}
		below, err := manifest.DecodePages(v.Plain, v.Page.Span)
		if err != nil {
			return fault.Errorf(fault.KindOf(err), "read page of pages: %w", err)
		}
		if err := w.level(ctx, below, v.Level-1, v.Start); err != nil {
			return err
		}
	}
	return nil
}

// read opens pages and compares them with what their refs say.
func read(ctx context.Context, r Reader, refs []manifest.Ref) ([][]byte, error) {
	for _, ref := range refs {
		if ref.Hole() || ref.Size > manifest.InlineSize {
			return nil, fault.Errorf(fault.Invalid, "read page: a page of %d bytes, at most %d are allowed", ref.Size, manifest.InlineSize)
		}
	}
	plains, err := r.ReadPages(ctx, refs)
	if err != nil {
		return nil, err
	}
	if len(plains) != len(refs) {
		return nil, fault.Errorf(fault.Failed, "read pages: got %d of %d", len(plains), len(refs))
	}
	for i, plain := range plains {
		if uint64(len(plain)) != refs[i].Size {
			return nil, fault.Errorf(fault.Invalid, "read page: %d bytes where the list says %d", len(plain), refs[i].Size)
		}
	}
	return plains, nil
}

// measure returns the sum of the pages' spans.
func measure(pages []manifest.Page) (uint64, error) {
	var sum uint64
	for _, p := range pages {
		if p.Span == 0 || p.Span > manifest.MaxFileSize-sum {
			return 0, fault.Errorf(fault.Invalid, "read list: a page spans %d after %d", p.Span, sum)
		}
		sum += p.Span
	}
	return sum, nil
}
