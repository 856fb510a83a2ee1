package convergence_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/client/merge"
	"parsec/internal/client/syncer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// finish syncs devices in turn until the first has what the last brought.
func finish(t *testing.T, devices ...*device) {
	t.Helper()
	for _, d := range slices.Concat(devices, devices[:len(devices)-1]) {
		d.settle()
		d.ok(d.sync.Finish(t.Context()))
	}
}

// contents returns the contents of all files by their paths, and folders as "/".
func (d *device) contents() map[string]string {
	d.t.Helper()
	p := &play{t: nil, ctx: d.t.(*testing.T).Context()}
	all, err := p.spots(d)
	d.ok(err)
	out := map[string]string{}
	for _, s := range all {
		out[s.path] = "/"
		if s.child.Kind == manifest.File {
			out[s.path], err = p.content(d, s.child.Entry)
			d.ok(err)
		}
	}
	return out
}

// names returns the paths of all entries with their ids.
func (d *device) names() map[string]string {
	d.t.Helper()
	all, err := (&play{ctx: d.t.(*testing.T).Context()}).spots(d)
	d.ok(err)
	out := map[string]string{}
	for _, s := range all {
		out[s.path] = s.child.Entry.String()
	}
	return out
}

// same fails unless devices show the same, and returns it.
func same(t *testing.T, devices ...*device) map[string]string {
	t.Helper()
	want := devices[0].contents()
	for _, d := range devices[1:] {
		if diff := cmp.Diff(want, d.contents()); diff != "" {
			t.Fatalf("%s and %s do not show the same:\n%s", devices[0].name, d.name, diff)
		}
	}
	return want
}

// at returns a place by its path, whose folders are there.
func (d *device) at(path string) merge.Place {
	d.t.Helper()
	at := merge.Place{Folder: d.over.Root}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for _, name := range parts[:len(parts)-1] {
		c, there, err := d.over.Child(d.t.(*testing.T).Context(), at.Folder, name)
		d.ok(err)
		if !there {
			d.t.Fatalf("device %s has no %s of %s", d.name, name, path)
		}
		at.Folder = c.Entry
	}
	at.Name = parts[len(parts)-1]
	return at
}

// write makes or replaces a file's content, mkdir a folder; move and remove do as they say.
func (d *device) write(path, text string) {
	d.t.Helper()
	ctx, at := d.t.(*testing.T).Context(), d.at(path)
	c, there, err := d.over.Child(ctx, at.Folder, at.Name)
	d.ok(err)
	if !there {
		f, n, err := d.over.CreateFile(ctx, at, false)
		d.ok(err)
		d.ok(f.Close())
		c.Entry = n.Entry
	}
	f, err := d.over.Open(ctx, c.Entry, true)
	d.ok(err)
	d.ok(f.Truncate(ctx, 0))
	_, err = f.WriteAt(ctx, []byte(text), 0)
	d.ok(err)
	d.ok(f.Close())
}

func (d *device) mkdir(path string) {
	d.t.Helper()
	_, err := d.over.Create(d.t.(*testing.T).Context(), d.at(path), merge.Node{Kind: manifest.Folder})
	d.ok(err)
}

func (d *device) move(from, to string) {
	d.t.Helper()
	_, err := d.over.Move(d.t.(*testing.T).Context(), d.at(from), d.at(to), true)
	d.ok(err)
}

func (d *device) remove(path string, folder bool) {
	d.t.Helper()
	d.ok(d.over.Remove(d.t.(*testing.T).Context(), d.at(path), folder))
}

// meeting is what two devices do that do not hear of each other, and the
// contents that must be there in the end. Whatever it is, both show the same.
type meeting struct {
	name       string
	alice, bob func(*device)
	kept       []string
	// files is how many there are in the end.
	files int
}

var meetings = []meeting{
	{"one file is edited twice", func(a *device) { a.write("f", "of alice") }, func(b *device) { b.write("f", "of bob") }, []string{"of alice", "of bob", "x"}, 3},
	{"one edits what the other removes", func(a *device) { a.write("f", "of alice") }, func(b *device) { b.remove("f", false) }, []string{"of alice", "x"}, 2},
	{"both remove one file", func(a *device) { a.remove("f", false) }, func(b *device) { b.remove("f", false) }, []string{"x"}, 1},
	{"both rename one file", func(a *device) { a.move("f", "g") }, func(b *device) { b.move("f", "h") }, []string{"f", "x"}, 2},
	{"both move one file", func(a *device) { a.move("f", "A/f") }, func(b *device) { b.move("f", "B/f") }, []string{"f", "x"}, 2},
	{"A goes into B, and B into A", func(a *device) { a.move("A", "B/A") }, func(b *device) { b.move("B", "A/B") }, []string{"f", "x"}, 2},
	{"one new name is given twice", func(a *device) { a.write("n", "of alice") }, func(b *device) { b.write("n", "of bob") }, []string{"f", "x", "of alice", "of bob"}, 4},
	{"one makes a folder, the other a file of that name", func(a *device) { a.mkdir("n"); a.write("n/in", "of alice") }, func(b *device) { b.write("n", "of bob") }, []string{"f", "x", "of alice", "of bob"}, 4},
	{"a file takes the place of a folder in which the other writes", func(a *device) {
		a.remove("A/x", false)
		a.remove("A", true)
		a.write("A", "of alice")
	}, func(b *device) { b.write("A/new", "of bob") }, []string{"f", "of alice", "of bob"}, 3},
	{"one renames what the other edits", func(a *device) { a.move("f", "g") }, func(b *device) { b.write("f", "of bob") }, []string{"of bob", "x"}, 2},
	{"one saves as an office program does, the other in place", func(a *device) { a.write("f.tmp", "of alice"); a.move("f.tmp", "f") }, func(b *device) { b.write("f", "of bob") }, []string{"of alice", "of bob", "x"}, 3},
}

func TestTwoDevicesThatWereOfflineMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newNetwork(), "bob")
		for _, m := range meetings {
			for _, aliceFirst := range []bool{true, false} {
				meet(t, w, m, aliceFirst)
			}
		}
	})
}

func meet(t *testing.T, w *world, m meeting, aliceFirst bool) {
	t.Helper()
	alice, bob := w.share(t.Context(), t)
	alice.write("f", "f")
	alice.mkdir("A")
	alice.write("A/x", "x")
	alice.mkdir("B")
	finish(t, alice, bob)
	m.alice(alice)
	m.bob(bob)
	first, second := alice, bob
	if !aliceFirst {
		first, second = bob, alice
	}
	finish(t, first, second)
	var got []string
	for _, text := range same(t, alice, bob) {
		if text != "/" {
			got = append(got, text)
		}
	}
	for _, text := range m.kept {
		if !slices.Contains(got, text) {
			t.Errorf("%s, alice first %v: %q is lost; there is %q", m.name, aliceFirst, text, alice.contents())
		}
	}
	if len(got) != m.files {
		t.Errorf("%s, alice first %v: there are %d files, want %d: %q", m.name, aliceFirst, len(got), m.files, alice.contents())
	}
}

// large is longer than a pack, so that it goes up in several requests.
var large = strings.Repeat("a line of a large file\n", 3<<20/23)

func TestAMemberIsRemovedInTheMiddleOfAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		alice, bob := newWorld(t, newNetwork(), "bob").share(ctx, t)
		ws := alice.sync.Workspace()
		to, err := alice.Find(bob.Device().Email)
		alice.ok(err)
		removed := 0
		for n := int64(1); ; n++ {
			bob.write("large", fmt.Sprint(large, n))
			bob.settle()
			happened := bob.line.interrupt(n, func() error { return ws.Unshare(ctx, to) })
			err := bob.sync.Sync(ctx)
			bob.line.whole()
			did, failed := happened()
			alice.ok(failed)
			if !did {
				bob.ok(err)
				break
			}
			removed++
			st := bob.sync.Status(ctx)
			if !fault.Is(err, fault.Denied) && bob.over.Pending() > 0 || err == nil && st.Pending > 0 {
				t.Fatalf("removed before request %d, the upload ended with %v", n, err)
			}
			if err != nil && (st.State != syncer.Revoked || st.Pending == 0 || st.Reason == "") {
				t.Fatalf("removed before request %d, the status is %+v", n, st)
			}
			if got := bob.contents()["/large"]; got != fmt.Sprint(large, n) {
				t.Fatalf("removed before request %d, bob has %d bytes", n, len(got))
			}
			alice.gives(ctx, ws, bob, record.RoleContributor)
			bob.ok(bob.sync.Finish(ctx))
			alice.ok(alice.sync.Finish(ctx))
			if got := same(t, alice, bob); len(got) != 1 || got["/large"] != fmt.Sprint(large, n) {
				t.Fatalf("back again after being removed before request %d, both show %d files", n, len(got))
			}
		}
		if removed < 5 {
			t.Errorf("bob was removed %d times; want before each request of an upload and its commit", removed)
		}
	})
}

func TestARotationRacesAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		alice, bob := newWorld(t, newNetwork(), "bob").share(ctx, t)
		for n := int64(1); ; n++ {
			bob.write("large", fmt.Sprint(large, n))
			bob.settle()
			happened := bob.line.interrupt(n, func() error { return alice.sync.Workspace().Rotate(ctx) })
			bob.ok(bob.sync.Sync(ctx))
			bob.line.whole()
			did, failed := happened()
			alice.ok(failed)
			alice.ok(alice.sync.Finish(ctx))
			if got := same(t, alice, bob); len(got) != 1 || got["/large"] != fmt.Sprint(large, n) {
				t.Fatalf("rotated before request %d, both show %d files", n, len(got))
			}
			if !did {
				break
			}
		}
	})
}

func TestTwoOwnersRotateAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		alice, bob := newWorld(t, newNetwork(), "bob").share(ctx, t)
		alice.gives(ctx, alice.sync.Workspace(), bob, record.RoleOwner)
		bob.ok(bob.sync.Finish(ctx))
		alice.write("f", "of alice")
		bob.write("g", "of bob")
		for n := int64(1); ; n++ {
			before := alice.sync.Workspace().Log().Generation()
			happened := alice.line.interrupt(n, func() error { return bob.sync.Workspace().Rotate(ctx) })
			alice.ok(alice.sync.Workspace().Rotate(ctx))
			alice.line.whole()
			did, failed := happened()
			bob.ok(failed)
			if !did {
				break
			}
			finish(t, alice, bob)
			if got := alice.sync.Workspace().Log().Generation(); got != before+2 {
				t.Errorf("two rotated at once, one before request %d of the other: generation %d comes after %d", n, got, before)
			}
			same(t, alice, bob)
		}
	})
}

func TestTwoMembersClaimOwnershipAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, newNetwork(), "bob", "carol")
		alice, bob, carol := w.devices[0], w.devices[1], w.devices[2]
		for n := int64(1); ; n++ {
			for _, d := range w.devices {
				d.t = t
			}
			ws, err := workspace.Create(ctx, bob.Session, "plans")
			bob.ok(err)
			bob.gives(ctx, ws, alice, record.RoleManager)
			bob.gives(ctx, ws, carol, record.RoleManager)
			here, there := opened(t, alice, ws), opened(t, carol, ws)
			_, err = alice.RevokeUser(ctx, bob.Device().Email)
			alice.ok(err)
			var other error
			happened := alice.line.interrupt(n, func() error { other = there.TakeOwnership(ctx); return nil })
			err = here.TakeOwnership(ctx)
			alice.line.whole()
			if did, _ := happened(); !did {
				alice.ok(err)
				break
			}
			if (err == nil) == (other == nil) {
				t.Fatalf("carol claimed before request %d of alice: alice got %v, carol %v; want one of them the owner", n, err, other)
			}
			if err == nil {
				err = other
			}
			if !fault.Is(err, fault.Denied) || fault.HintOf(err) == "" {
				t.Errorf("who came second got %v (%s)", err, fault.HintOf(err))
			}
			alice.ok(here.PullLog(ctx))
			carol.ok(there.PullLog(ctx))
			if owners(here) != 1 || owners(there) != 1 {
				t.Errorf("alice sees %d owners, carol %d", owners(here), owners(there))
			}
			bob = w.replace(bob)
		}
	})
}

// opened returns a workspace as a device knows it.
func opened(t *testing.T, d *device, ws *workspace.Workspace) *workspace.Workspace {
	t.Helper()
	d.ok(d.Held.Sync(t.Context()))
	w, err := workspace.Open(t.Context(), d.Session, ws.ID())
	d.ok(err)
	d.ok(w.PullLog(t.Context()))
	return w
}

func owners(w *workspace.Workspace) (n int) {
	for _, m := range w.Members() {
		if m.Role == record.RoleOwner && m.Revoked == 0 {
			n++
		}
	}
	return n
}

func TestWhoJoinsOrComesBackReadsEverythingFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, newNetwork(), "bob", "carol")
		alice, _ := w.share(ctx, t)
		carol := w.devices[2]
		carol.t = t
		ws := alice.sync.Workspace()
		to, err := alice.Find(carol.Device().Email)
		alice.ok(err)
		write := func(text string) {
			alice.write("of "+text, text)
			alice.write("f", text)
			alice.settle()
			alice.ok(alice.sync.Finish(ctx))
			alice.ok(ws.Rotate(ctx))
		}
		write("before")
		alice.ok(ws.Share(ctx, to, record.RoleContributor))
		carol.begin(ctx, t, ws.ID(), alice.clock)
		t.Cleanup(carol.end)
		carol.ok(carol.sync.Sync(ctx))
		same(t, alice, carol)
		alice.ok(ws.Unshare(ctx, to))
		write("meanwhile")
		if err := carol.sync.Sync(ctx); !fault.Is(err, fault.Denied) {
			t.Errorf("who was removed synced and got %v", err)
		}
		alice.ok(ws.Share(ctx, to, record.RoleContributor))
		carol.ok(carol.sync.Finish(ctx))
		if got := same(t, alice, carol); len(got) != 3 || got["/of meanwhile"] != "meanwhile" {
			t.Errorf("back again, carol sees %v", got)
		}
	})
}

// many is how many devices edit at once.
const many = 50

func TestFiftyDevicesEditOneWorkspaceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, newNetwork(), slices.Repeat([]string{laptop}, many-1)...)
		w.devices[0].t = t
		ws, err := workspace.Create(ctx, w.devices[0].Session, "plans")
		w.devices[0].ok(err)
		clock := new(clock)
		for _, d := range w.devices {
			d.begin(ctx, t, ws.ID(), clock)
			t.Cleanup(d.end)
			d.ok(d.sync.Sync(ctx))
		}
		w.devices[0].settle() // for all
		var working sync.WaitGroup
		for i, d := range w.devices {
			working.Go(func() {
				d.write(fmt.Sprint("of ", i), fmt.Sprint("by ", i))
				d.write(fmt.Sprint("of all, ", i%5), fmt.Sprint("for all, by ", i))
				d.sync.Overlay().Hurry()
				if err := d.sync.Finish(ctx); err != nil {
					t.Errorf("device %d: %v", i, err)
				}
			})
		}
		working.Wait()
		finish(t, w.devices...)
		texts := map[string]bool{}
		for _, text := range same(t, w.devices[0], w.devices[many/2], w.devices[many-1]) {
			texts[text] = true
		}
		want := w.devices[0].names()
		for _, d := range w.devices {
			if diff := cmp.Diff(want, d.names()); diff != "" || d.over.Pending() > 0 {
				t.Errorf("%s has %d operations waiting, and shows not what the first does:\n%s", d.name, d.over.Pending(), diff)
			}
		}
		if len(texts) != 2*many {
			t.Errorf("there are %d contents, want %d", len(texts), 2*many)
		}
	})
}

func TestLongAndDeepNamesAndASparseGibibyteGoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		alice, bob := newWorld(t, newNetwork(), "bob").share(ctx, t)
		path := ""
		for i := range 300 {
			path += "/" + string(rune('a'+i%26))
			alice.mkdir(path)
		}
		longest := strings.Repeat("ü", 127) + "x"
		alice.write(path+"/"+longest, "at the bottom")
		const size = 1 << 30
		f, _, err := alice.over.CreateFile(ctx, alice.at("sparse"), false)
		alice.ok(err)
		_, err = f.WriteAt(ctx, []byte("!"), size-1)
		alice.ok(err)
		alice.ok(f.Close())
		before := alice.line.sent.Load()
		finish(t, alice, bob)
		if sent := alice.line.sent.Load() - before; sent > 2<<20 {
			t.Errorf("%d bytes went up for a file that is one byte and a hole", sent)
		}
		at := bob.at(path + "/" + longest)
		c, there, err := bob.over.Child(ctx, at.Folder, at.Name)
		bob.ok(err)
		if !there {
			t.Fatal("what is 300 folders deep is not there")
		}
		p := &play{ctx: ctx}
		if text, err := p.content(bob, c.Entry); err != nil || text != "at the bottom" {
			t.Errorf("300 folders deep there is %q, %v", text, err)
		}
		sparse, _, err := bob.over.Child(ctx, bob.over.Root, "sparse")
		bob.ok(err)
		g, err := bob.over.Open(ctx, sparse.Entry, false)
		bob.ok(err)
		tail := make([]byte, 10)
		_, err = g.ReadAt(ctx, tail, size-10)
		bob.ok(err)
		if n := g.Node().File.Size; n != size || !bytes.Equal(tail, append(make([]byte, 9), '!')) {
			t.Errorf("%d bytes are there, the last of them %q", n, tail)
		}
		bob.ok(g.Close())
	})
}
