package work

import (
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// State is what a node is at one time of its local life. Operations refer to
// states and not to copies of them: as long as a state is not frozen, later
// changes go into it, and so into every operation that has it. That is how
// many writes become one.
type State struct {
	Node merge.Node
	// Content is set for a file.
	Content *Content
	// Frozen says that the state is part of a batch, or the base's: what
	// changes from then on is another state.
	Frozen bool
	// above is the state that goes on where this one ends, became the one into
	// which it was taken back.
	above, became *State
	// Number names the state in operations and on the disk.
	Number uint64
}

// newest follows what a state became.
func (s *State) newest() *State {
	for s.became != nil {
		s = s.became
	}
	return s
}

// Op is an operation on its way into a commit: one of package merge's whose
// nodes are not settled before it is taken.
type Op struct {
	kind  OpKind
	entry id.Entry
	// version and place are as the device saw the entry; was is its state then,
	// and now the one that it gets.
	version  uint64
	place    merge.Place
	was, now *State
	// to is where a move leads; over, overVersion and overWas are what it replaces.
	to          merge.Place
	over        id.Entry
	overVersion uint64
	overWas     *State
	copy        id.Entry
	// before is the operation that took the name away which this one takes away.
	before *Op
	// at is when it was done.
	at time.Time
	// taken says that it is in the batch, dead that it has ended.
	taken, dead bool
	Number      uint64
}

type OpKind uint8

const (
	opCreate OpKind = iota + 1
	opWrite
	opRemove
	opMove
	// opReplace gives over the state of entry, which is removed.
	opReplace
)

// merge returns the operation with the contents that node gives to states. A
// replacement is two operations that go together.
func (p *Op) merge(node func(*State) merge.Node) []merge.Op {
	seen := merge.Seen{Version: p.version, Place: p.place}
	if p.was != nil {
		seen.Node = node(p.was)
	}
	var over merge.Seen
	if p.overWas != nil {
		over = merge.Seen{Version: p.overVersion, Place: p.to, Node: node(p.overWas)}
	}
	switch p.kind {
	case opCreate:
		return []merge.Op{merge.Create{Entry: p.entry, At: p.to, Node: node(p.now)}}
	case opWrite:
		return []merge.Op{merge.Write{Entry: p.entry, Seen: seen, Now: node(p.now), Copy: p.copy}}
	case opRemove:
		return []merge.Op{merge.Remove{Entry: p.entry, Seen: seen}}
	case opReplace:
		return []merge.Op{
			merge.Write{Entry: p.over, Seen: over, Now: node(p.now), Copy: p.copy},
			merge.Remove{Entry: p.entry, Seen: seen},
		}
	}
	return []merge.Op{merge.Move{Entry: p.entry, Seen: seen, To: p.to, Over: p.over, OverSeen: over, Copy: p.copy}}
}

// states calls f with the states that an operation refers to.
func (p *Op) states(f func(**State)) {
	for _, s := range []**State{&p.was, &p.now, &p.overWas} {
		if *s != nil {
			f(s)
		}
	}
}

// Inode is an entry that was changed here or is open: what programs hold on to
// while names and ids change.
type Inode struct {
	ID id.Entry
	// Version is the server's newest one of which the state knows.
	Version uint64
	// Place is where the entry was when it was last seen or put.
	Place merge.Place
	State *State
	// Ops are those that concern the entry itself and have not ended.
	Ops []*Op
	// Placed is the last operation that put it where it is.
	Placed *Op
	// Local says that it is not pushed, since its name is ignored.
	Local bool
	// Orphan says that no name leads to it any more.
	Orphan bool
	// Handles and writers count who has it open.
	Handles, Writers int
	// touched is when it changed last, dirty since when it has changes that
	// were not taken, and pushed how often it was taken while it kept changing.
	touched, dirty time.Time
	pushed         int
	// number is the local inode number.
	number uint64
}

// Changed reports whether the inode differs from the base.
func (n *Inode) Changed() bool { return len(n.Ops) > 0 || n.Local || n.Orphan }

// Apart reports whether the base has never had the inode. It may have a folder
// whose version is not known here, with what was done since.
func (n *Inode) Apart() bool {
	return n.Version == 0 && (n.Local || n.Orphan || len(n.Ops) > 0 && n.Ops[0].kind == opCreate)
}

// made returns the operation that makes the entry, if it can still be altered.
func (n *Inode) made() *Op {
	if len(n.Ops) > 0 && n.Ops[0].kind == opCreate && !n.Ops[0].taken {
		return n.Ops[0]
	}
	return nil
}

// kid is how a folder differs from the base under one name.
type kid struct {
	child manifest.Child
	// by is the operation that made it so, nil for what is local; freed is the
	// last one that took the name away.
	by, freed *Op
}

// alive returns an operation, or the one before it that has not ended.
func (p *Op) alive() *Op {
	for p != nil && p.dead {
		p = p.before
	}
	return p
}

// BaseNode returns what the base says of a file that did not change.
func (n *Inode) BaseNode() merge.Node {
	out := n.State.Node
	if c := n.State.Content; c != nil {
		executable := out.File.Executable
		out.File, out.Modified = c.Base, c.Modified
		out.File.Executable = executable
	}
	return out
}
