package mirror

import (
	"bytes"
	"context"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/store"
	"parsec/internal/client/tree"
	"parsec/internal/format/manifest"
)

// Settle finds where entries have their places that several folders name, or
// one folder twice, as only a member who signs what the program never would
// can make it. It is called whenever folders have changed, and looks at the
// whole tree only where there is something to settle.
func (t *Mirror) Settle(ctx context.Context) error {
	return t.ws.Session().Exclusive(ctx, t.settle)
}

func (t *Mirror) settle(ctx context.Context) error {
	crowded, stale, err := t.crowded(ctx)
	if err != nil || len(crowded) == 0 && len(t.ws.Mark().Contested) == 0 && !stale {
		return err
	}
	var contested []store.Contested
	if len(crowded) > 0 {
		places, err := tree.Resolve(ctx, t.Root(), newSource(t))
		if err != nil {
			return err
		}
		for _, e := range crowded {
			at := places.Places[e]
			contested = append(contested, store.Contested{Entry: e, Folder: at.Folder, Name: at.Name})
		}
	}
	return t.ws.Cache(ctx, func(m *store.Mark) { m.Contested = contested }, (*store.CacheTx).Uncrowd)
}

// crowded returns the entries that are named more than once, and the root
// folder if it is named at all, by ascending id; and whether more were noted.
func (t *Mirror) crowded(ctx context.Context) (crowded []id.Entry, stale bool, err error) {
	crowded, stale, err = t.cache.Crowded(ctx, t.ws.ID())
	if err != nil {
		return nil, false, err
	}
	above, err := t.cache.Places(ctx, t.ws.ID(), t.Root())
	if len(above) > 0 {
		crowded = append(crowded, t.Root())
	}
	slices.SortFunc(crowded, compareEntries)
	return slices.Compact(crowded), stale, err
}

func compareEntries(a, b id.Entry) int { return bytes.Compare(a[:], b[:]) }

// contested returns the place of an entry that is named more than once.
func (t *Mirror) contested(e id.Entry) (place store.Contested, ok bool) {
	all := t.ws.Mark().Contested
	i, ok := slices.BinarySearchFunc(all, e, func(c store.Contested, e id.Entry) int { return compareEntries(c.Entry, e) })
	if !ok {
		return place, false
	}
	return all[i], true
}

// Stands reports whether an entry has its place where a folder names it.
func (t *Mirror) Stands(c store.Child) bool {
	at, ok := t.contested(c.Entry)
	return !ok || at.Folder == c.Folder && at.Name == c.Name
}

// Source returns the tree as its manifests have it, whether they agree or not.
func (t *Mirror) Source() tree.Source { return newSource(t) }

type source struct {
	t *Mirror
	// kinds are what the folder nearest to the root says that an entry is.
	kinds map[id.Entry]manifest.Kind
}

var _ tree.Source = (*source)(nil)

func newSource(t *Mirror) *source { return &source{t, map[id.Entry]manifest.Kind{}} }

// Children implements [tree.Source]. Of a folder whose content cannot be had,
// they are those of the version before.
func (s *source) Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	if err := s.t.Complete(ctx, folder); err != nil && !Confined(err) {
		return nil, err
	}
	all, err := s.t.Named(ctx, folder)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if _, known := s.kinds[c.Entry]; !known {
			s.kinds[c.Entry] = c.Kind
		}
	}
	return all, nil
}

// About implements [tree.Source]. A folder whose manifest cannot be used is
// one nevertheless, since another folder says so.
func (s *source) About(ctx context.Context, e id.Entry) (tree.About, error) {
	chains, err := s.t.Chains(ctx, []id.Entry{e})
	if err != nil {
		return tree.About{}, err
	}
	newest, err := s.t.Newest(ctx, e, s.kinds[e], chains[0])
	a := tree.About{Kind: s.kinds[e], Err: err}
	if m := newest.Manifest; a.Err == nil && m.Kind != 0 {
		a.Kind, a.Parent = m.Kind, m.Parent
	}
	return a, nil
}

// Confined reports whether an error is of one entry's content alone: what a
// member signed, and the server may or may not be to blame that it is not
// there. It says nothing of other entries.
func Confined(err error) bool {
	return fault.Is(err, fault.Integrity) || fault.Is(err, fault.Invalid) || fault.Is(err, fault.Upgrade) || fault.Is(err, fault.NotFound)
}
