package work

import (
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
)

// Event is one thing that happens to a tree. The journal holds events;
// doing them again in their order gives the same tree, whatever the base
// has become meanwhile, so an event carries what it takes from the base.
type Event struct {
	Kind  EventKind
	Entry id.Entry
	// Adopt are entries of the base that the event is the first to change.
	Adopt []Adopted
	// Folders are those of the base above the work.
	Folders []Adopted
	Place   merge.Place
	Over    id.Entry
	Copy    id.Entry
	Node    merge.Node
	Local   bool
	// Executable, Created and Modified are what a set sets.
	Executable        bool
	Created, Modified int64
	// Number is an offset, a size, or a state's number.
	Number int64
	At     time.Time
	// Ops are those that are taken.
	Ops    []uint64
	Piece  Piece
	intent *intent
	// Record is the number of the event's own record, Payload the length of
	// what it holds.
	Record  uint64
	Payload int
	// Changes counts the content's changes, Open says that more may follow.
	Changes uint64
	Open    bool
	Text    string
	// Done is called when it has happened, before anybody sees that; it is not
	// part of the journal.
	Done func()
}

// Adopted is an entry as the base had it when it was first changed here.
type Adopted struct {
	Entry id.Entry
	Seen  merge.Seen
}

// EventKind is what happens.
type EventKind uint8

// The kinds of events. Their numbers are on disks.
const (
	// EvCreate makes an entry under a name.
	EvCreate EventKind = iota + 1
	// EvTouch makes a state of an entry that can be changed.
	EvTouch
	// EvWrite writes to a content, or says that it is whole.
	EvWrite
	// EvTruncate gives a content another size.
	EvTruncate
	// EvSet sets what is said of an entry.
	EvSet
	// EvRemove takes an entry's name away.
	EvRemove
	// EvMove gives an entry another name, which may be another one's.
	EvMove
	// EvTake takes operations to be committed.
	EvTake
	// EvStored says that a part of what is taken is on the server.
	EvStored
	// evIntend says which record is about to be sent.
	evIntend
	// EvAccept says that it stands in the log.
	EvAccept
	// EvRelease gives back what was taken.
	EvRelease
	// EvLost gives up an entry of which local data is damaged.
	EvLost
	// EvState is a part of all there is, which stands for all events before.
	EvState
	// EvPublish makes what stayed on this device a part of the workspace.
	EvPublish
)

// Encode returns the event as it stands in the journal.
func (e *Event) Encode() []byte {
	w := writer{make([]byte, 0, 128)}
	w.uint(uint64(e.Kind))
	switch e.Kind {
	case EvWrite:
		w.entry(e.Entry)
		w.int(e.Number)
		w.int(e.Modified)
		w.time(e.At)
		w.uint(e.Changes)
		w.bool(e.Open)
	case EvTake:
		w.uint(uint64(len(e.Ops)))
		before := uint64(0)
		for _, n := range e.Ops {
			w.uint(n - before)
			before = n
		}
	case EvStored:
		w.int(e.Number)
		w.piece(e.Piece)
	case evIntend:
		e.intent.encode(&w)
	case EvAccept, EvRelease:
	default:
		e.encodeChange(&w)
	}
	return w.b
}

func (e *Event) encodeChange(w *writer) {
	w.entry(e.Entry)
	w.time(e.At)
	w.adopted(e.Adopt)
	w.adopted(e.Folders)
	w.bool(e.Local)
	switch e.Kind {
	case EvCreate:
		w.place(e.Place)
		w.node(e.Node)
	case EvTouch:
		w.entry(e.Copy)
	case EvTruncate:
		w.int(e.Number)
		w.int(e.Modified)
		w.uint(e.Changes)
	case EvSet:
		w.bool(e.Executable)
		w.int(e.Created)
		w.int(e.Modified)
	case EvMove:
		w.place(e.Place)
		w.entry(e.Over)
		w.entry(e.Copy)
	case EvLost:
		w.text(e.Text)
	}
}

// DecodeEvent decodes an event. What makes no sense is an integrity error.
func DecodeEvent(b []byte) (e Event, err error) {
	r := reader{b: b}
	e.Kind = EventKind(r.uint())
	switch e.Kind {
	case EvWrite:
		e.Entry, e.Number, e.Modified, e.At = r.entry(), r.int(), r.int(), r.time()
		e.Changes, e.Open = r.uint(), r.bool()
	case EvTake:
		before := uint64(0)
		for range r.count() {
			before += r.uint()
			e.Ops = append(e.Ops, before)
		}
	case EvStored:
		e.Number, e.Piece = r.int(), r.piece()
	case evIntend:
		e.intent = decodeIntent(&r)
	case EvAccept, EvRelease, EvState:
	case EvCreate, EvTouch, EvTruncate, EvSet, EvRemove, EvMove, EvLost, EvPublish:
		e.decodeChange(&r)
	default:
		r.fail()
	}
	return e, r.err
}

func (e *Event) decodeChange(r *reader) {
	e.Entry, e.At = r.entry(), r.time()
	e.Adopt, e.Folders, e.Local = r.adopted(), r.adopted(), r.bool()
	switch e.Kind {
	case EvCreate:
		e.Place, e.Node = r.place(), r.node()
	case EvTouch:
		e.Copy = r.entry()
	case EvTruncate:
		e.Number, e.Modified, e.Changes = r.int(), r.int(), r.uint()
	case EvSet:
		e.Executable, e.Created, e.Modified = r.bool(), r.int(), r.int()
	case EvMove:
		e.Place, e.Over, e.Copy = r.place(), r.entry(), r.entry()
	case EvLost:
		e.Text = r.text()
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

func (w *writer) adopted(all []Adopted) {
	w.uint(uint64(len(all)))
	for _, a := range all {
		w.entry(a.Entry)
		w.seen(a.Seen)
	}
}

func (r *reader) adopted() (all []Adopted) {
	for range r.count() {
		e := r.entry()
		all = append(all, Adopted{e, r.seen()})
	}
	return all
}
