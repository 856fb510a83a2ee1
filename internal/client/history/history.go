// Package history is the tree of a workspace as it was at an earlier place of its
// log. It is read like the newest tree and can be shown by the same faces; nothing
// in it changes, and nothing can be changed in it.
//
// Which versions entries had follows from the verified log, in the order of the
// log: what an author's clock said only chooses the record up to which it
// counts. What was not changed since comes from what this device holds; earlier
// manifests are fetched in bulk, when they are looked at, and must have the
// digests that the log names. One that the server does not give is a broken
// promise.
//
// Invariants:
//   - The same moment of a log shows the same tree, whatever was written since.
//   - Each entry is shown at one place, so that there are no cycles. Where members
//     contradict each other, that is the folder which the entry names as its own,
//     and else the first of those that name it which is looked at.
//   - Memory is bounded by what was changed since and by the limits of what is
//     remembered, not by the size of the workspace.
package history

import (
	"context"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/basecache"
	"parsec/internal/client/merge"
	"parsec/internal/client/mirror"
	"parsec/internal/client/overlay"
	"parsec/internal/client/workspace"
)

// Tree is a workspace as it was. It implements what package filesystem shows of a
// workspace. Its methods may be called from many goroutines.
type Tree struct {
	mirror *mirror.Mirror
	ws     *workspace.Workspace
	over   *overlay.Overlay
	at     uint64
	time   int64

	// reading is held by who reads the log; it guards log.
	reading sync.Mutex
	log     *log

	mu sync.Mutex
	// mu guards what is remembered, which is dropped where it becomes too much.
	known   map[id.Entry]known
	folders map[id.Entry]*folder
	held    int
	// near are folders that were seen in others and not listed yet.
	near map[id.Entry]place
	// places are those of entries that do not name their folder as their own.
	places map[id.Entry]merge.Place
}

var _ basecache.Base = (*Tree)(nil)

// Open returns the tree of a workspace as it was at a moment, as far as this
// device has verified the log. Content is read through blocks. It fails with
// [fault.NotFound] where the workspace was not there yet, or the log does not go
// so far.
//
// A record belongs to a moment if it, or any record behind it in the log, is not
// younger. Authors stamp records by their own clocks, which the server bounds to
// five minutes around its own and the rules to the order of the log, but for
// commits that were made at the same time: so a tree may have a commit that says
// of itself that it is a little younger.
func Open(ctx context.Context, m *mirror.Mirror, blocks overlay.Blocks, at Moment) (*Tree, error) {
	t := &Tree{
		mirror: m, ws: m.Workspace(),
		known: map[id.Entry]known{}, folders: map[id.Entry]*folder{}, near: map[id.Entry]place{}, places: map[id.Entry]merge.Place{},
	}
	if err := t.begin(ctx, at); err != nil {
		return nil, err
	}
	var err error
	t.over, err = overlay.Open(overlay.Config{Root: m.Root(), Base: t, Blocks: blocks})
	return t, err
}

// begin finds the record of the moment, and what was changed since.
func (t *Tree) begin(ctx context.Context, at Moment) error {
	end := t.ws.Log().Position().Index
	if at.Index > end {
		return fault.WithHint(fault.Errorf(fault.NotFound, "the log of workspace %q has %d records, and no record %d", t.ws.Name(), end, at.Index),
			"`parsec log` shows them")
	}
	first := map[id.Entry]uint64{}
	var oldest int64
	err := t.ws.Backwards(ctx, end, func(m workspace.Made) bool {
		if at.Index == m.Index || at.Index == 0 && m.Time <= at.Time.UnixNano() {
			t.at, t.time = m.Index, m.Time
			return false
		}
		note(m, first)
		oldest = m.Time
		return true
	})
	if err != nil {
		return err
	}
	if t.at == 0 {
		return fault.WithHint(fault.Errorf(fault.NotFound, "workspace %q was not there yet at %s", t.ws.Name(), at.Time.Local().Format(time.DateTime)),
			"it began at %s", time.Unix(0, oldest).Local().Format(time.DateTime))
	}
	t.log = newLog(t.ws, t.at)
	t.log.read = end
	t.log.add(first)
	return nil
}

// Index returns the index of the newest record that counts.
func (t *Tree) Index() uint64 { return t.at }

// Time returns when its author says that record was made.
func (t *Tree) Time() time.Time { return time.Unix(0, t.time) }

// Root returns the id of the root folder.
func (t *Tree) Root() id.Entry { return t.mirror.Root() }

// ID returns the workspace's id.
func (t *Tree) ID() id.Workspace { return t.ws.ID() }

// Name returns the name that the workspace has now.
func (t *Tree) Name() string { return t.ws.Name() }

// Overlay returns the tree as package filesystem shows it. Nothing is to be done
// in it: nobody keeps it.
func (t *Tree) Overlay() *overlay.Overlay { return t.over }

// MayWrite fails and says why: nothing of the past can be changed.
func (t *Tree) MayWrite() error {
	return fault.WithHint(fault.Errorf(fault.Denied, "change workspace %q: it is shown as it was", t.ws.Name()), "`parsec restore` brings something back")
}

// Author returns who wrote the version that an entry had, as e-mail address and
// device; "" where it had none.
func (t *Tree) Author(ctx context.Context, e id.Entry) (string, error) {
	k, err := t.one(ctx, e)
	if err != nil || k.state.Version == 0 {
		return "", err
	}
	return t.ws.Session().AuthorOf(k.author), nil
}
