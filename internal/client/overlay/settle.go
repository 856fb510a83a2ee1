package overlay

import (
	"slices"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// intent is what becomes of a batch if a record is accepted.
type intent struct {
	digest [32]byte
	made   merge.Base
	// versions are the new versions of files and symlinks, bodies their contents
	// by the number of the state, copies where the copies of conflicts are.
	versions map[id.Entry]uint64
	bodies   map[uint64]manifest.FileBody
	copies   map[id.Entry]merge.Place
}

func (in *intent) encode(w *writer) {
	w.b = append(w.b, in.digest[:]...)
	encodeBase(w, in.made)
	w.uint(uint64(len(in.versions)))
	for e, v := range in.versions {
		w.entry(e)
		w.uint(v)
	}
	w.uint(uint64(len(in.bodies)))
	for n, body := range in.bodies {
		w.uint(n)
		w.body(body)
	}
	w.uint(uint64(len(in.copies)))
	for e, at := range in.copies {
		w.entry(e)
		w.place(at)
	}
}

func decodeIntent(r *reader) *intent {
	in := &intent{versions: map[id.Entry]uint64{}, bodies: map[uint64]manifest.FileBody{}, copies: map[id.Entry]merge.Place{}}
	copy(in.digest[:], r.take(32))
	in.made = decodeBase(r)
	for range r.count() {
		e := r.entry()
		in.versions[e] = r.uint()
	}
	for range r.count() {
		n := r.uint()
		in.bodies[n] = r.body()
	}
	for range r.count() {
		e := r.entry()
		in.copies[e] = r.place()
	}
	return in
}

// applyBatch lets happen what the syncer does.
func (o *Overlay) applyBatch(e event) error {
	if e.kind == evTake {
		return o.applyTake(e)
	}
	if o.batch == nil {
		return lost()
	}
	switch e.kind {
	case evStored:
		for _, f := range o.batch.files {
			if f.state.number == uint64(e.number) {
				f.state.content.stored = append(f.state.content.stored, e.piece)
			}
		}
	case evIntend:
		o.batch.intent = e.intent
	case evAccept:
		if o.batch.intent == nil {
			return lost()
		}
		o.applyAccept()
	case evRelease:
		o.applyRelease()
	}
	return nil
}

func (o *Overlay) applyTake(e event) error {
	wanted := make(map[uint64]bool, len(e.ops))
	for _, n := range e.ops {
		wanted[n] = true
	}
	o.batch = &Batch{o: o, bodies: map[*state]manifest.FileBody{}}
	last := e.ops[len(e.ops)-1]
	for _, p := range o.ops {
		if p.number > last {
			break
		}
		if p.dead || !wanted[p.number] {
			continue
		}
		p.taken = true
		o.batch.ops = append(o.batch.ops, p)
	}
	o.batch.freeze()
	return nil
}

// freeze freezes the states of the batch's operations.
func (b *Batch) freeze() {
	for _, p := range b.ops {
		if p.now == nil {
			continue
		}
		p.now = p.now.newest()
		p.now.frozen = true
		e := p.entry
		if p.kind == opReplace {
			e = p.over
		}
		if n := b.o.inodes[e]; n != nil && n.state == p.now {
			if n.pushed++; !p.now.open() {
				n.pushed = 0
			}
			n.dirty = time.Time{}
		}
		if f := b.frozen(e, p); f != nil {
			b.files = append(b.files, f)
		}
	}
}

// frozen returns the content of an operation that is to be uploaded, if there
// is one.
func (b *Batch) frozen(e id.Entry, p *op) *Frozen {
	c := p.now.content
	if c == nil {
		return nil
	}
	f := &Frozen{Entry: e, Copy: p.copy, Base: c.base, Size: uint64(c.size), Stored: slices.Clone(c.stored), o: b.o, state: p.now}
	for _, s := range c.top.Flat().Written(int64(c.base.Size), c.size) {
		f.Changed = append(f.Changed, Range{uint64(s.From), uint64(s.To)})
	}
	if len(f.Changed) == 0 && f.Size == f.Base.Size {
		b.bodies[p.now] = c.base
		return nil
	}
	return f
}

func (s *state) open() bool { return s.content != nil && (s.content.open || s.content.busy) }

// applyAccept ends the batch: what it did is in the base.
func (o *Overlay) applyAccept() {
	b := o.batch
	in := b.intent
	o.batch = nil
	for _, p := range b.ops {
		o.end(p)
		if p.now != nil && p.now.content != nil {
			body, ok := in.bodies[p.now.number]
			if !ok {
				body = p.now.content.base
			}
			p.now.settle(body)
		}
	}
	o.known.Join(in.made, o.rest(in))
	for from, to := range in.made.Became {
		o.rename(from, to)
	}
	for _, p := range b.ops {
		o.followCopy(p, in)
	}
	for e, v := range in.versions {
		if n := o.inodes[e]; n != nil {
			n.version = v
		}
	}
	for _, p := range b.ops {
		o.clean(p, in)
	}
	if len(o.ops) == o.dead {
		o.ops, o.dead, o.known = nil, 0, merge.Base{}
		clear(o.times)
	}
}

// rest returns the operations that wait, where it matters which they are.
func (o *Overlay) rest(in *intent) (rest []merge.Op) {
	if len(in.made.Own)+len(o.known.Own) == 0 {
		return nil
	}
	for _, p := range o.ops {
		if !p.dead {
			rest = append(rest, p.merge(func(s *state) merge.Node { return s.node })...)
		}
	}
	return rest
}

// rename makes an entry another one, with which it was joined.
func (o *Overlay) rename(from, to id.Entry) {
	if all, ok := o.kids[from]; ok {
		delete(o.kids, from)
		if o.kids[to] == nil {
			o.kids[to] = map[string]kid{}
		}
		for name, k := range all {
			o.kids[to][name] = k
			if n := o.inodes[k.child.Entry]; n != nil {
				n.place.Folder = to
			}
		}
	}
	n := o.inodes[from]
	if n == nil {
		return
	}
	delete(o.inodes, from)
	if k := o.kids[n.place.Folder][n.place.Name]; k.child.Entry == from {
		k.child.Entry = to
		o.kids[n.place.Folder][n.place.Name] = k
	}
	n.id = to
	if n.state.content != nil {
		n.state.content.owner = to
	}
	for _, p := range n.ops {
		p.entry = to
	}
	if other := o.inodes[to]; other == nil || !other.changed() {
		o.inodes[to] = n
	}
	if n.number != o.number(to) {
		o.numbers[to] = n.number
	}
}

// followCopy lets work on a file whose content became a copy go on in the copy.
func (o *Overlay) followCopy(p *op, in *intent) {
	at, copied := in.copies[p.copy]
	e := p.entry
	if p.kind == opReplace {
		e = p.over
	}
	n := o.inodes[e]
	if !copied || n == nil || p.now != n.state && (p.now == nil || p.now.above != n.state) {
		return
	}
	delete(o.inodes, e)
	delete(o.numbers, e)
	n.id, n.place, n.placed, n.version = p.copy, at, nil, 1
	if n.state.content != nil {
		n.state.content.owner = n.id
	}
	for _, q := range n.ops {
		if !q.dead && q.kind == opWrite {
			q.entry, q.place, q.version = n.id, at, 1
		}
	}
	o.inodes[n.id] = n
	if n.number != o.number(n.id) {
		o.numbers[n.id] = n.number
	}
}

// clean forgets what the base has now, as far as an operation made it.
func (o *Overlay) clean(p *op, in *intent) {
	for _, at := range []merge.Place{p.place, p.to} {
		for _, folder := range []id.Entry{at.Folder, follow(in.made.Became, at.Folder)} {
			k, ok := o.kids[folder][at.Name]
			if !ok || k.by != nil && !k.by.dead || k.by == nil {
				continue
			}
			delete(o.kids[folder], at.Name)
			if len(o.kids[folder]) == 0 {
				delete(o.kids, folder)
				if o.uses[folder] == 0 {
					delete(o.times, folder)
				}
			}
		}
	}
	for _, e := range []id.Entry{p.entry, p.over, p.copy, follow(in.made.Became, p.entry)} {
		if g := o.gone[e]; g != nil && g.dead {
			delete(o.gone, e)
		}
		delete(o.problems, e)
		n := o.inodes[e]
		if n == nil {
			continue
		}
		n.ops = slices.DeleteFunc(n.ops, func(p *op) bool { return p.dead })
		if n.placed != nil && n.placed.dead {
			n.placed = nil
		}
		if len(n.ops) == 0 && !n.local && n.handles == 0 {
			delete(o.inodes, e)
		}
	}
}

func follow(became map[id.Entry]id.Entry, e id.Entry) id.Entry {
	return (&merge.Base{Became: became}).Follow(e)
}

// applyRelease gives a batch back. What was frozen joins what was done above.
func (o *Overlay) applyRelease() {
	b := o.batch
	o.batch = nil
	for _, p := range b.ops {
		p.taken = false
		if p.now == nil || p.dead {
			continue
		}
		e := p.entry
		if p.kind == opReplace {
			e = p.over
		}
		n := o.inodes[e]
		switch s := p.now; {
		case n != nil && n.state == s:
			s.frozen = false
		case n != nil && s.above != nil && n.state == s.above:
			o.takeBack(n, p)
		}
		if n != nil && n.dirty.IsZero() {
			n.dirty = n.touched
		}
	}
}

// takeBack makes the write that followed an operation a part of it.
func (o *Overlay) takeBack(n *inode, p *op) {
	i := slices.IndexFunc(n.ops, func(q *op) bool { return q.kind == opWrite && q.was == p.now && q.now == n.state && !q.taken })
	if i < 0 {
		return
	}
	o.end(n.ops[i])
	n.ops = slices.Delete(n.ops, i, i+1)
	if p.now.content != nil {
		p.now.takeBack(n.state)
	} else {
		p.now.became = n.state
	}
	for _, q := range o.ops {
		q.states(func(s **state) { *s = (*s).newest() })
	}
}
