package files

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"parsec/internal/base/id"
	"parsec/internal/client/edit"
	"parsec/internal/client/history"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// RestoreOptions are how a restore goes about it.
type RestoreOptions struct {
	// DryRun says what would be done, and does nothing.
	DryRun bool
	// Progress is told how it goes on; nil for nobody.
	Progress Progress
}

// Restored is what a restore did to an entry.
type Restored struct {
	Path string `json:"path"`
	// What is "created" for what was not there any more, and "changed" for what
	// was there as another version.
	What string `json:"what"`
}

// Restore brings back what a path had in the tree as it was, and with a folder all
// that was in it, as new versions which name the blocks of the old ones: nothing is
// uploaded. Folders above it that are not there any more come back without what
// else was in them. What is there and was not is left alone, and so is what is
// there already as it was. Something that is gone comes back as the entry that it
// was; of what was moved away a copy is made.
//
// What cannot be restored, since a folder has taken the place of a file or the
// other way, is skipped and reported, and the rest goes on. It returns what it did,
// by path.
func (t *Tree) Restore(ctx context.Context, past *Tree, p string, o RestoreOptions) ([]Restored, error) {
	names, err := Split(p)
	if err != nil {
		return nil, err
	}
	r := &restorer{
		tree: t, past: past, dry: o.DryRun, waiting: map[id.Entry]waiting{},
		batch: &batch{tree: t, tally: CopyOptions{Progress: o.Progress}.tally()},
	}
	err = r.restore(ctx, names)
	if err == nil {
		err = r.batch.commit(ctx)
	}
	slices.SortFunc(r.done, func(a, b Restored) int { return strings.Compare(a.Path, b.Path) })
	if err != nil {
		return r.done, err
	}
	return r.done, r.batch.tally.left("restored")
}

// restorer is a restore at work.
type restorer struct {
	tree, past *Tree
	dry        bool
	batch      *batch
	done       []Restored
	// waiting are folders of then of which the contents are to be restored.
	waiting map[id.Entry]waiting
}

// waiting is a folder and where it is to be.
type waiting struct {
	history.Listed
	above target
}

func (r *restorer) restore(ctx context.Context, names []string) error {
	all, err := r.past.find(ctx, names)
	if err != nil {
		return err
	}
	if !r.dry {
		if err := r.tree.ws.MayWrite(); err != nil {
			return err
		}
	}
	root, err := r.tree.Stat(ctx, "/")
	if err != nil {
		return err
	}
	at, err := r.into(ctx, root)
	if err != nil {
		return err
	}
	last := all[len(all)-1]
	for _, l := range all[1:max(1, len(all)-1)] {
		p := path.Join(at.path, l.Name)
		if at, err = r.folder(ctx, waiting{l, at}, true); err != nil {
			return r.leave(p, err)
		}
	}
	if last.Kind != manifest.Folder {
		return r.leave(path.Join(at.path, last.Name), r.leaf(ctx, last, at))
	}
	if len(all) == 1 {
		return r.walk(ctx, last.Entry, at)
	}
	r.waiting[last.Entry] = waiting{last, at}
	return r.walk(ctx, last.Entry, target{})
}

// walk restores what a folder had, and all below it; the folder itself first, if it
// waits.
func (r *restorer) walk(ctx context.Context, from id.Entry, at target) error {
	return r.past.then.Walk(ctx, from, func(folder id.Entry, all []history.Listed, lost error) ([]id.Entry, error) {
		to := at
		if w, ok := r.waiting[folder]; ok {
			delete(r.waiting, folder)
			p := path.Join(w.above.path, w.Name)
			var err error
			if lost == nil {
				to, err = r.folder(ctx, w, len(all) > 0)
			}
			if lost != nil {
				err = &skip{lost}
			}
			if err != nil {
				return nil, r.leave(p, err)
			}
		} else if lost != nil {
			return nil, lost
		}
		return r.contents(ctx, all, to)
	})
}

// leave leaves out an entry, if there is a reason that is its own.
func (r *restorer) leave(p string, err error) error {
	if err == nil {
		return nil
	}
	if _, own := err.(*skip); !own {
		return err
	}
	at := r.tree.address(p)
	r.batch.tally.Skipped(at, fmt.Errorf("restore %s: %w", at, err))
	return nil
}

// contents restores what a folder had that is no folder, and returns the folders.
func (r *restorer) contents(ctx context.Context, all []history.Listed, to target) (below []id.Entry, err error) {
	for _, l := range all {
		if l.Kind == manifest.Folder {
			r.waiting[l.Entry] = waiting{l, to}
			below = append(below, l.Entry)
			continue
		}
		if err := r.leave(path.Join(to.path, l.Name), r.leaf(ctx, l, to)); err != nil {
			return nil, err
		}
	}
	return below, nil
}

// into returns a folder that is there as one that is restored into.
func (r *restorer) into(ctx context.Context, folder Entry) (target, error) {
	there, err := r.tree.byName(ctx, folder)
	if err == nil {
		err = r.batch.base.See(ctx, edit.Base{Mirror: r.tree.Mirror}, folder.ID)
	}
	return target{folder: folder.ID, path: folder.Path, there: there}, err
}

// folder returns a folder that is restored into: the one that is there, or one that
// comes back, which may be only with what is in it.
func (r *restorer) folder(ctx context.Context, w waiting, holds bool) (target, error) {
	there, exists := w.above.there[w.Name]
	if exists && there.Kind == manifest.Folder {
		return r.into(ctx, there)
	}
	below := target{folder: w.Entry, path: path.Join(w.above.path, w.Name)}
	made, err := newWrite(w.Name, w.Kind, w.above, w.Node.Modified)
	if err != nil {
		return target{}, err
	}
	r.did(below.path, "created")
	if r.dry {
		return below, nil
	}
	version, gone, err := r.gone(ctx, w.Entry)
	if err != nil {
		return target{}, err
	}
	if gone && holds {
		r.batch.revive(w.Entry, merge.Seen{Version: version, Place: merge.Place{Folder: w.above.folder, Name: w.Name}, Node: w.Node})
		return below, nil
	}
	made.body, made.created, below.folder = manifest.FolderBody{}, w.Node.Created, made.entry
	return below, r.batch.add(ctx, []*write{made})
}

func (r *restorer) did(p, what string) { r.done = append(r.done, Restored{p, what}) }

// leaf restores a file or symlink.
func (r *restorer) leaf(ctx context.Context, l history.Listed, to target) error {
	then := entryOf(path.Join(to.path, l.Name), l)
	r.batch.tally.Found(1, then.Size())
	r.batch.tally.Done(0, then.Size())
	there, exists := to.there[l.Name]
	if exists && asItWas(there, then) {
		r.batch.tally.Done(1, 0)
		return nil
	}
	w, err := newWrite(l.Name, l.Kind, to, l.Node.Modified)
	if err != nil {
		return err
	}
	r.did(then.Path, map[bool]string{false: "created", true: "changed"}[exists])
	if r.dry {
		return nil
	}
	w.body, w.created = then.Body, l.Node.Created
	if !exists {
		version, gone, err := r.gone(ctx, l.Entry)
		if err != nil {
			return err
		}
		if gone {
			w.entry, w.revives = l.Entry, version
		}
	}
	return r.batch.add(ctx, []*write{w})
}

// asItWas reports whether an entry is as it was: with the same content, in the same
// blocks, time and mode.
func asItWas(now, then Entry) bool {
	if looksOf(now) != looksOf(then) {
		return false
	}
	a, isFile := now.Body.(manifest.FileBody)
	b, _ := then.Body.(manifest.FileBody)
	return !isFile || a.Blocks.Depth == b.Blocks.Depth && bytes.Equal(a.Blocks.Items, b.Blocks.Items) && slices.Equal(a.Blocks.Pages, b.Blocks.Pages)
}

// gone reports whether an entry is nowhere any more, and its newest version.
func (r *restorer) gone(ctx context.Context, e id.Entry) (version uint64, gone bool, err error) {
	newest, err := r.tree.cache.Newest(ctx, r.tree.ws.ID(), []id.Entry{e})
	if err != nil {
		return 0, false, err
	}
	_, stands, err := edit.Base{Mirror: r.tree.Mirror}.Parent(ctx, e)
	return newest[0].Number, newest[0].Gone || !stands, err
}

// revive has a folder come back with what the next operations put in it.
func (b *batch) revive(folder id.Entry, seen merge.Seen) {
	if b.base.Folders == nil {
		b.base.Folders = map[id.Entry]merge.Seen{}
	}
	b.base.Folders[folder] = seen
	b.keepTime(folder, seen.Node.Modified)
}
