package overlay

import (
	"cmp"
	"context"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/layer"
	"parsec/internal/client/merge"
	"parsec/internal/client/work"
	"parsec/internal/format/manifest"
)

// File is an open file. It stays with what was opened: through renames, when
// another file takes its name, after its removal, and when others write a
// newer version. Its methods may be called from many goroutines.
type File struct {
	o      *Overlay
	n      *work.Inode
	writes bool
}

// Open opens a file.
func (o *Overlay) Open(ctx context.Context, e id.Entry, write bool) (*File, error) {
	for {
		f, again, err := o.open(e, merge.State{}, noEpoch, write) // most that is written is soon read
		if err != nil || !again {
			return f, err
		}
		epoch := o.base.Epoch()
		s, err := o.base.Entry(ctx, e)
		if err != nil {
			return nil, err
		}
		if f, again, err = o.open(e, s, epoch, write); err != nil || !again {
			return f, err
		}
	}
}

// noEpoch is that of a base that nobody has asked.
const noEpoch = ^uint64(0)

func (o *Overlay) open(e id.Entry, s merge.State, epoch uint64, write bool) (f *File, again bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, false, fault.Errorf(fault.Failed, "open file: the workspace is closed")
	}
	if n := o.work.Removed(e); n != nil {
		return o.handle(n, write), false, nil
	}
	if o.work.Gone[e] != nil {
		return nil, false, notThere()
	}
	n := o.work.Inodes[e]
	if n == nil || !n.Changed() {
		switch {
		case o.base.Epoch() != epoch:
			return nil, true, nil
		case s.Gone || s.Version == 0:
			return nil, false, notThere()
		}
		if n == nil || n.Version != s.Version {
			n = o.work.Adopted(n, work.Adopted{Entry: e, Seen: merge.Seen{Version: s.Version, Node: s.Node}})
			o.work.Inodes[e] = n
		}
	}
	if n.State.Content == nil {
		if n.Handles == 0 && !n.Changed() {
			delete(o.work.Inodes, e)
		}
		return nil, false, refuse(IsFolder)
	}
	return o.handle(n, write), false, nil
}

func (o *Overlay) handle(n *work.Inode, write bool) *File {
	n.Handles++
	if write {
		n.Writers++
	}
	return &File{o, n, write}
}

// CreateFile makes a file and opens it for writing.
func (o *Overlay) CreateFile(ctx context.Context, at merge.Place, executable bool) (f *File, n Node, err error) {
	n, err = o.create(ctx, at, merge.Node{Kind: manifest.File, File: manifest.FileBody{Executable: executable}}, func(n *work.Inode) {
		f = o.handle(n, true)
	})
	return f, n, err
}

// Entry returns which entry the file is now.
func (f *File) Entry() id.Entry {
	f.o.mu.RLock()
	defer f.o.mu.RUnlock()
	return f.n.ID
}

// Node returns what there is to see of the file.
func (f *File) Node() Node {
	f.o.mu.RLock()
	defer f.o.mu.RUnlock()
	return f.o.work.NodeOf(f.n)
}

// ReadAt reads from an offset on. It returns less than len(p) only at the end
// of the file, and no error there.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f.o.mu.RLock()
	c := f.n.State.Content
	f.o.mu.RUnlock()
	n, err := f.o.readContent(ctx, c, p, off)
	if err != nil {
		return n, f.o.damaged(f.n, err)
	}
	return n, nil
}

// WriteAt writes at an offset.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 || off > manifest.MaxFileSize-int64(len(p)) {
		return 0, fault.Errorf(fault.TooLarge, "write file: %d bytes at %d", len(p), off)
	}
	return f.write(ctx, p, func(int64) int64 { return off })
}

// Append writes at the end, in one step.
func (f *File) Append(ctx context.Context, p []byte) (int, error) {
	return f.write(ctx, p, func(size int64) int64 { return size })
}

func (f *File) write(ctx context.Context, p []byte, where func(size int64) int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := f.writable(ctx); err != nil {
			return 0, err
		}
		n, done, err := f.tryWrite(p, where)
		if done || err != nil {
			return n, err
		}
	}
}

// tryWrite writes if the file has a state that can be changed.
func (f *File) tryWrite(p []byte, where func(int64) int64) (n int, done bool, err error) {
	f.o.mu.RLock()
	defer f.o.mu.RUnlock()
	if f.n.State.Frozen || !f.n.Changed() || f.o.closed {
		return 0, f.o.closed, f.o.closedError()
	}
	f.o.writing.Lock()
	defer f.o.writing.Unlock()
	c := f.n.State.Content
	size, _ := c.Lengths()
	off := where(size)
	now := f.o.Now()
	for n < len(p) {
		page := (off + int64(n)) / layer.PageSize
		some := p[n:min(int64(len(p)), (page+1)*layer.PageSize-off)]
		if err := f.o.write(c, some, off+int64(n), now); err != nil {
			return n, true, err
		}
		n += len(some)
	}
	return n, true, nil
}

func (o *Overlay) closedError() error {
	if !o.closed {
		return nil
	}
	return fault.Errorf(fault.Failed, "write file: the workspace is closed")
}

// writable makes sure that the file has a state that can be changed.
func (f *File) writable(ctx context.Context) error {
	o := f.o
	o.mu.RLock()
	ready, orphan, e := f.n.Changed() && !f.n.State.Frozen, f.n.Orphan, f.n.ID
	o.mu.RUnlock()
	if ready {
		return nil
	}
	if orphan {
		o.mu.Lock()
		defer o.mu.Unlock()
		if f.n.State.Frozen {
			was := f.n.State
			f.n.State = &work.State{Node: was.Node, Content: was.Content.Above()}
		}
		return nil
	}
	place, _, err := o.base.Parent(ctx, e)
	if err != nil {
		return err
	}
	return o.change(ctx, []id.Entry{place.Folder}, nil, func(ev *work.Event) error { return f.touch(ev, place) })
}

// touch completes an event that lets the file be written to; mu is held.
func (f *File) touch(ev *work.Event, place merge.Place) error {
	n := f.n
	if n.Orphan || n.Changed() && !n.State.Frozen {
		return nil
	}
	current := f.o.work.Inodes[n.ID]
	if current != n && current != nil && current.Changed() {
		return fault.Errorf(fault.Stale, "write file: %w", Replaced)
	}
	if !n.Changed() {
		if current != n && current != nil && current.Handles > 0 {
			f.o.work.Orphans[current] = true
		}
		ev.Adopt = []work.Adopted{{Entry: n.ID, Seen: merge.Seen{Version: n.Version, Place: place, Node: n.BaseNode()}}}
		f.o.work.Inodes[n.ID] = n
		delete(f.o.work.Orphans, n)
	}
	ev.Kind, ev.Entry, ev.Copy = work.EvTouch, n.ID, id.New[id.Entry]()
	return nil
}

// Truncate gives the file a size.
func (f *File) Truncate(ctx context.Context, size int64) error {
	if size < 0 || size > manifest.MaxFileSize {
		return fault.Errorf(fault.TooLarge, "truncate file: to %d bytes", size)
	}
	return f.alter(ctx, func(n *work.Inode, ev *work.Event) error {
		ev.Kind, ev.Number, ev.Modified, ev.Changes = work.EvTruncate, size, ev.At.UnixNano(), n.State.Content.Changes+1
		return nil
	})
}

func (f *File) alter(ctx context.Context, set func(*work.Inode, *work.Event) error) error {
	for {
		if err := f.writable(ctx); err != nil {
			return err
		}
		f.o.mu.Lock()
		if f.n.State.Frozen || !f.n.Changed() {
			f.o.mu.Unlock()
			continue
		}
		err := f.o.alterInode(f.n, set)
		f.o.mu.Unlock()
		f.o.tell()
		return err
	}
}

// Flush hands what was written to the journal, which keeps it through a kill of
// the process. The work on the file settles.
func (f *File) Flush() error {
	if err := f.flush(true); err != nil {
		return err
	}
	f.o.tell() // it has settled, maybe while somebody waits for that
	return f.o.Flush()
}

// flush hands what was written to the file to the journal, as a whole. done says
// that nobody writes to it for now.
func (f *File) flush(done bool) error {
	f.o.mu.RLock()
	defer f.o.mu.RUnlock()
	if f.n.Orphan || f.n.State.Frozen || !f.n.Changed() || f.o.closed {
		return nil
	}
	f.o.writing.Lock()
	defer f.o.writing.Unlock()
	c := f.n.State.Content
	if err := f.o.closeContent(c); err != nil || !done {
		return err
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	c.Busy = false
	return nil
}

// Sync makes what was written durable. The work on the file settles with its next
// [File.Flush]: who syncs writes on, and often.
func (f *File) Sync() error {
	if err := f.flush(false); err != nil {
		return err
	}
	return f.o.Sync()
}

// Close gives the file back. What was written to it is flushed.
func (f *File) Close() error {
	var err error
	if f.writes {
		err = f.Flush()
	}
	o := f.o
	o.mu.Lock()
	defer o.mu.Unlock()
	f.n.Handles--
	if f.writes {
		f.n.Writers--
	}
	if f.n.Handles > 0 {
		return err
	}
	delete(o.work.Orphans, f.n)
	if !f.n.Changed() && o.work.Inodes[f.n.ID] == f.n {
		delete(o.work.Inodes, f.n.ID)
	}
	return err
}

// Spans returns which parts of the file hold data between two offsets, in order;
// the rest are holes. Parts may overlap.
func (f *File) Spans(ctx context.Context, from, to int64) ([]Range, error) {
	f.o.mu.RLock()
	c := f.n.State.Content
	f.o.mu.RUnlock()
	c.Mu.RLock()
	defer c.Mu.RUnlock()
	var out []Range
	add := func(s layer.Span) error {
		if s.From < s.To {
			out = append(out, Range{From: uint64(s.From), To: uint64(s.To)})
		}
		return nil
	}
	err := c.Top.Read(layer.Span{From: from, To: min(to, c.Size)}, func(at int64, e layer.Extent) error {
		return add(layer.Span{From: at, To: at + int64(e.To-e.From)})
	}, func(s layer.Span) error {
		s.To = min(s.To, int64(c.Base.Size))
		return add(s)
	})
	if end := c.BufferAt + int64(len(c.Buffer)); err == nil && len(c.Buffer) > 0 && end > from {
		err = add(layer.Span{From: max(from, c.BufferAt), To: min(end, to)})
		slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	}
	return out, err
}

// Refresh says that entries may have changed in the base, all if none is
// named, and tells who watches.
func (o *Overlay) Refresh(entries ...id.Entry) {
	o.base.Forget(entries...)
	o.mu.RLock()
	watchers := o.watchers
	o.mu.RUnlock()
	for _, tell := range watchers {
		tell(entries)
	}
}

// Settled says that entries, one at least, have changed in the base to what they showed before.
func (o *Overlay) Settled(entries ...id.Entry) {
	o.base.Forget(entries...)
}

// Watch calls tell with the entries that may have changed by others, all if
// there are none. It is called by who refreshes, and must not wait.
func (o *Overlay) Watch(tell func([]id.Entry)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watchers = append(o.watchers, tell)
}

// Ahead looks up many entries at once, since somebody will ask for each.
func (o *Overlay) Ahead(ctx context.Context, entries []id.Entry) error {
	return o.base.Ahead(ctx, entries)
}

// Again opens the file once more: what this one shows, wherever its name leads by
// now.
func (f *File) Again(write bool) *File {
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	return f.o.handle(f.n, write)
}

// Newest reports whether who opens the entry now gets what this file shows.
func (f *File) Newest(ctx context.Context) (bool, error) {
	o, n := f.o, f.n
	o.mu.RLock()
	e, version := n.ID, n.Version
	current, changed := !n.Orphan && o.work.Inodes[e] == n, n.Changed()
	o.mu.RUnlock()
	if !current || changed {
		return current, nil
	}
	s, err := o.base.Entry(ctx, e)
	return err == nil && !s.Gone && s.Version == version, err
}

// SetModified gives the file a time of modification.
func (f *File) SetModified(ctx context.Context, at time.Time) error {
	return f.alter(ctx, func(_ *work.Inode, ev *work.Event) error {
		ev.Kind, ev.Modified = work.EvSet, at.UnixNano()
		return nil
	})
}

// SetExecutable sets whether the file is a program.
func (f *File) SetExecutable(ctx context.Context, executable bool) error {
	return f.alter(ctx, func(_ *work.Inode, ev *work.Event) error {
		ev.Kind, ev.Executable = work.EvSet, executable
		return nil
	})
}
