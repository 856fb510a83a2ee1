package manifest_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
	"parsec/internal/format/golden"
	"parsec/internal/format/manifest"
	"parsec/internal/format/padding"
)

func entry(n byte) id.Entry { return id.Entry(golden.Fill(16, n)) }

func ref(n byte, size uint64) manifest.Ref {
	return manifest.Ref{
		ID: id.Block(golden.Fill(16, n)), Key: secret.Key(golden.Fill(32, n)), Size: size, Digest: [32]byte(golden.Fill(32, n+1)),
	}
}

func page(n byte, span uint64) manifest.Page { return manifest.Page{Ref: ref(n, 1000), Span: span} }

func inline[T manifest.Ref | manifest.Child](items ...T) manifest.List {
	return manifest.List{Items: manifest.EncodeItems(items)}
}

func header() manifest.Manifest {
	return manifest.Manifest{
		Entry: entry(1), Version: 3, Author: id.Device(golden.Fill(16, 2)), Parent: entry(3), Name: "Übersicht.ods",
		Created: 1_700_000_000_000_000_001, Modified: -5,
	}
}

func root() manifest.Manifest {
	m := header()
	m.Parent, m.Name = id.Entry{}, ""
	return m
}

// example is a manifest and its body.
type example struct {
	name     string
	manifest manifest.Manifest
	body     manifest.Body
}

func examples() []example {
	small := manifest.Child{Name: "a", Entry: entry(4), Kind: manifest.File}
	other := manifest.Child{Name: "b", Entry: entry(5), Kind: manifest.Symlink}
	return []example{
		{"an empty file", header(), manifest.FileBody{Blocks: inline[manifest.Ref]()}},
		{"an executable of two blocks with a hole between", header(), manifest.FileBody{
			Size: manifest.BlockSize + 1<<30 + 7, Executable: true,
			Blocks: inline(ref(1, manifest.BlockSize), manifest.Hole(1<<30), ref(2, 7)),
		}},
		{"a file in pages", header(), manifest.FileBody{
			Size: 3 << 30, Blocks: manifest.List{Depth: 2, Pages: []manifest.Page{page(1, 2<<30), page(2, 1<<30)}},
		}},
		{"an empty root folder", root(), manifest.FolderBody{Children: inline[manifest.Child]()}},
		{"a folder's snapshot", header(), manifest.FolderBody{Children: inline(small, other)}},
		{"a folder's delta that adds and removes", header(), manifest.FolderBody{
			Delta: true, Children: inline(small, manifest.Child{Name: "gone"}),
		}},
		{"a folder in pages", header(), manifest.FolderBody{
			Children: manifest.List{Depth: 1, Pages: []manifest.Page{page(1, 500), page(2, 12)}},
		}},
		{"a symlink", header(), manifest.SymlinkBody{Target: "../elsewhere"}},
	}
}

func TestManifestsKeepTheirBytes(t *testing.T) {
	var vectors []golden.Vector
	for _, e := range examples() {
		vectors = append(vectors, golden.Vector{Name: e.name, Bytes: manifest.Encode(e.manifest, e.body)})
	}
	context := manifest.Context{
		Organization: id.Fingerprint(golden.Fill(32, 1)), Workspace: id.Workspace(golden.Fill(16, 2)), Entry: entry(3), Version: 4, Generation: 5,
	}
	golden.Compare(t, append(vectors,
		golden.Vector{Name: "a page of blocks", Bytes: manifest.EncodeItems([]manifest.Ref{ref(1, 9)})},
		golden.Vector{Name: "a page of pages", Bytes: manifest.EncodeItems([]manifest.Page{page(1, 9)})},
		golden.Vector{Name: "associated data of a manifest", Bytes: context.AssociatedData()},
		golden.Vector{Name: "associated data of a block", Bytes: manifest.BlockAssociatedData(context.Organization, context.Workspace, id.Block(golden.Fill(16, 9)))}))
}

func TestAManifestDecodesToWhatWasEncoded(t *testing.T) {
	for _, e := range examples() {
		m, body, err := manifest.Decode(manifest.Encode(e.manifest, e.body))
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		e.manifest.Kind, e.manifest.Body = m.Kind, canon.Marshal(e.body)
		unexported := cmpopts.IgnoreUnexported(manifest.Manifest{}, manifest.FileBody{}, manifest.FolderBody{},
			manifest.SymlinkBody{}, manifest.List{}, manifest.Page{}, manifest.Ref{})
		if diff := cmp.Diff(e.manifest, m, unexported); diff != "" {
			t.Errorf("%s: %s", e.name, diff)
		}
		if diff := cmp.Diff(e.body, body, unexported, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", e.name, diff)
		}
	}
}

// with returns a copy of v that change has altered.
func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func TestDecodingRefusesAManifestThatIsNeverRight(t *testing.T) {
	link := manifest.SymlinkBody{Target: "x"}
	file := func(size uint64, l manifest.List) manifest.Body { return manifest.FileBody{Size: size, Blocks: l} }
	folder := func(l manifest.List) manifest.Body { return manifest.FolderBody{Children: l} }
	child := func(name string) manifest.Child {
		return manifest.Child{Name: name, Entry: entry(4), Kind: manifest.File}
	}
	for _, c := range []struct {
		name     string
		manifest manifest.Manifest
		body     manifest.Body
	}{
		{"of no entry", with(header(), func(m *manifest.Manifest) { m.Entry = id.Entry{} }), link},
		{"of version 0", with(header(), func(m *manifest.Manifest) { m.Version = 0 }), link},
		{"by nobody", with(header(), func(m *manifest.Manifest) { m.Author = id.Device{} }), link},
		{"inside itself", with(header(), func(m *manifest.Manifest) { m.Parent = m.Entry }), link},
		{"of a root that is no folder", root(), link},
		{"of a root with a name", with(root(), func(m *manifest.Manifest) { m.Name = "a" }), folder(inline[manifest.Child]())},
		{"without a name", with(header(), func(m *manifest.Manifest) { m.Name = "" }), link},
		{"with a name that leads upwards", with(header(), func(m *manifest.Manifest) { m.Name = ".." }), link},
		{"of a symlink without a target", header(), manifest.SymlinkBody{}},
		{"of a symlink with a target beyond the limit", header(), manifest.SymlinkBody{Target: strings.Repeat("a", 4096)}},
		{"of a symlink with a NUL in its target", header(), manifest.SymlinkBody{Target: "a\x00b"}},
		{"of a symlink whose target is not UTF-8", header(), manifest.SymlinkBody{Target: "\xff"}},
		{"of a file beyond the largest size", header(), file(manifest.MaxFileSize+1, inline(manifest.Hole(manifest.MaxFileSize), manifest.Hole(1)))},
		{"of a file larger than its blocks", header(), file(8, inline(ref(1, 7)))},
		{"of a file smaller than its blocks", header(), file(0, inline(ref(1, 7)))},
		{"of a file whose holes wrap around to its size", header(), file(0, inline(manifest.Hole(1<<63), manifest.Hole(1<<63)))},
		{"of a file with an empty block", header(), file(0, inline(ref(1, 0)))},
		{"of a file with a block beyond the limit", header(), file(manifest.MaxBlockSize+1, inline(ref(1, manifest.MaxBlockSize+1)))},
		{"of a file with a hole that has a key", header(), file(5, inline(with(ref(1, 5), func(r *manifest.Ref) { r.ID = id.Block{} })))},
		{"of a file with neither blocks nor pages", header(), file(0, manifest.List{})},
		{"of a file with both blocks and pages", header(), file(9, with(inline(ref(1, 9)), func(l *manifest.List) { l.Pages = []manifest.Page{page(1, 9)} }))},
		{"of a file with pages at no depth", header(), file(9, manifest.List{Pages: []manifest.Page{page(1, 9)}})},
		{"of a file with blocks at a depth", header(), file(9, with(inline(ref(1, 9)), func(l *manifest.List) { l.Depth = 1 }))},
		{"of a file with pages too deep", header(), file(9, manifest.List{Depth: 4, Pages: []manifest.Page{page(1, 9)}})},
		{"of a file with pages that span another size", header(), file(8, manifest.List{Depth: 1, Pages: []manifest.Page{page(1, 9)}})},
		{"of a file with a page that spans nothing", header(), file(0, manifest.List{Depth: 1, Pages: []manifest.Page{page(1, 0)}})},
		{"of a file with a page that is a hole", header(), file(9, manifest.List{Depth: 1, Pages: []manifest.Page{{Ref: manifest.Hole(9), Span: 9}}})},
		{"of a file with too many pages", header(), file(513, manifest.List{Depth: 1, Pages: many(513, page(1, 1))})},
		{"of a file with too many blocks", header(), file(513, inline(many(513, ref(1, 1))...))},
		{"of a folder with a list beyond its limit", header(), folder(manifest.List{Items: make([]byte, manifest.InlineSize+1)})},
		{"of a folder with a child that leads upwards", header(), folder(inline(child("..")))},
		{"of a folder with a child without a name", header(), folder(inline(child("")))},
		{"of a folder with a child's name with a slash", header(), folder(inline(child("a/b")))},
		{"of a folder with a child's name that is not UTF-8", header(), folder(inline(child("\xff")))},
		{"of a folder with a name twice", header(), folder(inline(child("a"), child("a")))},
		{"of a folder with names out of order", header(), folder(inline(child("b"), child("a")))},
		{"of a snapshot that removes a child", header(), folder(inline(manifest.Child{Name: "a"}))},
		{"of a folder with a child of no kind", header(), folder(inline(manifest.Child{Name: "a", Entry: entry(4)}))},
		{"of a delta that removes a child of a kind", header(), manifest.FolderBody{Delta: true, Children: inline(manifest.Child{Name: "a", Kind: manifest.File})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := manifest.Decode(manifest.Encode(c.manifest, c.body)); !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v, want an error of kind invalid", err)
			}
		})
	}
}

func many[T any](n int, item T) []T {
	items := make([]T, n)
	for i := range items {
		items[i] = item
	}
	return items
}

func TestDecodingRefusesOtherBytes(t *testing.T) {
	plain := manifest.Encode(header(), manifest.SymlinkBody{Target: "x"})
	dirty := bytes.Clone(plain)
	dirty[len(dirty)-1] = 1
	body := canon.Marshal(manifest.SymlinkBody{Target: "x"})
	wrap := func(change func(m *manifest.Manifest)) []byte {
		m := header()
		m.Kind, m.Body = manifest.Symlink, body
		change(&m)
		return padding.Frame(canon.Marshal(m))
	}
	for _, c := range []struct {
		name  string
		plain []byte
		want  fault.Kind
	}{
		{"nothing", nil, fault.Invalid},
		{"a manifest that is cut", plain[:len(plain)-1], fault.Invalid},
		{"padding that is not zero", dirty, fault.Invalid},
		{"more padding than is due", append(bytes.Clone(plain), make([]byte, 256)...), fault.Invalid},
		{"something behind the manifest in its frame", padding.Frame(append(wrapped(plain), 0)), fault.Invalid},
		{"an entry of an unknown kind", wrap(func(m *manifest.Manifest) { m.Kind = 4 }), fault.Upgrade},
		{"a child of an unknown kind", manifest.Encode(header(), manifest.FolderBody{
			Children: inline(manifest.Child{Name: "a", Entry: entry(4), Kind: 4}),
		}), fault.Upgrade},
		{"an unknown field", padding.Frame(append(append([]byte{0x8a}, wrapped(plain)[1:]...), 0)), fault.Upgrade},
		{"an unknown field in the body", wrap(func(m *manifest.Manifest) { m.Body = []byte{0x82, 0x61, 'x', 0} }), fault.Upgrade},
		{"the body of another kind", wrap(func(m *manifest.Manifest) { m.Kind = manifest.Folder }), fault.Invalid},
		{"something behind the body", wrap(func(m *manifest.Manifest) { m.Body = append(bytes.Clone(body), 0) }), fault.Invalid},
		{"a list of indefinite length", manifest.Encode(header(), manifest.FolderBody{Children: manifest.List{Items: []byte{0x9f, 0xff}}}), fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := manifest.Decode(c.plain); !fault.Is(err, c.want) {
				t.Errorf("got %v, want an error of kind %q", err, c.want)
			}
		})
	}
}

// wrapped returns a copy of what is inside a frame.
func wrapped(plain []byte) []byte {
	content, err := padding.Unframe(plain)
	if err != nil {
		panic(err)
	}
	return bytes.Clone(content)
}

func TestPagesAreHeldToTheirPlace(t *testing.T) {
	child := func(name string) manifest.Child {
		return manifest.Child{Name: name, Entry: entry(4), Kind: manifest.Folder}
	}
	children := func(after string, items ...manifest.Child) error {
		_, err := manifest.DecodeChildren(manifest.EncodeItems(items), false, after)
		return err
	}
	refs := func(span uint64, items ...manifest.Ref) error {
		_, err := manifest.DecodeRefs(manifest.EncodeItems(items), span)
		return err
	}
	pages := func(span uint64, items ...manifest.Page) error {
		_, err := manifest.DecodePages(manifest.EncodeItems(items), span)
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"children behind those of the page before", children("a", child("b"), child("c")), true},
		{"a child that the page before had already", children("a", child("a")), false},
		{"a child that belongs before the page", children("b", child("a")), false},
		{"blocks of the page's span", refs(12, ref(1, 5), ref(2, 7)), true},
		{"blocks of less than the page's span", refs(13, ref(1, 5), ref(2, 7)), false},
		{"blocks of more than the page's span", refs(5, ref(1, 5), ref(2, 7)), false},
		{"pages of the page's span", pages(12, page(1, 5), page(2, 7)), true},
		{"pages of another span", pages(11, page(1, 5), page(2, 7)), false},
		{"pages whose spans wrap around", pages(0, page(1, 1<<63), page(2, 1<<63)), false},
		{"a page in a page that is a hole", pages(5, manifest.Page{Ref: manifest.Hole(9), Span: 5}), false},
		{"too many pages in a page", pages(513, many(513, page(1, 1))...), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: got %v, want accepted %v", c.name, c.err, c.ok)
		}
	}
}

func TestAnHonestManifestStaysBelowTheLimit(t *testing.T) {
	m := header()
	m.Name = strings.Repeat("n", manifest.MaxName)
	b := manifest.FileBody{Blocks: manifest.List{Items: make([]byte, manifest.InlineSize)}}
	const sealing = 12 + 16
	if n := len(manifest.Encode(m, b)) + sealing; n > 70<<10 || n > manifest.MaxSealed {
		t.Errorf("the largest manifest takes %d bytes sealed, the limit is %d", n, manifest.MaxSealed)
	}
	full := inline(many(manifest.PageItems, ref(1, manifest.MaxBlockSize))...)
	if n := len(full.Items); n > manifest.InlineSize {
		t.Errorf("%d blocks take %d bytes, more than the %d of a list in a manifest", manifest.PageItems, n, manifest.InlineSize)
	}
}

func TestANameIsAcceptedUnlessItCannotBeOne(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "...": true, "..a": true, " ": true, "\x1b[31m": true, "é": true, "e\u0301": true, "CON": true,
		strings.Repeat("x", 255): true, strings.Repeat("x", 256): false, strings.Repeat("é", 128): false,
		"": false, ".": false, "..": false, "a/b": false, "/": false, "a\x00": false, "\xc3": false, "\xed\xa0\x80": false,
	} {
		if err := manifest.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: got %v, want accepted %v", name, err, ok)
		}
	}
}

func TestAssociatedDataTellsEveryFieldApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) manifest.Context {
			small := rapid.Byte()
			return manifest.Context{
				Organization: id.Fingerprint{small.Draw(t, label)}, Workspace: id.Workspace{small.Draw(t, label)},
				Entry: id.Entry{small.Draw(t, label)}, Version: rapid.Uint64().Draw(t, label), Generation: rapid.Uint64().Draw(t, label),
			}
		}
		a, b := draw("a"), draw("b")
		if (a == b) != bytes.Equal(a.AssociatedData(), b.AssociatedData()) {
			t.Fatalf("%v and %v", a, b)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, e := range examples() {
		f.Add(manifest.Encode(e.manifest, e.body))
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		m, body, err := manifest.Decode(plain)
		if err == nil && !bytes.Equal(manifest.Encode(m, body), plain) {
			t.Errorf("%x decodes, and encodes as %x", plain, manifest.Encode(m, body))
		}
	})
}

// FuzzDecodeContent spares the fuzzer the frame and its padding.
func FuzzDecodeContent(f *testing.F) {
	for _, e := range examples() {
		f.Add(wrapped(manifest.Encode(e.manifest, e.body)))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		plain := padding.Frame(content)
		m, body, err := manifest.Decode(plain)
		if err == nil && !bytes.Equal(manifest.Encode(m, body), plain) {
			t.Errorf("%x decodes, and encodes as %x", plain, manifest.Encode(m, body))
		}
	})
}

func FuzzDecodeRefs(f *testing.F) {
	f.Add(manifest.EncodeItems([]manifest.Ref{ref(1, 7), manifest.Hole(9)}), uint64(16))
	f.Fuzz(func(t *testing.T, data []byte, span uint64) {
		refs, err := manifest.DecodeRefs(data, span)
		if err == nil && !bytes.Equal(manifest.EncodeItems(refs), data) {
			t.Errorf("%x decodes, and encodes as %x", data, manifest.EncodeItems(refs))
		}
	})
}

func FuzzDecodePages(f *testing.F) {
	f.Add(manifest.EncodeItems([]manifest.Page{page(1, 7), page(2, 9)}), uint64(16))
	f.Fuzz(func(t *testing.T, data []byte, span uint64) {
		pages, err := manifest.DecodePages(data, span)
		if err == nil && !bytes.Equal(manifest.EncodeItems(pages), data) {
			t.Errorf("%x decodes, and encodes as %x", data, manifest.EncodeItems(pages))
		}
	})
}

func FuzzDecodeChildren(f *testing.F) {
	f.Add(manifest.EncodeItems([]manifest.Child{{Name: "a", Entry: entry(1), Kind: manifest.File}, {Name: "b"}}), true, "")
	f.Fuzz(func(t *testing.T, data []byte, delta bool, after string) {
		children, err := manifest.DecodeChildren(data, delta, after)
		if err != nil {
			return
		}
		if !bytes.Equal(manifest.EncodeItems(children), data) {
			t.Errorf("%x decodes, and encodes as %x", data, manifest.EncodeItems(children))
		}
		for _, c := range children {
			if c.Name <= after || manifest.CheckName(c.Name) != nil {
				t.Errorf("%q passes behind %q", c.Name, after)
			}
			after = c.Name
		}
	})
}
