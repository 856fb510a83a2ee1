package overlay

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

func (w *writer) state(s *state) {
	w.uint(s.number)
	w.node(s.node)
	w.bool(s.frozen)
	w.ref(s.above)
	w.bool(s.content != nil && s.above != nil && s.above.content.top.Below == s.content.top)
	w.bool(s.content != nil)
	if c := s.content; c != nil {
		w.entry(c.owner)
		w.int(c.size)
		w.int(c.modified)
		w.time(c.touched)
		w.uint(c.changes)
		w.bool(c.open)
		w.body(c.base)
		w.layer(c.top)
		w.uint(uint64(len(c.stored)))
		for _, p := range c.stored {
			w.piece(p)
		}
	}
}

// state reads a state. The number of the one above it, and whether its content
// is below that one's, come beside it.
func (r *reader) state() (s *state, above uint64, below bool) {
	s = &state{number: r.uint(), node: r.node(), frozen: r.bool()}
	above, below = r.uint(), r.bool()
	if r.bool() {
		c := &content{owner: r.entry(), size: r.int(), modified: r.int(), touched: r.time(), changes: r.uint(), open: r.bool(), base: r.body(), top: r.layer()}
		for range r.count() {
			c.stored = append(c.stored, r.piece())
		}
		s.content = c
	}
	return s, above, below
}

// states reads all states and puts those above where they belong.
func (r *reader) states() map[uint64]*state {
	all := map[uint64]*state{}
	above, below := map[*state]uint64{}, map[*state]bool{}
	for range r.count() {
		s, up, under := r.state()
		all[s.number], above[s], below[s] = s, up, under
	}
	for s, up := range above {
		if s.above = all[up]; s.above != nil && s.above.content != nil && below[s] {
			s.above.content.top.Below = s.content.top
		}
	}
	return all
}

func (w *writer) op(p *op) {
	w.uint(p.number)
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
	for _, s := range []*state{p.was, p.now, p.overWas} {
		w.ref(s)
	}
	if p.before = p.before.alive(); p.before != nil {
		w.uint(p.before.number)
	} else {
		w.uint(0)
	}
}

func (w *writer) ref(s *state) {
	if s == nil {
		w.uint(0)
		return
	}
	w.uint(s.newest().number)
}

// allStates returns the states that anything refers to, by number.
func (o *Overlay) allStates() []*state {
	all := map[uint64]*state{}
	for _, n := range o.inodes {
		if n.changed() {
			all[n.state.number] = n.state
		}
	}
	for _, p := range o.ops {
		if !p.dead {
			p.states(func(s **state) { all[(*s).newest().number] = (*s).newest() })
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *state) int { return cmp.Compare(a.number, b.number) })
}

// snapshot encodes all there is; the caller holds mu, and no content has
// anything in its buffer.
func (o *Overlay) snapshot() []byte {
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
	encodeBase(&w, o.known)
	o.snapshotLost(&w)
	w.bool(o.batch != nil)
	if o.batch != nil {
		w.bool(o.batch.intent != nil)
		if o.batch.intent != nil {
			o.batch.intent.encode(&w)
		}
	}
	return w.b
}

func (o *Overlay) snapshotInodes(w *writer) {
	var all []*inode
	for _, n := range o.inodes {
		if n.changed() {
			all = append(all, n)
		}
	}
	w.uint(uint64(len(all)))
	for _, n := range all {
		w.entry(n.id)
		w.uint(n.version)
		w.place(n.place)
		w.ref(n.state)
		w.opRef(n.placed)
		w.bool(n.local)
		w.time(n.touched)
		w.time(n.dirty)
		w.uint(n.number)
		w.uint(uint64(len(n.ops)))
		for _, p := range n.ops {
			w.opRef(p)
		}
	}
}

// snapshotLost keeps what is known of lost data: nothing else tells of it.
func (o *Overlay) snapshotLost(w *writer) {
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

func (w *writer) opRef(p *op) {
	if p == nil || p.dead {
		w.uint(0)
		return
	}
	w.uint(p.number)
}

func (o *Overlay) snapshotNames(w *writer) {
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
	w.uint(uint64(len(o.gone)))
	for e, p := range o.gone {
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

// restore takes in a snapshot.
func (o *Overlay) restore(b []byte) error {
	r := &reader{b: b}
	o.nextOp, o.nextState = r.uint(), r.uint()
	states := r.states()
	ops := map[uint64]*op{0: nil}
	for range r.count() {
		p := &op{
			number: r.uint(), kind: opKind(r.uint()), entry: r.entry(), version: r.uint(), place: r.place(), to: r.place(),
			over: r.entry(), overVersion: r.uint(), copy: r.entry(), at: r.time(), taken: r.bool(),
			was: states[r.uint()], now: states[r.uint()], overWas: states[r.uint()], before: ops[r.uint()],
		}
		ops[p.number] = p
		o.ops = append(o.ops, p)
		p.folders(func(f id.Entry) { o.uses[f]++ })
	}
	for range r.count() {
		n := &inode{
			id: r.entry(), version: r.uint(), place: r.place(), state: states[r.uint()], placed: ops[r.uint()], local: r.bool(),
			touched: r.time(), dirty: r.time(), number: r.uint(),
		}
		for range r.count() {
			if p := ops[r.uint()]; p != nil {
				n.ops = append(n.ops, p)
			}
		}
		if n.state == nil {
			r.fail()
		}
		o.inodes[n.id] = n
	}
	o.restoreNames(r, ops)
	o.known = decodeBase(r)
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
func (o *Overlay) restoreBatch(r *reader) {
	b := &Batch{o: o, bodies: map[*state]manifest.FileBody{}}
	for _, p := range o.ops {
		if p.taken {
			b.ops = append(b.ops, p)
		}
	}
	b.freeze()
	if r.bool() {
		b.intent = decodeIntent(r)
	}
	o.batch = b
}

func (o *Overlay) restoreNames(r *reader, ops map[uint64]*op) {
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
		o.gone[e] = ops[r.uint()]
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

// checkpoint writes a snapshot that stands for all events before it, and
// releases their records but those that contents need. It is written twice:
// what is damaged of one copy is in the other. The caller holds mu.
func (o *Overlay) checkpoint() error {
	before := o.journal.Next()
	all := o.snapshot()
	needed := map[uint64]bool{}
	n := (len(all) + maxPart - 1) / maxPart
	for range 2 {
		for i, part := range slices.Collect(slices.Chunk(all, maxPart)) {
			w := writer{make([]byte, 0, len(part)+32)}
			w.uint(uint64(evState))
			w.uint(uint64(i))
			w.uint(uint64(n))
			w.b = append(w.b, part...)
			record, err := o.journal.Append(w.b, nil)
			if err != nil {
				return err
			}
			needed[record] = true
		}
	}
	if err := o.journal.Flush(); err != nil {
		return err
	}
	o.needed(func(record uint64) { needed[record] = true })
	var ended []uint64
	end := func(record uint64) {
		if !needed[record] {
			ended = append(ended, record)
		}
	}
	for _, record := range o.held {
		end(record)
	}
	for record := o.since; record < before; record++ {
		end(record)
	}
	o.journal.Release(ended...)
	o.held, o.since = slices.Collect(maps.Keys(needed)), before+uint64(2*n)
	o.sizeThen, _ = o.journal.Held()
	return nil
}

// needed calls f with the records that hold contents.
func (o *Overlay) needed(f func(uint64)) {
	for _, s := range o.allStates() {
		if s.content != nil {
			s.content.records(f)
		}
	}
	for n := range o.orphans {
		if n.state.content != nil {
			n.state.content.records(f)
		}
	}
	for _, n := range o.inodes {
		if n.state != nil && n.state.content != nil {
			n.state.content.records(f)
		}
	}
}

// maxPart is how much of a snapshot a record holds.
const maxPart = 4 << 20

// newestSnapshot returns the last snapshot of which all parts are among the
// records, and which of the records come after it.
func newestSnapshot(records []journal.Record) ([]byte, []journal.Record, error) {
	for i := len(records) - 1; i >= 0; i-- {
		r := reader{b: records[i].Body}
		if eventKind(r.uint()) != evState {
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
			complete = complete && eventKind(part.uint()) == evState && part.uint() == uint64(k) && part.uint() == n
			all.Write(part.b)
		}
		if complete {
			return all.Bytes(), records[i+1:], nil
		}
	}
	for _, record := range records {
		r := reader{b: record.Body}
		if eventKind(r.uint()) == evState {
			return nil, nil, fault.Broken("local data is what this device wrote", "read local changes: no snapshot is whole")
		}
	}
	return nil, records, nil
}
