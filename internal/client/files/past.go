package files

import (
	"context"
	"path"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/history"
	"parsec/internal/client/mirror"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
)

// At returns the tree of a workspace as it was at a moment, as far as its log was
// pulled: [Tree.Stat], [Tree.List], what follows from them, and copies from it have
// that. Nothing can be copied into it.
func At(ctx context.Context, m *mirror.Mirror, at history.Moment) (*Tree, error) {
	then, err := history.Open(ctx, m, nil, at)
	if err != nil {
		return nil, err
	}
	t := New(m)
	t.then = then
	return t, nil
}

// entryOf returns an entry as it was.
func entryOf(p string, l history.Listed) Entry {
	e := Entry{Path: p, ID: l.Entry, Kind: l.Kind, Version: store.Version{Entry: l.Entry, Number: l.Version, Author: l.Author}}
	if l.Version > 0 {
		e.Manifest = manifest.Manifest{Entry: l.Entry, Kind: l.Kind, Name: l.Name, Created: l.Node.Created, Modified: l.Node.Modified}
	}
	switch l.Kind {
	case manifest.File:
		e.Body = l.Node.File
	case manifest.Symlink:
		e.Body = manifest.SymlinkBody{Target: l.Node.Target}
	default:
		e.Body = manifest.FolderBody{}
	}
	return e
}

// find returns what was at the end of a path, and the folders above it, the root
// folder first.
func (t *Tree) find(ctx context.Context, names []string) ([]history.Listed, error) {
	all, ok, err := t.then.Find(ctx, names)
	if err == nil && !ok {
		err = fault.WithHint(fault.Errorf(fault.NotFound, "no %s at %s", t.address(path.Join("/", path.Join(names...))), t.then.Time().Local().Format(time.DateTime)),
			"`parsec ls --at` shows what was there, and `parsec log` when something changed")
	}
	return all, err
}

func (t *Tree) statThen(ctx context.Context, names []string) (Entry, error) {
	all, err := t.find(ctx, names)
	if err != nil {
		return Entry{}, err
	}
	return entryOf(path.Join("/", path.Join(names...)), all[len(all)-1]), nil
}

func (t *Tree) listThen(ctx context.Context, folder Entry) ([]Entry, error) {
	all, err := t.then.List(ctx, folder.ID)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, len(all))
	for i, l := range all {
		out[i] = entryOf(path.Join(folder.Path, l.Name), l)
	}
	return out, nil
}
