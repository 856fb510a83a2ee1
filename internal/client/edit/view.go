package edit

import (
	"context"
	"slices"

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
	t     *mirror.Mirror
	cache *store.Cache
	w     id.Workspace
	// ahead holds chains that were looked up together, at a fifth of what
	// each costs by itself.
	ahead map[id.Entry][]store.Version
	// complete are folders known to be so; to tell reads their whole chains.
	complete map[id.Entry]bool
	// reached says of folders whether they lie below the root.
	reached map[id.Entry]bool
}

var _ merge.View = (*view)(nil)

// NewView returns the newest verified tree as package merge reads it. It is good
// as long as nothing is pulled.
func NewView(t *mirror.Mirror) merge.View { return newView(t) }

func newView(t *mirror.Mirror) *view {
	ws := t.Workspace()
	return &view{t, ws.Session().Local().Cache, ws.ID(), map[id.Entry][]store.Version{}, map[id.Entry]bool{}, map[id.Entry]bool{t.Root(): true}}
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
	state.Node = NodeOf(m, body)
	return state, nil
}

// NodeOf returns what a manifest says, but for a folder's children.
func NodeOf(m manifest.Manifest, body manifest.Body) merge.Node {
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
	c, found, err := v.cache.Child(ctx, v.w, folder, name)
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
	reached, err := v.reaches(ctx, found.Folder)
	return merge.Place{Folder: found.Folder, Name: found.Name}, reached, err
}

// reaches reports whether a folder lies below the root. Who goes up a path asks
// for each folder of it, and all but the first are known by then.
func (v *view) reaches(ctx context.Context, folder id.Entry) (bool, error) {
	passed := map[id.Entry]bool{}
	for at := folder; ; {
		reached, known := v.reached[at]
		if !known && !passed[at] {
			passed[at] = true
			above, ok, err := v.t.Parent(ctx, at)
			if err != nil {
				return false, err
			}
			if at = above.Folder; ok {
				continue
			}
		}
		for f := range passed {
			v.reached[f] = reached
		}
		return reached, nil
	}
}

// Base is the newest verified tree as package overlay reads it: what is hidden is
// left out, and every answer is as of now. It may be asked from many goroutines.
type Base struct{ *mirror.Mirror }

// Entry returns the newest version of an entry, wherever it is.
func (b Base) Entry(ctx context.Context, e id.Entry) (merge.State, error) {
	return newView(b.Mirror).Entry(ctx, e)
}

// Entries returns the newest versions of entries. One that cannot be used is
// not there.
func (b Base) Entries(ctx context.Context, entries []id.Entry) ([]merge.State, error) {
	v := newView(b.Mirror)
	if err := v.lookAhead(ctx, entries); err != nil {
		return nil, err
	}
	out := make([]merge.State, len(entries))
	for i, e := range entries {
		var err error
		if out[i], err = v.Entry(ctx, e); err != nil && !mirror.Confined(err) {
			return nil, err
		}
	}
	return out, nil
}

// Child returns what a folder names so.
func (b Base) Child(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	v := newView(b.Mirror)
	if err := b.Complete(ctx, folder); err != nil && !mirror.Confined(err) {
		return manifest.Child{}, false, err
	}
	c, found, err := v.cache.Child(ctx, v.w, folder, name)
	return mirror.ChildOf(c), found && b.Stands(c), err
}

// Children returns all that a folder names, by ascending name.
func (b Base) Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	if err := b.Complete(ctx, folder); err != nil && !mirror.Confined(err) {
		return nil, err
	}
	all, err := b.Named(ctx, folder)
	if err != nil || len(b.Workspace().Mark().Contested) == 0 {
		return all, err
	}
	return slices.DeleteFunc(all, func(c manifest.Child) bool {
		return !b.Stands(store.Child{Folder: folder, Name: c.Name, Entry: c.Entry})
	}), nil
}

// Parent returns the place of an entry, and false if it is the root or no
// folder that is reachable from the root names it.
func (b Base) Parent(ctx context.Context, e id.Entry) (merge.Place, bool, error) {
	return newView(b.Mirror).Parent(ctx, e)
}
