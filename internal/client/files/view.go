package files

import (
	"context"
	"path"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/mirror"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
)

// view is the newest verified tree, for package merge. It remembers what does
// not change while it is used.
type view struct {
	t *Tree
	// ahead holds chains that were looked up together, at a fifth of what
	// each costs by itself.
	ahead map[id.Entry][]store.Version
	// complete are folders known to be so; to tell reads their whole chains.
	complete map[id.Entry]bool
}

var _ merge.View = (*view)(nil)

func newView(t *Tree) *view {
	return &view{t, map[id.Entry][]store.Version{}, map[id.Entry]bool{}}
}

// lookAhead looks up entries that will be asked for.
func (v *view) lookAhead(ctx context.Context, entries []id.Entry) error {
	chains, err := v.t.Chains(ctx, entries)
	if err != nil {
		return err
	}
	for i, e := range entries {
		v.ahead[e] = chains[i]
	}
	return nil
}

func (v *view) chain(ctx context.Context, e id.Entry) ([]store.Version, error) {
	if chain, ok := v.ahead[e]; ok {
		return chain, nil
	}
	chains, err := v.t.Chains(ctx, []id.Entry{e})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// Entry implements [merge.View].
func (v *view) Entry(ctx context.Context, e id.Entry) (merge.State, error) {
	chain, err := v.chain(ctx, e)
	if err != nil || len(chain) == 0 {
		return merge.State{}, err
	}
	newest := chain[len(chain)-1]
	state := merge.State{Version: newest.Number, Gone: newest.Gone}
	if newest.Gone {
		return state, nil
	}
	m, body, err := v.t.OpenVersion(ctx, newest)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Upgrade) {
		// Hidden, but there: nothing is known of it but what its folder says.
		at, _, err := v.t.Parent(ctx, e)
		if state.Node.Kind = at.Kind; e == v.t.Root() {
			state.Node.Kind = manifest.Folder
		}
		return state, err
	}
	if err != nil {
		return state, err
	}
	state.Node = nodeOf(m, body)
	return state, nil
}

// nodeOf returns what a manifest says, but for a folder's children.
func nodeOf(m manifest.Manifest, body manifest.Body) merge.Node {
	n := merge.Node{Kind: m.Kind, Created: m.Created, Modified: m.Modified}
	switch b := body.(type) {
	case manifest.FileBody:
		n.File = b
	case manifest.SymlinkBody:
		n.Target = b.Target
	}
	return n
}

// Child implements [merge.View].
func (v *view) Child(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	if !v.complete[folder] {
		if err := v.t.Complete(ctx, folder); err != nil {
			return manifest.Child{}, false, err
		}
		v.complete[folder] = true
	}
	c, found, err := v.t.cache.Child(ctx, v.t.ws.ID(), folder, name)
	return mirror.ChildOf(c), found, err
}

// Children implements [merge.View].
func (v *view) Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	if err := v.t.Complete(ctx, folder); err != nil {
		return nil, err
	}
	return v.t.Named(ctx, folder)
}

// Parent implements [merge.View].
func (v *view) Parent(ctx context.Context, e id.Entry) (merge.Place, bool, error) {
	found, ok, err := v.t.Parent(ctx, e)
	if err != nil || !ok {
		return merge.Place{}, false, err
	}
	reached, err := v.t.Reaches(ctx, found.Folder)
	return merge.Place{Folder: found.Folder, Name: found.Name}, reached, err
}

// pathOf returns the path of an entry, and false where it has none any more.
func (t *Tree) pathOf(ctx context.Context, e id.Entry) (string, bool, error) {
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
