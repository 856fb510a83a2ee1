package files

import (
	"context"
	"fmt"
	"path"

	"parsec/internal/base/fault"
	"parsec/internal/client/edit"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

func either(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Destination returns the folder and the name to which something called name
// is copied or moved: into a folder that is there, else under the path's own
// last name.
func (t *Tree) Destination(ctx context.Context, to, name string) (Entry, string, error) {
	names, err := Split(to)
	if err != nil {
		return Entry{}, "", err
	}
	there, err := t.Stat(ctx, to)
	if err == nil && there.Kind == manifest.Folder {
		return there, name, nil
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Entry{}, "", err
	}
	above, err := t.Stat(ctx, path.Join(append([]string{"/"}, names[:len(names)-1]...)...))
	if err != nil {
		return Entry{}, "", err
	}
	if above.Kind != manifest.Folder {
		return Entry{}, "", fault.Errorf(fault.NotFound, "%s is not a folder", t.address(above.Path))
	}
	return above, names[len(names)-1], nil
}

// Remove removes an entry, and all below a folder, as one change: whatever there
// is, one commit takes it away. What others put there meanwhile stays.
func (t *Tree) Remove(ctx context.Context, e Entry) error {
	view := edit.NewView(t.Mirror)
	seen, err := merge.Look(ctx, view, e.ID)
	if err != nil {
		return fmt.Errorf("remove %s: %w", t.address(e.Path), err)
	}
	op := merge.Remove{Entry: e.ID, Seen: seen}
	if e.Kind == manifest.Folder {
		if op.Below, err = merge.LookBelow(ctx, view, e.ID); err != nil {
			return fmt.Errorf("remove %s: %w", t.address(e.Path), err)
		}
	}
	if _, err := t.commit(ctx, edit.Edit{Ops: []merge.Op{op}, Base: new(merge.Base)}); err != nil {
		return fmt.Errorf("remove %s: %w", t.address(e.Path), err)
	}
	return nil
}

// Copy copies an entry, and all below it, into a folder of the same workspace
// under a name. The copies name the same blocks: nothing is uploaded.
func (t *Tree) Copy(ctx context.Context, from, into Entry, name string, o CopyOptions) error {
	if below, err := t.Below(ctx, into.ID, from.ID); err != nil || below {
		return either(err, fault.Errorf(fault.Usage, "copy %s: its destination lies in it", t.address(from.Path)))
	}
	return t.CopyFrom(ctx, t, from, into, name, o)
}

// CopyFrom does what [Tree.Copy] does with an entry of the workspace as another
// tree shows it, such as one of [At].
func (t *Tree) CopyFrom(ctx context.Context, source *Tree, from, into Entry, name string, o CopyOptions) error {
	c := &copier{tree: t, source: source, update: o.Update, batch: &batch{tree: t, tally: o.tally()}}
	there, err := t.byName(ctx, into)
	if err != nil {
		return err
	}
	if err := c.add(ctx, from, name, target{folder: into.ID, path: into.Path, there: there}); err != nil {
		return err
	}
	if err := c.batch.commit(ctx); err != nil {
		return err
	}
	return c.batch.tally.err()
}

// copier is a copy within one workspace at work.
type copier struct {
	// tree is what is copied into, and source shows what is copied.
	tree, source *Tree
	update       bool
	batch        *batch
}

func (c *copier) add(ctx context.Context, from Entry, name string, to target) error {
	if from.Kind != manifest.Folder {
		return c.addLeaf(ctx, from, name, to)
	}
	below := target{path: path.Join(to.path, name)}
	there, exists := to.there[name]
	if exists && there.Kind == manifest.Folder {
		below.folder = there.ID
		var err error
		if below.there, err = c.tree.byName(ctx, there); err != nil {
			return err
		}
	} else {
		w, err := newWrite(name, from.Kind, to, from.Manifest.Modified)
		if err != nil {
			return c.leave(from, err)
		}
		w.body = manifest.FolderBody{}
		below.folder = w.entry
		if err := c.batch.add(ctx, []*write{w}); err != nil {
			return err
		}
	}
	children, err := c.source.List(ctx, from)
	if err != nil {
		return err
	}
	for _, e := range children {
		if err := c.add(ctx, e, e.Name(), below); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) addLeaf(ctx context.Context, from Entry, name string, to target) error {
	c.batch.tally.Found(1, from.Size())
	c.batch.tally.Done(0, from.Size())
	if c.update && to.has(name, looksOf(from)) {
		c.batch.tally.Done(1, 0)
		return nil
	}
	w, err := newWrite(name, from.Kind, to, from.Manifest.Modified)
	if err != nil {
		return c.leave(from, err)
	}
	w.body = from.Body
	return c.batch.add(ctx, []*write{w})
}

// leave leaves out an entry.
func (c *copier) leave(from Entry, err error) error {
	at := c.tree.address(from.Path)
	c.batch.tally.Skipped(at, fmt.Errorf("copy %s: %w", at, err))
	return nil
}
