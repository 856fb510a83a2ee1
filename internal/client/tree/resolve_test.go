package tree_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/tree"
	"parsec/internal/format/manifest"
)

// source is a workspace in which entries are numbers and the root is 0; a
// folder is even and a file odd.
type source struct {
	kids    map[int][]int
	parents map[int]int
	broken  map[int]bool
	reads   int
}

func entryOf(n int) id.Entry { return entry(n + 1) }

func numberOf(e id.Entry) int {
	for n := range 1 << 20 {
		if entryOf(n) == e {
			return n
		}
	}
	return -1
}

func kindOf(n int) manifest.Kind {
	if n%2 == 0 {
		return manifest.Folder
	}
	return manifest.File
}

func (s *source) Children(_ context.Context, folder id.Entry) ([]manifest.Child, error) {
	if s.reads++; s.reads > 10_000 {
		return nil, errors.New("reads without end")
	}
	var out []manifest.Child
	for i, n := range s.kids[numberOf(folder)] {
		c := manifest.Child{Name: fmt.Sprintf("%c", 'a'+i), Entry: entryOf(max(n, -n)), Kind: kindOf(n)}
		if n < 0 {
			c.Kind = manifest.Symlink // not what the entry is
		}
		out = append(out, c)
	}
	return out, nil
}

func (s *source) About(_ context.Context, e id.Entry) (tree.About, error) {
	n := numberOf(e)
	if s.broken[n] {
		return tree.About{Err: fault.Errorf(fault.Invalid, "malformed")}, nil
	}
	a := tree.About{Kind: kindOf(n)}
	if p, ok := s.parents[n]; ok {
		a.Parent = entryOf(p)
	}
	return a, nil
}

// draw tells a tree and its problems in short: 0/a=1 is entry 1 in the root
// under the name a.
func draw(t *tree.Tree) (places, problems string) {
	var p, q []string
	for e, at := range t.Places {
		p = append(p, fmt.Sprintf("%d/%s=%d", numberOf(at.Folder), at.Name, numberOf(e)))
	}
	for _, b := range t.Problems {
		q = append(q, fmt.Sprintf("%d/%s=%d %d", numberOf(b.Place.Folder), b.Place.Name, numberOf(b.Entry), b.Reason))
	}
	slices.Sort(p)
	return strings.Join(p, " "), strings.Join(q, " ")
}

func TestContradictionsHideOnlyThemselves(t *testing.T) {
	for _, c := range []struct {
		name             string
		kids             map[int][]int
		parents          map[int]int
		broken           map[int]bool
		places, problems string
	}{
		{"a tree", map[int][]int{0: {1, 2}, 2: {3}}, map[int]int{1: 0, 2: 0, 3: 2}, nil, "0/a=1 0/b=2 2/a=3", ""},
		{"an entry moved since it was written", map[int][]int{0: {2, 4}, 4: {1}}, map[int]int{2: 0, 4: 0, 1: 2}, nil, "0/a=2 0/b=4 4/a=1", ""},
		{"two parents, of which the entry names one", map[int][]int{0: {1, 2}, 2: {1}}, map[int]int{2: 0, 1: 2}, nil, "0/b=2 2/a=1", "0/a=1 3"},
		{"two parents, of which the entry names none", map[int][]int{0: {2, 4}, 2: {6}, 4: {1}, 6: {1}}, map[int]int{2: 0, 4: 0, 6: 2}, nil, "0/a=2 0/b=4 2/a=6 4/a=1", "6/a=1 3"},
		{"the named parent is itself moved", map[int][]int{0: {2, 1}, 2: {4}, 4: {1}}, map[int]int{2: 0, 4: 0, 1: 4}, nil, "0/a=2 2/a=4 4/a=1", "0/b=1 3"},
		{"the named parent is not reachable", map[int][]int{0: {1}, 8: {1}}, map[int]int{1: 8}, nil, "0/a=1", ""},
		{"two names in one folder", map[int][]int{0: {1, 1}}, map[int]int{1: 0}, nil, "0/a=1", "0/b=1 3"},
		{"a folder that contains the one above", map[int][]int{0: {2}, 2: {4}, 4: {2, 1}}, map[int]int{2: 0, 4: 2, 1: 4}, nil, "0/a=2 2/a=4 4/b=1", "4/a=2 4"},
		{"a cycle whose members name each other", map[int][]int{0: {2}, 2: {4}, 4: {2}}, map[int]int{2: 4, 4: 2}, nil, "0/a=2 2/a=4", "4/a=2 4"},
		{"a folder that contains itself", map[int][]int{0: {2}, 2: {2, 1}}, map[int]int{2: 2, 1: 2}, nil, "0/a=2 2/b=1", "2/a=2 4"},
		{"a folder that contains the root", map[int][]int{0: {2}, 2: {0, 1}}, map[int]int{2: 0, 1: 2}, nil, "0/a=2 2/b=1", "2/a=0 4"},
		{"an entry of another kind", map[int][]int{0: {-1, 3}}, map[int]int{1: 0, 3: 0}, nil, "0/b=3", "0/a=1 2"},
		{"a wrong kind does not take the place of a right one", map[int][]int{0: {-1, 2}, 2: {1}}, map[int]int{1: 0, 2: 0}, nil, "0/b=2 2/a=1", "0/a=1 2"},
		{"an entry that cannot be read", map[int][]int{0: {1, 2, 3}, 2: {5}}, map[int]int{1: 0, 2: 0, 3: 0}, map[int]bool{2: true}, "0/a=1 0/c=3", "0/b=2 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := tree.Resolve(t.Context(), entryOf(0), &source{kids: c.kids, parents: c.parents, broken: c.broken})
			if err != nil {
				t.Fatal(err)
			}
			places, problems := draw(got)
			if diff := cmp.Diff(c.places+"\n"+c.problems, places+"\n"+problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestACycleWithoutALinkFromTheRootIsTold(t *testing.T) {
	s := &source{
		kids:    map[int][]int{0: {1}, 2: {4, 3}, 4: {6}, 6: {2, 8}, 10: {12}, 14: {14}},
		parents: map[int]int{1: 0},
	}
	got, err := tree.Resolve(t.Context(), entryOf(0), s)
	if err != nil {
		t.Fatal(err)
	}
	var live []id.Entry
	for _, n := range []int{0, 1, 8, 3, 6, 2, 4, 10, 12, 14} {
		live = append(live, entryOf(n))
	}
	problems, err := got.Cycles(t.Context(), s, live)
	if err != nil {
		t.Fatal(err)
	}
	got.Problems = problems
	if _, told := draw(got); told != "2/a=4 4 4/a=6 4 6/a=2 4 14/a=14 4" {
		t.Errorf("got %s", told)
	}
}

func TestWhateverFoldersSayTheRestIsATree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12)
		s := &source{
			kids:    rapid.MapOf(n, rapid.SliceOfN(rapid.IntRange(-2, 12), 0, 5)).Draw(t, "kids"),
			parents: rapid.MapOf(n, rapid.IntRange(0, 12)).Draw(t, "parents"),
		}
		s.kids[0] = rapid.SliceOfN(n, 0, 4).Draw(t, "root")
		got, err := tree.Resolve(context.Background(), entryOf(0), s)
		if err != nil {
			t.Fatal(err)
		}
		for e, p := range got.Places {
			for range len(got.Places) + 1 {
				if p.Folder == entryOf(0) {
					break
				}
				p = got.Places[p.Folder]
			}
			if p.Folder != entryOf(0) {
				t.Fatalf("%d is not below the root: %+v", numberOf(e), got.Places)
			}
		}
		told := map[tree.Place]bool{}
		for _, b := range got.Problems {
			told[b.Place] = true
		}
		for _, folder := range append([]id.Entry{entryOf(0)}, keys(got.Places)...) {
			children, _ := s.Children(context.Background(), folder)
			for _, c := range children {
				p := tree.Place{Folder: folder, Name: c.Name}
				if shown := got.Places[c.Entry] == p; kindOf(numberOf(folder)) == manifest.Folder && shown == told[p] {
					t.Fatalf("%v is shown %v and told %v", p, shown, told[p])
				}
			}
		}
	})
}

func keys(m map[id.Entry]tree.Place) []id.Entry {
	var out []id.Entry
	for e := range m {
		out = append(out, e)
	}
	return out
}

// wide is a workspace of a hundred folders with a thousand files each.
type wide struct{ kids map[id.Entry]tree.Children }

func (w wide) Children(_ context.Context, folder id.Entry) ([]manifest.Child, error) {
	return w.kids[folder], nil
}

func (w wide) About(_ context.Context, e id.Entry) (tree.About, error) {
	if _, ok := w.kids[e]; ok {
		return tree.About{Kind: manifest.Folder, Parent: entry(1)}, nil
	}
	return tree.About{Kind: manifest.File}, nil
}

func BenchmarkResolveAHundredThousand(b *testing.B) {
	w := wide{map[id.Entry]tree.Children{}}
	for i := range 100 {
		folder := manifest.Child{Name: fmt.Sprintf("folder %03d", i), Entry: entry(2 + i), Kind: manifest.Folder}
		w.kids[entry(1)] = append(w.kids[entry(1)], folder)
		for k := range 1000 {
			w.kids[folder.Entry] = append(w.kids[folder.Entry], child(fmt.Sprintf("%04d", k), 1000+i*1000+k))
		}
	}
	for b.Loop() {
		if got, err := tree.Resolve(b.Context(), entry(1), w); err != nil || len(got.Places) != 100_100 {
			b.Fatal(err)
		}
	}
}
