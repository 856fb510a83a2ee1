package work

import (
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/layer"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// Apply lets an event happen. It fails where the events before it do not allow
// for it, as when some of them are damaged.
func (o *Tree) Apply(e Event) error {
	if err := o.adopt(e); err != nil {
		return err
	}
	switch e.Kind {
	case EvCreate:
		o.applyCreate(e)
		return nil
	case EvTake, EvStored, evIntend, EvAccept, EvRelease:
		return o.applyBatch(e)
	}
	if e.Entry.IsZero() { // written to what nobody can find any more
		return nil
	}
	n := o.Inodes[e.Entry]
	if n == nil || !n.Changed() && e.Kind != EvTouch && e.Kind != EvRemove && e.Kind != EvMove {
		return Lost()
	}
	n.touched = e.At
	switch e.Kind {
	case EvTouch:
		o.applyTouch(n, e)
	case EvWrite:
		return o.applyWrite(n, e)
	case EvTruncate, EvSet:
		return o.ApplySet(n, e)
	case EvRemove:
		o.applyRemove(n, e)
	case EvMove:
		if err := o.applyMove(n, e); err != nil {
			return err
		}
	case EvLost:
		o.ApplyLost(n, e)
	case EvPublish:
		if !n.Local {
			return Lost()
		}
		o.publish(n, e.At)
	}
	if len(o.ops) == o.dead && o.Batch == nil {
		clear(o.times) // what was done and undone leaves no trace, here as elsewhere
	}
	return nil
}

// lostError is why an entry shows the server's version.
func lostError(text string) error {
	return fault.WithHint(fault.Broken("local data is what this device wrote", "%s", text),
		"the workspace shows the server's version; what was written here since is lost")
}

// ApplyLost gives up what was done to an entry and was not taken.
func (o *Tree) ApplyLost(n *Inode, e Event) {
	o.problems[n.ID] = &Problem{Entry: n.ID, Place: n.Place, Err: lostError(e.Text), Since: e.At}
	problem := o.problems[n.ID]
	o.undo(n)
	k := o.kids[n.Place.Folder][n.Place.Name]
	if k.child.Entry == n.ID {
		o.unlink(n.Place, nil, e.At)
	}
	o.orphan(n)
	o.problems[n.ID] = problem
}

func Lost() error {
	return fault.Broken("local data is what this device wrote", "read local change: a record before it is missing")
}

// adopt takes in what an event brings from the base.
func (o *Tree) adopt(e Event) error {
	for _, a := range e.Folders {
		if o.Known.Folders == nil {
			o.Known.Folders = map[id.Entry]merge.Seen{}
		}
		o.Known.Folders[a.Entry] = a.Seen
	}
	for _, a := range e.Adopt {
		if n := o.Inodes[a.Entry]; n == nil || !n.Changed() {
			n = o.Adopted(n, a)
			o.nextState++
			n.State.Number = o.nextState
			o.Inodes[a.Entry] = n
		}
	}
	return nil
}

// Adopted returns the inode of an entry of the base; n is the one that programs
// hold already, nil if there is none.
func (o *Tree) Adopted(n *Inode, a Adopted) *Inode {
	if n == nil || n.Version != a.Seen.Version {
		if n != nil && n.Handles > 0 {
			o.Orphans[n] = true
		}
		n = &Inode{ID: a.Entry, Version: a.Seen.Version, number: o.Number(a.Entry)}
	}
	n.Place = a.Seen.Place
	n.State = &State{Node: a.Seen.Node, Frozen: true}
	if a.Seen.Node.Kind == manifest.File {
		n.State.Content = baseContent(a.Entry, a.Seen.Node.Modified, a.Seen.Node.File)
	}
	return n
}

func (o *Tree) newState(n merge.Node) *State {
	o.nextState++
	return &State{Node: n, Number: o.nextState}
}

// add appends an operation.
func (o *Tree) add(p *Op) *Op {
	o.nextOp++
	p.Number = o.nextOp
	o.ops = append(o.ops, p)
	p.folders(func(f id.Entry) { o.uses[f]++ })
	return p
}

// folders calls f with the folders that an operation needs.
func (p *Op) folders(f func(id.Entry)) {
	if p.kind != opWrite && p.kind != opRemove {
		f(p.to.Folder)
	}
	if p.kind != opCreate {
		f(p.place.Folder)
	}
}

// end says that an operation needs not or cannot go on.
func (o *Tree) end(p *Op) {
	if p.dead {
		return
	}
	p.dead = true
	o.dead++
	p.folders(func(f id.Entry) {
		if o.uses[f]--; o.uses[f] == 0 {
			delete(o.uses, f)
		}
	})
	if o.dead > 1024 && o.dead > len(o.ops)/2 {
		o.ops = slices.DeleteFunc(o.ops, func(p *Op) bool { return p.dead })
		o.dead = 0
	}
}

// link says that a folder names an entry, from an operation on.
func (o *Tree) link(n *Inode, at merge.Place, by *Op, when time.Time) {
	o.name(at, manifest.Child{Name: at.Name, Entry: n.ID, Kind: n.State.Node.Kind}, by, when)
	n.Place, n.Placed = at, by
}

// unlink says that a folder has a name no more: from an operation on, or,
// where that is nil, since there is nothing of it left here.
func (o *Tree) unlink(at merge.Place, by *Op, when time.Time) {
	freed := o.kids[at.Folder][at.Name].freed.alive()
	if by != nil {
		by.before = freed
	} else if by = freed; by == nil {
		delete(o.kids[at.Folder], at.Name)
		if len(o.kids[at.Folder]) == 0 {
			delete(o.kids, at.Folder)
		}
		o.touch(at.Folder, when)
		return
	}
	o.name(at, manifest.Child{Name: at.Name}, by, when)
}

// touch notes when a folder changed; a zero time says that it did not.
func (o *Tree) touch(folder id.Entry, when time.Time) {
	if !when.IsZero() {
		o.times[folder] = max(o.times[folder], when.UnixNano())
	}
}

func (o *Tree) name(at merge.Place, c manifest.Child, by *Op, when time.Time) {
	all := o.kids[at.Folder]
	if all == nil {
		all = map[string]kid{}
		o.kids[at.Folder] = all
	}
	k := kid{c, by, all[at.Name].freed}
	if c.Removed() {
		k.freed = by
	}
	all[at.Name] = k
	o.touch(at.Folder, when)
}

func (o *Tree) applyCreate(e Event) {
	s := o.newState(e.Node)
	if e.Node.Kind == manifest.File {
		s.Content = &Content{Owner: e.Entry, Modified: e.Node.Modified, Touched: e.At, Open: true, Top: layer.New(0, nil), Base: emptyBody()}
	}
	n := &Inode{ID: e.Entry, State: s, touched: e.At, dirty: e.At, Local: e.Local, number: o.Number(e.Entry)}
	o.Inodes[e.Entry] = n
	var p *Op
	if !e.Local {
		p = o.add(&Op{kind: opCreate, entry: e.Entry, to: e.Place, now: s, at: e.At})
		n.Ops = []*Op{p}
	}
	o.link(n, e.Place, p, e.At)
}

func emptyBody() manifest.FileBody {
	return manifest.FileBody{Blocks: manifest.List{Items: manifest.EncodeItems([]manifest.Ref{})}}
}

// aboveState returns a state that goes on where a frozen one ends.
func (o *Tree) aboveState(was *State) *State {
	s := o.newState(was.Node)
	if was.Content != nil {
		s.Content = was.Content.Above()
	}
	was.above = s
	return s
}

// applyTouch gives an inode a state that can be changed.
func (o *Tree) applyTouch(n *Inode, e Event) {
	was := n.State
	s := o.aboveState(was)
	n.State = s
	if n.dirty.IsZero() {
		n.dirty = e.At
	}
	if n.Local {
		return
	}
	n.Ops = append(n.Ops, o.add(&Op{
		kind: opWrite, entry: n.ID, version: n.Version, place: n.Place, was: was, now: s, copy: e.Copy, at: e.At,
	}))
}

func (o *Tree) applyWrite(n *Inode, e Event) error {
	c := n.State.Content
	if c == nil || n.State.Frozen || e.Changes != c.Changes+1 {
		return Lost()
	}
	c.Changes, c.Open = e.Changes, e.Open
	c.Modified, c.Touched = e.Modified, e.At
	if e.Payload > 0 {
		c.Extend(e.Number, e.Payload, e.Record)
	}
	return nil
}

func (o *Tree) ApplySet(n *Inode, e Event) error {
	c := n.State.Content
	if c != nil {
		c.Mu.Lock()
		defer c.Mu.Unlock()
	}
	switch {
	case n.State.Frozen, e.Kind == EvTruncate && (c == nil || e.Changes != c.Changes+1):
		return Lost()
	case e.Kind == EvTruncate:
		c.Changes, c.Open, c.Busy = e.Changes, true, true
		c.truncate(e.Number)
		c.Modified, c.Touched = e.Modified, e.At
		return nil
	}
	n.State.Node.Created, n.State.Node.Modified = e.Created, e.Modified
	if c != nil {
		n.State.Node.File.Executable = e.Executable
		c.Modified, c.Touched = e.Modified, e.At
	}
	if n.State.Node.Kind == manifest.Folder {
		o.times[n.ID] = e.Modified
	}
	return nil
}

// drop ends what can still be altered of an inode's writes, which are about to
// be of no use, and returns the state from before them.
func (o *Tree) drop(n *Inode) *State {
	was := n.State
	for _, p := range slices.Backward(n.Ops) {
		if p.taken || p.kind == opCreate {
			break
		}
		if p.kind != opWrite {
			continue
		}
		was = p.was
		o.end(p)
		for _, q := range n.Ops {
			if q.was == p.now {
				q.was = p.was
			}
		}
	}
	n.Ops = slices.DeleteFunc(n.Ops, func(p *Op) bool { return p.dead })
	return was
}

// undo ends all operations of an inode that was made here and nobody else knows of.
func (o *Tree) undo(n *Inode) {
	for _, p := range n.Ops {
		o.end(p)
	}
	for _, p := range n.Ops {
		if k := o.kids[p.place.Folder][p.place.Name]; (p.kind == opMove || p.kind == opReplace) && k.by == p {
			o.unlink(p.place, nil, time.Time{})
		}
		if p.kind == opReplace {
			delete(o.Gone, p.entry)
		}
	}
	n.Ops = nil
}

// ownOnly reports whether an inode was made here and leaves no trace if undone: no
// operation needs the folder, and it took no place of what the base may have by now.
func (o *Tree) ownOnly(n *Inode) bool {
	if n.made() == nil || o.uses[n.ID] > 0 {
		return false
	}
	return !slices.ContainsFunc(n.Ops, func(p *Op) bool { return p.taken || p.kind == opMove && !p.over.IsZero() || p.kind == opReplace })
}

func (o *Tree) applyRemove(n *Inode, e Event) {
	o.removeInode(n, e.At)
}

func (o *Tree) removeInode(n *Inode, when time.Time) {
	at := n.Place
	var by *Op
	switch {
	case n.Local:
	case o.ownOnly(n):
		o.undo(n)
	default:
		was := o.drop(n)
		by = o.add(&Op{kind: opRemove, entry: n.ID, version: n.Version, place: at, was: was, at: when})
		o.Gone[n.ID] = by
	}
	o.unlink(at, by, when)
	o.orphan(n)
}

// orphan takes an inode out of the tree.
func (o *Tree) orphan(n *Inode) {
	delete(o.Inodes, n.ID)
	delete(o.numbers, n.ID)
	delete(o.problems, n.ID)
	delete(o.times, n.ID)
	n.Orphan = true
	if n.State.Content != nil {
		n.State.Content.Owner = id.Entry{}
	}
	if n.Handles > 0 {
		o.Orphans[n] = true
	}
}

func (o *Tree) applyMove(n *Inode, e Event) error {
	from := n.Place
	if e.Over.IsZero() {
		o.moveInode(n, e, from, nil)
		return nil
	}
	w := o.Inodes[e.Over]
	if w == nil || w == n {
		return Lost()
	}
	kind, alike := n.State.Node.Kind, n.State.Node.Kind == w.State.Node.Kind
	switch {
	case n.Local && !w.Local && alike && kind != manifest.Folder: // what is pushed from now on replaces what was there
		o.overwrite(n, w, e, from)
	case n.Local || w.Local:
		o.removeInode(w, e.At)
		o.moveInode(n, e, from, nil)
	case alike && kind != manifest.Folder:
		o.replace(n, w, e, from)
	case o.ownOnly(w):
		o.removeInode(w, e.At)
		o.moveInode(n, e, from, nil)
	default:
		o.moveInode(n, e, from, w)
	}
	return nil
}

// moveInode moves an inode to another place, over w if that is not nil.
func (o *Tree) moveInode(n *Inode, e Event, from merge.Place, w *Inode) {
	if n.Local {
		o.unlink(from, nil, e.At)
		o.link(n, e.Place, nil, e.At)
		if n.Local = e.Local; !n.Local {
			o.publish(n, e.At)
		}
		return
	}
	file := n.State.Node.Kind != manifest.Folder
	if w == nil && file && o.ownOnly(n) { // it may as well have been made there
		o.undo(n)
		o.unlink(from, nil, e.At)
		p := o.add(&Op{kind: opCreate, entry: n.ID, to: e.Place, now: n.State, at: e.At})
		n.Ops = []*Op{p}
		o.link(n, e.Place, p, e.At)
		return
	}
	p := &Op{kind: opMove, entry: n.ID, version: n.Version, place: from, was: n.State, to: e.Place, copy: e.Copy, at: e.At}
	if w != nil {
		p.over, p.overVersion, p.overWas = w.ID, w.Version, o.drop(w)
	}
	o.add(p)
	n.Ops = append(n.Ops, p)
	o.unlink(from, p, e.At)
	if w != nil {
		o.Gone[w.ID] = p
		o.orphan(w)
	}
	o.link(n, e.Place, p, e.At)
}

// replace gives a file or symlink the state of another one that is moved over
// it, and the other's programs.
func (o *Tree) replace(n, w *Inode, e Event, from merge.Place) {
	if o.ownOnly(n) {
		o.overwrite(n, w, e, from)
		return
	}
	if o.ownOnly(w) { // nothing of it is anywhere else
		o.removeInode(w, e.At)
		o.moveInode(n, e, from, nil)
		return
	}
	was := o.drop(n)
	if n.State.Frozen {
		n.State = o.aboveState(n.State)
	}
	n.State.Node.Created = w.State.Node.Created
	p := o.add(&Op{
		kind: opReplace, entry: n.ID, version: n.Version, place: from, was: was, now: n.State, to: e.Place, copy: e.Copy, at: e.At,
		over: w.ID, overVersion: w.Version, overWas: o.drop(w),
	})
	o.unlink(from, p, e.At)
	o.Gone[n.ID] = p
	o.become(n, w, p, e)
}

// overwrite gives a file or symlink the state of another one that nobody else
// knows of.
func (o *Tree) overwrite(n, w *Inode, e Event, from merge.Place) {
	o.undo(n)
	o.unlink(from, nil, e.At)
	n.State.Node.Created = w.State.Node.Created
	var p *Op
	if last := len(w.Ops) - 1; last >= 0 && !w.Ops[last].taken && w.Ops[last].now == w.State {
		p = w.Ops[last]
		p.now = n.State
	} else {
		p = o.add(&Op{kind: opWrite, entry: w.ID, version: w.Version, place: w.Place, was: w.State, now: n.State, copy: e.Copy, at: e.At})
		w.Ops = append(w.Ops, p)
	}
	n.Local = false
	o.become(n, w, nil, e)
}

// become makes an inode the one of another entry.
func (o *Tree) become(n, w *Inode, by *Op, e Event) {
	delete(o.Inodes, n.ID)
	delete(o.numbers, n.ID)
	target, placed, ops := w.ID, w.Placed, w.Ops
	o.orphan(w)
	w.ID = id.New[id.Entry]() // who has it open does not have what goes by its id now
	delete(o.Gone, target)
	if by != nil {
		ops = append(slices.Clip(ops), by)
	}
	n.ID, n.Version, n.Ops, n.Placed = target, w.Version, ops, placed
	if n.State.Content != nil {
		n.State.Content.Owner = target
	}
	if n.dirty.IsZero() {
		n.dirty = e.At
	}
	o.Inodes[target] = n
	if n.number != o.Number(target) {
		o.numbers[target] = n.number
	}
	o.touch(e.Place.Folder, e.At)
	n.Place = e.Place
}

// publish makes what was local part of the workspace. What is below it is for
// another event, as some of it may be ignored by its own name.
func (o *Tree) publish(n *Inode, when time.Time) {
	n.Local = false
	o.Shares.CompareAndSwap(false, len(o.kids[n.ID]) > 0)
	p := o.add(&Op{kind: opCreate, entry: n.ID, to: n.Place, now: n.State, at: when})
	n.Ops = []*Op{p}
	if n.dirty.IsZero() {
		n.dirty = when
	}
	o.link(n, n.Place, p, when)
}
