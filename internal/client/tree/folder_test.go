package tree_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/tree"
	"parsec/internal/format/canon"
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
	var ref manifest.Ref
	binary.BigEndian.PutUint64(ref.ID[8:], uint64(p.seals))
	ref.Key, ref.Digest, ref.Size = sha256.Sum256(ref.ID[:]), sha256.Sum256(plain), uint64(len(plain))
	p.held[ref.ID] = plain
	return ref, nil
}

func (p *pages) ReadPages(_ context.Context, refs []manifest.Ref) ([][]byte, error) {
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

func entry(n int) (e id.Entry) {
	binary.BigEndian.PutUint64(e[8:], uint64(n))
	return e
}

func child(name string, n int) manifest.Child {
	return manifest.Child{Name: name, Entry: entry(n), Kind: manifest.File}
}

func many(n int) tree.Children {
	out := make(tree.Children, n)
	for i := range out {
		out[i] = child(fmt.Sprintf("an ordinary name of a file %07d.jpg", i), i+1)
	}
	return out
}

// folder is a device's view of one folder: what it keeps, and the whole chain.
type folder struct {
	pages *pages
	shape tree.Shape
	marks []tree.Mark
	kids  tree.Children
	chain []tree.Version
	asked int
}

func (f *folder) write(t fataler, changes ...manifest.Child) *tree.Next {
	before := func(context.Context) (tree.Children, []tree.Mark, error) {
		f.asked++
		return f.kids, f.marks, nil
	}
	next, err := tree.Write(context.Background(), f.shape, changes, before, f.pages)
	if err != nil {
		t.Fatal(err)
	}
	f.shape = next.Shape
	f.kids = f.kids.Apply(inOrder(changes))
	if next.Snapshot {
		f.chain, f.marks = nil, next.Marks
	}
	f.chain = append(f.chain, tree.Version{Number: next.Shape.Version, Body: &next.Body})
	return next
}

type fataler interface{ Fatal(args ...any) }

func inOrder(changes []manifest.Child) []manifest.Child {
	return slices.SortedFunc(slices.Values(changes), func(a, b manifest.Child) int { return strings.Compare(a.Name, b.Name) })
}

func (f *folder) load(t fataler) *tree.Folder {
	got, err := tree.Load(context.Background(), f.chain, f.pages)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

var ignoreMarkers = cmpopts.IgnoreUnexported(manifest.Ref{}, manifest.Page{}, manifest.List{}, manifest.Child{}, tree.Mark{}, tree.Shape{})

func TestAFolderOfAHundredThousandTakesAFileInAHundredBytes(t *testing.T) {
	f := &folder{pages: newPages()}
	f.write(t, many(100_000)...)
	f.pages.reads, f.pages.seals, f.asked = 0, 0, 0
	next := f.write(t, child("another file.txt", 1<<30))
	if n := len(next.Body.Children.Items); !next.Body.Delta || n > 100 {
		t.Errorf("delta %v of %d bytes", next.Body.Delta, n)
	}
	if f.asked+f.pages.reads+f.pages.seals != 0 {
		t.Errorf("children asked for %d times, %d pages read, %d sealed", f.asked, f.pages.reads, f.pages.seals)
	}
	if got := f.load(t); len(got.Children) != 100_001 || got.Shape != f.shape {
		t.Errorf("%d children, shape %+v, want %+v", len(got.Children), got.Shape, f.shape)
	}
}

func TestASnapshotUsesPagesAgainWhoseChildrenAreTheSame(t *testing.T) {
	f := &folder{pages: newPages()}
	f.write(t, many(30_000)...)
	pagesBefore := f.pages.seals
	var next *tree.Next
	for i := range manifest.MaxDeltas + 1 {
		next = f.write(t, child(fmt.Sprintf("an ordinary name of a file 0015000.jpg %04d", i), 1<<30+i))
		if next.Snapshot != (i == manifest.MaxDeltas) {
			t.Fatalf("change %d: snapshot %v", i, next.Snapshot)
		}
	}
	if n := f.pages.seals - pagesBefore; n < 1 || n > 3 {
		t.Errorf("%d of %d pages were sealed again", n, pagesBefore)
	}
	if got := f.load(t); !slices.Equal(got.Children, f.kids) || f.asked != 1 {
		t.Errorf("other children came back; asked for %d times", f.asked)
	}
}

func TestMarksAreTheSameWrittenAndRead(t *testing.T) {
	f := &folder{pages: newPages()}
	f.write(t, many(5000)...)
	byPage := func(a, b tree.Mark) int { return strings.Compare(a.First, b.First)*2 + int(a.Level) - int(b.Level) }
	slices.SortFunc(f.marks, byPage)
	got := f.load(t).Marks
	slices.SortFunc(got, byPage)
	if diff := cmp.Diff(f.marks, got, ignoreMarkers); diff != "" || len(got) < 4 {
		t.Errorf("%d marks:\n%s", len(got), diff)
	}
}

func TestAFolderTooLongForOneLevelOfPages(t *testing.T) {
	f := &folder{pages: newPages()}
	long := strings.Repeat("a long name ", 20)
	kids := make([]manifest.Child, 120_000)
	for i := range kids {
		kids[i] = child(fmt.Sprintf("%07d %s", i, long), i+1)
	}
	next := f.write(t, kids...)
	if next.Body.Children.Depth != 2 {
		t.Fatalf("depth %d", next.Body.Children.Depth)
	}
	if got := f.load(t); !slices.Equal(got.Children, f.kids) {
		t.Error("other children came back")
	}
	// Half the bytes of the snapshot in one delta still leaves most pages as they are.
	sealed := f.pages.seals
	f.shape.Base = f.shape.Version
	f.shape.Deltas = f.shape.Snapshot
	f.write(t, child("0060000 a", 1<<30))
	if n := f.pages.seals - sealed; n < 2 || n > 5 {
		t.Errorf("%d pages were sealed again", n)
	}
	if got := f.load(t); !slices.Equal(got.Children, f.kids) {
		t.Error("other children came back after a change")
	}
}

func TestAFolderThatWasGoneBeginsWithASnapshot(t *testing.T) {
	f := &folder{pages: newPages(), shape: tree.Gone(7)}
	next := f.write(t, child("a", 1))
	weight := uint64(len(next.Body.Children.Items)) - 1 // without the byte that says how many
	if want := (tree.Shape{Version: 8, Base: 8, Snapshot: weight, Children: 1}); f.shape != want || f.asked != 0 {
		t.Errorf("shape %+v, want %+v; asked %d times", f.shape, want, f.asked)
	}
}

func TestAFolderMayNotOutgrowItsBound(t *testing.T) {
	shape := tree.Shape{Version: 3, Base: 1, Snapshot: 1 << 40, Children: tree.MaxChildren}
	before := func(context.Context) (tree.Children, []tree.Mark, error) { return many(tree.MaxChildren), nil, nil }
	_, err := tree.Write(t.Context(), shape, []manifest.Child{child("z", 1)}, before, newPages())
	if !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestChangesThatCannotBeAreRefused(t *testing.T) {
	for name, changes := range map[string][]manifest.Child{
		"two of one name": {child("a", 1), {Name: "a"}},
		"a bad name":      {child("..", 1)},
		"one of no kind":  {{Name: "a", Entry: child("a", 1).Entry}},
	} {
		if _, err := tree.Write(t.Context(), tree.Shape{}, changes, nil, newPages()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDiffAndApplyAreInverse(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) tree.Children {
		m := rapid.MapOfN(rapid.StringMatching("[a-f]{1,2}"), rapid.IntRange(1, 3), 0, 20).Draw(t, "children")
		var out tree.Children
		for _, name := range slices.Sorted(maps.Keys(m)) {
			out = append(out, child(name, m[name]))
		}
		return out
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		if got := a.Apply(tree.Diff(a, b)); !slices.Equal(got, b) {
			t.Fatalf("got %v, want %v", got, b)
		}
		for _, c := range b {
			if got, ok := b.Find(c.Name); !ok || got != c {
				t.Fatalf("find %q: %v, %v", c.Name, got, ok)
			}
		}
	})
}

func TestWhatIsWrittenInAnyOrderIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &folder{pages: newPages()}
		model := map[string]manifest.Child{}
		for i := range rapid.IntRange(1, 10).Draw(t, "versions") {
			var changes []manifest.Child
			n := rapid.SampledFrom([]int{1, 1, 1, 3, 900, 4000}).Draw(t, "changes")
			from, remove := rapid.IntRange(0, 9000).Draw(t, "from"), rapid.IntRange(0, 3).Draw(t, "remove") == 0
			for k := range n {
				c := child(fmt.Sprintf("name %05d", from+k), 1+i*10_000+k)
				if remove {
					c = manifest.Child{Name: c.Name}
				}
				changes = append(changes, c)
			}
			for _, c := range changes {
				model[c.Name] = c
				if c.Removed() {
					delete(model, c.Name)
				}
			}
			f.write(t, changes...)
		}
		var want tree.Children
		for _, name := range slices.Sorted(maps.Keys(model)) {
			want = append(want, model[name])
		}
		got := f.load(t)
		if !slices.Equal(got.Children, want) || got.Shape != f.shape {
			t.Fatalf("%d children, want %d; shape %+v, want %+v", len(got.Children), len(want), got.Shape, f.shape)
		}
		if len(got.Malformed) > 0 || f.shape.Deltas > f.shape.Snapshot || f.shape.Children < uint64(len(want)) || len(f.chain) > 1+manifest.MaxDeltas {
			t.Fatalf("shape %+v with %d versions and %d children", f.shape, len(f.chain), len(want))
		}
	})
}

func inline(delta bool, children ...manifest.Child) *manifest.FolderBody {
	return &manifest.FolderBody{Delta: delta, Children: manifest.List{Items: manifest.EncodeItems(children)}}
}

func TestAMalformedVersionChangesNothing(t *testing.T) {
	p := newPages()
	ref, err := p.SealPage(t.Context(), manifest.EncodeItems(many(3)))
	if err != nil {
		t.Fatal(err)
	}
	paged := func(spans ...uint64) *manifest.FolderBody {
		b := &manifest.FolderBody{Children: manifest.List{Depth: 1}}
		for _, span := range spans {
			b.Children.Pages = append(b.Children.Pages, manifest.Page{Ref: ref, Span: span})
		}
		return b
	}
	good := inline(false, child("a", 1))
	two := inline(false, child("a", 1), child("b", 2))
	for _, c := range []struct {
		name   string
		base   *manifest.FolderBody
		deltas []*manifest.FolderBody
		want   tree.Children
		bad    []uint64
	}{
		{"nothing is wrong", good, []*manifest.FolderBody{inline(true, child("b", 2))}, tree.Children{child("a", 1), child("b", 2)}, nil},
		{"a delta that outweighs the snapshot", good, []*manifest.FolderBody{inline(true, child("b", 2), child("c", 3))}, tree.Children{child("a", 1)}, []uint64{6}},
		{"deltas that outweigh the snapshot", good, []*manifest.FolderBody{inline(true, child("b", 2)), inline(true, child("c", 2))}, tree.Children{child("a", 1), child("b", 2)}, []uint64{7}},
		{"a delta of pages that outweighs the snapshot", good, []*manifest.FolderBody{{Delta: true, Children: paged(3).Children}}, tree.Children{child("a", 1)}, []uint64{6}},
		{"a bad name", good, []*manifest.FolderBody{inline(true, child("../b", 2)), inline(true, child("c", 3))}, tree.Children{child("a", 1), child("c", 3)}, []uint64{6}},
		{"names out of order", two, []*manifest.FolderBody{inline(true, child("c", 2), child("b", 3))}, tree.Children{child("a", 1), child("b", 2)}, []uint64{6}},
		{"a snapshot where a delta should be", good, []*manifest.FolderBody{good}, tree.Children{child("a", 1)}, []uint64{6}},
		{"a delta where the snapshot should be", inline(true, child("a", 1)), []*manifest.FolderBody{inline(true, child("b", 2))}, tree.Children{}, []uint64{5, 6}},
		{"no manifest of a folder", nil, nil, tree.Children{}, []uint64{5}},
		{"a removed child in a snapshot", inline(false, manifest.Child{Name: "a"}), nil, tree.Children{}, []uint64{5}},
		{"a page that spans too much", paged(4), nil, tree.Children{}, []uint64{5}},
		{"a page that repeats", paged(3, 3), nil, tree.Children{}, []uint64{5}},
		{"more children than allowed", paged(tree.MaxChildren, 1), nil, tree.Children{}, []uint64{5}},
		{"spans that overflow", paged(1<<63, 1<<63), nil, tree.Children{}, []uint64{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain := []tree.Version{{Number: 5, Body: c.base}}
			for i, d := range c.deltas {
				chain = append(chain, tree.Version{Number: 6 + uint64(i), Body: d})
			}
			got, err := tree.Load(t.Context(), chain, p)
			if err != nil {
				t.Fatal(err)
			}
			var bad []uint64
			for _, m := range got.Malformed {
				bad = append(bad, m.Version)
			}
			if !slices.Equal(got.Children, c.want) || !slices.Equal(bad, c.bad) {
				t.Errorf("children %v, malformed %v", got.Children, got.Malformed)
			}
			if healthy := !slices.Contains(bad, 5); (got.Shape.Base != 0) != healthy {
				t.Errorf("base %d", got.Shape.Base)
			}
		})
	}
}

func TestAChainMustBeWhole(t *testing.T) {
	b := inline(false)
	for name, chain := range map[string][]tree.Version{
		"empty":     nil,
		"with gaps": {{Number: 1, Body: b}, {Number: 3, Body: inline(true)}},
		"from zero": {{Number: 0, Body: b}},
		"too long":  make([]tree.Version, 2+manifest.MaxDeltas),
	} {
		if _, err := tree.Load(t.Context(), chain, newPages()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAPageThatCannotBeReadIsNoMistakeOfItsAuthor(t *testing.T) {
	body := &manifest.FolderBody{Children: manifest.List{Depth: 1, Pages: []manifest.Page{{Ref: manifest.Ref{ID: id.New[id.Block](), Size: 9}, Span: 1}}}}
	if _, err := tree.Load(t.Context(), []tree.Version{{Number: 1, Body: body}}, newPages()); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestAShapeSurvivesItsEncoding(t *testing.T) {
	want := tree.Shape{Version: 9, Base: 7, Snapshot: 5, Deltas: 3, Children: 1}
	var got tree.Shape
	if err := canon.Unmarshal(canon.Marshal(want), &got); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
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

func FuzzHostileFolder(f *testing.F) {
	plain := manifest.EncodeItems(many(3))
	f.Add(uint64(3), uint8(1), false, plain)
	f.Add(uint64(3), uint8(0), true, plain)
	f.Add(uint64(6), uint8(2), false, manifest.EncodeItems([]manifest.Page{{Ref: manifest.Ref{ID: id.Block{1}, Size: 70}, Span: 6}}))
	f.Fuzz(func(t *testing.T, span uint64, depth uint8, delta bool, page []byte) {
		body := manifest.FolderBody{Delta: delta, Children: manifest.List{Depth: depth % 5, Items: page}}
		if body.Children.Depth > 0 {
			ref := manifest.Ref{ID: id.Block{1}, Size: uint64(len(page))}
			body.Children = manifest.List{Depth: depth % 5, Pages: []manifest.Page{{Ref: ref, Span: span}}}
		}
		chain := []tree.Version{{Number: 1, Body: &body}}
		if delta {
			chain = []tree.Version{{Number: 1, Body: inline(false, many(9)...)}, {Number: 2, Body: &body}}
		}
		got, err := tree.Load(t.Context(), chain, anyPages(page))
		if err != nil {
			return
		}
		for i, c := range got.Children {
			if manifest.CheckName(c.Name) != nil || i > 0 && got.Children[i-1].Name >= c.Name || c.Removed() {
				t.Fatalf("child %d is %v", i, c)
			}
		}
	})
}

func BenchmarkLoadFolderOfAHundredThousand(b *testing.B) {
	f := &folder{pages: newPages()}
	f.write(b, many(100_000)...)
	for i := range 1000 {
		f.write(b, child(fmt.Sprintf("another %d", i), 1<<30+i))
	}
	b.ResetTimer()
	for b.Loop() {
		f.load(b)
	}
}

func BenchmarkDeltaOfAHundredThousand(b *testing.B) {
	f := &folder{pages: newPages()}
	f.write(b, many(100_000)...)
	for b.Loop() {
		if _, err := tree.Write(b.Context(), f.shape, []manifest.Child{child("another", 1<<30)}, nil, f.pages); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshotOfAHundredThousand(b *testing.B) {
	f := &folder{pages: newPages()}
	f.write(b, many(100_000)...)
	f.shape.Deltas = f.shape.Snapshot
	before := func(context.Context) (tree.Children, []tree.Mark, error) { return f.kids, f.marks, nil }
	for b.Loop() {
		if _, err := tree.Write(b.Context(), f.shape, []manifest.Child{child("another", 1<<30)}, before, f.pages); err != nil {
			b.Fatal(err)
		}
	}
}
