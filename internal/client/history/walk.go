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

// List returns what a folder showed, by name. Whoever lists one folder of another
// after the other gets more and more of them looked at together.
func (t *Tree) List(ctx context.Context, e id.Entry) ([]Listed, error) {
	some, size := t.coming(e)
	if len(some) > 1 {
		if err := t.deeper(ctx, some); err != nil {
			return nil, err
		}
	}
	f, err := t.folder(ctx, e)
	if err != nil {
		return nil, err
	}
	all, err := t.shown(ctx, e, f, f.children)
	if err == nil {
		t.expect(all, size)
	}
	return all, err
}

// perFolder is how many entries below each of some folders are looked at ahead.
const perFolder = 64

// deeper looks ahead at what is in some folders, and in those below them.
func (t *Tree) deeper(ctx context.Context, level []id.Entry) error {
	for left := min(perFolder*len(level), atOnce); len(level) > 0 && left > 0; {
		level = level[:min(len(level), foldersAtOnce)]
		loaded, err := t.load(ctx, level)
		if err != nil {
			return err
		}
		level = t.together(level, loaded)
		if err := t.ahead(ctx, level, loaded); err != nil {
			return err
		}
		var below []id.Entry
		for _, e := range level {
			left -= len(loaded[e].children)
			for _, c := range loaded[e].children {
				if c.Kind == manifest.Folder {
					below = append(below, c.Entry)
				}
			}
		}
		level = below
	}
	return nil
}

// siblings are the folders in a folder.
type siblings struct {
	folders []id.Entry
	// done is up to which of them it was looked ahead, and size how many of them
	// come together the next time.
	done, size int
}

// place is one of several siblings.
type place struct {
	*siblings
	index int
}

// coming returns the folders that are looked at together with one that is listed,
// itself the first, and how many will be the next time.
func (t *Tree) coming(e id.Entry) (some []id.Entry, size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.near[e]
	if !ok {
		return nil, 1
	}
	delete(t.near, e)
	if p.index < p.done {
		return nil, p.size
	}
	some = p.folders[p.index:min(p.index+p.size, len(p.folders))]
	p.done = p.index + len(some)
	p.size = min(4*p.size, foldersAtOnce)
	return some, p.size
}

// expect remembers the folders among what a folder showed: they may be listed next.
func (t *Tree) expect(all []Listed, size int) {
	s := &siblings{size: size}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.near) > maxKnown {
		clear(t.near)
	}
	for _, l := range all {
		if l.Kind == manifest.Folder {
			t.near[l.Entry] = place{s, len(s.folders)}
			s.folders = append(s.folders, l.Entry)
		}
	}
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
