package merge

import (
	"bytes"
	"context"
	"slices"

	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
)

// plan returns what the replay has changed.
func (r *replay) plan(ctx context.Context) (*Plan, error) {
	p := &Plan{Notes: r.notes, became: r.became, joined: r.joined, own: map[id.Entry]Own{}}
	for _, e := range r.touched() {
		put, needed, err := r.put(ctx, p, e)
		if err != nil {
			return nil, err
		}
		if needed {
			p.Puts = append(p.Puts, put)
		}
	}
	// Buried bottom up, told top down.
	for _, e := range slices.Backward(r.gone) {
		s, err := r.state(ctx, e)
		if err != nil {
			return nil, err
		}
		p.Gone = append(p.Gone, Gone{e, s.Version + 1})
		p.Restructures = true
	}
	r.lineage(p)
	return p, nil
}

// lineage notes where the tree differs from what the local side has.
func (r *replay) lineage(p *Plan) {
	for e, w := range r.went {
		own := p.own[e]
		own.Wanted, own.Place = w[0], w[1]
		p.own[e] = own
	}
	for e, twin := range r.twins {
		own := p.own[e]
		own.Ours, own.Theirs = twin[0], twin[1]
		p.own[e] = own
	}
}

// touched returns the entries that may need a new version, by ascending id.
func (r *replay) touched() []id.Entry {
	var all []id.Entry
	for e := range r.nodes {
		all = append(all, e)
	}
	for e := range r.kids {
		if _, ok := r.nodes[e]; !ok {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b id.Entry) int { return bytes.Compare(a[:], b[:]) })
	return all
}

// put returns an entry's new version, and whether it needs one.
func (r *replay) put(ctx context.Context, p *Plan, e id.Entry) (Put, bool, error) {
	s, err := r.state(ctx, e)
	if err != nil {
		return Put{}, false, err
	}
	if alive, err := r.alive(ctx, e); err != nil || !alive {
		return Put{}, false, err
	}
	node, planned := r.nodes[e]
	put := Put{Entry: e, Version: s.Version + 1, Node: node, Fresh: s.Version == 0 || s.Gone || r.fresh[e]}
	if put.Changes, err = r.changes(ctx, p, e); err != nil {
		return Put{}, false, err
	}
	if !planned && len(put.Changes) == 0 {
		return Put{}, false, nil
	}
	if !planned {
		put.Node = r.folderNode(s)
	}
	put.Place, _, err = r.parent(ctx, e)
	return put, true, err
}

// folderNode returns the node of a folder whose children change.
func (r *replay) folderNode(s State) Node {
	n := s.Node
	n.Kind, n.Modified = manifest.Folder, r.Now.UnixNano()
	if n.Created == 0 {
		n.Created = n.Modified
	}
	return n
}

// changes returns how the children of a folder differ from the view's.
func (r *replay) changes(ctx context.Context, p *Plan, folder id.Entry) ([]manifest.Child, error) {
	var out []manifest.Child
	for _, c := range byName(r.kids[folder]) {
		before, ok, err := r.childBefore(ctx, folder, c.Name)
		if err != nil {
			return nil, err
		}
		if before == c || !ok && c.Removed() {
			continue
		}
		if ok && before.Entry != c.Entry {
			p.Restructures = true
		}
		out = append(out, c)
	}
	return out, nil
}

// Withhold splits operations in those that can go ahead and those that are
// held back since they touch a refused entry, or something that another one
// held back would have changed before. Each is held or goes ahead whole.
func Withhold(ops []Op, refused map[id.Entry]bool) (rest, held []Op) {
	stuck := map[id.Entry]bool{}
	for e := range refused {
		stuck[e] = true
	}
	for _, op := range ops {
		hold := false
		op.touches(func(e id.Entry) { hold = hold || stuck[e] && !e.IsZero() })
		if !hold {
			rest = append(rest, op)
			continue
		}
		held = append(held, op)
		op.touches(func(e id.Entry) { stuck[e] = true })
	}
	return rest, held
}

// Sweep returns which of the entries below a removed folder are to go, for the
// commits that follow its removal: those that did not come back meanwhile.
func Sweep(ctx context.Context, v View, root id.Entry, entries []id.Entry) ([]Gone, error) {
	r := newReplay(v, &Base{}, Config{Root: root})
	var out []Gone
	for _, e := range entries {
		s, err := r.state(ctx, e)
		if err != nil {
			return nil, err
		}
		alive, err := r.alive(ctx, e)
		if err != nil {
			return nil, err
		}
		if !alive && !s.Gone && s.Version > 0 {
			out = append(out, Gone{e, s.Version + 1})
		}
	}
	return out, nil
}
