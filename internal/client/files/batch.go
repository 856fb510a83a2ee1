package files

import (
	"cmp"
	"context"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/edit"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// target is a folder that is copied into, with the entries that were there.
type target struct {
	folder id.Entry
	path   string
	there  map[string]Entry
}

// looks are what an update compares.
type looks struct {
	kind       manifest.Kind
	size       uint64
	modified   int64
	executable bool
	points     string
}

func looksOf(e Entry) looks {
	return looks{e.Kind, e.Size(), e.Manifest.Modified, e.Executable(), e.Target()}
}

// has reports whether an entry that looks so is there already.
func (to target) has(name string, l looks) bool {
	there, ok := to.there[name]
	return ok && looksOf(there) == l
}

// write is a change that a copy makes: something new at a name of a folder, or
// a new version of what is there.
type write struct {
	folder   id.Entry
	name     string
	entry    id.Entry
	replaced Entry
	body     manifest.Body
	modified int64
	// created is when the entry was made; 0 for now.
	created int64
	// revives is the newest version of an entry that is gone and comes back, 0 for
	// something new.
	revives uint64
	blocks  []id.Block
}

// newWrite returns the beginning of a change: a new version of what is at a
// name of a folder, or something new. A folder never takes the place of
// something else, and nothing else that of a folder.
func newWrite(name string, kind manifest.Kind, to target, modified int64) (*write, error) {
	w := &write{folder: to.folder, name: name, entry: id.New[id.Entry](), modified: modified}
	there, ok := to.there[name]
	if !ok {
		return w, nil
	}
	if there.Kind != kind && (kind == manifest.Folder || there.Kind == manifest.Folder) {
		return nil, &skip{fault.WithHint(fault.Errorf(fault.Conflict, "a %s is there, which a %s does not replace", there.Kind, kind),
			"move it away, or copy to another place")}
	}
	w.replaced = there
	return w, nil
}

// add notes a block that the change introduces.
func (w *write) add(ref manifest.Ref) error {
	if len(w.blocks) == record.MaxIntroduced {
		return &skip{fault.Errorf(fault.TooLarge, "it has more blocks than the %d that a commit may introduce", record.MaxIntroduced)}
	}
	w.blocks = append(w.blocks, ref.ID)
	return nil
}

// skip is an error of one entry, which is left out and does not end the copy.
type skip struct{ error }

// Unwrap returns the error.
func (s *skip) Unwrap() error { return s.error }

// When a batch is committed although more could join it.
const (
	batchTime = 10 * time.Second
	// batchBytes is a quarter of what a commit may have of manifests and ids.
	batchBytes = 4 << 20
)

// batch gathers writes into commits.
type batch struct {
	tree  *Tree
	tally *tally
	edit  edit.Edit
	base  merge.Base
	// since is when the first of the writes came.
	since  time.Time
	writes int
	files  int
	blocks int
	// bytes is about what the manifests take.
	bytes int
}

// full reports whether the batch is to be committed.
func (b *batch) full() bool {
	return b.writes >= b.tree.CommitSize || b.blocks >= b.tree.CommitBlocks || b.bytes >= batchBytes || time.Since(b.since) > batchTime
}

func (b *batch) add(ctx context.Context, writes []*write) error {
	for _, w := range writes {
		if b.blocks > 0 && b.blocks+len(w.blocks) > record.MaxIntroduced {
			if err := b.commit(ctx); err != nil {
				return err
			}
		}
		b.put(w)
		if b.full() {
			if err := b.commit(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) put(w *write) {
	if b.edit.Blocks == nil {
		b.edit.Blocks = map[id.Entry][]id.Block{}
	}
	if b.writes == 0 {
		b.since = time.Now()
	}
	node := edit.NodeOf(manifest.Manifest{Kind: kindOf(w.body), Created: cmp.Or(w.created, b.tree.now()), Modified: w.modified}, w.body)
	at := merge.Place{Folder: w.folder, Name: w.name}
	b.writes++
	b.blocks += len(w.blocks)
	b.bytes += manifestSize(w.body)
	if node.Kind == manifest.Folder {
		b.keepTime(w.entry, w.modified)
	} else {
		b.files++
	}
	b.edit.Blocks[w.entry] = w.blocks // for a write, should it become a copy
	old := w.replaced
	if w.revives > 0 {
		b.edit.Ops = append(b.edit.Ops, merge.Write{Entry: w.entry, Seen: merge.Seen{Version: w.revives, Place: at}, Now: node, Copy: id.New[id.Entry]()})
		return
	}
	if old.ID.IsZero() {
		b.edit.Ops = append(b.edit.Ops, merge.Create{Entry: w.entry, At: at, Node: node})
		return
	}
	seen := merge.Seen{Version: old.Version.Number, Place: at, Node: edit.NodeOf(old.Manifest, old.Body)}
	if old.Kind == node.Kind {
		node.Created = old.Manifest.Created
		b.edit.Ops = append(b.edit.Ops, merge.Write{Entry: old.ID, Seen: seen, Now: node, Copy: w.entry})
		b.edit.Blocks[old.ID] = w.blocks
		return
	}
	b.edit.Ops = append(b.edit.Ops, merge.Remove{Entry: old.ID, Seen: seen}, merge.Create{Entry: w.entry, At: at, Node: node})
}

// keepTime has a folder keep its time, although something is made in it.
func (b *batch) keepTime(folder id.Entry, modified int64) {
	if b.edit.Modified == nil {
		b.edit.Modified = map[id.Entry]int64{}
	}
	b.edit.Modified[folder] = modified
}

// manifestSize returns about how long a sealed manifest is.
func manifestSize(b manifest.Body) int {
	const least, page = 256, 128
	switch b := b.(type) {
	case manifest.FileBody:
		return least + len(b.Blocks.Items) + len(b.Blocks.Pages)*page
	case manifest.SymlinkBody:
		return least + len(b.Target)
	}
	return least
}

func kindOf(b manifest.Body) manifest.Kind {
	switch b.(type) {
	case manifest.FileBody:
		return manifest.File
	case manifest.SymlinkBody:
		return manifest.Symlink
	}
	return manifest.Folder
}

// commit commits what was gathered.
func (b *batch) commit(ctx context.Context) error {
	if b.writes == 0 {
		return nil
	}
	if err := b.commitPart(ctx, b.edit); err != nil {
		return err
	}
	b.tally.Done(b.files, 0)
	b.edit = edit.Edit{Blocks: map[id.Entry][]id.Block{}, Modified: b.edit.Modified}
	b.writes, b.files, b.blocks, b.bytes = 0, 0, 0, 0
	return nil
}

// commitPart commits some of what was gathered: at once, or each half by
// itself where that is too much for one commit, as it is if many folders are
// due for a snapshot.
func (b *batch) commitPart(ctx context.Context, e edit.Edit) error {
	if err := b.tree.editor.See(ctx, e.Ops, &b.base); err != nil {
		return err
	}
	e.Base = &b.base
	notes, err := b.tree.commit(ctx, e)
	if first, second := halves(e); fault.Is(err, fault.TooLarge) && len(second.Ops) > 0 {
		if err := b.commitPart(ctx, first); err != nil {
			return err
		}
		return b.commitPart(ctx, second)
	}
	if err == nil {
		b.report(notes)
	}
	return err
}

// halves splits an edit in two. What replaces something stays with its removal.
func halves(e edit.Edit) (first, second edit.Edit) {
	half := len(e.Ops) / 2
	if half > 0 {
		if _, removes := e.Ops[half-1].(merge.Remove); removes {
			half++
		}
	}
	first, second = e, e
	first.Ops, second.Ops = e.Ops[:half], e.Ops[half:]
	return first, second
}

// report tells of what did not go as intended, where a person should know.
func (b *batch) report(notes []merge.Note) {
	for _, n := range notes {
		if n.What == merge.Renamed || n.What == merge.Copied {
			b.tally.Conflict(n.Wanted.Name, n.Place.Name)
		}
	}
}
