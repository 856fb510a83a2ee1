package work

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/journal"
	"parsec/internal/client/layer"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// A snapshot is all that an overlay holds but contents, whose records it names.

func (w *writer) piece(p Piece) {
	w.uint(p.From)
	w.uint(p.To)
	w.bytes(manifest.EncodeItems(p.Refs))
}

func (r *reader) piece() (p Piece) {
	p.From, p.To = r.uint(), r.uint()
	refs, err := manifest.DecodeRefs(r.bytes(), p.To-p.From)
	if err != nil {
		r.fail()
	}
	p.Refs = refs
	return p
}

func (w *writer) layer(l *layer.Layer) {
	w.int(l.Limit)
	w.uint(uint64(len(l.Pages)))
	for page, all := range l.Pages {
		w.int(page)
		w.uint(uint64(len(all)))
		for _, e := range all {
			w.uint(uint64(e.From))
			w.uint(uint64(e.To))
			w.uint(uint64(e.At))
			w.uint(e.Record)
		}
	}
}

func (r *reader) layer() *layer.Layer {
	l := &layer.Layer{Limit: r.int()}
	n := r.count()
	l.Pages = make(map[int64][]layer.Extent, n)
	for range n {
		page := r.int()
		all := make([]layer.Extent, r.count())
		for i := range all {
			all[i] = layer.Extent{From: uint32(r.uint()), To: uint32(r.uint()), At: uint32(r.uint()), Record: r.uint()}
		}
		l.Pages[page] = all
	}
	return l
}

func (w *writer) state(s *State) {
	w.uint(s.Number)
	w.node(s.Node)
	w.bool(s.Frozen)
	w.ref(s.above)
	w.bool(s.Content != nil && s.above != nil && s.above.Content.Top.Below == s.Content.Top)
	w.bool(s.Content != nil)
	if c := s.Content; c != nil {
		w.entry(c.Owner)
		w.int(c.Size)
		w.int(c.Modified)
		w.time(c.Touched)
		w.uint(c.Changes)
		w.bool(c.Open)
		w.body(c.Base)
		w.layer(c.Top)
		w.uint(uint64(len(c.stored)))
		for _, p := range c.stored {
			w.piece(p)
		}
	}
}

// state reads a state. The number of the one above it, and whether its content
// is below that one's, come beside it.
func (r *reader) state() (s *State, above uint64, below bool) {
	s = &State{Number: r.uint(), Node: r.node(), Frozen: r.bool()}
	above, below = r.uint(), r.bool()
	if r.bool() {
		c := &Content{Owner: r.entry(), Size: r.int(), Modified: r.int(), Touched: r.time(), Changes: r.uint(), Open: r.bool(), Base: r.body(), Top: r.layer()}
		for range r.count() {
			c.stored = append(c.stored, r.piece())
		}
		s.Content = c
	}
	return s, above, below
}

// states reads all states and puts those above where they belong.
func (r *reader) states() map[uint64]*State {
	all := map[uint64]*State{}
	above, below := map[*State]uint64{}, map[*State]bool{}
	for range r.count() {
		s, up, under := r.state()
		all[s.Number], above[s], below[s] = s, up, under
	}
	for s, up := range above {
		if s.above = all[up]; s.above != nil && s.above.Content != nil && below[s] {
			s.above.Content.Top.Below = s.Content.Top
		}
	}
	return all
}

func (w *writer) op(p *Op) {
	w.uint(p.Number)
	w.uint(uint64(p.kind))
	w.entry(p.entry)
	w.uint(p.version)
	w.place(p.place)
	w.place(p.to)
	w.entry(p.over)
	w.uint(p.overVersion)
	w.entry(p.copy)
	w.time(p.at)
	w.bool(p.taken)
	for _, s := range []*State{p.was, p.now, p.overWas} {
		w.ref(s)
	}
	if p.before = p.before.alive(); p.before != nil {
		w.uint(p.before.Number)
	} else {
		w.uint(0)
	}
}

func (w *writer) ref(s *State) {
	if s == nil {
		w.uint(0)
		return
	}
	w.uint(s.newest().Number)
}

// allStates returns the states that anything refers to, by number.
func (o *Tree) allStates() []*State {
	all := map[uint64]*State{}
	for _, n := range o.Inodes {
		if n.Changed() {
			all[n.State.Number] = n.State
		}
	}
	for _, p := range o.ops {
		if !p.dead {
			p.states(func(s **State) { all[(*s).newest().Number] = (*s).newest() })
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *State) int { return cmp.Compare(a.Number, b.Number) })
}

// Snapshot returns the bodies of records that stand for all events before them. No
// content has anything in its buffer.
func (o *Tree) Snapshot() (parts [][]byte) {
	all := o.encode()
	n := (len(all) + maxPart - 1) / maxPart
	for i, part := range slices.Collect(slices.Chunk(all, maxPart)) {
		w := writer{make([]byte, 0, len(part)+32)}
		w.uint(uint64(EvState))
		w.uint(uint64(i))
		w.uint(uint64(n))
		parts = append(parts, append(w.b, part...))
	}
	return parts
}

// encode encodes all there is.
func (o *Tree) encode() []byte {
	var w writer
	w.uint(o.nextOp)
	w.uint(o.nextState)
	states := o.allStates()
	w.uint(uint64(len(states)))
	for _, s := range states { // with what is above, if anything else refers to that
		w.state(s)
	}
	w.uint(uint64(len(o.ops) - o.dead))
	for _, p := range o.ops {
		if !p.dead {
			w.op(p)
		}
	}
	o.snapshotInodes(&w)
	o.snapshotNames(&w)
	encodeBase(&w, o.Known)
	o.snapshotLost(&w)
	w.bool(o.Batch != nil)
	if o.Batch != nil {
		w.bool(o.Batch.Intent != nil)
		if o.Batch.Intent != nil {
			o.Batch.Intent.encode(&w)
		}
	}
	return w.b
}

func (o *Tree) snapshotInodes(w *writer) {
	var all []*Inode
	for _, n := range o.Inodes {
		if n.Changed() {
			all = append(all, n)
		}
	}
	w.uint(uint64(len(all)))
	for _, n := range all {
		w.entry(n.ID)
		w.uint(n.Version)
		w.place(n.Place)
		w.ref(n.State)
		w.opRef(n.Placed)
		w.bool(n.Local)
		w.time(n.touched)
		w.time(n.dirty)
		w.uint(n.number)
		w.uint(uint64(len(n.Ops)))
		for _, p := range n.Ops {
			w.opRef(p)
		}
	}
}

// snapshotLost keeps what is known of lost data: nothing else tells of it.
func (o *Tree) snapshotLost(w *writer) {
	var lost []*Problem
	for _, p := range o.problems {
		if p.Retry.IsZero() {
			lost = append(lost, p)
		}
	}
	w.uint(uint64(len(lost)))
	for _, p := range lost {
		w.entry(p.Entry)
		w.place(p.Place)
		w.time(p.Since)
		w.text(p.Err.Error())
	}
}

func (w *writer) opRef(p *Op) {
	if p == nil || p.dead {
		w.uint(0)
		return
	}
	w.uint(p.Number)
}

func (o *Tree) snapshotNames(w *writer) {
	w.uint(uint64(len(o.kids)))
	for folder, all := range o.kids {
		w.entry(folder)
		w.uint(uint64(len(all)))
		for name, k := range all {
			w.text(name)
			w.entry(k.child.Entry)
			w.uint(uint64(k.child.Kind))
			w.opRef(k.by)
			w.opRef(k.freed.alive())
		}
	}
	w.uint(uint64(len(o.Gone)))
	for e, p := range o.Gone {
		w.entry(e)
		w.opRef(p)
	}
	w.uint(uint64(len(o.times)))
	for e, t := range o.times {
		w.entry(e)
		w.int(t)
	}
	w.uint(uint64(len(o.numbers)))
	for e, n := range o.numbers {
		w.entry(e)
		w.uint(n)
	}
}

// Restore takes in a snapshot.
func (o *Tree) Restore(b []byte) error {
	r := &reader{b: b}
	o.nextOp, o.nextState = r.uint(), r.uint()
	states := r.states()
	ops := map[uint64]*Op{0: nil}
	for range r.count() {
		p := &Op{
			Number: r.uint(), kind: OpKind(r.uint()), entry: r.entry(), version: r.uint(), place: r.place(), to: r.place(),
			over: r.entry(), overVersion: r.uint(), copy: r.entry(), at: r.time(), taken: r.bool(),
			was: states[r.uint()], now: states[r.uint()], overWas: states[r.uint()], before: ops[r.uint()],
		}
		ops[p.Number] = p
		o.ops = append(o.ops, p)
		p.folders(func(f id.Entry) { o.uses[f]++ })
	}
	for range r.count() {
		n := &Inode{
			ID: r.entry(), Version: r.uint(), Place: r.place(), State: states[r.uint()], Placed: ops[r.uint()], Local: r.bool(),
			touched: r.time(), dirty: r.time(), number: r.uint(),
		}
		for range r.count() {
			if p := ops[r.uint()]; p != nil {
				n.Ops = append(n.Ops, p)
			}
		}
		if n.State == nil {
			r.fail()
		}
		o.Inodes[n.ID] = n
	}
	o.restoreNames(r, ops)
	o.Known = decodeBase(r)
	for range r.count() {
		p := &Problem{Entry: r.entry(), Place: r.place(), Since: r.time()}
		p.Err = lostError(r.text())
		o.problems[p.Entry] = p
	}
	if r.bool() {
		o.restoreBatch(r)
	}
	if len(r.b) > 0 {
		r.fail()
	}
	return r.err
}

// restoreBatch takes in the batch that was under way.
func (o *Tree) restoreBatch(r *reader) {
	b := &Taken{Bodies: map[*State]manifest.FileBody{}}
	for _, p := range o.ops {
		if p.taken {
			b.ops = append(b.ops, p)
		}
	}
	o.freeze(b)
	if r.bool() {
		b.Intent = decodeIntent(r)
	}
	o.Batch = b
}

func (o *Tree) restoreNames(r *reader, ops map[uint64]*Op) {
	for range r.count() {
		folder := r.entry()
		all := map[string]kid{}
		for range r.count() {
			k := kid{child: manifest.Child{Name: r.text(), Entry: r.entry(), Kind: manifest.Kind(r.uint())}}
			k.by, k.freed = ops[r.uint()], ops[r.uint()]
			all[k.child.Name] = k
		}
		o.kids[folder] = all
	}
	for range r.count() {
		e := r.entry()
		o.Gone[e] = ops[r.uint()]
	}
	for range r.count() {
		e := r.entry()
		o.times[e] = r.int()
	}
	for range r.count() {
		e := r.entry()
		o.numbers[e] = r.uint()
	}
}

func encodeBase(w *writer, b merge.Base) {
	w.uint(uint64(len(b.Folders)))
	for e, s := range b.Folders {
		w.entry(e)
		w.seen(s)
	}
	w.uint(uint64(len(b.Became)))
	for from, to := range b.Became {
		w.entry(from)
		w.entry(to)
	}
	w.uint(uint64(len(b.Own)))
	for e, own := range b.Own {
		w.entry(e)
		w.place(own.Wanted)
		w.place(own.Place)
		w.node(own.Ours)
		w.node(own.Theirs)
	}
}

func decodeBase(r *reader) (b merge.Base) {
	b.Folders, b.Became, b.Own = map[id.Entry]merge.Seen{}, map[id.Entry]id.Entry{}, map[id.Entry]merge.Own{}
	for range r.count() {
		e := r.entry()
		b.Folders[e] = r.seen()
	}
	for range r.count() {
		from := r.entry()
		b.Became[from] = r.entry()
	}
	for range r.count() {
		e := r.entry()
		b.Own[e] = merge.Own{Wanted: r.place(), Place: r.place(), Ours: r.node(), Theirs: r.node()}
	}
	return b
}

// Needed calls f with the records that hold contents.
func (o *Tree) Needed(f func(uint64)) {
	for _, s := range o.allStates() {
		if s.Content != nil {
			s.Content.records(f)
		}
	}
	for n := range o.Orphans {
		if n.State.Content != nil {
			n.State.Content.records(f)
		}
	}
	for _, n := range o.Inodes {
		if n.State != nil && n.State.Content != nil {
			n.State.Content.records(f)
		}
	}
}

// maxPart is how much of a snapshot a record holds.
const maxPart = 4 << 20

// NewestSnapshot returns the last snapshot of which all parts are among the
// records, and which of the records come after it.
func NewestSnapshot(records []journal.Record) ([]byte, []journal.Record, error) {
	for i := len(records) - 1; i >= 0; i-- {
		r := reader{b: records[i].Body}
		if EventKind(r.uint()) != EvState {
			continue
		}
		index, n := r.uint(), r.uint()
		if index != n-1 || uint64(i) < index {
			continue
		}
		var all bytes.Buffer
		complete := true
		for k, record := range records[uint64(i)-index : i+1] {
			part := reader{b: record.Body}
			complete = complete && EventKind(part.uint()) == EvState && part.uint() == uint64(k) && part.uint() == n
			all.Write(part.b)
		}
		if complete {
			return all.Bytes(), records[i+1:], nil
		}
	}
	for _, record := range records {
		r := reader{b: record.Body}
		if EventKind(r.uint()) == EvState {
			return nil, nil, fault.Broken("local data is what this device wrote", "read local changes: no snapshot is whole")
		}
	}
	return nil, records, nil
}
