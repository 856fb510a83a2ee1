// Package files is a workspace as a tree of files: it finds entries of the
// verified tree, which package mirror holds, by their paths, and changes them
// in commits of many at once. Content
// streams: nothing is copied to a temporary place, memory is bounded whatever
// the size, and no operation costs a round trip per file.
//
// A Tree belongs to one goroutine.
package files

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/edit"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/history"
	"parsec/internal/client/merge"
	"parsec/internal/client/mirror"
	"parsec/internal/client/session"
	"parsec/internal/client/store"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
)

// Tree is the tree of one workspace, as far as this device has verified it.
type Tree struct {
	// Mirror is the tree as it was verified.
	*mirror.Mirror
	editor *edit.Editor
	ws     *workspace.Workspace
	cache  *store.Cache
	// CommitSize is how many entries a commit of a copy writes, and CommitBlocks
	// from how many new blocks on it writes fewer; 1,000 and 4,096 (2 GiB) by
	// default. Whatever breaks off a copy, no more has to be sent again.
	CommitSize, CommitBlocks int
	// hidden are the entries that listings have left out.
	hidden map[id.Entry]bool
	// then is the tree as it was, which is shown instead of the newest one; nil
	// for that.
	then *history.Tree
}

// Open opens the tree of the workspace with a name or id, and pulls it.
func Open(ctx context.Context, s *session.Session, name string) (*Tree, error) {
	ws, err := workspace.Find(ctx, s, name)
	if err != nil {
		return nil, err
	}
	t := New(mirror.New(ws))
	if err := ws.Maintain(ctx); err != nil {
		return nil, err
	}
	return t, t.Pull(ctx)
}

// New returns the tree of a workspace as far as it is pulled.
func New(m *mirror.Mirror) *Tree {
	ws := m.Workspace()
	return &Tree{
		Mirror: m, editor: edit.New(m), ws: ws, cache: ws.Session().Local().Cache,
		CommitSize: 1000, CommitBlocks: 4096, hidden: map[id.Entry]bool{},
	}
}

func (t *Tree) now() int64 { return time.Now().UnixNano() }

// commit commits an edit, and what belongs behind it. It returns what did not
// go as intended.
func (t *Tree) commit(ctx context.Context, e edit.Edit) ([]merge.Note, error) {
	e.Same = t.same
	plan, err := t.editor.Commit(ctx, e)
	if err != nil {
		return nil, err
	}
	e.Base.Accept(plan, nil)
	return plan.Notes, t.editor.Sweep(ctx, plan)
}

// Entry is an entry at its place in the tree.
type Entry struct {
	// Path begins with a slash and is that of the root folder without more.
	Path string
	ID   id.Entry
	Kind manifest.Kind
	// Version is zero for the root folder of a workspace without commits.
	Version  store.Version
	Manifest manifest.Manifest
	Body     manifest.Body
	// Pending says that there is work on it that is not committed, Local that it
	// stays on this device, since its name is ignored. Only a [Local] sets them.
	Pending, Local bool
	// node is what a [Local] knows it by.
	node filesystem.Node
}

// Name returns the last part of the path; "/" for the root folder.
func (e Entry) Name() string { return path.Base(e.Path) }

// Size returns the size of a file's content, or the length of a symlink's target.
func (e Entry) Size() uint64 {
	switch b := e.Body.(type) {
	case manifest.FileBody:
		return b.Size
	case manifest.SymlinkBody:
		return uint64(len(b.Target))
	}
	return 0
}

// Executable reports whether the entry is an executable file.
func (e Entry) Executable() bool {
	b, ok := e.Body.(manifest.FileBody)
	return ok && b.Executable
}

// Target returns where a symlink points, and "" for everything else.
func (e Entry) Target() string {
	b, _ := e.Body.(manifest.SymlinkBody)
	return b.Target
}

// Split splits a path of a workspace into its names. It refuses names that
// cannot exist.
func Split(p string) ([]string, error) {
	var names []string
	for _, name := range strings.Split(p, "/") {
		if name == "" || name == "." {
			continue
		}
		if err := manifest.CheckName(name); err != nil {
			return nil, fault.Errorf(fault.Usage, "path %q: %w", p, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// address returns a path with the workspace's name, as people write it.
func (t *Tree) address(p string) string { return t.ws.Name() + ":" + p }

// Stat returns the entry at a path.
func (t *Tree) Stat(ctx context.Context, p string) (Entry, error) {
	names, err := Split(p)
	if err != nil {
		return Entry{}, err
	}
	if t.then != nil {
		return t.statThen(ctx, names)
	}
	place, err := t.walk(ctx, names)
	if err != nil {
		return Entry{}, err
	}
	return t.entry(ctx, place)
}

// place is an entry that a folder names.
type place struct {
	path  string
	entry id.Entry
	kind  manifest.Kind
}

func (t *Tree) rootPlace() place { return place{"/", t.Root(), manifest.Folder} }

// walk follows names from the root folder.
func (t *Tree) walk(ctx context.Context, names []string) (place, error) {
	at := t.rootPlace()
	for _, name := range names {
		if at.kind != manifest.Folder {
			return place{}, fault.Errorf(fault.NotFound, "%s is not a folder", t.address(at.path))
		}
		if err := t.Complete(ctx, at.entry); err != nil {
			return place{}, err
		}
		child, found, err := t.cache.Child(ctx, t.ws.ID(), at.entry, name)
		if err != nil {
			return place{}, err
		}
		if !found || !t.Stands(child) {
			return place{}, fault.WithHint(fault.Errorf(fault.NotFound, "no %s", t.address(path.Join(at.path, name))),
				"`parsec ls %s` shows what is there", t.address(at.path))
		}
		at = place{path.Join(at.path, name), child.Entry, child.Kind}
	}
	return at, nil
}

// entry opens the newest version of what stands at a place.
func (t *Tree) entry(ctx context.Context, at place) (Entry, error) {
	all, err := t.entries(ctx, []place{at})
	if err != nil {
		return Entry{}, err
	}
	if all[0].err != nil {
		return Entry{}, fmt.Errorf("open %s: %w", t.address(at.path), all[0].err)
	}
	return all[0].Entry, nil
}

// opened is an entry, or why it cannot be shown.
type opened struct {
	Entry
	err error
}

// entries opens the newest versions of what stands at places.
func (t *Tree) entries(ctx context.Context, places []place) ([]opened, error) {
	ids := make([]id.Entry, len(places))
	for i, p := range places {
		ids[i] = p.entry
	}
	chains, err := t.Chains(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]opened, len(places))
	for i, p := range places {
		o := &out[i]
		o.Entry = Entry{Path: p.path, ID: p.entry, Kind: p.kind}
		var newest mirror.Opened
		newest, o.err = t.Newest(ctx, p.entry, p.kind, chains[i])
		o.Version, o.Manifest, o.Body = newest.Version, newest.Manifest, newest.Body
		if o.err == nil && o.Manifest.Kind != 0 && o.Manifest.Kind != p.kind {
			o.err = fault.Errorf(fault.Invalid, "its folder names a %s, and it is a %s", p.kind, o.Manifest.Kind)
		}
		if fault.Is(o.err, fault.Integrity) {
			return nil, o.err
		}
	}
	return out, nil
}

// listBatch is how many entries are opened at once in a listing.
const listBatch = 512

// List returns the entries of a folder by name. Those that cannot be shown are
// left out; [Tree.Hidden] counts them and [Tree.Problems] lists them.
func (t *Tree) List(ctx context.Context, folder Entry) ([]Entry, error) {
	if folder.Kind != manifest.Folder {
		return []Entry{folder}, nil
	}
	if t.then != nil {
		return t.listThen(ctx, folder)
	}
	places, err := t.children(ctx, place{folder.Path, folder.ID, folder.Kind})
	if err != nil {
		return nil, err
	}
	return t.shown(ctx, places)
}

// pick returns the entries of a folder that have one of some names, as List does.
func (t *Tree) pick(ctx context.Context, folder Entry, names []string) ([]Entry, error) {
	if err := t.Complete(ctx, folder.ID); err != nil {
		return nil, err
	}
	var places []place
	for _, name := range names {
		c, found, err := t.cache.Child(ctx, t.ws.ID(), folder.ID, name)
		if err != nil {
			return nil, err
		}
		if found && t.Stands(c) {
			places = append(places, place{path.Join(folder.Path, name), c.Entry, c.Kind})
		}
	}
	return t.shown(ctx, places)
}

// shown opens what stands at places, as far as it can be shown.
func (t *Tree) shown(ctx context.Context, places []place) ([]Entry, error) {
	out := make([]Entry, 0, len(places))
	for len(places) > 0 {
		n := min(listBatch, len(places))
		some, err := t.entries(ctx, places[:n])
		if err != nil {
			return nil, err
		}
		for _, o := range some {
			if o.err == nil {
				out = append(out, o.Entry)
			} else {
				t.hidden[o.ID] = true
			}
		}
		places = places[n:]
	}
	return out, nil
}

// children returns the places in a folder, by name.
func (t *Tree) children(ctx context.Context, folder place) ([]place, error) {
	if err := t.Complete(ctx, folder.entry); err != nil {
		return nil, err
	}
	named, err := t.Named(ctx, folder.entry)
	if err != nil {
		return nil, err
	}
	all := make([]place, 0, len(named))
	for _, c := range named {
		if t.Stands(store.Child{Folder: folder.entry, Name: c.Name, Entry: c.Entry}) {
			all = append(all, place{path.Join(folder.path, c.Name), c.Entry, c.Kind})
		}
	}
	return all, nil
}

// Author returns who signed the newest version of an entry, as e-mail address and
// device; "" where nobody did.
func (t *Tree) Author(_ context.Context, e Entry) (string, error) {
	return t.ws.Session().AuthorOf(e.Version.Author), nil
}

// Hidden returns how many entries are known to be hidden without a look at the
// whole tree: whose manifests cannot be used, which are named more than once,
// or which a listing has left out.
func (t *Tree) Hidden(ctx context.Context) (int, error) {
	if t.then != nil {
		return 0, nil // what was hidden then may long be mended
	}
	hidden, err := t.Mirror.Hidden(ctx)
	if err != nil {
		return 0, err
	}
	maps.Copy(hidden, t.hidden)
	return len(hidden), nil
}
