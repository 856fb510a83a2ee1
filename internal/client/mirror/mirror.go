package mirror

import (
	"context"
	"path"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/store"
	"parsec/internal/client/transfer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// Mirror is the tree of one workspace, as far as this device has verified it.
// It serves many goroutines: only what comes from the server is taken in by one
// at a time, under the session's lock.
type Mirror struct {
	ws    *workspace.Workspace
	cache *store.Cache
	// Transfer bounds what is under way to and from the server.
	Transfer transfer.Config
	// Eager is how many entries are fetched before anything is shown. Of a
	// workspace that has more when it is first used, what is asked for is fetched
	// first, and the rest by [Mirror.FetchMore]. 200,000 by default.
	Eager int
}

// eager is how many entries are fetched at once: in less than half a minute.
const eager = 200_000

// New returns the mirror of a workspace, as it was left.
func New(ws *workspace.Workspace) *Mirror {
	return &Mirror{ws: ws, cache: ws.Session().Local().Cache, Eager: eager}
}

// Workspace returns the workspace whose tree it is.
func (t *Mirror) Workspace() *workspace.Workspace { return t.ws }

// Root returns the id of the root folder.
func (t *Mirror) Root() id.Entry { return id.RootEntry(t.ws.ID()) }

// Opened is the newest version of an entry, opened.
type Opened struct {
	Version  store.Version
	Manifest manifest.Manifest
	Body     manifest.Body
}

// Newest opens the newest version of a chain, of an entry that a folder says is
// of a kind. A folder whose newest manifest cannot be used is one nevertheless,
// with what an earlier one says of it: it can be written to, and heals.
func (t *Mirror) Newest(ctx context.Context, entry id.Entry, kind manifest.Kind, chain []store.Version) (e Opened, err error) {
	if len(chain) == 0 {
		if entry == t.Root() {
			return e, nil
		}
		return e, fault.Errorf(fault.Invalid, "its folder names an entry that was never written")
	}
	e.Version = chain[len(chain)-1]
	if e.Version.Gone {
		return e, fault.Errorf(fault.Invalid, "its folder names an entry that is gone")
	}
	e.Manifest, e.Body, err = t.OpenVersion(ctx, e.Version)
	if kind != manifest.Folder || !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Upgrade) {
		return e, err
	}
	e.Body = manifest.FolderBody{}
	for _, v := range slices.Backward(chain) {
		m, body, err := t.OpenVersion(ctx, v)
		if _, ok := body.(manifest.FolderBody); ok && err == nil {
			e.Manifest, e.Body = m, body
			break
		}
	}
	return e, nil
}

// OpenVersion opens the manifest of a version.
func (t *Mirror) OpenVersion(ctx context.Context, v store.Version) (manifest.Manifest, manifest.Body, error) {
	key, err := t.ws.Key(ctx, v.Generation)
	if fault.Is(err, fault.Invalid) { // a grant or backlink does not open: that is no fault of the entry's
		err = fault.Errorf(fault.Denied, "%w", err)
	}
	if err != nil {
		return manifest.Manifest{}, nil, err
	}
	return key.OpenManifest(changeOf(v), v.Author, v.Manifest)
}

// changeOf returns what the commit said of a version.
func changeOf(v store.Version) record.Change {
	return record.Change{Entry: v.Entry, Version: v.Number, Base: v.Base, Manifest: v.Digest[:]}
}

// Fetch gets the content of blocks. take is called from several goroutines at
// once, each time with another index.
func (t *Mirror) Fetch(ctx context.Context, refs []manifest.Ref, take func(i int, content []byte) error) error {
	return transfer.Download(ctx, t.Transfer, t.ws.Place(), t.ws.Session().Server(),
		func(_ context.Context, in *transfer.Incoming[int]) error {
			for i, ref := range refs {
				if err := in.Want(ref, i); err != nil {
					return err
				}
			}
			return nil
		}, func(i int, content []byte, err error) error {
			if err != nil {
				return err
			}
			return take(i, content)
		})
}

// Parent returns the folder that names an entry. Of several, it is the one
// that [Mirror.Settle] has found.
func (t *Mirror) Parent(ctx context.Context, e id.Entry) (store.Child, bool, error) {
	if e == t.Root() {
		return store.Child{}, false, nil
	}
	places, err := t.cache.Places(ctx, t.ws.ID(), e)
	if err == nil && len(places) == 0 && t.Partial() {
		places, err = t.seek(ctx, e)
	}
	if err != nil {
		return store.Child{}, false, err
	}
	for _, c := range places {
		if t.Stands(c) {
			return c, true, nil
		}
	}
	return store.Child{}, false, nil
}

// Hidden returns the entries that are known to be hidden without a look at the
// whole tree: true for those whose manifests cannot be used, and false for those
// that are named more than once, which one of their names shows.
func (t *Mirror) Hidden(ctx context.Context) (map[id.Entry]bool, error) {
	kept, err := t.cache.Problems(ctx, t.ws.ID())
	if err != nil {
		return nil, err
	}
	hidden := map[id.Entry]bool{}
	for _, c := range t.ws.Mark().Contested {
		hidden[c.Entry] = false
	}
	for _, p := range kept {
		hidden[p.Entry] = true
	}
	return hidden, nil
}

// Path returns the path of an entry, and false where it has none any more.
func (t *Mirror) Path(ctx context.Context, e id.Entry) (string, bool, error) {
	p := ""
	for depth := 0; e != t.Root(); depth++ {
		at, ok, err := t.Parent(ctx, e)
		if err != nil || !ok || depth > maxDepth {
			return "", false, err
		}
		p = path.Join("/", at.Name, p)
		e = at.Folder
	}
	return path.Join("/", p), true, nil
}

// maxDepth bounds the walk from an entry to the root: no path is as deep, and
// a cycle is endless.
const maxDepth = 4096

// Below reports whether an entry is another one or lies below it.
func (t *Mirror) Below(ctx context.Context, e, above id.Entry) (bool, error) {
	for depth := 0; e != above; depth++ {
		at, ok, err := t.Parent(ctx, e)
		if err != nil || !ok || depth > maxDepth {
			return false, err
		}
		e = at.Folder
	}
	return true, nil
}
