package work

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// When work settles.
const (
	settleTime = time.Second
	// A file that keeps changing is taken after busyTime, then at intervals that
	// double up to maxBusyTime.
	busyTime    = 30 * time.Second
	maxBusyTime = 5 * time.Minute
	// What was refused waits for retryTime, then twice as long each time, up to
	// maxRetryTime.
	retryTime    = 30 * time.Second
	maxRetryTime = time.Hour
)

// Limits bound a batch. One operation is taken however large it is.
type Limits struct {
	Ops    int
	Bytes  int64
	Blocks int
}

// Taken is work that was taken to be committed.
type Taken struct {
	ops []*Op
	// Files are the contents that it changes.
	Files []*TakenFile
	// Intent is what was noted before the record was sent.
	Intent *intent
	// Bodies say in which blocks contents are that were uploaded.
	Bodies map[*State]manifest.FileBody
}

// TakenFile is the content of a file that was taken.
type TakenFile struct {
	// Entry is the file, Copy the entry of a copy should there be a conflict.
	Entry, Copy id.Entry
	// Base is what is below the changes.
	Base manifest.FileBody
	Size uint64
	// Changed are the parts that differ from Base, all of them below Size, by
	// ascending offset.
	Changed []Range
	// Stored are parts of the content that are on the server in blocks that no
	// commit names yet.
	Stored []Piece
	// State is the file's, frozen.
	State *State
}

// Range is a part of a file.
type Range struct{ From, To uint64 }

// Settled returns the operations that can be taken.
func (o *Tree) Settled(now time.Time, l Limits) []*Op {
	var out []*Op
	h := newHeld()
	bytes, blocks := int64(0), 0
	for _, p := range o.ops {
		if p.dead {
			continue
		}
		if h.depends(p) || o.settles(p, now).After(now) {
			h.hold(p)
			continue
		}
		more, n := p.weight()
		if len(out) > 0 && (len(out) >= l.Ops || bytes+more > l.Bytes || blocks+n > l.Blocks) {
			break
		}
		out = append(out, p)
		bytes, blocks = bytes+more, blocks+n
	}
	return out
}

// weight returns how much an operation is to upload.
func (p *Op) weight() (bytes int64, blocks int) {
	if p.now == nil || p.now.Content == nil {
		return 0, 0
	}
	c := p.now.Content
	for _, s := range c.Top.Flat().Written(int64(c.Base.Size), c.Size) {
		bytes += s.To - s.From
		blocks += int((s.To-1)/manifest.BlockSize-s.From/manifest.BlockSize) + 1
	}
	return bytes, blocks
}

// settles returns when an operation settles.
func (o *Tree) settles(p *Op, now time.Time) time.Time {
	at := p.at.Add(settleTime)
	if !p.at.After(o.Due) {
		at = p.at
	}
	if p.now != nil && p.now.Content != nil && p.kind != opReplace {
		c := p.now.Content
		at = p.at
		c.Mu.RLock()
		open, touched := c.Open || c.Busy, c.Touched
		c.Mu.RUnlock()
		if n := o.Inodes[p.entry]; open && n != nil {
			busy := min(busyTime<<min(n.pushed, 4), maxBusyTime)
			if at = touched.Add(settleTime); at.After(n.dirty.Add(busy)) {
				at = n.dirty.Add(busy)
			}
		}
	}
	for _, e := range []id.Entry{p.entry, p.over} {
		if problem := o.problems[e]; problem != nil && problem.Retry.After(at) {
			at = problem.Retry
		}
	}
	return at
}

// NextSettled returns when there will be something to take, and false if nothing
// waits.
func (o *Tree) NextSettled(now time.Time) (at time.Time, ok bool) {
	h := newHeld()
	for _, p := range o.ops {
		if p.dead || p.taken {
			continue
		}
		if h.depends(p) {
			h.hold(p)
			continue
		}
		t := o.settles(p, now)
		if !ok || t.Before(at) {
			at, ok = t, true
		}
		if !t.After(now) {
			return t, true
		}
		h.hold(p)
	}
	return at, ok
}

// held is what operations that wait keep from others: an operation that
// depends on one of them waits too.
type held struct {
	entries, inside map[id.Entry]bool
	places          map[merge.Place]bool
}

func newHeld() *held {
	return &held{map[id.Entry]bool{}, map[id.Entry]bool{}, map[merge.Place]bool{}}
}

func (h *held) depends(p *Op) bool {
	if len(h.entries) == 0 {
		return false
	}
	return h.entries[p.entry] || h.entries[p.over] || h.entries[p.to.Folder] || h.entries[p.place.Folder] ||
		h.places[p.place] || h.places[p.to] ||
		p.kind == opRemove && h.inside[p.entry] || p.kind == opMove && h.inside[p.over]
}

func (h *held) hold(p *Op) {
	for _, e := range []id.Entry{p.entry, p.over} {
		if !e.IsZero() {
			h.entries[e] = true
		}
	}
	for _, at := range []merge.Place{p.place, p.to} {
		if !at.Folder.IsZero() {
			h.places[at], h.inside[at.Folder] = true, true
		}
	}
}

// node returns what a state says, with the blocks of its content.
func (b *Taken) node(s *State) merge.Node {
	s = s.newest()
	n := s.Node
	c := s.Content
	if c == nil {
		return n
	}
	n.Modified = c.Modified
	body, ok := b.Bodies[s]
	if !ok {
		if body = c.Base; len(c.Top.Pages) > 0 || c.Size != int64(c.Base.Size) || c.Top.Below != nil {
			body = pendingBody(s.Number, c.Size)
		}
	}
	body.Executable = n.File.Executable
	n.File = body
	return n
}

// pendingBody stands for a content without blocks. No two are the same.
func pendingBody(number uint64, size int64) manifest.FileBody {
	return manifest.FileBody{Size: uint64(size), Blocks: manifest.List{Items: binary.BigEndian.AppendUint64([]byte("pending"), number)}}
}

// Unstored forgets what was noted as stored.
func (b *Taken) Unstored() {
	for _, f := range b.Files {
		f.Stored = nil
		f.State.newest().Content.stored = nil
	}
}

// Operations returns the operations, with the contents of the bodies.
func (b *Taken) Operations() []merge.Op {
	var out []merge.Op
	for _, p := range b.ops {
		if !p.dead {
			out = append(out, p.merge(b.node)...)
		}
	}
	return out
}

// KnownOf returns what is known beside the operations of a batch.
func (o *Tree) KnownOf(b *Taken) *merge.Base {
	known := &o.Known
	out := &merge.Base{Folders: map[id.Entry]merge.Seen{}, Became: maps.Clone(known.Became), Own: maps.Clone(known.Own)}
	for _, p := range b.ops {
		p.folders(func(f id.Entry) {
			for seen, ok := known.Folders[f]; ok; seen, ok = known.Folders[f] {
				if _, again := out.Folders[f]; again {
					return
				}
				out.Folders[f] = seen
				f = seen.Place.Folder
			}
		})
	}
	return out
}

// Intend returns the event that a record with this digest is about to be sent,
// which commits a plan.
func (b *Taken) Intend(digest [32]byte, plan *merge.Plan) Event {
	in := &intent{Digest: digest, made: plan.Made(), versions: map[id.Entry]uint64{}, bodies: map[uint64]manifest.FileBody{}, copies: map[id.Entry]merge.Place{}}
	for _, put := range plan.Puts {
		if put.Node.Kind != manifest.Folder {
			in.versions[put.Entry] = put.Version
		}
	}
	for s, body := range b.Bodies {
		in.bodies[s.Number] = body
	}
	for _, note := range plan.Notes {
		if note.What == merge.Copied {
			in.copies[note.Entry] = note.Place
		}
	}
	return Event{Kind: evIntend, intent: in}
}

// Touched returns the entries that a commit of the batch may have changed.
func (b *Taken) Touched() []id.Entry {
	all := slices.Collect(maps.Keys(b.Intent.versions))
	for _, p := range b.ops {
		all = append(all, p.entry, p.over, p.place.Folder, p.to.Folder)
	}
	for f := range b.Intent.made.Folders {
		all = append(all, f)
	}
	return all
}

// Times returns when the folders that a batch changes were changed here, as they
// show it. What was made in one before somebody set its time may be committed
// after that time was, and does not alter it.
func (o *Tree) Times(b *Taken) map[id.Entry]int64 {
	all := map[id.Entry]int64{}
	for _, p := range b.ops {
		for _, folder := range []id.Entry{p.place.Folder, p.to.Folder} {
			if at, ok := o.times[folder]; ok {
				all[folder] = at
			}
		}
	}
	return all
}

// Refuse says why entries cannot go. They are tried again later and later.
func (o *Tree) Refuse(reasons map[id.Entry]error, now time.Time) {
	for e, err := range reasons {
		p := o.problems[e]
		if p == nil {
			p = &Problem{Entry: e, Since: now}
			o.problems[e] = p
		}
		if n := o.Inodes[e]; n != nil {
			p.Place = n.Place
		}
		p.Err, p.Retry = err, now.Add(min(retryTime<<min(p.tries, 10), maxRetryTime))
		p.tries++
	}
}
