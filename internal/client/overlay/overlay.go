// Package overlay is the tree of one workspace as the people at this device
// see it: the verified base, and over it the work that is not committed yet.
// Pulls write only the base, programs only the overlay. What programs do is an
// event that is kept in a journal before it counts; what events make of the base is
// package work's. A syncer takes the work in batches and says what became of them.
// The overlay itself never talks to the server but to read content, and knows no
// paths, handles' positions or locks; see package filesystem.
//
// Invariants:
//   - What is in memory is what the journal's events give.
//   - After a kill there is a prefix of what was done that includes the last
//     Flush; after power loss the last Sync.
//   - Nothing waits for the network but reads of content that is not here, and
//     no lock is held while they do.
package overlay

import (
	"context"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/basecache"
	"parsec/internal/client/journal"
	"parsec/internal/client/merge"
	"parsec/internal/client/work"
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

	// writing is held by who writes to a content while mu is held shared; it
	// guards gathering, the content of which the buffer is not empty. Taken
	// after mu, before a content's.
	writing   sync.Mutex
	gathering *work.Content

	// mu guards all that follows. Held shared, contents may be written to, each
	// under its own lock.
	mu sync.RWMutex
	// work is what was done and is not committed.
	work *work.Tree
	// watchers are told what changed by others.
	watchers []func([]id.Entry)
	// held are records of before the last checkpoint that are needed, since is
	// the first record after it.
	held  []uint64
	since uint64
	// sizeThen is what the journal took at the last checkpoint.
	sizeThen int64
	closed   bool
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
	n.Number = o.work.Number(e)
	n.Modified = o.work.Later(e, n.Modified)
	return n, nil
}

func notThere() error { return fault.Errorf(fault.NotFound, "find entry: it is not there") }

func (o *Overlay) localNode(e id.Entry) (Node, bool, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return Node{}, false, fault.Errorf(fault.Failed, "read workspace: it is closed")
	}
	if n := o.work.Removed(e); n != nil {
		return o.work.NodeOf(n), true, nil
	}
	if o.work.Gone[e] != nil {
		return Node{}, false, notThere()
	}
	n := o.work.Inodes[e]
	if n == nil || !n.Changed() {
		return Node{}, false, nil
	}
	return o.work.NodeOf(n), true, nil
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
	if k, ok := o.work.Kid(merge.Place{Folder: folder, Name: name}); ok { // it was changed meanwhile
		return k, !k.Removed(), nil
	}
	return c, o.work.Stands(folder, c), nil
}

// localChild returns what is known of a name without the base.
func (o *Overlay) localChild(folder id.Entry, name string) (c manifest.Child, decided bool, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return c, false, fault.Errorf(fault.Failed, "read workspace: it is closed")
	}
	if k, ok := o.work.Kid(merge.Place{Folder: folder, Name: name}); ok {
		return k, true, nil
	}
	return c, o.work.Alone(folder), nil
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
	epoch, alone := o.base.Epoch(), o.work.Alone(folder)
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
	return o.work.Merged(folder, before), false, nil
}

// Parent returns the place of an entry, and false if it has none.
func (o *Overlay) Parent(ctx context.Context, e id.Entry) (merge.Place, bool, error) {
	o.mu.RLock()
	n, gone := o.work.Inodes[e], o.work.Gone[e] != nil
	if gone || n != nil && (n.Placed != nil || n.Local) {
		p := merge.Place{}
		if n != nil {
			p = n.Place
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
func (o *Overlay) gather(c *work.Content) error {
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
	return o.work.Pending()
}

// Waiting returns the entries of which work waits, each with its last place.
func (o *Overlay) Waiting() map[id.Entry]merge.Place {
	o.mu.RLock()
	defer o.mu.RUnlock()
	all := map[id.Entry]merge.Place{}
	for e, n := range o.work.Inodes {
		if len(n.Ops) > 0 {
			all[e] = n.Place
		}
	}
	return all
}
