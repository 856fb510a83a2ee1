package overlay

import (
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
)

// event is one thing that happens to an overlay. The journal holds events;
// doing them again in their order gives the same overlay, whatever the base
// has become meanwhile, so an event carries what it takes from the base.
type event struct {
	kind  eventKind
	entry id.Entry
	// adopt are entries of the base that the event is the first to change.
	adopt []adopted
	// folders are those of the base above the work.
	folders []adopted
	place   merge.Place
	over    id.Entry
	copy    id.Entry
	node    merge.Node
	local   bool
	// executable, created and modified are what a set sets.
	executable        bool
	created, modified int64
	// number is an offset, a size, or a state's number.
	number int64
	at     time.Time
	// ops are those that are taken.
	ops    []uint64
	piece  Piece
	intent *intent
	// record is the number of the event's own record, payload the length of
	// what it holds.
	record  uint64
	payload int
	// changes counts the content's changes, open says that more may follow.
	changes uint64
	open    bool
	text    string
	// done is called when it has happened, before anybody sees that; it is not
	// part of the journal.
	done func()
}

type adopted struct {
	entry id.Entry
	seen  merge.Seen
}

type eventKind uint8

// The kinds of events. Their numbers are on disks.
const (
	evCreate eventKind = iota + 1
	// evTouch makes a state of an entry that can be changed.
	evTouch
	evWrite
	evTruncate
	evSet
	evRemove
	evMove
	evTake
	evStored
	evIntend
	evAccept
	evRelease
	// evLost gives up an entry of which local data is damaged.
	evLost
	// evState is a part of all there is, which stands for all events before.
	evState
	// evPublish makes what stayed on this device a part of the workspace.
	evPublish
)

func (e *event) encode() []byte {
	w := writer{make([]byte, 0, 128)}
	w.uint(uint64(e.kind))
	switch e.kind {
	case evWrite:
		w.entry(e.entry)
		w.int(e.number)
		w.int(e.modified)
		w.time(e.at)
		w.uint(e.changes)
		w.bool(e.open)
	case evTake:
		w.uint(uint64(len(e.ops)))
		before := uint64(0)
		for _, n := range e.ops {
			w.uint(n - before)
			before = n
		}
	case evStored:
		w.int(e.number)
		w.piece(e.piece)
	case evIntend:
		e.intent.encode(&w)
	case evAccept, evRelease:
	default:
		e.encodeChange(&w)
	}
	return w.b
}

func (e *event) encodeChange(w *writer) {
	w.entry(e.entry)
	w.time(e.at)
	w.adopted(e.adopt)
	w.adopted(e.folders)
	w.bool(e.local)
	switch e.kind {
	case evCreate:
		w.place(e.place)
		w.node(e.node)
	case evTouch:
		w.entry(e.copy)
	case evTruncate:
		w.int(e.number)
		w.int(e.modified)
		w.uint(e.changes)
	case evSet:
		w.bool(e.executable)
		w.int(e.created)
		w.int(e.modified)
	case evMove:
		w.place(e.place)
		w.entry(e.over)
		w.entry(e.copy)
	case evLost:
		w.text(e.text)
	}
}

func decodeEvent(b []byte) (e event, err error) {
	r := reader{b: b}
	e.kind = eventKind(r.uint())
	switch e.kind {
	case evWrite:
		e.entry, e.number, e.modified, e.at = r.entry(), r.int(), r.int(), r.time()
		e.changes, e.open = r.uint(), r.bool()
	case evTake:
		before := uint64(0)
		for range r.count() {
			before += r.uint()
			e.ops = append(e.ops, before)
		}
	case evStored:
		e.number, e.piece = r.int(), r.piece()
	case evIntend:
		e.intent = decodeIntent(&r)
	case evAccept, evRelease, evState:
	case evCreate, evTouch, evTruncate, evSet, evRemove, evMove, evLost, evPublish:
		e.decodeChange(&r)
	default:
		r.fail()
	}
	return e, r.err
}

func (e *event) decodeChange(r *reader) {
	e.entry, e.at = r.entry(), r.time()
	e.adopt, e.folders, e.local = r.adopted(), r.adopted(), r.bool()
	switch e.kind {
	case evCreate:
		e.place, e.node = r.place(), r.node()
	case evTouch:
		e.copy = r.entry()
	case evTruncate:
		e.number, e.modified, e.changes = r.int(), r.int(), r.uint()
	case evSet:
		e.executable, e.created, e.modified = r.bool(), r.int(), r.int()
	case evMove:
		e.place, e.over, e.copy = r.place(), r.entry(), r.entry()
	case evLost:
		e.text = r.text()
	}
}

func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.int(0)
		return
	}
	w.int(t.UnixNano())
}

func (r *reader) time() time.Time {
	n := r.int()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (w *writer) adopted(all []adopted) {
	w.uint(uint64(len(all)))
	for _, a := range all {
		w.entry(a.entry)
		w.seen(a.seen)
	}
}

func (r *reader) adopted() (all []adopted) {
	for range r.count() {
		e := r.entry()
		all = append(all, adopted{e, r.seen()})
	}
	return all
}
