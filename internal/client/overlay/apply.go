package overlay

import (
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/layer"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// do notes an event in the journal and lets it happen. The caller holds mu and
// has made sure that it can happen.
func (o *Overlay) do(e event) error {
	if err := o.flushOthers(nil); err != nil {
		return err
	}
	record, err := o.journal.Append(e.encode(), nil)
	if err != nil {
		return err
	}
	e.record = record
	return o.apply(e)
}

// apply lets an event happen. It fails where the events before it do not allow
// for it, as when some of them are damaged.
func (o *Overlay) apply(e event) error {
	if err := o.adopt(e); err != nil {
		return err
	}
	switch e.kind {
	case evCreate:
		o.applyCreate(e)
		return nil
	case evTake, evStored, evIntend, evAccept, evRelease:
		return o.applyBatch(e)
	}
	if e.entry.IsZero() { // written to what nobody can find any more
		return nil
	}
	n := o.inodes[e.entry]
	if n == nil || !n.changed() && e.kind != evTouch && e.kind != evRemove && e.kind != evMove {
		return lost()
	}
	n.touched = e.at
	switch e.kind {
	case evTouch:
		o.applyTouch(n, e)
	case evWrite:
		return o.applyWrite(n, e)
	case evTruncate, evSet:
		return o.applySet(n, e)
	case evRemove:
		o.applyRemove(n, e)
	case evMove:
		if err := o.applyMove(n, e); err != nil {
			return err
		}
	case evLost:
		o.applyLost(n, e)
	case evPublish:
		if !n.local {
			return lost()
		}
		o.publish(n, e.at)
	}
	if len(o.ops) == o.dead && o.batch == nil {
		clear(o.times) // what was done and undone leaves no trace, here as elsewhere
	}
	return nil
}

// lostError is why an entry shows the server's version.
func lostError(text string) error {
	return fault.WithHint(fault.Broken("local data is what this device wrote", "%s", text),
		"the workspace shows the server's version; what was written here since is lost")
}

// applyLost gives up what was done to an entry and was not taken.
func (o *Overlay) applyLost(n *inode, e event) {
	o.problems[n.id] = &Problem{Entry: n.id, Place: n.place, Err: lostError(e.text), Since: e.at}
	problem := o.problems[n.id]
	o.undo(n)
	k := o.kids[n.place.Folder][n.place.Name]
	if k.child.Entry == n.id {
		o.unlink(n.place, nil, e.at)
	}
	o.orphan(n)
	o.problems[n.id] = problem
}

func lost() error {
	return fault.Broken("local data is what this device wrote", "read local change: a record before it is missing")
}

// adopt takes in what an event brings from the base.
func (o *Overlay) adopt(e event) error {
	for _, a := range e.folders {
		if o.known.Folders == nil {
			o.known.Folders = map[id.Entry]merge.Seen{}
		}
		o.known.Folders[a.entry] = a.seen
	}
	for _, a := range e.adopt {
		if n := o.inodes[a.entry]; n == nil || !n.changed() {
			n = o.adopted(n, a)
			o.nextState++
			n.state.number = o.nextState
			o.inodes[a.entry] = n
		}
	}
	return nil
}

// adopted returns the inode of an entry of the base; n is the one that programs
// hold already, nil if there is none.
func (o *Overlay) adopted(n *inode, a adopted) *inode {
	if n == nil || n.version != a.seen.Version {
		if n != nil && n.handles > 0 {
			o.orphans[n] = true
		}
		n = &inode{id: a.entry, version: a.seen.Version, number: o.number(a.entry)}
	}
	n.place = a.seen.Place
	n.state = &state{node: a.seen.Node, frozen: true}
	if a.seen.Node.Kind == manifest.File {
		n.state.content = baseContent(a.entry, a.seen.Node.Modified, a.seen.Node.File)
	}
	return n
}

func (o *Overlay) newState(n merge.Node) *state {
	o.nextState++
	return &state{node: n, number: o.nextState}
}

// add appends an operation.
func (o *Overlay) add(p *op) *op {
	o.nextOp++
	p.number = o.nextOp
	o.ops = append(o.ops, p)
	p.folders(func(f id.Entry) { o.uses[f]++ })
	return p
}

// folders calls f with the folders that an operation needs.
func (p *op) folders(f func(id.Entry)) {
	if p.kind != opWrite && p.kind != opRemove {
		f(p.to.Folder)
	}
	if p.kind != opCreate {
		f(p.place.Folder)
	}
}

// end says that an operation needs not or cannot go on.
func (o *Overlay) end(p *op) {
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
		o.ops = slices.DeleteFunc(o.ops, func(p *op) bool { return p.dead })
		o.dead = 0
	}
}

// link says that a folder names an entry, from an operation on.
func (o *Overlay) link(n *inode, at merge.Place, by *op, when time.Time) {
	o.name(at, manifest.Child{Name: at.Name, Entry: n.id, Kind: n.state.node.Kind}, by, when)
	n.place, n.placed = at, by
}

// unlink says that a folder has a name no more: from an operation on, or,
// where that is nil, since there is nothing of it left here.
func (o *Overlay) unlink(at merge.Place, by *op, when time.Time) {
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
func (o *Overlay) touch(folder id.Entry, when time.Time) {
	if !when.IsZero() {
		o.times[folder] = max(o.times[folder], when.UnixNano())
	}
}

func (o *Overlay) name(at merge.Place, c manifest.Child, by *op, when time.Time) {
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

func (o *Overlay) applyCreate(e event) {
	s := o.newState(e.node)
	if e.node.Kind == manifest.File {
		s.content = &content{owner: e.entry, modified: e.node.Modified, touched: e.at, open: true, top: layer.New(0, nil), base: emptyBody()}
	}
	n := &inode{id: e.entry, state: s, touched: e.at, dirty: e.at, local: e.local, number: o.number(e.entry)}
	o.inodes[e.entry] = n
	var p *op
	if !e.local {
		p = o.add(&op{kind: opCreate, entry: e.entry, to: e.place, now: s, at: e.at})
		n.ops = []*op{p}
	}
	o.link(n, e.place, p, e.at)
}

func emptyBody() manifest.FileBody {
	return manifest.FileBody{Blocks: manifest.List{Items: manifest.EncodeItems([]manifest.Ref{})}}
}

// aboveState returns a state that goes on where a frozen one ends.
func (o *Overlay) aboveState(was *state) *state {
	s := o.newState(was.node)
	if was.content != nil {
		s.content = was.content.above()
	}
	was.above = s
	return s
}

// applyTouch gives an inode a state that can be changed.
func (o *Overlay) applyTouch(n *inode, e event) {
	was := n.state
	s := o.aboveState(was)
	n.state = s
	if n.dirty.IsZero() {
		n.dirty = e.at
	}
	if n.local {
		return
	}
	n.ops = append(n.ops, o.add(&op{
		kind: opWrite, entry: n.id, version: n.version, place: n.place, was: was, now: s, copy: e.copy, at: e.at,
	}))
}

func (o *Overlay) applyWrite(n *inode, e event) error {
	c := n.state.content
	if c == nil || n.state.frozen || e.changes != c.changes+1 {
		return lost()
	}
	c.changes, c.open = e.changes, e.open
	c.modified, c.touched = e.modified, e.at
	if e.payload > 0 {
		c.extend(e.number, e.payload, e.record)
	}
	return nil
}

func (o *Overlay) applySet(n *inode, e event) error {
	c := n.state.content
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	switch {
	case n.state.frozen, e.kind == evTruncate && (c == nil || e.changes != c.changes+1):
		return lost()
	case e.kind == evTruncate:
		c.changes, c.open, c.busy = e.changes, true, true
		c.truncate(e.number)
		c.modified, c.touched = e.modified, e.at
		return nil
	}
	n.state.node.Created, n.state.node.Modified = e.created, e.modified
	if c != nil {
		n.state.node.File.Executable = e.executable
		c.modified, c.touched = e.modified, e.at
	}
	if n.state.node.Kind == manifest.Folder {
		o.times[n.id] = e.modified
	}
	return nil
}

// drop ends what can still be altered of an inode's writes, which are about to
// be of no use, and returns the state from before them.
func (o *Overlay) drop(n *inode) *state {
	was := n.state
	for _, p := range slices.Backward(n.ops) {
		if p.taken || p.kind == opCreate {
			break
		}
		if p.kind != opWrite {
			continue
		}
		was = p.was
		o.end(p)
		for _, q := range n.ops {
			if q.was == p.now {
				q.was = p.was
			}
		}
	}
	n.ops = slices.DeleteFunc(n.ops, func(p *op) bool { return p.dead })
	return was
}

// undo ends all operations of an inode that was made here and nobody else knows of.
func (o *Overlay) undo(n *inode) {
	for _, p := range n.ops {
		o.end(p)
	}
	for _, p := range n.ops {
		if k := o.kids[p.place.Folder][p.place.Name]; (p.kind == opMove || p.kind == opReplace) && k.by == p {
			o.unlink(p.place, nil, time.Time{})
		}
		if p.kind == opReplace {
			delete(o.gone, p.entry)
		}
	}
	n.ops = nil
}

// ownOnly reports whether an inode was made here and leaves no trace if undone: no
// operation needs the folder, and it took no place of what the base may have by now.
func (o *Overlay) ownOnly(n *inode) bool {
	if n.made() == nil || o.uses[n.id] > 0 {
		return false
	}
	return !slices.ContainsFunc(n.ops, func(p *op) bool { return p.taken || p.kind == opMove && !p.over.IsZero() || p.kind == opReplace })
}

func (o *Overlay) applyRemove(n *inode, e event) {
	o.removeInode(n, e.at)
}

func (o *Overlay) removeInode(n *inode, when time.Time) {
	at := n.place
	var by *op
	switch {
	case n.local:
	case o.ownOnly(n):
		o.undo(n)
	default:
		was := o.drop(n)
		by = o.add(&op{kind: opRemove, entry: n.id, version: n.version, place: at, was: was, at: when})
		o.gone[n.id] = by
	}
	o.unlink(at, by, when)
	o.orphan(n)
}

// orphan takes an inode out of the tree.
func (o *Overlay) orphan(n *inode) {
	delete(o.inodes, n.id)
	delete(o.numbers, n.id)
	delete(o.problems, n.id)
	delete(o.times, n.id)
	n.orphan = true
	if n.state.content != nil {
		n.state.content.owner = id.Entry{}
	}
	if n.handles > 0 {
		o.orphans[n] = true
	}
}

func (o *Overlay) applyMove(n *inode, e event) error {
	from := n.place
	if e.over.IsZero() {
		o.moveInode(n, e, from, nil)
		return nil
	}
	w := o.inodes[e.over]
	if w == nil || w == n {
		return lost()
	}
	kind, alike := n.state.node.Kind, n.state.node.Kind == w.state.node.Kind
	switch {
	case n.local && !w.local && alike && kind != manifest.Folder: // what is pushed from now on replaces what was there
		o.overwrite(n, w, e, from)
	case n.local || w.local:
		o.removeInode(w, e.at)
		o.moveInode(n, e, from, nil)
	case alike && kind != manifest.Folder:
		o.replace(n, w, e, from)
	case o.ownOnly(w):
		o.removeInode(w, e.at)
		o.moveInode(n, e, from, nil)
	default:
		o.moveInode(n, e, from, w)
	}
	return nil
}

// moveInode moves an inode to another place, over w if that is not nil.
func (o *Overlay) moveInode(n *inode, e event, from merge.Place, w *inode) {
	if n.local {
		o.unlink(from, nil, e.at)
		o.link(n, e.place, nil, e.at)
		if n.local = e.local; !n.local {
			o.publish(n, e.at)
		}
		return
	}
	file := n.state.node.Kind != manifest.Folder
	if w == nil && file && o.ownOnly(n) { // it may as well have been made there
		o.undo(n)
		o.unlink(from, nil, e.at)
		p := o.add(&op{kind: opCreate, entry: n.id, to: e.place, now: n.state, at: e.at})
		n.ops = []*op{p}
		o.link(n, e.place, p, e.at)
		return
	}
	p := &op{kind: opMove, entry: n.id, version: n.version, place: from, was: n.state, to: e.place, copy: e.copy, at: e.at}
	if w != nil {
		p.over, p.overVersion, p.overWas = w.id, w.version, o.drop(w)
	}
	o.add(p)
	n.ops = append(n.ops, p)
	o.unlink(from, p, e.at)
	if w != nil {
		o.gone[w.id] = p
		o.orphan(w)
	}
	o.link(n, e.place, p, e.at)
}

// replace gives a file or symlink the state of another one that is moved over
// it, and the other's programs.
func (o *Overlay) replace(n, w *inode, e event, from merge.Place) {
	if o.ownOnly(n) {
		o.overwrite(n, w, e, from)
		return
	}
	if o.ownOnly(w) { // nothing of it is anywhere else
		o.removeInode(w, e.at)
		o.moveInode(n, e, from, nil)
		return
	}
	was := o.drop(n)
	if n.state.frozen {
		n.state = o.aboveState(n.state)
	}
	n.state.node.Created = w.state.node.Created
	p := o.add(&op{
		kind: opReplace, entry: n.id, version: n.version, place: from, was: was, now: n.state, to: e.place, copy: e.copy, at: e.at,
		over: w.id, overVersion: w.version, overWas: o.drop(w),
	})
	o.unlink(from, p, e.at)
	o.gone[n.id] = p
	o.become(n, w, p, e)
}

// overwrite gives a file or symlink the state of another one that nobody else
// knows of.
func (o *Overlay) overwrite(n, w *inode, e event, from merge.Place) {
	o.undo(n)
	o.unlink(from, nil, e.at)
	n.state.node.Created = w.state.node.Created
	var p *op
	if last := len(w.ops) - 1; last >= 0 && !w.ops[last].taken && w.ops[last].now == w.state {
		p = w.ops[last]
		p.now = n.state
	} else {
		p = o.add(&op{kind: opWrite, entry: w.id, version: w.version, place: w.place, was: w.state, now: n.state, copy: e.copy, at: e.at})
		w.ops = append(w.ops, p)
	}
	n.local = false
	o.become(n, w, nil, e)
}

// become makes an inode the one of another entry.
func (o *Overlay) become(n, w *inode, by *op, e event) {
	delete(o.inodes, n.id)
	delete(o.numbers, n.id)
	target, placed, ops := w.id, w.placed, w.ops
	o.orphan(w)
	w.id = id.New[id.Entry]() // who has it open does not have what goes by its id now
	delete(o.gone, target)
	if by != nil {
		ops = append(slices.Clip(ops), by)
	}
	n.id, n.version, n.ops, n.placed = target, w.version, ops, placed
	if n.state.content != nil {
		n.state.content.owner = target
	}
	if n.dirty.IsZero() {
		n.dirty = e.at
	}
	o.inodes[target] = n
	if n.number != o.number(target) {
		o.numbers[target] = n.number
	}
	o.touch(e.place.Folder, e.at)
	n.place = e.place
}

// publish makes what was local part of the workspace. What is below it is for
// [Overlay.PublishUnignored], as some of it may be ignored by its own name.
func (o *Overlay) publish(n *inode, when time.Time) {
	n.local = false
	o.shares.CompareAndSwap(false, len(o.kids[n.id]) > 0)
	p := o.add(&op{kind: opCreate, entry: n.id, to: n.place, now: n.state, at: when})
	n.ops = []*op{p}
	if n.dirty.IsZero() {
		n.dirty = when
	}
	o.link(n, n.place, p, when)
}
