package work

import (
	"maps"
	"slices"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// intent is what becomes of a batch if a record is accepted.
type intent struct {
	Digest [32]byte
	made   merge.Base
	// versions are the new versions of files and symlinks, bodies their contents
	// by the number of the state, copies where the copies of conflicts are.
	versions map[id.Entry]uint64
	bodies   map[uint64]manifest.FileBody
	copies   map[id.Entry]merge.Place
}

func (in *intent) encode(w *writer) {
	w.b = append(w.b, in.Digest[:]...)
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
	copy(in.Digest[:], r.take(32))
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
func (o *Tree) applyBatch(e Event) error {
	if e.Kind == EvTake {
		return o.applyTake(e)
	}
	if o.Batch == nil {
		return Lost()
	}
	switch e.Kind {
	case EvStored:
		for _, f := range o.Batch.Files {
			if f.State.Number == uint64(e.Number) {
				f.State.Content.stored = append(f.State.Content.stored, e.Piece)
			}
		}
	case evIntend:
		o.Batch.Intent = e.intent
	case EvAccept:
		if o.Batch.Intent == nil {
			return Lost()
		}
		o.applyAccept()
	case EvRelease:
		o.ApplyRelease()
	}
	return nil
}

func (o *Tree) applyTake(e Event) error {
	wanted := make(map[uint64]bool, len(e.Ops))
	for _, n := range e.Ops {
		wanted[n] = true
	}
	o.Batch = &Taken{Bodies: map[*State]manifest.FileBody{}}
	last := e.Ops[len(e.Ops)-1]
	for _, p := range o.ops {
		if p.Number > last {
			break
		}
		if p.dead || !wanted[p.Number] {
			continue
		}
		p.taken = true
		o.Batch.ops = append(o.Batch.ops, p)
	}
	o.freeze(o.Batch)
	return nil
}

// freeze freezes the states of the batch's operations.
func (o *Tree) freeze(b *Taken) {
	for _, p := range b.ops {
		if p.now == nil {
			continue
		}
		p.now = p.now.newest()
		p.now.Frozen = true
		e := p.entry
		if p.kind == opReplace {
			e = p.over
		}
		if n := o.Inodes[e]; n != nil && n.State == p.now {
			if n.pushed++; !p.now.open() {
				n.pushed = 0
			}
			n.dirty = time.Time{}
		}
		if f := b.frozen(e, p); f != nil {
			b.Files = append(b.Files, f)
		}
	}
}

// frozen returns the content of an operation that is to be uploaded, if there
// is one.
func (b *Taken) frozen(e id.Entry, p *Op) *TakenFile {
	c := p.now.Content
	if c == nil {
		return nil
	}
	f := &TakenFile{Entry: e, Copy: p.copy, Base: c.Base, Size: uint64(c.Size), Stored: slices.Clone(c.stored), State: p.now}
	for _, s := range c.Top.Flat().Written(int64(c.Base.Size), c.Size) {
		f.Changed = append(f.Changed, Range{uint64(s.From), uint64(s.To)})
	}
	if len(f.Changed) == 0 && f.Size == f.Base.Size {
		b.Bodies[p.now] = c.Base
		return nil
	}
	return f
}

func (s *State) open() bool { return s.Content != nil && (s.Content.Open || s.Content.Busy) }

// applyAccept ends the batch: what it did is in the base.
func (o *Tree) applyAccept() {
	b := o.Batch
	in := b.Intent
	o.Batch = nil
	for _, p := range b.ops {
		o.end(p)
		if p.now != nil && p.now.Content != nil {
			body, ok := in.bodies[p.now.Number]
			if !ok {
				body = p.now.Content.Base
			}
			p.now.settle(body)
		}
	}
	// What was joined before may be what these were done in.
	became := maps.Clone(o.Known.Became)
	if became == nil {
		became = map[id.Entry]id.Entry{}
	}
	maps.Copy(became, in.made.Became)
	o.Known.Join(in.made, o.rest(in))
	for from, to := range in.made.Became {
		o.rename(from, to)
	}
	for _, p := range b.ops {
		o.followCopy(p, in)
	}
	for e, v := range in.versions {
		if n := o.Inodes[e]; n != nil {
			n.Version = v
		}
	}
	for _, p := range b.ops {
		o.clean(p, became)
	}
	if len(o.ops) == o.dead {
		o.ops, o.dead, o.Known = nil, 0, merge.Base{}
		clear(o.times)
	}
}

// rest returns the operations that wait, where it matters which they are.
func (o *Tree) rest(in *intent) (rest []merge.Op) {
	if len(in.made.Own)+len(o.Known.Own) == 0 {
		return nil
	}
	for _, p := range o.ops {
		if !p.dead {
			rest = append(rest, p.merge(func(s *State) merge.Node { return s.Node })...)
		}
	}
	return rest
}

// rename makes an entry another one, with which it was joined.
func (o *Tree) rename(from, to id.Entry) {
	if all, ok := o.kids[from]; ok {
		delete(o.kids, from)
		if o.kids[to] == nil {
			o.kids[to] = map[string]kid{}
		}
		for name, k := range all {
			o.kids[to][name] = k
			if n := o.Inodes[k.child.Entry]; n != nil {
				n.Place.Folder = to
			}
		}
	}
	n := o.Inodes[from]
	if n == nil {
		return
	}
	delete(o.Inodes, from)
	if k := o.kids[n.Place.Folder][n.Place.Name]; k.child.Entry == from {
		k.child.Entry = to
		o.kids[n.Place.Folder][n.Place.Name] = k
	}
	n.ID = to
	if n.State.Content != nil {
		n.State.Content.Owner = to
	}
	for _, p := range n.Ops {
		p.entry = to
	}
	if other := o.Inodes[to]; other == nil || !other.Changed() {
		o.Inodes[to] = n
	}
	if n.number != o.Number(to) {
		o.numbers[to] = n.number
	}
}

// followCopy lets work on a file whose content became a copy go on in the copy.
func (o *Tree) followCopy(p *Op, in *intent) {
	at, copied := in.copies[p.copy]
	e := p.entry
	if p.kind == opReplace {
		e = p.over
	}
	n := o.Inodes[e]
	if !copied || n == nil || p.now != n.State && (p.now == nil || p.now.above != n.State) {
		return
	}
	delete(o.Inodes, e)
	delete(o.numbers, e)
	n.ID, n.Place, n.Placed, n.Version = p.copy, at, nil, 1
	if n.State.Content != nil {
		n.State.Content.Owner = n.ID
	}
	for _, q := range n.Ops {
		if !q.dead && q.kind == opWrite {
			q.entry, q.place, q.version = n.ID, at, 1
		}
	}
	o.Inodes[n.ID] = n
	if n.number != o.Number(n.ID) {
		o.numbers[n.ID] = n.number
	}
}

// clean forgets what the base has now, as far as an operation made it.
func (o *Tree) clean(p *Op, became map[id.Entry]id.Entry) {
	for _, at := range []merge.Place{p.place, p.to} {
		for _, folder := range []id.Entry{at.Folder, follow(became, at.Folder)} {
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
	for _, e := range []id.Entry{p.entry, p.over, p.copy, follow(became, p.entry)} {
		if g := o.Gone[e]; g != nil && g.dead {
			delete(o.Gone, e)
		}
		delete(o.problems, e)
		n := o.Inodes[e]
		if n == nil {
			continue
		}
		n.Ops = slices.DeleteFunc(n.Ops, func(p *Op) bool { return p.dead })
		if n.Placed != nil && n.Placed.dead {
			n.Placed = nil
		}
		if len(n.Ops) == 0 && !n.Local && n.Handles == 0 {
			delete(o.Inodes, e)
		}
	}
}

func follow(became map[id.Entry]id.Entry, e id.Entry) id.Entry {
	return (&merge.Base{Became: became}).Follow(e)
}

// ApplyRelease gives a batch back. What was frozen joins what was done above.
func (o *Tree) ApplyRelease() {
	b := o.Batch
	o.Batch = nil
	for _, p := range b.ops {
		p.taken = false
		if p.now == nil || p.dead {
			continue
		}
		e := p.entry
		if p.kind == opReplace {
			e = p.over
		}
		n := o.Inodes[e]
		switch s := p.now; {
		case n != nil && n.State == s:
			s.Frozen = false
		case n != nil && s.above != nil && n.State == s.above:
			o.takeBack(n, p)
		}
		if n != nil && n.dirty.IsZero() {
			n.dirty = n.touched
		}
	}
}

// takeBack makes the write that followed an operation a part of it.
func (o *Tree) takeBack(n *Inode, p *Op) {
	i := slices.IndexFunc(n.Ops, func(q *Op) bool { return q.kind == opWrite && q.was == p.now && q.now == n.State && !q.taken })
	if i < 0 {
		return
	}
	o.end(n.Ops[i])
	n.Ops = slices.Delete(n.Ops, i, i+1)
	if p.now.Content != nil {
		p.now.takeBack(n.State)
	} else {
		p.now.became = n.State
	}
	for _, q := range o.ops {
		q.states(func(s **State) { *s = (*s).newest() })
	}
}
