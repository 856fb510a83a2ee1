package overlay

import (
	"context"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/work"
	"parsec/internal/format/manifest"
)

// Refusal is why the tree does not allow a change, as far as file systems tell
// it apart.
type Refusal uint8

// The refusals.
const (
	// Exists: the name is taken.
	Exists Refusal = 1 + iota
	// NotFolder: something that is no folder stands where one should.
	NotFolder
	// IsFolder: a folder stands where something else should.
	IsFolder
	// NotEmpty: a folder has something in it.
	NotEmpty
	// Below: a folder would move into itself.
	Below
	// Across: the workspace's and what is only on this device do not mix so.
	Across
	// Replaced: an open file has a newer version, in which others work.
	Replaced
)

// Error says what is wrong.
func (r Refusal) Error() string {
	texts := []string{
		"", "the name is taken", "it is not a folder", "it is a folder", "the folder is not empty",
		"a folder cannot move into itself", "a name that stays on this device is in the way", "the open file was replaced by a newer version",
	}
	if int(r) >= len(texts) {
		return "refused"
	}
	return texts[r]
}

func refuse(r Refusal) error { return fault.Errorf(fault.Conflict, "change workspace: %w", r) }

// prepared is what a change needs from the base.
type prepared struct {
	epoch   uint64
	adopt   []work.Adopted
	folders []work.Adopted
	// here are folders that were made here and are not in the base.
	here []id.Entry
}

// prepare looks at entries, and at the folders above the work, before mu is
// held: the base may take long to answer.
func (o *Overlay) prepare(ctx context.Context, folders []id.Entry, entries ...id.Entry) (p prepared, err error) {
	p.epoch = o.base.Epoch()
	for _, e := range entries {
		o.mu.RLock()
		n, gone := o.work.Inodes[e], o.work.Gone[e] != nil
		have := n != nil && n.Changed()
		o.mu.RUnlock()
		if e.IsZero() || have || gone {
			continue
		}
		seen, err := o.base.Look(ctx, e)
		if err != nil {
			return p, err
		}
		if (seen.Version == 0 || seen.Node.Kind == 0 || seen.Place == merge.Place{}) && e != o.Root { // somebody has removed it by now
			return p, notThere()
		}
		if e == o.Root {
			seen.Node.Kind = manifest.Folder
		}
		p.adopt = append(p.adopt, work.Adopted{Entry: e, Seen: seen})
		folders = append(folders, seen.Place.Folder)
	}
	for _, f := range folders {
		if err := o.prepareFolders(ctx, f, &p); err != nil {
			return p, err
		}
	}
	return p, nil
}

// prepareFolders gathers the folders from one upwards that are not known yet.
func (o *Overlay) prepareFolders(ctx context.Context, folder id.Entry, p *prepared) error {
	for !folder.IsZero() {
		o.mu.RLock()
		_, known := o.work.Known.Folders[folder]
		n := o.work.Inodes[folder]
		made := n != nil && n.Apart()
		o.mu.RUnlock()
		if made { // it is made here, those above are known
			p.here = append(p.here, folder)
			return nil
		}
		for _, a := range p.folders {
			known = known || a.Entry == folder
		}
		if known {
			return nil
		}
		seen, err := o.base.Look(ctx, folder)
		if err != nil {
			return err
		}
		if seen.Version == 0 && folder != o.Root { // it was made here, and removed
			return notThere()
		}
		seen.Node.Kind = manifest.Folder
		p.folders = append(p.folders, work.Adopted{Entry: folder, Seen: seen})
		folder = seen.Place.Folder
	}
	return nil
}

// change prepares and makes an event until the base does not move in between.
// check is called with mu held, and completes the event.
func (o *Overlay) change(ctx context.Context, folders, entries []id.Entry, check func(*work.Event) error) error {
	for {
		p, err := o.prepare(ctx, folders, entries...)
		if err != nil {
			return err
		}
		done, err := o.attempt(p, check)
		if done || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (o *Overlay) attempt(p prepared, check func(*work.Event) error) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true, fault.Errorf(fault.Failed, "change workspace: it is closed")
	}
	if o.base.Epoch() != p.epoch || slices.ContainsFunc(p.here, func(f id.Entry) bool { return o.work.Inodes[f] == nil }) {
		return false, nil
	}
	e := work.Event{At: o.Now()}
	for _, a := range p.adopt {
		if n := o.work.Inodes[a.Entry]; n == nil || !n.Changed() {
			e.Adopt = append(e.Adopt, a)
		}
	}
	for _, a := range p.folders {
		if _, known := o.work.Known.Folders[a.Entry]; !known {
			e.Folders = append(e.Folders, a)
		}
	}
	if err := check(&e); err != nil {
		return true, err
	}
	if e.Kind == 0 {
		return true, nil
	}
	if err := o.do(e); err != nil {
		return true, err
	}
	if e.Done != nil {
		e.Done()
	}
	o.tell()
	return true, nil
}

// free makes sure that a folder does not have a name, with what the base said
// of it; mu is held.
func (o *Overlay) free(folder id.Entry, name string, inBase manifest.Child, found bool) error {
	if o.work.Gone[folder] != nil {
		return notThere()
	}
	if n := o.work.Inodes[folder]; n != nil && n.Changed() && n.State.Node.Kind != manifest.Folder {
		return refuse(NotFolder)
	}
	k, ok := o.work.Kid(merge.Place{Folder: folder, Name: name})
	switch {
	case ok && !k.Removed():
		return refuse(Exists)
	case !ok && found && o.work.Stands(folder, inBase):
		return refuse(Exists)
	}
	return nil
}

// Create makes a file, folder or symlink under a name that is free. The size
// of a file is 0. Times that are zero are now.
func (o *Overlay) Create(ctx context.Context, at merge.Place, n merge.Node) (Node, error) {
	return o.create(ctx, at, n, nil)
}

// create does so; opened is called with the inode before anybody can see it.
func (o *Overlay) create(ctx context.Context, at merge.Place, n merge.Node, opened func(*work.Inode)) (out Node, err error) {
	if err := manifest.CheckName(at.Name); err != nil {
		return out, err
	}
	e := id.New[id.Entry]()
	var inBase manifest.Child
	var found bool
	if _, decided, _ := o.localChild(at.Folder, at.Name); !decided {
		if inBase, found, err = o.base.Child(ctx, at.Folder, at.Name); err != nil {
			return out, err
		}
	}
	err = o.change(ctx, []id.Entry{at.Folder}, nil, func(ev *work.Event) error {
		if err := o.free(at.Folder, at.Name, inBase, found); err != nil {
			return err
		}
		if n.Created == 0 {
			n.Created = ev.At.UnixNano()
		}
		if n.Modified == 0 {
			n.Modified = ev.At.UnixNano()
		}
		n.File = manifest.FileBody{Executable: n.File.Executable}
		ev.Kind, ev.Entry, ev.Place, ev.Node = work.EvCreate, e, at, n
		above := o.work.Inodes[at.Folder]
		ev.Local = above != nil && above.Local || o.Ignore(at.Name)
		ev.Done = func() {
			in := o.work.Inodes[e]
			if opened != nil {
				opened(in)
			}
			out = o.work.NodeOf(in)
		}
		return nil
	})
	return out, err
}

// writable makes sure that an entry has a state that can be changed.
func (o *Overlay) writable(ctx context.Context, e id.Entry) error {
	return o.change(ctx, nil, []id.Entry{e}, func(ev *work.Event) error {
		if o.work.Gone[e] != nil {
			return notThere()
		}
		if n := o.work.Inodes[e]; n != nil && n.Changed() && !n.State.Frozen {
			return nil
		}
		ev.Kind, ev.Entry, ev.Copy = work.EvTouch, e, id.New[id.Entry]()
		return nil
	})
}

// alter changes an entry's fields in a state that can be changed.
func (o *Overlay) alter(ctx context.Context, e id.Entry, set func(*work.Inode, *work.Event) error) error {
	for {
		if err := o.writable(ctx, e); err != nil {
			return err
		}
		o.mu.Lock()
		n := o.work.Inodes[e]
		if n == nil || !n.Changed() || n.State.Frozen { // it was taken or removed meanwhile
			o.mu.Unlock()
			continue
		}
		err := o.alterInode(n, set)
		o.mu.Unlock()
		o.tell()
		return err
	}
}

// alterInode does so; the caller holds mu.
func (o *Overlay) alterInode(n *work.Inode, set func(*work.Inode, *work.Event) error) error {
	if err := o.flushOthers(nil); err != nil {
		return err
	}
	node := n.State.Node
	ev := work.Event{Entry: n.ID, At: o.Now(), Executable: node.File.Executable, Created: node.Created, Modified: o.work.NodeOf(n).Modified}
	if err := set(n, &ev); err != nil {
		return err
	}
	if n.Orphan { // nobody will ever look for it in the journal
		ev.Changes = 0
		if ev.Kind == work.EvTruncate {
			ev.Changes = n.State.Content.Changes + 1
		}
		return o.work.ApplySet(n, ev)
	}
	return o.do(ev)
}

// SetModified gives an entry a time of modification.
func (o *Overlay) SetModified(ctx context.Context, e id.Entry, at time.Time) error {
	return o.alter(ctx, e, func(_ *work.Inode, ev *work.Event) error {
		ev.Kind, ev.Modified = work.EvSet, at.UnixNano()
		return nil
	})
}

// SetExecutable sets whether a file is a program.
func (o *Overlay) SetExecutable(ctx context.Context, e id.Entry, executable bool) error {
	return o.alter(ctx, e, func(n *work.Inode, ev *work.Event) error {
		if n.State.Content == nil {
			return nil
		}
		ev.Kind, ev.Executable = work.EvSet, executable
		return nil
	})
}

// find returns what a folder names so, for a change.
func (o *Overlay) find(ctx context.Context, at merge.Place) (manifest.Child, error) {
	c, ok, err := o.Child(ctx, at.Folder, at.Name)
	if err == nil && !ok {
		err = notThere()
	}
	return c, err
}

// still makes sure that a name leads to an entry as it did before mu was held.
func (o *Overlay) still(at merge.Place, c manifest.Child) bool {
	if k, ok := o.work.Kid(at); ok {
		return k == c
	}
	return o.work.Stands(at.Folder, c)
}

// Remove removes what a folder names so: an empty folder if folder is set,
// and something else if not. Who has it open can go on with it.
func (o *Overlay) Remove(ctx context.Context, at merge.Place, folder bool) error {
	for {
		c, err := o.find(ctx, at)
		if err != nil {
			return err
		}
		switch isFolder := c.Kind == manifest.Folder; {
		case folder && !isFolder:
			return refuse(NotFolder)
		case !folder && isFolder:
			return refuse(IsFolder)
		}
		if err := o.ensureEmpty(ctx, c); err != nil {
			return err
		}
		again := false
		err = o.change(ctx, []id.Entry{at.Folder}, []id.Entry{c.Entry}, func(ev *work.Event) error {
			again = !o.still(at, c)
			if !again {
				if err := o.emptyHere(c); err != nil {
					return err
				}
				ev.Kind, ev.Entry = work.EvRemove, c.Entry
				o.placeAdopted(ev, c.Entry, at)
			}
			return nil
		})
		if err != nil || !again {
			return err
		}
	}
}

// placeAdopted says where an entry was seen: the base may have it elsewhere
// too, if a member contradicts another.
func (o *Overlay) placeAdopted(ev *work.Event, e id.Entry, at merge.Place) {
	for i := range ev.Adopt {
		if ev.Adopt[i].Entry == e {
			ev.Adopt[i].Seen.Place = at
		}
	}
}

// ensureEmpty fails if a folder has something in it.
func (o *Overlay) ensureEmpty(ctx context.Context, c manifest.Child) error {
	if c.Kind != manifest.Folder {
		return nil
	}
	all, err := o.Children(ctx, c.Entry)
	if err == nil && len(all) > 0 {
		err = refuse(NotEmpty)
	}
	return err
}

// emptyHere fails if something was put into a folder here; mu is held.
func (o *Overlay) emptyHere(c manifest.Child) error {
	if o.work.Holds(c.Entry) {
		return refuse(NotEmpty)
	}
	return nil
}

// Move moves or renames what a folder names so, over what is at the other
// place if replace is set. What was written to it before is part of what is
// moved. It returns which entry that is from then on: a file that replaces
// another one goes on as the other one's newer version.
func (o *Overlay) Move(ctx context.Context, from, to merge.Place, replace bool) (id.Entry, error) {
	if err := manifest.CheckName(to.Name); err != nil {
		return id.Entry{}, err
	}
	for {
		moved, again, err := o.tryMove(ctx, from, to, replace)
		if err == nil && !again && o.work.Shares.Swap(false) { // it was ignored itself, and is not any more
			err = o.PublishUnignored(ctx)
		}
		if err != nil || !again {
			return moved, err
		}
	}
}

func (o *Overlay) tryMove(ctx context.Context, from, to merge.Place, replace bool) (moved id.Entry, again bool, err error) {
	c, err := o.find(ctx, from)
	if err != nil {
		return moved, false, err
	}
	over, taken, err := o.Child(ctx, to.Folder, to.Name)
	if err != nil {
		return moved, false, err
	}
	if err := o.checkMove(ctx, c, over, to, taken, replace); err != nil || taken && over.Entry == c.Entry {
		return c.Entry, false, err
	}
	entries := []id.Entry{c.Entry}
	if taken {
		entries = append(entries, over.Entry)
	}
	err = o.change(ctx, []id.Entry{from.Folder, to.Folder}, entries, func(ev *work.Event) error {
		if !o.still(from, c) || taken && !o.still(to, over) || !taken && o.free(to.Folder, to.Name, manifest.Child{}, false) != nil {
			again = true
			return nil
		}
		if taken {
			if err := o.emptyHere(over); err != nil {
				return err
			}
			ev.Over = over.Entry
		}
		ev.Kind, ev.Entry, ev.Place, ev.Copy = work.EvMove, c.Entry, to, id.New[id.Entry]()
		o.placeAdopted(ev, c.Entry, from)
		o.placeAdopted(ev, over.Entry, to)
		ev.Done = func() {
			moved = over.Entry // as the base has it, unless something is known here
			if k, ok := o.work.Kid(to); ok {
				moved = k.Entry
			}
		}
		return o.prepareMove(c.Entry, over.Entry, to, ev)
	})
	return moved, again, err
}

// checkMove fails if a move is not possible.
func (o *Overlay) checkMove(ctx context.Context, c, over manifest.Child, to merge.Place, taken, replace bool) error {
	if taken {
		switch {
		case !replace:
			return refuse(Exists)
		case over.Entry == c.Entry:
			return nil
		case c.Kind == manifest.Folder && over.Kind != manifest.Folder:
			return refuse(NotFolder)
		case c.Kind != manifest.Folder && over.Kind == manifest.Folder:
			return refuse(IsFolder)
		}
		if err := o.ensureEmpty(ctx, over); err != nil {
			return err
		}
	}
	if c.Kind != manifest.Folder {
		return nil
	}
	for at := to.Folder; at != o.Root; {
		if at == c.Entry {
			return refuse(Below)
		}
		p, ok, err := o.Parent(ctx, at)
		if err != nil {
			return err
		}
		if !ok {
			return notThere()
		}
		at = p.Folder
	}
	return nil
}

// prepareMove decides whether what moves stays on this device, and hands what
// was written to it to the journal, which then has it before the move. The
// caller holds mu.
func (o *Overlay) prepareMove(e, over id.Entry, to merge.Place, ev *work.Event) error {
	n, above, w := o.work.Inodes[e], o.work.Inodes[to.Folder], o.work.Inodes[over]
	inLocal := above != nil && above.Local
	local := n != nil && n.Local
	if !local && inLocal {
		return refuse(Across)
	}
	if local {
		ev.Local = inLocal || o.Ignore(to.Name)
		if w != nil && !w.Local && w.Changed() || w == nil && !over.IsZero() {
			ev.Local = false // what replaces a part of the workspace is one
		}
	}
	if n != nil && n.State.Content != nil && n.Changed() && !n.State.Frozen {
		return o.closeContent(n.State.Content)
	}
	return nil
}
