package list_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/list"
	"parsec/internal/format/manifest"
)

// pages keeps sealed pages in memory and counts.
type pages struct {
	held  map[id.Block][]byte
	reads int
	seals int
}

func newPages() *pages { return &pages{held: map[id.Block][]byte{}} }

func (p *pages) SealPage(_ context.Context, plain []byte) (manifest.Ref, error) {
	p.seals++
	ref := block(uint64(p.seals)|1<<63, uint64(len(plain)))
	p.held[ref.ID] = plain
	return ref, nil
}

func (p *pages) ReadPages(_ context.Context, refs []manifest.Ref) ([][]byte, error) {
	if len(refs) > list.Batch {
		return nil, fmt.Errorf("%d pages at once", len(refs))
	}
	var out [][]byte
	for _, ref := range refs {
		p.reads++
		plain, ok := p.held[ref.ID]
		if !ok {
			return nil, fault.Errorf(fault.NotFound, "no page %s", ref.ID)
		}
		out = append(out, plain)
	}
	return out, nil
}

func block(n, size uint64) manifest.Ref {
	var ref manifest.Ref
	binary.BigEndian.PutUint64(ref.ID[:], n)
	ref.ID[15] = 1
	ref.Key = sha256.Sum256(ref.ID[:])
	ref.Digest = sha256.Sum256(ref.Key[:])
	ref.Size = size
	return ref
}

func blocks(n int) []manifest.Ref {
	refs := make([]manifest.Ref, n)
	for i := range refs {
		refs[i] = block(uint64(i), manifest.BlockSize)
	}
	return refs
}

func build(t testing.TB, p *pages, refs []manifest.Ref) list.Blocks {
	t.Helper()
	b := list.NewBuilder(p)
	for _, ref := range refs {
		if err := b.Add(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	l, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return open(t, manifest.FileBody{Size: b.Size(), Blocks: l})
}

// open returns the content of a file, after a round through its encoding.
func open(t testing.TB, b manifest.FileBody) list.Blocks {
	t.Helper()
	plain := manifest.Encode(manifest.Manifest{
		Entry: id.New[id.Entry](), Version: 1, Author: id.New[id.Device](), Parent: id.New[id.Entry](), Name: "f",
	}, b)
	_, body, err := manifest.Decode(plain)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := list.Open(body.(manifest.FileBody))
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func all(t testing.TB, p *pages, b list.Blocks, from, to uint64) []list.Piece {
	t.Helper()
	var got []list.Piece
	for piece, err := range b.Range(t.Context(), p, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, piece)
	}
	return got
}

func refsOf(pieces []list.Piece) []manifest.Ref {
	var refs []manifest.Ref
	for _, p := range pieces {
		refs = append(refs, p.Ref)
	}
	return refs
}

var ignoreMarkers = cmpopts.IgnoreUnexported(manifest.Ref{}, manifest.Page{}, manifest.List{})

func TestAListReturnsWhatWasAdded(t *testing.T) {
	for _, c := range []struct {
		name         string
		n            int
		depth        uint8
		seals, reads int
	}{
		{"nothing", 0, 0, 0, 0},
		{"one block", 1, 0, 0, 0},
		{"as many as fit a manifest", 512, 0, 0, 0},
		{"one more", 513, 1, 2, 2},
		{"a full page and a part", 512 + 100, 1, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, want := newPages(), blocks(c.n)
			b := build(t, p, want)
			if got := refsOf(all(t, p, b, 0, b.Size())); !slices.Equal(want, got) {
				t.Fatalf("%d blocks came back that are not the %d added", len(got), len(want))
			}
			if b.List().Depth != c.depth || p.seals != c.seals || p.reads != c.reads {
				t.Errorf("depth %d, %d sealed, %d read; want %d, %d, %d", b.List().Depth, p.seals, p.reads, c.depth, c.seals, c.reads)
			}
		})
	}
}

func TestHolesThatTouchBecomeOne(t *testing.T) {
	p := newPages()
	b := list.NewBuilder(p)
	for range 10_000 {
		if err := b.Add(t.Context(), manifest.Hole(manifest.BlockSize)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(t.Context(), block(1, 1)); err != nil {
		t.Fatal(err)
	}
	l, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := refsOf(all(t, p, open(t, manifest.FileBody{Size: b.Size(), Blocks: l}), 0, b.Size()))
	want := []manifest.Ref{manifest.Hole(10_000 * manifest.BlockSize), block(1, 1)}
	if diff := cmp.Diff(want, got, ignoreMarkers); diff != "" {
		t.Error(diff)
	}
}

func TestABuilderHoldsAPageOfEachLevelAndNoMore(t *testing.T) {
	p := newPages()
	b := list.NewBuilder(p)
	for i := range 5 * 512 {
		if err := b.Add(t.Context(), block(uint64(i), 1)); err != nil {
			t.Fatal(err)
		}
		if want := max(0, i) / 512; p.seals != want {
			t.Fatalf("after %d blocks %d pages are sealed, want %d", i+1, p.seals, want)
		}
	}
}

func TestReadingARangeReadsThePagesAboveItOnly(t *testing.T) {
	p := newPages()
	refs := blocks(512*512 + 1) // one more than a full level of pages
	b := build(t, p, refs)
	if b.List().Depth != 2 || p.seals != 512+3 {
		t.Errorf("depth %d, %d pages sealed, want 2 and %d", b.List().Depth, p.seals, 512+3)
	}
	const at = 200_000*manifest.BlockSize + 17
	got := all(t, p, b, at, at+1)
	if len(got) != 1 || got[0].Start != 200_000*manifest.BlockSize || got[0].Ref != block(200_000, manifest.BlockSize) {
		t.Fatalf("got %v", got)
	}
	if p.reads != 2 {
		t.Errorf("%d pages were read, want one for each of 2 levels", p.reads)
	}
	for range b.Range(t.Context(), p, at, at) {
		t.Error("an empty range has a piece")
	}
	if got := refsOf(all(t, p, b, 0, b.Size())); !slices.Equal(refs, got) {
		t.Errorf("%d blocks came back that are not the %d added", len(got), len(refs))
	}
}

func TestChangingOneBlockOfTenGibibytesRewritesOnePage(t *testing.T) {
	p := newPages()
	refs := blocks(20_480)
	b := build(t, p, refs)
	p.reads, p.seals = 0, 1<<20
	const at = 12_345
	refs[at] = block(1<<40, manifest.BlockSize)
	got, err := b.Replace(t.Context(), p, p, at*manifest.BlockSize, (at+1)*manifest.BlockSize, refs[at:at+1])
	if err != nil {
		t.Fatal(err)
	}
	if p.reads != 1 || p.seals != 1<<20+1 {
		t.Errorf("%d pages read and %d sealed, want one each", p.reads, p.seals-1<<20)
	}
	if !slices.Equal(refs, refsOf(all(t, p, got, 0, got.Size()))) {
		t.Error("other blocks changed too")
	}
}

func TestReplacingDoesNotReadWhatGoesAway(t *testing.T) {
	p := newPages()
	b := build(t, p, blocks(512*100))
	p.reads = 0
	got, err := b.Replace(t.Context(), p, p, manifest.BlockSize, b.Size(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.reads != 2 || got.List().Depth != 0 || got.Size() != manifest.BlockSize {
		t.Errorf("%d pages read, depth %d, size %d", p.reads, got.List().Depth, got.Size())
	}
}

func TestAppendingBlockByBlockFillsPages(t *testing.T) {
	p := newPages()
	b := build(t, p, blocks(2*512-5))
	for i := range 10 {
		var err error
		if b, err = b.Replace(t.Context(), p, p, b.Size(), b.Size(), []manifest.Ref{block(uint64(i), 7)}); err != nil {
			t.Fatal(err)
		}
	}
	pages := b.List().Pages
	if len(pages) != 3 || pages[2].Span != 5*7 {
		t.Errorf("%d pages, want two full ones and one of 5 blocks", len(pages))
	}
}

func TestWritesIntoAHoleKeepPagesFilled(t *testing.T) {
	p := newPages()
	const size = 1 << 40
	b := build(t, p, []manifest.Ref{manifest.Hole(size)})
	r := rand.New(rand.NewPCG(1, 2))
	const writes = 400
	for i := range writes {
		at := r.Uint64N(size/manifest.BlockSize) * manifest.BlockSize
		var err error
		if b, err = b.Replace(t.Context(), p, p, at, at+manifest.BlockSize, []manifest.Ref{block(uint64(i), manifest.BlockSize)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.List().Pages); n > 2*(2*writes)/256 {
		t.Errorf("%d pages for %d pieces", n, 2*writes)
	}
}

func TestReplacementsThatCannotBeAreRefused(t *testing.T) {
	p := newPages()
	b := build(t, p, blocks(3))
	for _, c := range []struct {
		name     string
		from, to uint64
		refs     []manifest.Ref
		want     fault.Kind
	}{
		{"a range that cuts a block", 1, manifest.BlockSize, nil, fault.Invalid},
		{"a range behind the end", 0, 4 * manifest.BlockSize, nil, fault.TooLarge},
		{"a range that ends before it begins", 2, 1, nil, fault.TooLarge},
		{"an empty block", 0, 0, []manifest.Ref{{}}, fault.TooLarge},
		{"more than a file may hold", 0, 0, []manifest.Ref{manifest.Hole(manifest.MaxFileSize)}, fault.TooLarge},
		{"sizes that overflow", 0, 0, []manifest.Ref{manifest.Hole(1 << 63), manifest.Hole(1 << 63)}, fault.TooLarge},
	} {
		if _, err := b.Replace(t.Context(), p, p, c.from, c.to, c.refs); !fault.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if err := list.NewBuilder(p).Add(t.Context(), manifest.Hole(manifest.MaxFileSize+1)); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a builder takes more than a file may hold: %v", err)
	}
}

func TestMalformedListsAreRefused(t *testing.T) {
	p := newPages()
	sealed := func(plain []byte) manifest.Ref {
		ref, err := p.SealPage(t.Context(), plain)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	refs := sealed(manifest.EncodeItems(blocks(2)))
	short := refs
	short.Size--
	long := refs
	long.Size = manifest.InlineSize + 1
	const two = 2 * manifest.BlockSize
	paged := func(depth uint8, pages ...manifest.Page) manifest.List {
		return manifest.List{Depth: depth, Pages: pages}
	}
	for _, c := range []struct {
		name string
		size uint64
		list manifest.List
	}{
		{"a page whose blocks do not sum up to its span", two + 1, paged(1, manifest.Page{Ref: refs, Span: two + 1})},
		{"pages that do not sum up to the size", two, paged(1, manifest.Page{Ref: refs, Span: two}, manifest.Page{Ref: refs, Span: two})},
		{"spans that overflow", two, paged(1, manifest.Page{Ref: refs, Span: two}, manifest.Page{Ref: refs, Span: -(two & (1<<64 - 1)) & (1<<64 - 1)})},
		{"a page shorter than its ref says", two, paged(1, manifest.Page{Ref: short, Span: two})},
		{"a page longer than a page may be", two, paged(1, manifest.Page{Ref: long, Span: two})},
		{"a hole for a page", two, paged(1, manifest.Page{Ref: manifest.Hole(3), Span: two})},
		{"pages where blocks should be", two, paged(1, manifest.Page{Ref: sealed(manifest.EncodeItems([]manifest.Page{{Ref: refs, Span: two}})), Span: two})},
		{"a page of nothing", two, paged(1, manifest.Page{Ref: refs, Span: two}, manifest.Page{Ref: refs})},
		{"too many levels", two, paged(4, manifest.Page{Ref: refs, Span: two})},
		{"bytes that are no list", 3, paged(1, manifest.Page{Ref: sealed([]byte{0xff, 0, 1}), Span: 3})},
		{"blocks that do not sum up to the size", two + 1, manifest.List{Items: manifest.EncodeItems(blocks(2))}},
		{"no list at all", 0, manifest.List{}},
	} {
		if err := readAll(t.Context(), p, manifest.FileBody{Size: c.size, Blocks: c.list}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// readAll returns the first error of reading a list, at most a million pieces of it.
func readAll(ctx context.Context, r list.Reader, body manifest.FileBody) error {
	b, err := list.Open(body)
	if err != nil {
		return err
	}
	n := 0
	end := uint64(0)
	for piece, err := range b.All(ctx, r) {
		if err != nil {
			return err
		}
		if piece.Start != end || piece.Ref.Size == 0 {
			panic("pieces with a gap")
		}
		end = piece.End()
		if n++; n > 1_000_000 {
			return nil
		}
	}
	if end != body.Size {
		panic("content that is not as long as its file")
	}
	return nil
}

func TestReplacingAgreesWithReplacingInASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPages()
		next := uint64(0)
		some := func(label string, most int) []manifest.Ref {
			n := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, most)).Draw(t, label)
			holes := rapid.IntRange(0, 3).Draw(t, "holes")
			refs := make([]manifest.Ref, 0, n)
			for i := range n {
				next++
				if holes > 0 && i%7 < holes && i > 0 && !refs[i-1].Hole() {
					refs = append(refs, manifest.Hole(5+next%100))
				} else {
					refs = append(refs, block(next, 1+next%10))
				}
			}
			return refs
		}
		model := some("start", 1600)
		b := buildRapid(t, p, model)
		for range rapid.IntRange(1, 8).Draw(t, "edits") {
			i := rapid.IntRange(0, len(model)).Draw(t, "from")
			j := rapid.IntRange(i, len(model)).Draw(t, "to")
			if rapid.Bool().Draw(t, "short") {
				j = min(j, i+2)
			}
			from, to := sum(model[:i]), sum(model[:j])
			before, after := append([]manifest.Ref(nil), model[:i]...), append([]manifest.Ref(nil), model[j:]...)
			if len(after) > 0 && after[0].Hole() && to < from+sum(model[i:j])+after[0].Size && rapid.Bool().Draw(t, "cut") {
				to++
				after[0].Size--
			}
			refs := some("new", 700)
			var err error
			if b, err = b.Replace(context.Background(), p, p, from, to, refs); err != nil {
				t.Fatal(err)
			}
			model = append(append(before, refs...), after...)
			compare(t, p, b, model)
		}
	})
}

func buildRapid(t *rapid.T, p *pages, refs []manifest.Ref) list.Blocks {
	b := list.NewBuilder(p)
	for _, ref := range refs {
		if err := b.Add(context.Background(), ref); err != nil {
			t.Fatal(err)
		}
	}
	l, err := b.Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	opened, err := list.Open(manifest.FileBody{Size: b.Size(), Blocks: l})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// compare holds the list against a slice, in which holes may touch.
func compare(t *rapid.T, p *pages, b list.Blocks, model []manifest.Ref) {
	if b.Size() != sum(model) {
		t.Fatalf("size %d, want %d", b.Size(), sum(model))
	}
	var got []manifest.Ref
	for piece, err := range b.All(context.Background(), p) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, piece.Ref)
	}
	if !slices.Equal(joined(model), joined(got)) {
		t.Fatalf("got %d pieces that differ from the model's %d", len(got), len(model))
	}
	if b.List().Depth == 0 && len(got) > manifest.PageItems || b.List().Depth > 0 && len(got) <= 2 {
		t.Fatalf("%d pieces at depth %d", len(got), b.List().Depth)
	}
}

func joined(refs []manifest.Ref) []manifest.Ref {
	var out []manifest.Ref
	for _, ref := range refs {
		if n := len(out); n > 0 && ref.Hole() && out[n-1].Hole() {
			out[n-1].Size += ref.Size
		} else if ref.Size > 0 {
			out = append(out, ref)
		}
	}
	return out
}

func sum(refs []manifest.Ref) uint64 {
	var n uint64
	for _, ref := range refs {
		n += ref.Size
	}
	return n
}

// anyPages answers every read with the same bytes, cut to the asked length.
type anyPages []byte

func (a anyPages) ReadPages(_ context.Context, refs []manifest.Ref) ([][]byte, error) {
	out := make([][]byte, len(refs))
	for i, ref := range refs {
		out[i] = a[:min(uint64(len(a)), ref.Size)]
	}
	return out, nil
}

func FuzzHostilePages(f *testing.F) {
	refs := manifest.EncodeItems(blocks(2))
	ref := block(9, uint64(len(refs)))
	f.Add(uint64(2*manifest.BlockSize), uint8(1), refs, []byte{})
	f.Add(uint64(2*manifest.BlockSize), uint8(2), manifest.EncodeItems([]manifest.Page{{Ref: ref, Span: 2 * manifest.BlockSize}}), refs)
	f.Add(uint64(1<<63), uint8(3), refs, refs)
	f.Fuzz(func(t *testing.T, size uint64, depth uint8, page, inner []byte) {
		if depth%4 == 0 {
			_ = readAll(t.Context(), anyPages(page), manifest.FileBody{Size: size, Blocks: manifest.List{Depth: depth, Items: page}})
			return
		}
		// The same page below itself, as often as the bounds allow.
		top := manifest.Page{Ref: block(1, uint64(len(page))), Span: size}
		_ = readAll(t.Context(), anyPages(append(page, inner...)), manifest.FileBody{Size: size, Blocks: manifest.List{Depth: depth % 4, Pages: []manifest.Page{top}}})
	})
}

func BenchmarkReplaceOneBlockOfTenGibibytes(b *testing.B) {
	p := newPages()
	content := build(b, p, blocks(20_480))
	for b.Loop() {
		_, err := content.Replace(b.Context(), p, p, 99*manifest.BlockSize, 100*manifest.BlockSize, blocks(1))
		if err != nil {
			b.Fatal(err)
		}
	}
}
