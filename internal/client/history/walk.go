package history

import (
	"context"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// Listed is what a folder showed.
type Listed struct {
	manifest.Child
	Node merge.Node
	// Version is the entry's version then, and Author who wrote it.
	Version uint64
	Author  id.Device
}

func listed(c manifest.Child, k known) Listed {
	return Listed{c, k.state.Node, k.state.Version, k.author}
}

// Find returns what stood at a path, given by its names, and the folders above it,
// the root folder first and without a name. It returns false where nothing stood
// there.
func (t *Tree) Find(ctx context.Context, names []string) ([]Listed, bool, error) {
	root, err := t.one(ctx, t.Root())
	if err != nil {
		return nil, false, err
	}
	all := []Listed{listed(manifest.Child{Entry: t.Root(), Kind: manifest.Folder}, root)}
	for _, name := range names {
		above := all[len(all)-1]
		if above.Kind != manifest.Folder {
			return nil, false, nil
		}
		f, err := t.folder(ctx, above.Entry)
		if err != nil {
			return nil, false, err
		}
		c, ok := f.children.Find(name)
		if !ok {
			return nil, false, nil
		}
		here, err := t.shown(ctx, above.Entry, f, []manifest.Child{c})
		if err != nil || len(here) == 0 {
			return nil, false, err
		}
		all = append(all, here[0])
	}
	return all, true, nil
}

// List returns what a folder showed, by name.
func (t *Tree) List(ctx context.Context, e id.Entry) ([]Listed, error) {
	f, err := t.folder(ctx, e)
	if err != nil {
		return nil, err
	}
	return t.shown(ctx, e, f, f.children)
}

// How much a walk looks at together.
const (
	foldersAtOnce  = 512
	childrenAtOnce = maxKnown / 4
)

// Walk calls visit with a folder and what it showed, by name, or why that cannot
// be had; then with the folders of which visit says so, and so on. It fetches what
// it needs of many folders at once.
func (t *Tree) Walk(ctx context.Context, from id.Entry, visit func(folder id.Entry, all []Listed, lost error) (below []id.Entry, err error)) error {
	open := []id.Entry{from}
	for len(open) > 0 {
		some := open[:min(len(open), foldersAtOnce)]
		folders, err := t.load(ctx, some)
		if err != nil {
			return err
		}
		some = t.together(some, folders)
		open = open[len(some):]
		if err := t.ahead(ctx, some, folders); err != nil {
			return err
		}
		for _, e := range some {
			f := folders[e]
			var all []Listed
			if f.lost == nil {
				if all, err = t.shown(ctx, e, f, f.children); err != nil {
					return err
				}
			}
			below, err := visit(e, all, f.lost)
			if err != nil {
				return err
			}
			open = append(open, below...)
		}
	}
	return nil
}

// together returns the first folders that do not have too many children together,
// and at least one.
func (t *Tree) together(folders []id.Entry, loaded map[id.Entry]*folder) []id.Entry {
	n := 0
	for i, e := range folders {
		if n += len(loaded[e].children); i > 0 && n > childrenAtOnce {
			return folders[:i]
		}
	}
	return folders
}

// ahead looks at what some folders name, all at once. What one folder names is
// looked at by itself as well.
func (t *Tree) ahead(ctx context.Context, folders []id.Entry, loaded map[id.Entry]*folder) error {
	if len(folders) == 1 {
		return nil
	}
	var all []manifest.Child
	for _, e := range folders {
		all = append(all, loaded[e].children...)
	}
	_, err := t.look(ctx, all)
	return err
}
