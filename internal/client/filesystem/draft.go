package filesystem

import (
	"context"
	"crypto/rand"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// draftPrefix begins the names of drafts, which lie in the root of their
// workspace so that no folder that somebody removes is in their way.
const draftPrefix = ".parsec-draft-"

func isDraft(name string) bool { return strings.HasPrefix(name, draftPrefix) }

// Ignoring returns which names stay on this device: those of which the given
// function says so, which may be nil, and those of drafts. A workspace's overlay
// must be opened with it.
func Ignoring(also func(name string) bool) func(name string) bool {
	return func(name string) bool { return isDraft(name) || also != nil && also(name) }
}

// Draft is a file in the making, for faces that are given whole files: nobody
// sees it, it is on this device alone, and it is gone with [Draft.Close], or
// with the process, unless [Draft.Place] made a part of the tree of it.
type Draft struct {
	*Handle
	name   string
	placed bool
}

// Draft makes a draft that can be placed in the workspace of a node.
func (v *View) Draft(ctx context.Context, in Node, executable bool) (*Draft, error) {
	if err := v.mayChange(in); err != nil {
		return nil, err
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	if err := in.volume.dropDrafts(ctx); err != nil {
		return nil, err
	}
	name := draftPrefix + rand.Text()
	f, _, err := in.volume.over.CreateFile(ctx, in.volume.draftPlace(name), executable)
	if err != nil {
		return nil, err
	}
	return &Draft{Handle: &Handle{view: v, volume: in.volume, file: f, flags: Read | Write}, name: name}, nil
}

func (v *volume) draftPlace(name string) merge.Place {
	return merge.Place{Folder: v.over.Root, Name: name}
}

// dropDrafts removes, before the first draft is made, those that a process left
// behind which was killed.
func (v *volume) dropDrafts(ctx context.Context) error {
	v.drafts.Lock()
	defer v.drafts.Unlock()
	if v.swept {
		return nil
	}
	all, err := v.over.Children(ctx, v.over.Root)
	if err != nil {
		return err
	}
	for _, c := range all {
		hidden, err := v.hides(ctx, v.over.Root, c)
		if err == nil && hidden {
			err = v.over.Remove(ctx, v.draftPlace(c.Name), false)
		}
		if err != nil {
			return err
		}
	}
	v.swept = true
	return nil
}

// hides reports whether what a folder names is a draft. What another member
// gave such a name is none, and shown.
func (v *volume) hides(ctx context.Context, folder id.Entry, c manifest.Child) (bool, error) {
	if folder != v.over.Root || !isDraft(c.Name) {
		return false, nil
	}
	n, err := v.over.Node(ctx, c.Entry)
	if fault.Is(err, fault.NotFound) {
		return true, nil // placed or dropped meanwhile
	}
	return n.Local, err
}

// checkNew refuses what cannot be the name of something new.
func checkNew(folder Node, name string) error {
	if folder.root() && isDraft(name) {
		return fault.Errorf(fault.Denied, "name %q: names that begin so are those of files in the making: %w", name, NotPermitted)
	}
	return nil
}

// Place makes the file what a folder names so, in one step: over what is there,
// unless keep is set, as [View.Rename] does. It returns what there is to see
// then. Nothing may be written to the file from then on.
func (d *Draft) Place(ctx context.Context, folder Node, name string, keep bool) (Attr, error) {
	v := d.view
	if err := errorOf(v.mayMake(folder, name), checkNew(folder, name)); err != nil {
		return Attr{}, err
	}
	if folder.volume != d.volume {
		return Attr{}, fault.Errorf(fault.Conflict, "place file: %w", OtherWorkspace)
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	if err := d.file.Flush(); err != nil {
		return Attr{}, err
	}
	over := d.volume.over
	e, err := over.Move(ctx, d.volume.draftPlace(d.name), merge.Place{Folder: folder.entry, Name: name}, !keep)
	if err != nil {
		return Attr{}, err
	}
	d.placed = true
	if err := over.Flush(); err != nil {
		return Attr{}, err
	}
	n := Node{d.volume, e}
	v.changed(folder, n)
	return v.Stat(ctx, n)
}

// Close gives the draft back. It is gone then, if it was not placed.
func (d *Draft) Close() error {
	err := d.file.Close()
	if d.placed {
		return err
	}
	return errorOf(d.volume.over.Remove(context.Background(), d.volume.draftPlace(d.name), false), err)
}
