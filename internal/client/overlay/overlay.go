// Package overlay is the tree of one workspace as the people at this device
// see it: the verified base, and over it the work that is not committed yet.
// Pulls write only the base, programs only the overlay. What programs do is
// kept in a journal before it counts, and becomes operations of package merge;
// a syncer takes them in batches and says what became of them. The overlay
// itself never talks to the server but to read content, and knows no paths,
// handles' positions or locks; see package filesystem.
//
// Invariants:
//   - What is in memory is what the journal's events give when they are done
//     again in their order, whatever the base has become meanwhile.
//   - After a kill there is a prefix of what was done that includes the last
//     Flush; after power loss the last Sync.
//   - A frozen state never changes, so what is uploaded is what is committed.
//   - An entry of which local data is damaged shows the base's version and is
//     never part of a batch.
//   - Nothing waits for the network but reads of content that is not here, and
//     no lock is held while they do.
package overlay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/basecache"
	"parsec/internal/client/journal"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// Blocks reads the content of committed versions.
type Blocks interface {
	// ReadAt fills p from an offset on. The content has that many bytes.
	ReadAt(ctx context.Context, body manifest.FileBody, p []byte, off int64) error
}

// Config is what an overlay is made of.
type Config struct {
	// Journal is where the work is kept. The zero one keeps nothing: such an
	// overlay only shows its base, and refuses whatever is done to it.
	Journal journal.Config
	// Root is the root folder.
	Root   id.Entry
	Base   basecache.Base
	Blocks Blocks
	// Ignore says which names stay on this device when something is made under
	// them; nil for none. It may say something else later; after Open, and when
	// it says less, call [Overlay.PublishUnignored].
	Ignore func(name string) bool
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Overlay is an open overlay. Its methods may be called from many goroutines.
type Overlay struct {
	Config
	journal *journal.Journal
	base    *basecache.Cache
	changed chan struct{}
	shares  atomic.Bool // a local folder was published, and what is in it may be next

	// writing is held by who writes to a content while mu is held shared; it
	// guards gathering, the content of which the buffer is not empty. Taken
	// after mu, before a content's.
	writing   sync.Mutex
	gathering *content

	// mu guards all that follows. Held shared, contents may be written to, each
	// under its own lock.
	mu sync.RWMutex
	// inodes are the entries that differ from the base or are open, by id.
	inodes map[id.Entry]*inode
	// orphans are inodes without a name that are open still.
	orphans map[*inode]bool
	// kids are how folders differ from the base.
	kids map[id.Entry]map[string]kid
	// gone are entries that were removed here.
	gone map[id.Entry]*op
	// times are when folders changed here last.
	times map[id.Entry]int64
	// uses counts the operations that need a folder.
	uses map[id.Entry]int
	// ops are in order; some may be dead.
	ops  []*op
	dead int
	// nextOp and nextState are the numbers that the next ones get.
	nextOp, nextState uint64
	known             merge.Base
	batch             *Batch
	// numbers are inode numbers that do not follow from an entry's id.
	numbers  map[id.Entry]uint64
	problems map[id.Entry]*Problem
	// watchers are told what changed by others.
	watchers []func([]id.Entry)
	// held are records of before the last checkpoint that are needed, since is
	// the first record after it.
	held  []uint64
	since uint64
	// due is up to when all that was done has settled; see [Overlay.Hurry].
	due time.Time
	// sizeThen is what the journal took at the last checkpoint.
	sizeThen int64
	closed   bool
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

// Node returns what there is to see of an entry.
func (o *Overlay) Node(ctx context.Context, e id.Entry) (Node, error) {
	if n, ok, err := o.localNode(e); ok || err != nil {
		return n, err
	}
	s, err := o.base.Entry(ctx, e)
	if err != nil {
		return Node{}, err
	}
	if n, ok, err := o.localNode(e); ok || err != nil { // it was changed meanwhile
		return n, err
	}
	if s.Gone || s.Version == 0 && e != o.Root {
		return Node{}, notThere()
	}
	n := Node{Entry: e, Node: s.Node, Version: s.Version}
	if e == o.Root {
		n.Kind = manifest.Folder
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	n.Number = o.number(e)
	n.Modified = o.later(e, n.Modified)
	return n, nil
}

func notThere() error { return fault.Errorf(fault.NotFound, "find entry: it is not there") }

func (o *Overlay) localNode(e id.Entry) (Node, bool, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return Node{}, false, fault.Errorf(fault.Failed, "read workspace: it is closed")
	}
	if n := o.removed(e); n != nil {
		return o.nodeOf(n), true, nil
	}
	if o.gone[e] != nil {
		return Node{}, false, notThere()
	}
	n := o.inodes[e]
	if n == nil || !n.changed() {
		return Node{}, false, nil
	}
	return o.nodeOf(n), true, nil
}

// removed returns the inode of an entry that was removed here and is open still,
// nil if there is none; the caller holds mu.
func (o *Overlay) removed(e id.Entry) *inode {
	if o.inodes[e] != nil {
		return nil
	}
	for n := range o.orphans {
		if n.id == e && n.orphan {
			return n
		}
	}
	return nil
}

// nodeOf returns what an inode shows; the caller holds mu, shared at least.
func (o *Overlay) nodeOf(n *inode) Node {
	out := Node{Entry: n.id, Node: n.state.node, Number: n.number, Version: n.version, Pending: len(n.ops) > 0, Local: n.local, Removed: n.orphan}
	if c := n.state.content; c != nil {
		size, modified := c.lengths()
		out.File = manifest.FileBody{Size: uint64(size), Executable: n.state.node.File.Executable, Blocks: c.base.Blocks}
		out.Modified = modified
	}
	if n.state.node.Kind == manifest.Folder {
		out.Modified = o.later(n.id, out.Modified)
	}
	return out
}

// later returns when a folder changed last, here or as it says of itself; the
// caller holds mu.
func (o *Overlay) later(folder id.Entry, modified int64) int64 {
	if here, ok := o.times[folder]; ok {
		return max(modified, here)
	}
	return modified
}

// Child returns the entry that a folder names so.
func (o *Overlay) Child(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	if c, decided, err := o.localChild(folder, name); decided || err != nil {
		return c, err == nil && !c.Removed(), err
	}
	c, ok, err := o.base.Child(ctx, folder, name)
	if err != nil || !ok {
		return c, false, err
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if k, ok := o.kids[folder][name]; ok { // it was changed meanwhile
		return k.child, !k.child.Removed(), nil
	}
	return c, o.stands(folder, c), nil
}

// localChild returns what is known of a name without the base.
func (o *Overlay) localChild(folder id.Entry, name string) (c manifest.Child, decided bool, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return c, false, fault.Errorf(fault.Failed, "read workspace: it is closed")
	}
	if k, ok := o.kids[folder][name]; ok {
		return k.child, true, nil
	}
	return c, o.alone(folder), nil
}

// alone reports whether the base knows nothing of a folder; the caller holds mu.
func (o *Overlay) alone(folder id.Entry) bool {
	if o.gone[folder] != nil {
		return true
	}
	n := o.inodes[folder]
	return n != nil && n.apart() && folder != o.Root
}

// stands reports whether the base's child of a folder was not moved or removed
// here; the caller holds mu.
func (o *Overlay) stands(folder id.Entry, c manifest.Child) bool {
	if o.gone[c.Entry] != nil {
		return false
	}
	n := o.inodes[c.Entry]
	return n == nil || n.placed == nil && !n.local || n.place == merge.Place{Folder: folder, Name: c.Name}
}

// Children returns all that a folder names, by ascending name.
func (o *Overlay) Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	for {
		all, again, err := o.children(ctx, folder)
		if err != nil || !again {
			return all, err
		}
	}
}

// children does so, unless what the base said is not so any more by the time that
// the work is laid over it: what was committed meanwhile is in neither then.
func (o *Overlay) children(ctx context.Context, folder id.Entry) (all []manifest.Child, again bool, err error) {
	o.mu.RLock()
	epoch, alone := o.base.Epoch(), o.alone(folder)
	o.mu.RUnlock()
	var before []manifest.Child
	if !alone {
		if before, err = o.base.Children(ctx, folder); err != nil {
			return nil, false, err
		}
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.base.Epoch() != epoch {
		return nil, true, ctx.Err()
	}
	return o.merged(folder, before), false, nil
}

// Parent returns the place of an entry, and false if it has none.
func (o *Overlay) Parent(ctx context.Context, e id.Entry) (merge.Place, bool, error) {
	o.mu.RLock()
	n, gone := o.inodes[e], o.gone[e] != nil
	if gone || n != nil && (n.placed != nil || n.local) {
		p := merge.Place{}
		if n != nil {
			p = n.place
		}
		o.mu.RUnlock()
		return p, !gone, nil
	}
	o.mu.RUnlock()
	return o.base.Parent(ctx, e)
}

// Entry implements [merge.View], as far as sizes and times: the blocks of what
// is not uploaded yet are not known.
func (o *Overlay) Entry(ctx context.Context, e id.Entry) (merge.State, error) {
	n, err := o.Node(ctx, e)
	if fault.Is(err, fault.NotFound) {
		return merge.State{Gone: true}, nil
	}
	return merge.State{Version: n.Version, Node: n.Node}, err
}

// Changed receives when there is work that was not there before.
func (o *Overlay) Changed() <-chan struct{} { return o.changed }

func (o *Overlay) tell() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// Flush makes what was done survive a kill of the process.
func (o *Overlay) Flush() error {
	if err := o.gather(nil); err != nil {
		return err
	}
	return o.journal.Flush()
}

// gather hands what is gathered to the journal, but for that of c.
func (o *Overlay) gather(c *content) error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	o.writing.Lock()
	defer o.writing.Unlock()
	return o.flushOthers(c)
}

// Sync makes what was done survive power loss.
func (o *Overlay) Sync() error {
	if err := o.gather(nil); err != nil {
		return err
	}
	return o.journal.Sync()
}

// Pending returns how many operations wait.
func (o *Overlay) Pending() int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return len(o.ops) - o.dead
}

// Waiting returns the entries of which work waits, each with its last place.
func (o *Overlay) Waiting() map[id.Entry]merge.Place {
	o.mu.RLock()
	defer o.mu.RUnlock()
	all := map[id.Entry]merge.Place{}
	for e, n := range o.inodes {
		if len(n.ops) > 0 {
			all[e] = n.place
		}
	}
	return all
}
