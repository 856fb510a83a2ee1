// Package tree turns the manifests of a workspace into a tree, and changes to
// folders back into manifests. It reads chains of folder versions and writes
// the next version of one; it tells which place an entry has when manifests
// contradict each other; and it says which symlinks may be followed.
//
// It does no I/O but through the pages of package list, checks no signature
// and decides no conflict; see packages verify and merge.
//
// Invariants: what a folder holds is a function of its chain, and what a tree
// looks like a function of its folders, so that all devices agree whatever
// came first; content that its author made malformed hides nothing but itself
// and is listed as a [Problem].
package tree

import (
	"context"
	"slices"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/list"
	"parsec/internal/format/manifest"
)

// MaxChildren is the largest number of children in a snapshot. Ten times what
// anybody keeps in one folder, it bounds what a hostile member can make a
// device hold: twice that, with deltas that weigh as much.
const MaxChildren = 1 << 20

// Children are the entries of a folder by ascending name.
type Children []manifest.Child

// Find returns the child with this name.
func (c Children) Find(name string) (manifest.Child, bool) {
	i, ok := slices.BinarySearchFunc(c, name, byName)
	if !ok {
		return manifest.Child{}, false
	}
	return c[i], true
}

func byName(c manifest.Child, name string) int { return strings.Compare(c.Name, name) }

// Apply returns the children after changes, which are by ascending name as in
// a delta. A name that is taken away and was not there is no mistake.
func (c Children) Apply(changes []manifest.Child) Children {
	out := make(Children, 0, len(c)+len(changes))
	i := 0
	for _, change := range changes {
		n, taken := slices.BinarySearchFunc(c[i:], change.Name, byName)
		out = append(out, c[i:i+n]...)
		i += n
		if taken {
			i++
		}
		if !change.Removed() {
			out = append(out, change)
		}
	}
	return append(out, c[i:]...)
}

// Diff returns the changes that make after out of before.
func Diff(before, after Children) []manifest.Child {
	var out []manifest.Child
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Name < after[0].Name:
			out = append(out, manifest.Child{Name: before[0].Name})
			before = before[1:]
		case len(before) == 0 || after[0].Name < before[0].Name:
			out = append(out, after[0])
			after = after[1:]
		default:
			if before[0] != after[0] {
				out = append(out, after[0])
			}
			before, after = before[1:], after[1:]
		}
	}
	return out
}

// Shape is what a device keeps of each folder beside its children, so that it
// can write the next version without reading the others. It changes with each
// version; a cache stores it with the folder.
type Shape struct {
	_ struct{} `cbor:",toarray"`
	// Version is the newest version, 0 before the first.
	Version uint64
	// Base is the version of the snapshot on which it builds; 0 when there is
	// none that a delta could build on.
	Base uint64
	// Snapshot and Deltas are what the children of the snapshot weigh, and those
	// of all deltas since, in bytes of their encoding.
	Snapshot, Deltas uint64
	// Children is how many children there are at most.
	Children uint64
}

// Gone returns the shape of a folder whose newest version is a gone, or whose
// chain is not known: the next version is a snapshot.
func Gone(version uint64) Shape { return Shape{Version: version} }

// Part is what one version of a folder says.
type Part struct {
	// Delta says that Children are changes to the version before.
	Delta    bool
	Children Children
	// Marks are the pages of a snapshot; see [Mark].
	Marks []Mark
	// Malformed says why the version is passed over: it then has no children,
	// and changes nothing if it is a delta.
	Malformed error
}

// Version is one version of a folder in a chain.
type Version struct {
	Number uint64
	// Body is nil for a manifest that does not open, or is no folder's.
	Body *manifest.FolderBody
}

// Follow returns what the version behind s says, which builds on base
// according to its commit, and the shape with it. It is how a device that
// keeps a folder's children takes in one version more. It fails as the reader
// does, and with [fault.Upgrade] on what a newer version of the program wrote.
func (s Shape) Follow(ctx context.Context, v Version, base uint64, r list.Reader) (*Part, Shape, error) {
	if v.Number != s.Version+1 || base != v.Number && s.Base != 0 && base != s.Base {
		return nil, s, fault.Errorf(fault.Invalid, "read folder: version %d on %d after %d on %d", v.Number, base, s.Version, s.Base)
	}
	p, err := s.read(ctx, v.Body, base != v.Number, r)
	if err != nil && !fault.Is(err, fault.Invalid) {
		return nil, s, err
	}
	if err != nil {
		p = &Part{Delta: base != v.Number, Malformed: err}
	}
	return p, s.after(p), nil
}

// after returns the shape with one version more.
func (s Shape) after(p *Part) Shape {
	s.Version++
	switch {
	case !p.Delta && p.Malformed != nil:
		return Gone(s.Version)
	case !p.Delta:
		s.Base, s.Snapshot, s.Deltas, s.Children = s.Version, weigh(p.Children), 0, uint64(len(p.Children))
	default:
		s.Deltas += weigh(p.Children)
		s.Children += uint64(len(p.Children))
	}
	return s
}

// read returns what a version says, and refuses a malformed one. A delta may
// not outweigh its snapshot, with those before it: nobody honest writes one,
// and so a chain takes little more to read than its snapshot.
func (s Shape) read(ctx context.Context, b *manifest.FolderBody, delta bool, r list.Reader) (*Part, error) {
	if b == nil || b.Delta != delta {
		return nil, fault.Errorf(fault.Invalid, "read folder: not the manifest of a folder that its commit announced")
	}
	room := uint64(MaxChildren)
	if delta {
		room = min(room, (s.Snapshot-s.Deltas)/leastSize)
	}
	p := &Part{Delta: delta}
	if b.Children.Depth == 0 {
		children, err := manifest.DecodeChildren(b.Children.Items, delta, "")
		if p.Children = children; err != nil {
			return nil, err
		}
	} else if err := p.walk(ctx, b.Children, room, r); err != nil {
		return nil, err
	}
	if delta && weigh(p.Children) > s.Snapshot-s.Deltas {
		return nil, fault.Errorf(fault.Invalid, "read folder: deltas outweigh their snapshot")
	}
	return p, nil
}

// walk takes in the pages of a list of at most room children.
func (p *Part) walk(ctx context.Context, l manifest.List, room uint64, r list.Reader) error {
	var total uint64
	for _, page := range l.Pages {
		if page.Span > room-total {
			return fault.Errorf(fault.Invalid, "read folder: more than %d children or changes", room)
		}
		total += page.Span
	}
	if err := list.Walk(ctx, l, r, 0, total, p.visit); err != nil || p.Delta {
		return err
	}
	return p.name()
}

// visit takes in one page.
func (p *Part) visit(v list.Visit) error {
	if !p.Delta {
		p.Marks = append(p.Marks, mark(v.Level, v.Page, v.Plain))
	}
	if v.Level > 0 {
		return nil
	}
	last := ""
	if n := len(p.Children); n > 0 {
		last = p.Children[n-1].Name
	}
	children, err := manifest.DecodeChildren(v.Plain, p.Delta, last)
	if err != nil {
		return err
	}
	if uint64(len(children)) != v.Page.Span {
		return fault.Errorf(fault.Invalid, "read folder: a page of %d children spans %d", len(children), v.Page.Span)
	}
	p.Children = append(p.Children, children...)
	return nil
}

// name gives each mark the first name below its page, which is the next one
// when pages are visited before those below them.
func (p *Part) name() error {
	next := 0
	for i := range p.Marks {
		if next >= len(p.Children) {
			return fault.Errorf(fault.Invalid, "read folder: a page of nothing")
		}
		p.Marks[i].First = p.Children[next].Name
		if p.Marks[i].Level == 0 {
			next += int(p.Marks[i].Page.Span)
		}
	}
	return nil
}

// Folder is a folder with all its children.
type Folder struct {
	Children Children
	Shape    Shape
	// Marks are the pages of the newest snapshot; see [Mark].
	Marks []Mark
	// Malformed are the versions that were passed over, with the reason.
	Malformed []Malformed
}

// Malformed is a version of a folder that its author made malformed.
type Malformed struct {
	Version uint64
	Err     error
}

// Load returns the folder with this chain, which begins with its snapshot and
// has no gaps. A version that is malformed changes nothing, a malformed
// snapshot has no children and its deltas change nothing; either way the folder
// can be written to, and heals with its next snapshot. Load fails as the reader does, and with
// [fault.Upgrade] on what a newer version wrote.
func Load(ctx context.Context, chain []Version, r list.Reader) (*Folder, error) {
	if len(chain) == 0 || len(chain) > 1+manifest.MaxDeltas {
		return nil, fault.Errorf(fault.Invalid, "load folder: a chain of %d versions", len(chain))
	}
	base := chain[0].Number
	if base == 0 {
		return nil, fault.Errorf(fault.Invalid, "load folder: a chain from version 0")
	}
	f := &Folder{Shape: Gone(base - 1)}
	changes := map[string]manifest.Child{}
	for i, v := range chain {
		p, shape, err := f.Shape.Follow(ctx, v, base, r)
		if err != nil {
			return nil, err
		}
		f.Shape = shape
		if p.Malformed != nil {
			f.Malformed = append(f.Malformed, Malformed{v.Number, p.Malformed})
		}
		if i == 0 {
			f.Children, f.Marks = p.Children, p.Marks
			continue
		}
		for _, c := range p.Children {
			changes[c.Name] = c
		}
	}
	f.Children = f.Children.Apply(sorted(changes))
	return f, nil
}

func sorted(changes map[string]manifest.Child) []manifest.Child {
	out := make([]manifest.Child, 0, len(changes))
	for _, c := range changes {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b manifest.Child) int { return strings.Compare(a.Name, b.Name) })
	return out
}
