package history_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/content"
	"parsec/internal/client/edit"
	"parsec/internal/client/history"
	"parsec/internal/client/merge"
	"parsec/internal/client/mirror"
	"parsec/internal/client/transfer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
	"parsec/internal/server/servertest"
)

// writer changes a workspace, a commit at a time, and remembers what was there
// after each.
type writer struct {
	t      *testing.T
	mirror *mirror.Mirror
	edit   *edit.Editor
	// entries are those that are there, and states what was there behind a record:
	// the target of each symlink by its path, and "/" for a folder.
	entries map[id.Entry]*entry
	states  map[uint64]map[string]string
}

type entry struct {
	at   merge.Place
	node merge.Node
}

func start(t *testing.T) (*clienttest.Person, *writer) {
	t.Helper()
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	ws, err := workspace.Create(t.Context(), alice.Session, "plans")
	if err != nil {
		t.Fatal(err)
	}
	m := mirror.New(ws)
	return alice, &writer{t: t, mirror: m, edit: edit.New(m), entries: map[id.Entry]*entry{}, states: map[uint64]map[string]string{}}
}

func (w *writer) index() uint64 { return w.mirror.Workspace().Log().Position().Index }

// seen returns what there is to see of an entry.
func (w *writer) seen(e id.Entry) merge.Seen {
	w.t.Helper()
	s, err := merge.Look(w.t.Context(), edit.Base{Mirror: w.mirror}, e)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// commit commits operations, and remembers what is there then.
func (w *writer) commit(ops ...merge.Op) {
	w.t.Helper()
	var base merge.Base
	if err := w.edit.See(w.t.Context(), ops, &base); err != nil {
		w.t.Fatal(err)
	}
	plan, err := w.edit.Commit(w.t.Context(), edit.Edit{Ops: ops, Base: &base})
	if err != nil {
		w.t.Fatal(err)
	}
	w.states[w.index()] = w.now()
	if err := w.edit.Sweep(w.t.Context(), plan); err != nil {
		w.t.Fatal(err)
	}
	w.states[w.index()] = w.now()
}

// now returns what is there.
func (w *writer) now() map[string]string {
	all := map[string]string{}
	for e, n := range w.entries {
		all[w.path(e)] = n.node.Target
		if n.node.Kind == manifest.Folder {
			all[w.path(e)] = "/"
		}
	}
	return all
}

func (w *writer) path(e id.Entry) string {
	p := "/"
	for ; e != w.mirror.Root(); e = w.entries[e].at.Folder {
		p = path.Join("/", w.entries[e].at.Name, p)
	}
	return p
}

func (w *writer) below(e, top id.Entry) bool {
	for ; e != w.mirror.Root(); e = w.entries[e].at.Folder {
		if e == top {
			return true
		}
	}
	return top == w.mirror.Root()
}

func (w *writer) create(at merge.Place, n merge.Node) (id.Entry, merge.Op) {
	e := id.New[id.Entry]()
	n.Created, n.Modified = time.Now().UnixNano(), time.Now().UnixNano()
	w.entries[e] = &entry{at, n}
	return e, merge.Create{Entry: e, At: at, Node: n}
}

func (w *writer) write(e id.Entry, target string) merge.Op {
	op := merge.Write{Entry: e, Seen: w.seen(e), Copy: id.New[id.Entry]()}
	n := w.entries[e]
	n.node.Target = target
	op.Now = n.node
	return op
}

func (w *writer) move(e id.Entry, to merge.Place) merge.Op {
	op := merge.Move{Entry: e, Seen: w.seen(e), To: to, Copy: id.New[id.Entry]()}
	w.entries[e].at = to
	return op
}

func (w *writer) remove(e id.Entry) merge.Op {
	op := merge.Remove{Entry: e, Seen: w.seen(e)}
	var err error
	if op.Below, err = merge.LookBelow(w.t.Context(), edit.Base{Mirror: w.mirror}, e); err != nil {
		w.t.Fatal(err)
	}
	for below := range op.Below {
		delete(w.entries, below)
	}
	delete(w.entries, e)
	return op
}

func folder() merge.Node { return merge.Node{Kind: manifest.Folder} }

func link(target string) merge.Node { return merge.Node{Kind: manifest.Symlink, Target: target} }

// step does something at random.
func (w *writer) step(r *rand.Rand, n int) {
	folders, all := []id.Entry{w.mirror.Root()}, slices.Collect(maps.Keys(w.entries))
	taken := map[merge.Place]bool{}
	for e, known := range w.entries {
		taken[known.at] = true
		if known.node.Kind == manifest.Folder {
			folders = append(folders, e)
		}
	}
	pick := func(of []id.Entry) id.Entry { return of[r.IntN(len(of))] }
	at := merge.Place{Folder: pick(folders), Name: string(rune('a' + r.IntN(6)))}
	switch kind := r.IntN(10); {
	case len(all) < 3 || kind < 3 && !taken[at]:
		if taken[at] {
			return
		}
		_, op := w.create(at, link(fmt.Sprint("link ", n)))
		w.commit(op)
	case kind < 5 && !taken[at]:
		e, op := w.create(at, folder())
		_, below := w.create(merge.Place{Folder: e, Name: "below"}, link(fmt.Sprint("below ", n)))
		w.commit(op, below)
	case kind < 7:
		if e := pick(all); w.entries[e].node.Kind == manifest.Symlink {
			w.commit(w.write(e, fmt.Sprint("written ", n)))
		}
	case kind < 9 && !taken[at]:
		if e := pick(all); !w.below(at.Folder, e) {
			w.commit(w.move(e, at))
		}
	default:
		w.commit(w.remove(pick(all)))
	}
}

// at opens a workspace as it was.
func at(t *testing.T, m *mirror.Mirror, moment history.Moment) *history.Tree {
	t.Helper()
	ws := m.Workspace()
	reader := content.New(ws.Place(), content.Store{Server: ws.Session().Server()}, transfer.Config{})
	t.Cleanup(reader.Close)
	tree, err := history.Open(t.Context(), m, reader, moment)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// dump returns what a tree shows, through its overlay.
func dump(t *testing.T, tree *history.Tree) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := dumpFolder(t.Context(), tree, tree.Root(), "/", all); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, walk(t, tree)); diff != "" {
		t.Errorf("by folders, and in a walk (-folders +walk):\n%s", diff)
	}
	return all
}

// walk returns what a walk through a tree shows.
func walk(t *testing.T, tree *history.Tree) map[string]string {
	t.Helper()
	all, paths := map[string]string{}, map[id.Entry]string{tree.Root(): "/"}
	err := tree.Walk(t.Context(), tree.Root(), func(folder id.Entry, listed []history.Listed, lost error) (below []id.Entry, err error) {
		for _, l := range listed {
			p := path.Join(paths[folder], l.Name)
			all[p] = l.Node.Target
			found, ok, err := tree.Find(t.Context(), strings.Split(p[1:], "/"))
			if err != nil || !ok || !cmp.Equal(found[len(found)-1], l) {
				return nil, fmt.Errorf("find %s: %v, %v, %v", p, found, ok, err)
			}
			if l.Kind == manifest.Folder {
				all[p], paths[l.Entry] = "/", p
				below = append(below, l.Entry)
			}
		}
		return below, lost
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func dumpFolder(ctx context.Context, tree *history.Tree, folder id.Entry, at string, all map[string]string) error {
	over := tree.Overlay()
	children, err := over.Children(ctx, folder)
	if err != nil {
		return err
	}
	for _, c := range children {
		p := path.Join(at, c.Name)
		n, err := over.Node(ctx, c.Entry)
		if err != nil {
			return err
		}
		again, ok, err := over.Child(ctx, folder, c.Name)
		place, placed, failed := over.Parent(ctx, c.Entry)
		if err != nil || failed != nil || !ok || again != c || !placed || place != (merge.Place{Folder: folder, Name: c.Name}) {
			return fmt.Errorf("%s: child %v %v %v, place %v %v %v", p, again, ok, err, place, placed, failed)
		}
		if all[p] = n.Target; n.Kind == manifest.Folder {
			all[p] = "/"
			if err := dumpFolder(ctx, tree, c.Entry, p, all); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestEveryCommitShowsWhatWasThere(t *testing.T) {
	t.Parallel()
	alice, w := start(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	early := map[uint64]*history.Tree{}
	for n := range 24 {
		w.step(r, n)
		if i := w.index(); n%10 == 0 && w.states[i] != nil {
			early[i] = at(t, w.mirror, history.Moment{Index: i})
		}
	}
	for i, tree := range early {
		if diff := cmp.Diff(w.states[i], dump(t, tree)); diff != "" {
			t.Errorf("opened at record %d and read at %d (-want +got):\n%s", i, w.index(), diff)
		}
	}
	fresh := alice.EnrollDevice()
	fresh.Sync()
	ws, err := workspace.Find(t.Context(), fresh.Session, "plans")
	if err != nil {
		t.Fatal(err)
	}
	replica := mirror.New(ws)
	if err := replica.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range w.states {
		m := replica
		if i%3 == 0 {
			m = w.mirror
		}
		if diff := cmp.Diff(want, dump(t, at(t, m, history.Moment{Index: i}))); diff != "" {
			t.Errorf("record %d of %d, on a new device: %t (-want +got):\n%s", i, w.index(), m == replica, diff)
		}
	}
}

func TestAFolderIsShownAcrossItsSnapshots(t *testing.T) {
	t.Parallel()
	_, w := start(t)
	for n := range 16 {
		_, op := w.create(merge.Place{Folder: w.mirror.Root(), Name: fmt.Sprintf("%s %d", strings.Repeat("x", 20), n)}, link("x"))
		w.commit(op)
	}
	for i, want := range w.states {
		if i%3 != 0 {
			continue
		}
		if diff := cmp.Diff(want, dump(t, at(t, w.mirror, history.Moment{Index: i}))); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestAMomentIsFoundByItsTime(t *testing.T) {
	t.Parallel()
	_, w := start(t)
	before := time.Now().Add(-time.Hour)
	first, op := w.create(merge.Place{Folder: w.mirror.Root(), Name: "a"}, link("1"))
	w.commit(op)
	one, between := w.index(), time.Now()
	w.commit(w.write(first, "2"))
	if got := at(t, w.mirror, history.Moment{Time: between}); got.Index() != one || dump(t, got)["/a"] != "1" {
		t.Errorf("at %v: record %d with %v", between, got.Index(), dump(t, got))
	}
	if got := at(t, w.mirror, history.Moment{Time: time.Now()}); got.Index() != w.index() || dump(t, got)["/a"] != "2" {
		t.Errorf("now: record %d with %v", got.Index(), dump(t, got))
	}
	for name, moment := range map[string]history.Moment{
		"before the workspace began": {Time: before},
		"beyond the log":             {Index: w.index() + 1},
	} {
		if _, err := history.Open(t.Context(), w.mirror, nil, moment); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNothingOfThePastCanBeChanged(t *testing.T) {
	t.Parallel()
	_, w := start(t)
	_, op := w.create(merge.Place{Folder: w.mirror.Root(), Name: "a"}, link("1"))
	w.commit(op)
	tree := at(t, w.mirror, history.Moment{Index: w.index()})
	if err := tree.MayWrite(); !fault.Is(err, fault.Denied) {
		t.Errorf("to write is refused with %v", err)
	}
	if err := tree.Overlay().Remove(t.Context(), merge.Place{Folder: tree.Root(), Name: "a"}, false); err == nil {
		t.Error("something was removed")
	}
}

func TestTheOrderOfTheLogCountsAndNotThatOfItsTimes(t *testing.T) {
	t.Parallel()
	alice, w := start(t)
	a, first := w.create(merge.Place{Folder: w.mirror.Root(), Name: "a"}, link("1"))
	b, second := w.create(merge.Place{Folder: w.mirror.Root(), Name: "b"}, link("1"))
	w.commit(first, second)
	other := alice.EnrollDevice()
	other.Place.Config.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	other.Reopen()
	other.Sync()
	ws, err := workspace.Find(t.Context(), other.Session, "plans")
	if err != nil {
		t.Fatal(err)
	}
	m := mirror.New(ws)
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	late := &writer{t: t, mirror: m, edit: edit.New(m), entries: maps.Clone(w.entries), states: map[uint64]map[string]string{}}
	late.commit(late.write(b, "2, by a fast clock"))
	w.commit(w.write(a, "2, by who has not seen that")) // lands behind it, with an earlier time

	mine := w.mirror.Workspace()
	newest, err := mine.Made(t.Context(), mine.Log().Position().Index)
	if err != nil {
		t.Fatal(err)
	}
	ahead, err := mine.Made(t.Context(), newest.Index-1)
	if err != nil || ahead.Time <= newest.Time {
		t.Fatalf("record %d of %d and record %d of %d: %v", ahead.Index, ahead.Time, newest.Index, newest.Time, err)
	}
	for name, c := range map[string]struct {
		at   time.Time
		want map[string]string
	}{
		"before both":                        {before, map[string]string{"/a": "1", "/b": "1"}},
		"between their times":                {time.Now(), map[string]string{"/a": "2, by who has not seen that", "/b": "2, by a fast clock"}},
		"when the fast clock says it was":    {time.Unix(0, ahead.Time), map[string]string{"/a": "2, by who has not seen that", "/b": "2, by a fast clock"}},
		"when the last one says that it was": {time.Unix(0, newest.Time), map[string]string{"/a": "2, by who has not seen that", "/b": "2, by a fast clock"}},
	} {
		if diff := cmp.Diff(c.want, dump(t, at(t, w.mirror, history.Moment{Time: c.at}))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
