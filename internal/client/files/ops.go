package files

import (
	"context"
	"fmt"
	"path"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/edit"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// seen returns what an operation saw of an entry.
func (t *Tree) seen(ctx context.Context, e Entry) (merge.Seen, error) {
	seen := merge.Seen{Version: e.Version.Number, Node: edit.NodeOf(e.Manifest, e.Body)}
	at, _, err := t.Parent(ctx, e.ID)
	seen.Place = merge.Place{Folder: at.Folder, Name: at.Name}
	return seen, err
}

// do commits operations at once.
func (t *Tree) do(ctx context.Context, ops ...merge.Op) error {
	var base merge.Base
	if err := t.editor.See(ctx, ops, &base); err != nil {
		return err
	}
	_, err := t.commit(ctx, edit.Edit{Ops: ops, Base: &base})
	return err
}

// Mkdir makes a folder, and with parents also those above it; then a folder
// that is there already is no error.
func (t *Tree) Mkdir(ctx context.Context, p string, parents bool) error {
	names, err := Split(p)
	if err != nil {
		return err
	}
	at := t.rootPlace()
	var ops []merge.Op
	for i, name := range names {
		if len(ops) == 0 {
			next, err := t.walk(ctx, names[:i+1])
			if err == nil && next.kind != manifest.Folder {
				return fault.Errorf(fault.Conflict, "make folder %s: a %s is there", t.address(next.path), next.kind)
			}
			if err == nil {
				at = next
				continue
			}
			if !fault.Is(err, fault.NotFound) {
				return err
			}
		}
		if i < len(names)-1 && !parents {
			return fault.WithHint(fault.Errorf(fault.NotFound, "make folder %s: no %s", t.address(p), t.address(path.Join(at.path, name))),
				"-p makes it too")
		}
		now := t.now()
		create := merge.Create{
			Entry: id.New[id.Entry](), At: merge.Place{Folder: at.entry, Name: name},
			Node: merge.Node{Kind: manifest.Folder, Created: now, Modified: now},
		}
		ops = append(ops, create)
		at = place{path.Join(at.path, name), create.Entry, manifest.Folder}
	}
	if len(ops) == 0 {
		if parents {
			return nil
		}
		return fault.Errorf(fault.Conflict, "make folder %s: it is there already", t.address(p))
	}
	return t.do(ctx, ops...)
}

// Remove removes an entry, and with recursive also a folder with all below it.
func (t *Tree) Remove(ctx context.Context, p string, recursive bool) error {
	e, err := t.Stat(ctx, p)
	if err != nil {
		return err
	}
	switch {
	case e.ID == t.Root():
		return fault.Errorf(fault.Usage, "remove %s: the root folder stays", t.address("/"))
	case e.Kind == manifest.Folder && !recursive:
		return fault.WithHint(fault.Errorf(fault.Usage, "remove %s: it is a folder", t.address(e.Path)), "-r removes it with all that is in it")
	}
	remove := merge.Remove{Entry: e.ID}
	if remove.Seen, err = t.seen(ctx, e); err != nil {
		return err
	}
	if remove.Below, err = merge.LookBelow(ctx, edit.NewView(t.Mirror), e.ID); err != nil {
		return err
	}
	return t.do(ctx, remove)
}

// Move moves or renames an entry, in one commit. Where a folder is at the
// destination, the entry goes into it; a file there is replaced.
func (t *Tree) Move(ctx context.Context, from, to string) error {
	e, err := t.Stat(ctx, from)
	if err != nil {
		return err
	}
	if e.ID == t.Root() {
		return fault.Errorf(fault.Usage, "move %s: the root folder stays", t.address("/"))
	}
	into, name, err := t.Destination(ctx, to, e.Name())
	if err != nil {
		return err
	}
	if below, err := t.below(ctx, into.ID, e.ID); err != nil || below {
		return either(err, fault.Errorf(fault.Usage, "move %s: its destination lies in it", t.address(e.Path)))
	}
	move := merge.Move{Entry: e.ID, To: merge.Place{Folder: into.ID, Name: name}, Copy: id.New[id.Entry]()}
	if move.Seen, err = t.seen(ctx, e); err != nil {
		return err
	}
	over, err := t.Stat(ctx, path.Join(into.Path, name))
	switch {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return err
	case over.ID == e.ID:
		return nil
	case over.Kind == manifest.Folder || e.Kind == manifest.Folder:
		return fault.Errorf(fault.Conflict, "move %s: %s is there", t.address(e.Path), t.address(over.Path))
	default:
		move.Over = over.ID
		if move.OverSeen, err = t.seen(ctx, over); err != nil {
			return err
		}
	}
	return t.do(ctx, move)
}

func either(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// below reports whether an entry is another one or lies below it.
func (t *Tree) below(ctx context.Context, e, above id.Entry) (bool, error) {
	for depth := 0; e != above; depth++ {
		at, ok, err := t.Parent(ctx, e)
		if err != nil || !ok || depth > maxDepth {
			return false, err
		}
		e = at.Folder
	}
	return true, nil
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

// Copy copies an entry, and all below it, into a folder of the same workspace
// under a name. The copies name the same blocks: nothing is uploaded.
func (t *Tree) Copy(ctx context.Context, from, into Entry, name string, o CopyOptions) error {
	if below, err := t.below(ctx, into.ID, from.ID); err != nil || below {
		return either(err, fault.Errorf(fault.Usage, "copy %s: its destination lies in it", t.address(from.Path)))
	}
	c := &copier{tree: t, update: o.Update, batch: &batch{tree: t, tally: o.tally()}}
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
	tree   *Tree
	update bool
	batch  *batch
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
	children, err := c.tree.List(ctx, from)
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
