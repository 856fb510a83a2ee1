package work

import (
	"encoding/binary"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/canon"
	"parsec/internal/format/manifest"
)

// writer encodes records. They stay on this device, so they need no canonical
// form; they are made at every operation, so they must be cheap.
type writer struct{ b []byte }

func (w *writer) uint(v uint64) { w.b = binary.AppendUvarint(w.b, v) }

func (w *writer) int(v int64) { w.b = binary.AppendVarint(w.b, v) }

func (w *writer) entry(e id.Entry) { w.b = append(w.b, e[:]...) }

func (w *writer) text(s string) { w.uint(uint64(len(s))); w.b = append(w.b, s...) }

func (w *writer) bytes(s []byte) { w.uint(uint64(len(s))); w.b = append(w.b, s...) }

func (w *writer) bool(v bool) {
	if v {
		w.uint(1)
	} else {
		w.uint(0)
	}
}

func (w *writer) place(p merge.Place) { w.entry(p.Folder); w.text(p.Name) }

func (w *writer) node(n merge.Node) {
	w.uint(uint64(n.Kind))
	w.int(n.Created)
	w.int(n.Modified)
	switch n.Kind {
	case manifest.File:
		w.body(n.File)
	case manifest.Symlink:
		w.text(n.Target)
	}
}

func (w *writer) body(b manifest.FileBody) {
	w.uint(b.Size)
	w.bool(b.Executable)
	w.uint(uint64(b.Blocks.Depth))
	w.bytes(b.Blocks.Items)
	if b.Blocks.Depth > 0 {
		w.bytes(canon.Marshal(b.Blocks.Pages))
	}
}

func (w *writer) seen(s merge.Seen) { w.uint(s.Version); w.place(s.Place); w.node(s.Node) }

// reader decodes records. The first thing that makes no sense is its error,
// and what is read after it is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = fault.Broken("local data is what this device wrote", "read local change: a record that makes no sense")
	}
	r.b = nil
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) entry() (e id.Entry) { copy(e[:], r.take(id.Size)); return e }

func (r *reader) bytes() []byte { return r.take(r.uint()) }

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) bool() bool { return r.uint() != 0 }

func (r *reader) place() merge.Place {
	folder := r.entry()
	return merge.Place{Folder: folder, Name: r.text()}
}

func (r *reader) node() (n merge.Node) {
	n.Kind = manifest.Kind(r.uint())
	n.Created, n.Modified = r.int(), r.int()
	switch n.Kind {
	case manifest.File:
		n.File = r.body()
	case manifest.Symlink:
		n.Target = r.text()
	}
	return n
}

func (r *reader) body() (b manifest.FileBody) {
	b.Size, b.Executable, b.Blocks.Depth = r.uint(), r.bool(), uint8(r.uint())
	b.Blocks.Items = r.bytes()
	if b.Blocks.Depth > 0 {
		if err := canon.Unmarshal(r.bytes(), &b.Blocks.Pages); err != nil {
			r.fail()
		}
	}
	return b
}

func (r *reader) seen() (s merge.Seen) {
	s.Version, s.Place = r.uint(), r.place()
	s.Node = r.node()
	return s
}

// count returns the length of a list, of which each item takes at least a byte.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}
