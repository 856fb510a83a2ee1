package syncer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
	"parsec/internal/server/servertest"
)

// make makes a folder.
func (d *desk) make(in id.Entry, name string) id.Entry {
	d.t.Helper()
	n, err := d.over().Create(d.t.Context(), merge.Place{Folder: in, Name: name}, merge.Node{Kind: manifest.Folder})
	d.ok(err)
	return n.Entry
}

// child returns what a folder names so.
func (d *desk) child(in id.Entry, name string) id.Entry {
	d.t.Helper()
	c, there, err := d.over().Child(d.t.Context(), in, name)
	d.ok(err)
	if !there {
		d.t.Fatalf("there is no %s", name)
	}
	return c.Entry
}

// names returns what a folder names, with the kind of each as its manifest has it.
func (d *desk) names(folder id.Entry) map[string]string {
	d.t.Helper()
	all := map[string]string{}
	children, err := d.over().Children(d.t.Context(), folder)
	d.ok(err)
	entries := make([]id.Entry, len(children))
	for i, c := range children {
		entries[i] = c.Entry
	}
	d.ok(d.over().Ahead(d.t.Context(), entries))
	for _, c := range children {
		n, err := d.over().Node(d.t.Context(), c.Entry)
		d.ok(err)
		all[c.Name] = n.Kind.String()
	}
	return all
}

// large returns somebody with a workspace of folders with so many folders in each,
// and a second device of theirs, to which that is very large, and which has opened
// it.
func large(t testing.TB, folders, each int) (first, second *desk) {
	t.Helper()
	server := servertest.Start(t, servertest.Config{})
	a := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	a.CreateWorkspace("plans")
	first = sit(t, a)
	first.sync()
	for i := range folders {
		in := first.make(first.over().Root, fmt.Sprintf("folder %d", i))
		for k := range each {
			first.make(in, fmt.Sprintf("within %d", k))
		}
	}
	first.sync()
	second = &desk{Person: a.EnrollDevice(), t: t, eager: 10}
	second.open()
	t.Cleanup(func() { second.ok(second.all.Close()) })
	second.ok(second.all.Discover(t.Context()))
	second.ok(second.plans().Sync(t.Context()))
	return first, second
}

func (d *desk) complete() bool {
	d.t.Helper()
	return d.plans().Status(d.t.Context()).Complete
}

func TestOfAVeryLargeWorkspaceComesWhatIsAskedForFirst(t *testing.T) {
	first, second := large(t, 30, 60)
	meter := second.Server().Meter()
	if second.complete() {
		t.Fatal("all of it came at once")
	}
	requests, received := meter.Requests(), meter.Received()
	if got := second.names(second.over().Root); len(got) != 30 {
		t.Fatalf("the root folder has %d names", len(got))
	}
	if statements, rows := second.Local().Work(); statements > 3000 || rows > 1000 {
		t.Errorf("to list the root took %d statements and %d rows: as if all below was looked into", statements, rows)
	}
	in := second.child(second.over().Root, "folder 7")
	if got := second.names(in); len(got) != 60 || got["within 59"] != "folder" {
		t.Fatalf("the folder has %v", got)
	}
	// The root, what is in it, and what is in the one folder.
	if n := meter.Requests() - requests; n > 3 {
		t.Errorf("%d requests to list two folders", n)
	}
	some := meter.Received() - received
	requests = meter.Requests()
	second.names(in)
	if meter.Requests() != requests {
		t.Error("what was listed before is asked for again")
	}

	second.sync()
	if !second.complete() {
		t.Error("it is not complete after all was synced")
	}
	if all := meter.Received() - received; all < 5*some {
		t.Errorf("two folders took %d bytes, and all of them %d", some, all)
	}
	requests = meter.Requests()
	if diff := cmp.Diff(first.tree(), second.tree()); diff != "" {
		t.Errorf("the trees differ:\n%s", diff)
	}
	if meter.Requests() != requests {
		t.Error("to walk a complete tree, the server is asked")
	}
}

func TestWhatOthersDoInAVeryLargeWorkspaceIsFollowed(t *testing.T) {
	first, second := large(t, 5, 10)
	seen := second.child(second.over().Root, "folder 0")
	moved := second.child(seen, "within 3")
	// Into a folder that the second device has never looked into, and back out.
	unseen := first.child(first.over().Root, "folder 1")
	_, err := first.over().Move(t.Context(), merge.Place{Folder: seen, Name: "within 3"}, merge.Place{Folder: unseen, Name: "moved"}, false)
	first.ok(err)
	later := first.make(unseen, "later")
	first.sync()
	second.ok(second.plans().Sync(t.Context()))
	if second.complete() {
		t.Fatal("it is complete, and tests nothing")
	}
	if at, ok, err := second.over().Parent(t.Context(), moved); err != nil || !ok || at != (merge.Place{Folder: unseen, Name: "moved"}) {
		t.Errorf("what was moved is at %v, %v, %v", at, ok, err)
	}
	if at, ok, err := second.over().Parent(t.Context(), later); err != nil || !ok || at.Folder != unseen {
		t.Errorf("what was made is at %v, %v, %v", at, ok, err)
	}
	if second.complete() {
		t.Error("to find the places of what was touched, all was fetched")
	}

	// Own work goes on top of that.
	second.make(moved, "mine")
	emptied := second.child(second.over().Root, "folder 2")
	for name := range second.names(emptied) {
		second.ok(second.over().Remove(t.Context(), merge.Place{Folder: emptied, Name: name}, true))
	}
	second.ok(second.over().Remove(t.Context(), merge.Place{Folder: second.over().Root, Name: "folder 2"}, true))
	second.ok(second.plans().Push(t.Context()))
	first.sync()
	second.sync()
	want := first.tree()
	if _, ok := want["/folder 1/moved/mine"]; !ok || len(want) != 5+50+2-11 {
		t.Errorf("%d entries at the first device", len(want))
	}
	if diff := cmp.Diff(want, second.tree()); diff != "" {
		t.Errorf("the trees differ:\n%s", diff)
	}
}

func TestAnEntryOfWhichOnlyTheRestSaysWhereItIs(t *testing.T) {
	first, second := large(t, 5, 10)
	entry := first.child(first.child(first.over().Root, "folder 4"), "within 9")
	at, ok, err := second.over().Parent(t.Context(), entry)
	if err != nil || !ok || at.Name != "within 9" {
		t.Errorf("it is at %v, %v, %v", at, ok, err)
	}
	if _, ok, err := second.over().Parent(t.Context(), id.New[id.Entry]()); ok || err != nil {
		t.Errorf("what nobody made has a place: %v, %v", ok, err)
	}
}

func TestTheRestComesByItselfAndGoesOnAfterAKill(t *testing.T) {
	first, second := large(t, 200, 25)
	ctx, meter := t.Context(), second.Server().Meter()
	before := meter.Received()
	if more, err := second.plans().Mirror().FetchMore(ctx, 1); !more || err != nil {
		t.Fatalf("after one message more is left: %v, %v", more, err)
	}
	one := meter.Received() - before
	second.reopen()
	if second.complete() {
		t.Fatal("it is complete after one message")
	}
	meter = second.Server().Meter()
	before = meter.Received()

	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = second.all.Run(ctx) })
	eventually(t, "the rest is there", second.complete)
	cancel()
	running.Wait()
	rest := meter.Received() - before
	if diff := cmp.Diff(first.tree(), second.tree()); diff != "" {
		t.Errorf("the trees differ:\n%s", diff)
	}
	whole := newcomer(t, first)
	if rest+one/2 > whole {
		t.Errorf("after %d bytes, %d came, of %d in all", one, rest, whole)
	}
}

// newcomer returns how many bytes a new device of the person needs for all.
func newcomer(t testing.TB, of *desk) uint64 {
	t.Helper()
	d := sit(t, of.EnrollDevice())
	before := d.Server().Meter().Received()
	d.sync()
	return d.Server().Meter().Received() - before
}

// Between the moment in which a device knows that somebody removed something and
// that in which it shows it, nothing is done to what is not there any more.
func TestWhatWasRemovedElsewhereIsNotTakenForSomethingOfNoKind(t *testing.T) {
	alice, bob, _ := pair(t)
	alice.write("file", 0, []byte("text"))
	alice.sync()
	bob.sync()
	entry := bob.child(bob.over().Root, "file")
	alice.ok(alice.over().Remove(t.Context(), merge.Place{Folder: alice.over().Root, Name: "file"}, false))
	alice.sync()
	bob.reopen()
	bob.ok(bob.plans().Workspace().PullLog(t.Context()))
	if err := bob.over().SetExecutable(t.Context(), entry, true); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is gone was changed: %v", err)
	}
	if n := bob.over().Pending(); n != 0 {
		t.Errorf("%d changes wait", n)
	}
}
