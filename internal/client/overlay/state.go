package overlay

import (
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// state is what a node is at one time of its local life. Operations refer to
// states and not to copies of them: as long as a state is not frozen, later
// changes go into it, and so into every operation that has it. That is how
// many writes become one.
type state struct {
	node merge.Node
	// content is set for a file.
	content *content
	// frozen says that the state is part of a batch, or the base's: what
	// changes from then on is another state.
	frozen bool
	// above is the state that goes on where this one ends, became the one into
	// which it was taken back.
	above, became *state
	// number names the state in operations and on the disk.
	number uint64
}

// newest follows what a state became.
func (s *state) newest() *state {
	for s.became != nil {
		s = s.became
	}
	return s
}

// op is an operation on its way into a commit: one of package merge's whose
// nodes are not settled before it is taken.
type op struct {
	kind  opKind
	entry id.Entry
	// version and place are as the device saw the entry; was is its state then,
	// and now the one that it gets.
	version  uint64
	place    merge.Place
	was, now *state
	// to is where a move leads; over, overVersion and overWas are what it replaces.
	to          merge.Place
	over        id.Entry
	overVersion uint64
	overWas     *state
	copy        id.Entry
	// before is the operation that took the name away which this one takes away.
	before *op
	// at is when it was done.
	at time.Time
	// taken says that it is in the batch, dead that it has ended.
	taken, dead bool
	number      uint64
}

type opKind uint8

const (
	opCreate opKind = iota + 1
	opWrite
	opRemove
	opMove
	// opReplace gives over the state of entry, which is removed.
	opReplace
)

// merge returns the operation with the contents that node gives to states. A
// replacement is two operations that go together.
func (p *op) merge(node func(*state) merge.Node) []merge.Op {
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
func (p *op) states(f func(**state)) {
	for _, s := range []**state{&p.was, &p.now, &p.overWas} {
		if *s != nil {
			f(s)
		}
	}
}

// inode is an entry that was changed here or is open: what programs hold on to
// while names and ids change.
type inode struct {
	id id.Entry
	// version is the server's newest one of which the state knows.
	version uint64
	// place is where the entry was when it was last seen or put.
	place merge.Place
	state *state
	// ops are those that concern the entry itself and have not ended.
	ops []*op
	// placed is the last operation that put it where it is.
	placed *op
	// local says that it is not pushed, since its name is ignored.
	local bool
	// orphan says that no name leads to it any more.
	orphan bool
	// handles and writers count who has it open.
	handles, writers int
	// touched is when it changed last, dirty since when it has changes that
	// were not taken, and pushed how often it was taken while it kept changing.
	touched, dirty time.Time
	pushed         int
	// number is the local inode number.
	number uint64
}

// changed reports whether the inode differs from the base.
func (n *inode) changed() bool { return len(n.ops) > 0 || n.local || n.orphan }

// apart reports whether the base has never had the inode. It may have a folder
// whose version is not known here, with what was done since.
func (n *inode) apart() bool {
	return n.version == 0 && (n.local || n.orphan || len(n.ops) > 0 && n.ops[0].kind == opCreate)
}

// made returns the operation that makes the entry, if it can still be altered.
func (n *inode) made() *op {
	if len(n.ops) > 0 && n.ops[0].kind == opCreate && !n.ops[0].taken {
		return n.ops[0]
	}
	return nil
}

// kid is how a folder differs from the base under one name.
type kid struct {
	child manifest.Child
	// by is the operation that made it so, nil for what is local; freed is the
	// last one that took the name away.
	by, freed *op
}

// alive returns an operation, or the one before it that has not ended.
func (p *op) alive() *op {
	for p != nil && p.dead {
		p = p.before
	}
	return p
}
