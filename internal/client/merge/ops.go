package merge

import (
	"context"
	"slices"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
)

func (op Create) touches(f func(id.Entry)) { f(op.At.Folder); f(op.Entry) }
func (op Write) touches(f func(id.Entry))  { f(op.Entry); f(op.Copy) }

func (op Remove) touches(f func(id.Entry)) {
	f(op.Seen.Place.Folder)
	f(op.Entry)
	for e := range op.Below {
		f(e)
	}
}

func (op Move) touches(f func(id.Entry)) {
	f(op.Seen.Place.Folder)
	f(op.Entry)
	f(op.To.Folder)
	f(op.Over)
	f(op.Copy)
}

// create makes the entry, unless it was committed before.
func (r *replay) create(ctx context.Context, op Create) error {
	if r.resolve(op.Entry) != op.Entry {
		return nil
	}
	if fresh, err := r.isNew(ctx, op.Entry); err != nil || !fresh {
		return err
	}
	folder, err := r.shelter(ctx, op.At.Folder)
	if err != nil {
		return err
	}
	r.nodes[op.Entry] = op.Node
	return r.settleAt(ctx, op.Entry, op.At, Place{folder, op.At.Name})
}

// settleAt settles an entry that the local side wanted at a place, and
// remembers where it went.
func (r *replay) settleAt(ctx context.Context, e id.Entry, wanted, at Place) error {
	e, err := r.settle(ctx, e, at)
	if err != nil {
		return err
	}
	place, _, err := r.parent(ctx, e)
	delete(r.went, e)
	if place != wanted {
		r.went[e] = [2]Place{wanted, place}
	}
	return err
}

// stands reports whether an entry is where the local side had it, since nobody
// moved it, or where that side's own operation had to put it instead.
func (r *replay) stands(e id.Entry, seen, now Place) bool {
	if r.resolve(seen.Folder) == now.Folder && seen.Name == now.Name {
		return true
	}
	w, ok := r.went[e]
	return ok && w[0] == seen && w[1] == now
}

// unchanged reports whether the content of a file or symlink is what was seen.
// The version tells without a look, but not once this replay has changed it.
func (r *replay) unchanged(e id.Entry, seen Seen, now State, n Node) bool {
	_, planned := r.nodes[e]
	return !planned && now.Version == seen.Version || sameContent(r.asStored(e, seen.Node), n)
}

// asStored returns a local node of an entry with the blocks that the server
// has, where the contents are known to be equal.
func (r *replay) asStored(e id.Entry, n Node) Node {
	if twin, ok := r.twins[e]; ok && sameContent(n, twin[0]) {
		return withContent(n, twin[1])
	}
	return n
}

func (r *replay) write(ctx context.Context, op Write) error {
	e := r.resolve(op.Entry)
	alive, err := r.alive(ctx, e)
	switch {
	case err != nil:
		return err
	case !alive && op.Now.Kind == manifest.Folder:
		return nil // new times are no work that brings a folder back
	case !alive:
		return r.revive(ctx, e, op.Seen.Place, op.Now)
	}
	cur, err := r.node(ctx, e)
	if err != nil {
		return err
	}
	merged, conflict := three(r.asStored(e, op.Seen.Node), op.Now, cur)
	if conflict {
		if conflict, err = r.differ(ctx, e, op.Now, cur); err != nil {
			return err
		}
	}
	if conflict {
		return r.copyBeside(ctx, e, op)
	}
	if !same(merged, cur) {
		r.nodes[e] = merged
	}
	return nil
}

// differ reports whether two contents differ, and remembers those that do not.
func (r *replay) differ(ctx context.Context, e id.Entry, ours, theirs Node) (bool, error) {
	equal, err := r.same(ctx, ours, theirs)
	if equal {
		r.twins[e] = [2]Node{ours, theirs}
	}
	return !equal, err
}

// copyBeside keeps the local content of an entry as a copy; or in the copy that
// the write before this one has made.
func (r *replay) copyBeside(ctx context.Context, e id.Entry, op Write) error {
	if earlier := r.copies[e]; !r.buried[earlier] && sameContent(r.nodes[earlier], op.Seen.Node) {
		r.nodes[earlier] = op.Now
		return nil
	}
	if op.Copy.IsZero() {
		return fault.Errorf(fault.Failed, "rebase: a write of %s without an id for its copy", op.Entry)
	}
	if fresh, err := r.isNew(ctx, op.Copy); err != nil || !fresh {
		return err // this very copy was committed before
	}
	place, _, err := r.parent(ctx, e)
	if err != nil {
		return err
	}
	free, err := r.freeName(ctx, place, op.Now.Kind)
	if err != nil {
		return err
	}
	r.nodes[op.Copy], r.copies[e] = op.Now, op.Copy
	r.link(op.Copy, op.Now.Kind, free)
	r.note(Copied, op.Copy, place, free)
	return nil
}

// revive brings a file or symlink back with this content.
func (r *replay) revive(ctx context.Context, e id.Entry, wanted Place, n Node) error {
	folder, err := r.shelter(ctx, wanted.Folder)
	if err != nil {
		return err
	}
	r.unbury(e)
	r.nodes[e] = n
	if err := r.settleAt(ctx, e, wanted, Place{folder, wanted.Name}); err != nil {
		return err
	}
	place, _, err := r.parent(ctx, e)
	r.note(Revived, e, wanted, place)
	return err
}

func (r *replay) unbury(e id.Entry) {
	delete(r.buried, e)
	r.gone = slices.DeleteFunc(r.gone, func(g id.Entry) bool { return g == e })
}

// shelter returns the folder in which work for a folder goes: itself, what it
// became, or itself brought back, empty, with those above it.
func (r *replay) shelter(ctx context.Context, folder id.Entry) (id.Entry, error) {
	folder = r.resolve(folder)
	if alive, err := r.alive(ctx, folder); err != nil || alive {
		return folder, err
	}
	seen, ok := r.known[folder]
	if !ok {
		seen, ok = r.base.Folders[folder]
	}
	if !ok || seen.Place.Folder.IsZero() || r.reviving[folder] {
		return r.Root, nil
	}
	r.reviving[folder] = true
	above, err := r.shelter(ctx, seen.Place.Folder)
	delete(r.reviving, folder)
	if err != nil {
		return folder, err
	}
	at := Place{above, seen.Place.Name}
	other, taken, err := r.occupant(ctx, at)
	if err != nil {
		return folder, err
	}
	if taken && other.Kind == manifest.Folder {
		r.became[folder] = other.Entry
		r.joined[other.Entry] = at
		return other.Entry, nil
	}
	r.unbury(folder)
	r.fresh[folder] = true
	delete(r.kids, folder)
	n := seen.Node
	n.Kind = manifest.Folder
	r.nodes[folder] = n
	clear(r.living)
	if err := r.settleAt(ctx, folder, seen.Place, at); err != nil {
		return folder, err
	}
	place, _, err := r.parent(ctx, folder)
	r.note(Revived, folder, seen.Place, place)
	return folder, err
}

func (r *replay) remove(ctx context.Context, op Remove) error {
	e := r.resolve(op.Entry)
	place, ok, err := r.parent(ctx, e)
	if err != nil || !ok {
		return err
	}
	if alive, err := r.alive(ctx, e); err != nil || !alive {
		return err
	}
	fresh, err := r.isNew(ctx, e)
	if err != nil {
		return err
	}
	if e != op.Entry && !fresh {
		r.note(Spared, e, op.Seen.Place, place)
		return nil
	}
	s := sweep{r, op}
	all, err := s.entry(ctx, e, op.Entry)
	if err == nil && all {
		r.unlink(e, place)
	}
	return err
}

// sweep is one removal.
type sweep struct {
	*replay
	op Remove
}

// seen returns what the remover had seen of an entry.
func (s sweep) seen(e id.Entry) (Seen, bool) {
	if e == s.op.Entry {
		return s.op.Seen, true
	}
	seen, ok := s.op.Below[e]
	return seen, ok
}

// entry buries an entry and what is below it, and reports whether it did;
// what the remover had not seen stays, with the folders above.
func (s sweep) entry(ctx context.Context, e, local id.Entry) (bool, error) {
	state, err := s.state(ctx, e)
	if err != nil {
		return false, err
	}
	node, err := s.node(ctx, e)
	if err != nil {
		return false, err
	}
	place, _, err := s.parent(ctx, e)
	if err != nil {
		return false, err
	}
	seen, ok := s.seen(local)
	switch {
	case node.Kind == 0 && (state.Gone || state.Version == 0):
		return true, nil // named by its folder, but not there
	case !ok, !s.stands(e, seen.Place, place), node.Kind != manifest.Folder && !s.unchanged(e, seen, state, node):
		s.note(Spared, e, seen.Place, place)
		return false, nil
	case node.Kind == manifest.Folder:
		if all, err := s.folder(ctx, e); err != nil || !all {
			return false, err
		}
	}
	return true, s.bury(ctx, e)
}

// folder buries what is in a folder, and reports whether that was all.
func (s sweep) folder(ctx context.Context, folder id.Entry) (bool, error) {
	children, err := s.children(ctx, folder)
	if err != nil {
		return false, err
	}
	var done []manifest.Child
	left := 0
	for _, c := range children {
		at, _, err := s.parent(ctx, c.Entry)
		if err != nil {
			return false, err
		}
		if at != (Place{folder, c.Name}) {
			continue // a hidden name of what is elsewhere, maybe above
		}
		buried, err := s.entry(ctx, c.Entry, c.Entry)
		if err != nil {
			return false, err
		}
		if buried {
			done = append(done, c)
		} else {
			left++
		}
	}
	if left == 0 {
		return true, nil
	}
	for _, c := range done {
		s.unlink(c.Entry, Place{folder, c.Name})
	}
	return false, nil
}

func (r *replay) move(ctx context.Context, op Move) error {
	kind := op.Seen.Node.Kind
	if !op.Over.IsZero() && kind == op.OverSeen.Node.Kind && kind != manifest.Folder {
		return r.replace(ctx, op)
	}
	e := r.resolve(op.Entry)
	alive, err := r.alive(ctx, e)
	if err != nil {
		return err
	}
	if !alive {
		return r.bringBack(ctx, e, op)
	}
	folder, err := r.shelter(ctx, op.To.Folder)
	if err != nil {
		return err
	}
	now, _, err := r.parent(ctx, e)
	if err != nil {
		return err
	}
	wanted := Place{folder, op.To.Name}
	to := r.threePlaces(e, op, now, wanted)
	if to != wanted {
		r.note(Stayed, e, op.To, to)
	}
	if cycle, err := r.below(ctx, to.Folder, e); err != nil || cycle {
		r.note(Stayed, e, op.To, now)
		return err
	}
	if to == now {
		return nil
	}
	if to == wanted && !op.Over.IsZero() && r.resolve(op.Over) != e {
		if err := r.remove(ctx, Remove{Entry: op.Over, Seen: op.OverSeen}); err != nil {
			return err
		}
	}
	r.unlink(e, now)
	return r.settleAt(ctx, e, op.To, to)
}

// replace gives the entry that is moved over the content of the one that
// moves, which is removed.
func (r *replay) replace(ctx context.Context, op Move) error {
	now := op.Seen.Node
	now.Created = op.OverSeen.Node.Created
	if err := r.write(ctx, Write{Entry: op.Over, Seen: op.OverSeen, Now: now, Copy: op.Copy}); err != nil {
		return err
	}
	if r.resolve(op.Over) == r.resolve(op.Entry) {
		return nil // joined before, so the content is where it should be
	}
	return r.remove(ctx, Remove{Entry: op.Entry, Seen: op.Seen})
}

// bringBack handles the move of what others have removed. A file comes back
// where it was to go. A folder does only if there is work in it, and then at
// its new place: whoever removed it had seen what was in it.
func (r *replay) bringBack(ctx context.Context, e id.Entry, op Move) error {
	if op.Seen.Node.Kind != manifest.Folder {
		return r.revive(ctx, e, op.To, op.Seen.Node)
	}
	r.known[e] = Seen{op.Seen.Version, op.To, op.Seen.Node}
	r.note(Removed, e, op.To, Place{})
	return nil
}

// threePlaces merges where an entry is to go with where others moved it.
func (r *replay) threePlaces(e id.Entry, op Move, now, to Place) Place {
	if r.stands(e, op.Seen.Place, now) {
		return to
	}
	from := Place{r.resolve(op.Seen.Place.Folder), op.Seen.Place.Name}
	if now.Folder != from.Folder {
		to.Folder = now.Folder
	}
	if now.Name != from.Name {
		to.Name = now.Name
	}
	return to
}

// byName returns the children of a map in the order of their names.
func byName(kids map[string]manifest.Child) []manifest.Child {
	out := make([]manifest.Child, 0, len(kids))
	for _, c := range kids {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b manifest.Child) int { return strings.Compare(a.Name, b.Name) })
	return out
}
