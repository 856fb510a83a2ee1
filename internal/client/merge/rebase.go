package merge

import (
	"context"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
)

// Rebase returns what to commit on v for the operations to have happened on
// it, in their order. It fails as the view does.
func Rebase(ctx context.Context, v View, b *Base, ops []Op, c Config) (*Plan, error) {
	r := newReplay(v, b, c)
	for _, op := range ops {
		var err error
		switch op := op.(type) {
		case Create:
			err = r.create(ctx, op)
		case Write:
			err = r.write(ctx, op)
		case Remove:
			err = r.remove(ctx, op)
		case Move:
			err = r.move(ctx, op)
		default:
			err = fault.Errorf(fault.Failed, "rebase: an operation of type %T", op)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.plan(ctx)
}

// replay is the tree while operations are replayed: the view, and what they
// have changed so far.
type replay struct {
	view View
	base *Base
	Config

	states map[id.Entry]State
	// kids are the changes to folders; a child without an entry is none.
	kids map[id.Entry]map[string]manifest.Child
	// fresh are folders whose children in the view do not count.
	fresh map[id.Entry]bool
	// places are those that differ from the view; a zero one is none.
	places map[id.Entry]Place
	nodes  map[id.Entry]Node
	gone   []id.Entry
	buried map[id.Entry]bool
	// living are entries known to be reachable.
	living map[id.Entry]bool
	became map[id.Entry]id.Entry
	// went is where an entry is that the local side wanted elsewhere.
	went map[id.Entry][2]Place
	// twins are a local content and the one on the server that it equals.
	twins map[id.Entry][2]Node
	// copies are those made of entries with a content on both sides.
	copies map[id.Entry]id.Entry
	// known are folders above the work that can come back.
	known    map[id.Entry]Seen
	reviving map[id.Entry]bool
	joined   map[id.Entry]Place
	notes    []Note
}

func newReplay(v View, b *Base, c Config) *replay {
	r := &replay{
		view: v, base: b, Config: c,
		states: map[id.Entry]State{}, kids: map[id.Entry]map[string]manifest.Child{}, fresh: map[id.Entry]bool{},
		places: map[id.Entry]Place{}, nodes: map[id.Entry]Node{}, buried: map[id.Entry]bool{}, living: map[id.Entry]bool{},
		became: map[id.Entry]id.Entry{}, went: map[id.Entry][2]Place{}, twins: map[id.Entry][2]Node{},
		copies: map[id.Entry]id.Entry{}, known: map[id.Entry]Seen{}, reviving: map[id.Entry]bool{}, joined: map[id.Entry]Place{},
	}
	for e, own := range b.Own {
		if own.Place != own.Wanted {
			r.went[e] = [2]Place{own.Wanted, own.Place}
		}
		if own.Ours.Kind != 0 {
			r.twins[e] = [2]Node{own.Ours, own.Theirs}
		}
	}
	return r
}

func (r *replay) note(what What, e id.Entry, wanted, place Place) {
	r.notes = append(r.notes, Note{what, e, wanted, place})
}

// resolve returns what a local entry has become.
func (r *replay) resolve(e id.Entry) id.Entry {
	return follow(r.became, follow(r.base.Became, e))
}

// state returns the newest version of an entry in the view.
func (r *replay) state(ctx context.Context, e id.Entry) (State, error) {
	if s, ok := r.states[e]; ok {
		return s, nil
	}
	s, err := r.view.Entry(ctx, e)
	if err == nil {
		r.states[e] = s
	}
	return s, err
}

// isNew reports whether the server knows nothing of the entry.
func (r *replay) isNew(ctx context.Context, e id.Entry) (bool, error) {
	s, err := r.state(ctx, e)
	return s.Version == 0, err
}

// node returns an entry as it is planned.
func (r *replay) node(ctx context.Context, e id.Entry) (Node, error) {
	if n, ok := r.nodes[e]; ok {
		return n, nil
	}
	s, err := r.state(ctx, e)
	return s.Node, err
}

// parent returns an entry's place as it is planned.
func (r *replay) parent(ctx context.Context, e id.Entry) (Place, bool, error) {
	if p, ok := r.places[e]; ok {
		return p, p != Place{}, nil
	}
	p, ok, err := r.view.Parent(ctx, e)
	if err != nil || !ok || r.fresh[p.Folder] {
		return Place{}, false, err
	}
	return p, true, nil
}

// alive reports whether an entry is reachable from the root.
func (r *replay) alive(ctx context.Context, e id.Entry) (bool, error) {
	var path []id.Entry
	passed := map[id.Entry]bool{}
	for at := e; at != r.Root && !r.living[at]; {
		if r.buried[at] || passed[at] {
			return false, nil
		}
		passed[at] = true
		if _, planned := r.nodes[at]; !planned {
			if s, err := r.state(ctx, at); err != nil || s.Gone || s.Version == 0 {
				return false, err
			}
		}
		path = append(path, at)
		p, ok, err := r.parent(ctx, at)
		if err != nil || !ok {
			return false, err
		}
		at = p.Folder
	}
	for _, at := range path {
		r.living[at] = true
	}
	return true, nil
}

// below reports whether e is the folder top or somewhere below it.
func (r *replay) below(ctx context.Context, e, top id.Entry) (bool, error) {
	passed := map[id.Entry]bool{}
	for at := e; ; {
		if at == top {
			return true, nil
		}
		p, ok, err := r.parent(ctx, at)
		if err != nil || !ok || passed[at] {
			return false, err
		}
		passed[at] = true
		at = p.Folder
	}
}

// child returns what a folder names so, as it is planned.
func (r *replay) child(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	if c, ok := r.kids[folder][name]; ok {
		return c, !c.Removed(), nil
	}
	return r.childBefore(ctx, folder, name)
}

// childBefore returns what a folder names so without the operations.
func (r *replay) childBefore(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	if r.fresh[folder] {
		return manifest.Child{}, false, nil
	}
	if s, err := r.state(ctx, folder); err != nil || s.Version == 0 || s.Gone {
		return manifest.Child{}, false, err
	}
	return r.view.Child(ctx, folder, name)
}

// children returns all that a folder names, as it is planned.
func (r *replay) children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	var out []manifest.Child
	s, err := r.state(ctx, folder)
	if err != nil {
		return nil, err
	}
	if s.Version != 0 && !s.Gone && !r.fresh[folder] {
		before, err := r.view.Children(ctx, folder)
		if err != nil {
			return nil, err
		}
		for _, c := range before {
			if _, changed := r.kids[folder][c.Name]; !changed {
				out = append(out, c)
			}
		}
	}
	for _, c := range byName(r.kids[folder]) {
		if !c.Removed() {
			out = append(out, c)
		}
	}
	return out, nil
}

// occupant returns the entry that has a name in a folder. One that is gone, or
// has its place elsewhere, does not count.
func (r *replay) occupant(ctx context.Context, at Place) (manifest.Child, bool, error) {
	c, ok, err := r.child(ctx, at.Folder, at.Name)
	if err != nil || !ok {
		return c, false, err
	}
	if _, planned := r.nodes[c.Entry]; !planned {
		if s, err := r.state(ctx, c.Entry); err != nil || s.Gone {
			return c, false, err
		}
	}
	p, ok, err := r.parent(ctx, c.Entry)
	return c, err == nil && (!ok || p == at), err
}

// link gives an entry a place that is free.
func (r *replay) link(e id.Entry, kind manifest.Kind, at Place) {
	if r.kids[at.Folder] == nil {
		r.kids[at.Folder] = map[string]manifest.Child{}
	}
	r.kids[at.Folder][at.Name] = manifest.Child{Name: at.Name, Entry: e, Kind: kind}
	r.places[e] = at
}

// unlink takes an entry from its place.
func (r *replay) unlink(e id.Entry, from Place) {
	if r.kids[from.Folder] == nil {
		r.kids[from.Folder] = map[string]manifest.Child{}
	}
	r.kids[from.Folder][from.Name] = manifest.Child{Name: from.Name}
	r.places[e] = Place{}
	clear(r.living)
}

// bury removes an entry from the tree, with what was planned for it.
func (r *replay) bury(ctx context.Context, e id.Entry) error {
	s, err := r.state(ctx, e)
	if err != nil {
		return err
	}
	if s.Version > 0 && !s.Gone {
		r.gone = append(r.gone, e)
	}
	r.buried[e] = true
	r.places[e] = Place{}
	delete(r.nodes, e)
	delete(r.kids, e)
	clear(r.living)
	return nil
}

// settle puts an entry that has no place at one, or near it if the name is
// taken; or joins it with what has the name. It returns what the entry became.
func (r *replay) settle(ctx context.Context, e id.Entry, at Place) (id.Entry, error) {
	n, err := r.node(ctx, e)
	if err != nil {
		return e, err
	}
	other, taken, err := r.occupant(ctx, at)
	if err != nil {
		return e, err
	}
	if !taken {
		r.link(e, n.Kind, at)
		return e, nil
	}
	if joined, err := r.join(ctx, e, n, other, at); err != nil || joined {
		return other.Entry, err
	}
	free, err := r.freeName(ctx, at, n.Kind)
	if err != nil {
		return e, err
	}
	r.link(e, n.Kind, free)
	r.note(Renamed, e, at, free)
	return e, nil
}

// freeName returns the place beside at that a conflict gets.
func (r *replay) freeName(ctx context.Context, at Place, kind manifest.Kind) (Place, error) {
	name, err := ConflictName(at.Name, kind == manifest.Folder, r.Device, r.Now, func(name string) (bool, error) {
		_, taken, err := r.child(ctx, at.Folder, name)
		return taken, err
	})
	return Place{at.Folder, name}, err
}

// join makes a new entry one with the entry that has its name, if they are
// folders, or equal.
func (r *replay) join(ctx context.Context, e id.Entry, n Node, other manifest.Child, at Place) (bool, error) {
	fresh, err := r.isNew(ctx, e)
	if err != nil || !fresh || n.Kind != other.Kind {
		return false, err
	}
	theirs, err := r.node(ctx, other.Entry)
	if err != nil {
		return false, err
	}
	if n.Kind != manifest.Folder {
		if !equalNew(n, theirs) {
			return false, nil
		}
		if equal, err := r.same(ctx, n, theirs); err != nil || !equal {
			return false, err
		}
		r.twins[other.Entry] = [2]Node{n, theirs}
	}
	r.became[e] = other.Entry
	r.note(Joined, other.Entry, at, at)
	children, err := r.children(ctx, e)
	if err != nil {
		return false, err
	}
	if n.Kind == manifest.Folder {
		r.joined[other.Entry] = at
	}
	delete(r.nodes, e)
	delete(r.kids, e)
	for _, c := range children {
		r.places[c.Entry] = Place{}
		if _, err := r.settle(ctx, c.Entry, Place{other.Entry, c.Name}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// same reports whether two nodes have the same content.
func (r *replay) same(ctx context.Context, ours, theirs Node) (bool, error) {
	if sameContent(ours, theirs) {
		return true, nil
	}
	if r.Same == nil || ours.Kind != manifest.File || theirs.Kind != manifest.File || ours.File.Size != theirs.File.Size {
		return false, nil
	}
	return r.Same(ctx, ours.File, theirs.File)
}
