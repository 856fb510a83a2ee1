package tree

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"slices"
	"strings"

	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
)

// Place is where a folder names an entry.
type Place struct {
	Folder id.Entry
	Name   string
}

// About is what an entry's own manifests say.
type About struct {
	Kind manifest.Kind
	// Parent is the folder that its newest manifest names as its parent.
	Parent id.Entry
	// Err says why it is hidden: its newest version is gone, or malformed.
	Err error
}

// Source is the content of a workspace as its manifests have it.
type Source interface {
	// Children returns what a folder names.
	Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error)
	// About returns what an entry's manifests say; an error is one of reading.
	About(ctx context.Context, e id.Entry) (About, error)
}

// Reason is why an entry, or its name in one folder, is hidden.
type Reason uint8

// The reasons.
const (
	// Unusable: the entry is not there, or its manifest cannot be used.
	Unusable Reason = 1 + iota
	// OtherKind: the folder says that the entry is of another kind than it is.
	OtherKind
	// OtherParent: the entry has its place in another folder.
	OtherParent
	// Cycle: the folder is above the one that names it.
	Cycle
)

// String returns the reason as a person reads it.
func (r Reason) String() string {
	switch r {
	case Unusable:
		return "its content is missing or malformed"
	case OtherKind:
		return "it is not what its folder says it is"
	case OtherParent:
		return "it is in another folder already"
	case Cycle:
		return "it contains the folder that names it"
	}
	return "unknown"
}

// Problem is a name in a folder that is hidden. Whoever wrote the newest
// version of the folder is its author, and for an [Unusable] entry whoever
// wrote that.
type Problem struct {
	Place  Place
	Entry  id.Entry
	Reason Reason
	// Err tells more of an [Unusable] entry.
	Err error
}

// Tree is where each entry of a workspace has its place.
type Tree struct {
	// Places has every entry but the root that is not hidden.
	Places map[id.Entry]Place
	// Problems are by ascending folder and name.
	Problems []Problem
}

// Resolve returns the tree below root. Where folders contradict each other,
// an entry has its place in the folder that it names as its parent, else in
// the one nearest to the root, else in that with the lowest id, under its
// first name there. The tree depends on the newest manifests alone and not on
// the order in which they came, so all devices hide the same; and as only
// folders that have a place give places, it has no cycles.
func Resolve(ctx context.Context, root id.Entry, s Source) (*Tree, error) {
	r := resolver{
		source: s, root: root, tree: &Tree{Places: map[id.Entry]Place{}},
		best: map[id.Entry]claim{}, held: map[id.Entry][]claim{},
	}
	if err := r.reach(ctx); err != nil {
		return nil, err
	}
	r.fill(root)
	for len(r.waiting) > 0 {
		c := heap.Pop(&r.waiting).(claim)
		if r.place(c) {
			r.fill(c.child.Entry)
		} else {
			r.refuse(c)
		}
	}
	slices.SortFunc(r.tree.Problems, func(a, b Problem) int { return comparePlaces(a.Place, b.Place) })
	return r.tree, nil
}

func comparePlaces(a, b Place) int {
	return cmp.Or(bytes.Compare(a.Folder[:], b.Folder[:]), strings.Compare(a.Name, b.Name))
}

// claim is a folder's claim to hold an entry.
type claim struct {
	place Place
	child manifest.Child
	// chosen says that the entry names the folder as its parent.
	chosen bool
	// depth is that of the folder, as near to the root as any claim has it.
	depth int
}

func compareClaims(a, b claim) int {
	switch {
	case a.chosen != b.chosen && a.chosen:
		return -1
	case a.chosen != b.chosen:
		return 1
	}
	return cmp.Or(cmp.Compare(a.depth, b.depth), comparePlaces(a.place, b.place))
}

// claims is a heap with the best claim on top.
type claims []claim

func (c claims) Len() int           { return len(c) }
func (c claims) Less(i, j int) bool { return compareClaims(c[i], c[j]) < 0 }
func (c claims) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *claims) Push(x any)        { *c = append(*c, x.(claim)) }

func (c *claims) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

type resolver struct {
	source Source
	root   id.Entry
	tree   *Tree
	// held are the claims of each folder that any claim reaches from the root,
	// as far as they agree with their entries; best is the best for each entry.
	held map[id.Entry][]claim
	best map[id.Entry]claim
	// waiting are claims of folders with a place that are not the best.
	waiting claims
}

// reach collects all claims, nearest to the root first.
func (r *resolver) reach(ctx context.Context) error {
	level := []id.Entry{r.root}
	r.held[r.root] = nil
	for depth := 0; len(level) > 0; depth++ {
		var next []id.Entry
		for _, folder := range level {
			below, err := r.claims(ctx, folder, depth)
			if err != nil {
				return err
			}
			next = append(next, below...)
		}
		level = next
	}
	return nil
}

// claims collects those of one folder, and returns the folders among them that
// were not reached before.
func (r *resolver) claims(ctx context.Context, folder id.Entry, depth int) ([]id.Entry, error) {
	children, err := r.source.Children(ctx, folder)
	if err != nil {
		return nil, err
	}
	var below []id.Entry
	for _, child := range children {
		c := claim{place: Place{folder, child.Name}, child: child, depth: depth}
		fits, err := r.fits(ctx, &c)
		if err != nil {
			return nil, err
		}
		if !fits {
			continue
		}
		r.held[folder] = append(r.held[folder], c)
		if b, ok := r.best[child.Entry]; !ok || compareClaims(c, b) < 0 {
			r.best[child.Entry] = c
		}
		if _, known := r.held[child.Entry]; !known && child.Kind == manifest.Folder {
			r.held[child.Entry] = nil
			below = append(below, child.Entry)
		}
	}
	return below, nil
}

// fits reports whether a claim agrees with the entry's own manifests.
func (r *resolver) fits(ctx context.Context, c *claim) (bool, error) {
	a, err := r.source.About(ctx, c.child.Entry)
	if err != nil {
		return false, err
	}
	switch {
	case a.Err != nil:
		r.problem(*c, Unusable, a.Err)
	case a.Kind != c.child.Kind:
		r.problem(*c, OtherKind, nil)
	default:
		c.chosen = a.Parent == c.place.Folder
		return true, nil
	}
	return false, nil
}

func (r *resolver) problem(c claim, why Reason, err error) {
	r.tree.Problems = append(r.tree.Problems, Problem{c.place, c.child.Entry, why, err})
}

// fill gives places to what a folder holds by the best claim, and so on below;
// other claims wait.
func (r *resolver) fill(folder id.Entry) {
	open := []id.Entry{folder}
	for len(open) > 0 {
		at := open[0]
		open = open[1:]
		for _, c := range r.held[at] {
			if c.place == r.best[c.child.Entry].place && r.place(c) {
				open = append(open, c.child.Entry)
			} else {
				heap.Push(&r.waiting, c)
			}
		}
	}
}

// place gives an entry its place, unless it has one.
func (r *resolver) place(c claim) bool {
	e := c.child.Entry
	if _, taken := r.tree.Places[e]; taken || e == r.root {
		return false
	}
	r.tree.Places[e] = c.place
	return true
}

// refuse hides a claim to an entry that has its place elsewhere.
func (r *resolver) refuse(c claim) {
	// Whether it is above or elsewhere is worth telling, not a long walk.
	const levels = 512
	at := c.place.Folder
	for range levels {
		if at == c.child.Entry {
			r.problem(c, Cycle, nil)
			return
		}
		p, ok := r.tree.Places[at]
		if !ok {
			break
		}
		at = p.Folder
	}
	r.problem(c, OtherParent, nil)
}

// Cycles returns the folders among live ones that have no place because they
// contain each other, by what names them. Others without a place were removed,
// and their gone is on its way.
func (t *Tree) Cycles(ctx context.Context, s Source, live []id.Entry) ([]Problem, error) {
	above := map[id.Entry]Place{}
	for _, folder := range live {
		if _, placed := t.Places[folder]; placed {
			continue
		}
		children, err := s.Children(ctx, folder)
		if err != nil {
			return nil, err
		}
		for _, c := range children {
			p := Place{folder, c.Name}
			_, placed := t.Places[c.Entry]
			if before, ok := above[c.Entry]; c.Kind == manifest.Folder && !placed && (!ok || comparePlaces(p, before) < 0) {
				above[c.Entry] = p
			}
		}
	}
	problems := rings(live, above)
	slices.SortFunc(problems, func(a, b Problem) int { return comparePlaces(a.Place, b.Place) })
	return problems, nil
}

// rings returns the folders from which the way up leads back to themselves.
func rings(live []id.Entry, above map[id.Entry]Place) []Problem {
	var problems []Problem
	passed := map[id.Entry]int{} // by which of the walks
	for walk, at := range live {
		for passed[at] == 0 && above[at] != (Place{}) {
			passed[at] = walk + 1
			at = above[at].Folder
		}
		if passed[at] != walk+1 {
			continue
		}
		for passed[at] == walk+1 {
			passed[at] = -1 // told
			problems = append(problems, Problem{above[at], at, Cycle, nil})
			at = above[at].Folder
		}
	}
	return problems
}
