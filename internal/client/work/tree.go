// Package work is what was done to a workspace and is not committed: what the events
// of its journal make of the verified base, operations of package merge on their
// way, and what there is to see of it. It knows neither disk, server nor clock, and
// takes from the base only what events bring along; see package overlay, which keeps
// the journal, asks the base, and lets programs and a syncer at it.
//
// Invariants:
//   - A tree is what its events give when they are done again in their order,
//     whatever the base has become meanwhile, or what a snapshot of it gives.
//   - A frozen state never changes, so what is uploaded is what is committed.
//   - An entry of which local data is damaged shows the base's version and is
//     never part of a batch.
package work

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// Tree is how a workspace differs from its base. Who has one guards it: reading
// from many goroutines at once is safe, applying events is for one alone.
type Tree struct {
	// root is the root folder.
	root id.Entry
	// Inodes are the entries that differ from the base or are open, by id.
	Inodes map[id.Entry]*Inode
	// Orphans are inodes without a name that are open still.
	Orphans map[*Inode]bool
	// kids are how folders differ from the base.
	kids map[id.Entry]map[string]kid
	// Gone are entries that were removed here.
	Gone map[id.Entry]*Op
	// times are when folders changed here last.
	times map[id.Entry]int64
	// uses counts the operations that need a folder.
	uses map[id.Entry]int
	// ops are in order; some may be dead.
	ops  []*Op
	dead int
	// nextOp and nextState are the numbers that the next ones get.
	nextOp, nextState uint64
	// Known is what is known beside the operations, Batch what was taken, nil if
	// nothing is.
	Known merge.Base
	Batch *Taken
	// numbers are inode numbers that do not follow from an entry's id.
	numbers  map[id.Entry]uint64
	problems map[id.Entry]*Problem
	// Due is up to when all that was done has settled.
	Due time.Time
	// Shares says that a local folder was published, and what is in it may be next.
	Shares atomic.Bool
}

// NewTree returns a tree that does not differ from its base.
func NewTree(root id.Entry) *Tree {
	return &Tree{
		root:   root,
		Inodes: map[id.Entry]*Inode{}, Orphans: map[*Inode]bool{}, kids: map[id.Entry]map[string]kid{}, Gone: map[id.Entry]*Op{},
		times: map[id.Entry]int64{}, uses: map[id.Entry]int{}, numbers: map[id.Entry]uint64{}, problems: map[id.Entry]*Problem{},
	}
}

// Problem is an entry that cannot be pushed, or of which local data is lost.
type Problem struct {
	Entry id.Entry
	Place merge.Place
	Err   error
	Since time.Time
	// Retry is when it is tried again; zero if it never is.
	Retry time.Time
	tries int
}

// Node is what there is to see of an entry.
type Node struct {
	Entry id.Entry
	merge.Node
	// Number is the local inode number.
	Number uint64
	// Version is the newest one of the server that it shows or lies above.
	Version uint64
	// Pending says that there is work that is not committed, Local that it never will be.
	Pending, Local bool
	// Removed says that no name leads to it: somebody has it open still.
	Removed bool
}

// Removed returns the inode of an entry that was removed here and is open still,
// nil if there is none.
func (o *Tree) Removed(e id.Entry) *Inode {
	if o.Inodes[e] != nil {
		return nil
	}
	for n := range o.Orphans {
		if n.ID == e && n.Orphan {
			return n
		}
	}
	return nil
}

// NodeOf returns what an inode shows.
func (o *Tree) NodeOf(n *Inode) Node {
	out := Node{Entry: n.ID, Node: n.State.Node, Number: n.number, Version: n.Version, Pending: len(n.Ops) > 0, Local: n.Local, Removed: n.Orphan}
	if c := n.State.Content; c != nil {
		size, modified := c.Lengths()
		out.File = manifest.FileBody{Size: uint64(size), Executable: n.State.Node.File.Executable, Blocks: c.Base.Blocks}
		out.Modified = modified
	}
	if n.State.Node.Kind == manifest.Folder {
		out.Modified = o.Later(n.ID, out.Modified)
	}
	return out
}

// Later returns when a folder changed last, here or as it says of itself.
func (o *Tree) Later(folder id.Entry, modified int64) int64 {
	if here, ok := o.times[folder]; ok {
		return max(modified, here)
	}
	return modified
}

// Alone reports whether the base knows nothing of a folder.
func (o *Tree) Alone(folder id.Entry) bool {
	if o.Gone[folder] != nil {
		return true
	}
	n := o.Inodes[folder]
	return n != nil && n.Apart() && folder != o.root
}

// Stands reports whether the base's child of a folder was not moved or removed
// here.
func (o *Tree) Stands(folder id.Entry, c manifest.Child) bool {
	if o.Gone[c.Entry] != nil {
		return false
	}
	n := o.Inodes[c.Entry]
	return n == nil || n.Placed == nil && !n.Local || n.Place == merge.Place{Folder: folder, Name: c.Name}
}

// Kid returns what a folder names so since it differs from the base there, and
// false where it does not. What was removed has no entry.
func (o *Tree) Kid(at merge.Place) (manifest.Child, bool) {
	k, ok := o.kids[at.Folder][at.Name]
	return k.child, ok
}

// Holds reports whether something was put into a folder here.
func (o *Tree) Holds(folder id.Entry) bool {
	for _, k := range o.kids[folder] {
		if !k.child.Removed() {
			return true
		}
	}
	return false
}

// Pending returns how many operations wait.
func (o *Tree) Pending() int { return len(o.ops) - o.dead }

// Problems returns the entries that cannot go, or of which data is lost, the oldest
// first.
func (o *Tree) Problems() []Problem {
	var out []Problem
	for _, p := range o.problems {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Problem) int { return a.Since.Compare(b.Since) })
	return out
}

// Lose notes what is wrong with an entry.
func (o *Tree) Lose(p Problem) { o.problems[p.Entry] = &p }

// Troubled reports whether something is wrong with an entry.
func (o *Tree) Troubled(e id.Entry) bool { return o.problems[e] != nil }

// Merged puts how a folder differs over what the base names.
func (o *Tree) Merged(folder id.Entry, before []manifest.Child) []manifest.Child {
	delta := o.kids[folder]
	names := slices.Sorted(maps.Keys(delta))
	out := make([]manifest.Child, 0, len(before)+len(names))
	for _, c := range before {
		for len(names) > 0 && names[0] < c.Name {
			if k := delta[names[0]]; !k.child.Removed() {
				out = append(out, k.child)
			}
			names = names[1:]
		}
		if len(names) > 0 && names[0] == c.Name {
			continue
		}
		if o.Stands(folder, c) {
			out = append(out, c)
		}
	}
	for _, name := range names {
		if k := delta[name]; !k.child.Removed() {
			out = append(out, k.child)
		}
	}
	return out
}

// Number returns the inode number of an entry.
func (o *Tree) Number(e id.Entry) uint64 {
	if n, ok := o.numbers[e]; ok {
		return n
	}
	if e == o.root {
		return 1
	}
	// Ids are random. Small numbers are for roots.
	return binary.BigEndian.Uint64(e[:8])>>1 | 1<<32
}
