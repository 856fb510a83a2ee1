package syncer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/client/syncer"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// desk is a person's device with everything open that it syncs.
type desk struct {
	*clienttest.Person
	t   testing.TB
	all *syncer.Device
	// eager is how large a workspace may be that is fetched as a whole; 0 for the default.
	eager int
}

// sit opens what a person's device has.
func sit(t testing.TB, p *clienttest.Person) *desk {
	t.Helper()
	d := &desk{Person: p, t: t}
	d.open()
	t.Cleanup(func() { d.ok(d.all.Close()) })
	return d
}

func (d *desk) open() {
	d.t.Helper()
	all, err := syncer.OpenDevice(d.t.Context(), d.Session, syncer.DeviceConfig{
		Folder: d.Held.Folder(),
		Config: syncer.Config{FirstPause: 10 * time.Millisecond, MostPause: 50 * time.Millisecond, Eager: d.eager},
	})
	d.ok(err)
	d.all = all
}

func (d *desk) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// reopen ends the device as a kill does and opens it again.
func (d *desk) reopen() {
	d.t.Helper()
	d.ok(d.all.Abandon())
	d.Person.Kill()
	d.Person.Reopen()
	d.open()
}

// plans returns the syncer of the one workspace.
func (d *desk) plans() *syncer.Syncer {
	d.t.Helper()
	s, err := d.all.Find("plans")
	d.ok(err)
	return s
}

func (d *desk) over() *overlay.Overlay { return d.plans().Overlay() }

// sync syncs until nothing is left.
func (d *desk) sync() {
	d.t.Helper()
	d.ok(d.all.Discover(d.t.Context()))
	d.ok(d.plans().Finish(d.t.Context()))
}

// write writes a file, or a part of one that is there.
func (d *desk) write(name string, off int64, content []byte) {
	d.t.Helper()
	ctx, o := d.t.Context(), d.over()
	c, there, err := o.Child(ctx, o.Root, name)
	d.ok(err)
	var f *overlay.File
	if there {
		f, err = o.Open(ctx, c.Entry, true)
	} else {
		f, _, err = o.CreateFile(ctx, merge.Place{Folder: o.Root, Name: name}, false)
	}
	d.ok(err)
	_, err = f.WriteAt(ctx, content, off)
	d.ok(err)
	d.ok(f.Close())
}

func (d *desk) read(name string) []byte {
	d.t.Helper()
	ctx, o := d.t.Context(), d.over()
	c, there, err := o.Child(ctx, o.Root, name)
	d.ok(err)
	if !there {
		d.t.Fatalf("no %s", name)
	}
	f, err := o.Open(ctx, c.Entry, false)
	d.ok(err)
	defer func() { d.ok(f.Close()) }()
	content := make([]byte, f.Node().File.Size)
	for at := 0; at < len(content); {
		n, err := f.ReadAt(ctx, content[at:min(len(content), at+100_000)], int64(at))
		d.ok(err)
		at += n
	}
	return content
}

// tree returns the whole tree as paths with what is there.
func (d *desk) tree() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	d.walk(d.over().Root, "", all)
	return all
}

func (d *desk) walk(folder id.Entry, path string, all map[string]string) {
	d.t.Helper()
	ctx, o := d.t.Context(), d.over()
	children, err := o.Children(ctx, folder)
	d.ok(err)
	for _, c := range children {
		n, err := o.Node(ctx, c.Entry)
		d.ok(err)
		all[path+"/"+c.Name] = fmt.Sprintf("%s %d %v %s %s", n.Kind, n.File.Size, n.File.Executable, n.Target, time.Unix(0, n.Modified).UTC())
		if c.Kind == manifest.Folder {
			d.walk(c.Entry, path+"/"+c.Name, all)
		}
	}
}

// pair returns two people who share a workspace.
func pair(t testing.TB) (alice, bob *desk, server *servertest.Server) {
	t.Helper()
	server = servertest.Start(t, servertest.Config{})
	a := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	b := a.Enroll("bob@example.com", record.ProfileStandard)
	tree := a.CreateWorkspace("plans")
	a.Share(tree, b, record.RoleContributor)
	return sit(t, a), sit(t, b), server
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func TestWorkAtOneDeviceIsThereAtTheOther(t *testing.T) {
	alice, bob, _ := pair(t)
	contents := map[string][]byte{
		"empty": nil, "small": []byte("hello"), "one block": random(manifest.BlockSize),
		"more": random(3*manifest.BlockSize + 17), "large": random(20 << 20),
	}
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		alice.write(name, 0, contents[name])
	}
	ctx, o := t.Context(), alice.over()
	folder, err := o.Create(ctx, merge.Place{Folder: o.Root, Name: "folder"}, merge.Node{Kind: manifest.Folder})
	alice.ok(err)
	_, err = o.Create(ctx, merge.Place{Folder: folder.Entry, Name: "link"}, merge.Node{Kind: manifest.Symlink, Target: "../small"})
	alice.ok(err)
	alice.sync()
	bob.sync()
	for name, want := range contents {
		if got := bob.read(name); !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes that differ, want %d", name, len(got), len(want))
		}
	}
	if diff := cmp.Diff(alice.tree(), bob.tree()); diff != "" {
		t.Errorf("the trees differ:\n%s", diff)
	}
	if st := alice.plans().Status(ctx); st.State != syncer.Synced || st.Pending != 0 {
		t.Errorf("status %+v, want synced", st)
	}
}

func TestAChangeWithinALargeFileIsThereAtTheOther(t *testing.T) {
	alice, bob, _ := pair(t)
	want := random(10 << 20)
	alice.write("large", 0, want)
	alice.sync()
	bob.sync()
	for _, change := range []struct{ at, n int }{{5_000_000, 4096}, {0, 1}, {len(want) - 1, 10}, {12 << 20, 100}} {
		content := random(change.n)
		if grown := change.at + change.n; grown > len(want) {
			want = append(want, make([]byte, grown-len(want))...)
		}
		copy(want[change.at:], content)
		bob.write("large", int64(change.at), content)
		bob.sync()
		alice.sync()
		if got := alice.read("large"); !bytes.Equal(got, want) {
			t.Fatalf("after a change of %d bytes at %d it differs: %d bytes, want %d", change.n, change.at, len(got), len(want))
		}
	}
	for _, size := range []int64{11 << 20, 3<<20 + 5, manifest.BlockSize, 1, 0, 1 << 20} {
		c, _, err := bob.over().Child(t.Context(), bob.over().Root, "large")
		bob.ok(err)
		f, err := bob.over().Open(t.Context(), c.Entry, true)
		bob.ok(err)
		bob.ok(f.Truncate(t.Context(), size))
		bob.ok(f.Close())
		want = append(want, make([]byte, max(0, int(size)-len(want)))...)[:size]
		bob.sync()
		alice.sync()
		if got := alice.read("large"); !bytes.Equal(got, want) {
			t.Fatalf("cut to %d it differs: %d bytes", size, len(got))
		}
	}
}

func TestWhatIsSentTakesNoRoomHereForLong(t *testing.T) {
	alice, _, _ := pair(t)
	for range 3 {
		alice.write("large", 0, random(6<<20))
		alice.sync()
	}
	if size, _ := alice.over().Held(); size > 10<<20 {
		t.Errorf("%d bytes are held after all was sent", size)
	}
}

func TestOneFileEditedAtTwoDevicesBecomesTwo(t *testing.T) {
	alice, bob, _ := pair(t)
	alice.write("plan.txt", 0, []byte("one"))
	alice.sync()
	bob.sync()
	alice.write("plan.txt", 0, []byte("two"))
	bob.write("plan.txt", 0, []byte("six"))
	alice.sync()
	bob.sync()
	alice.sync()
	if diff := cmp.Diff(alice.tree(), bob.tree()); diff != "" {
		t.Fatalf("the trees differ:\n%s", diff)
	}
	var contents []string
	for name := range alice.tree() {
		contents = append(contents, string(alice.read(name[1:])))
	}
	slices.Sort(contents)
	if diff := cmp.Diff([]string{"six", "two"}, contents); diff != "" {
		t.Fatalf("contents differ (-want +got):\n%s", diff)
	}
	if st := bob.plans().Status(t.Context()); st.Conflicts != 1 {
		t.Fatalf("status %+v, want one conflict", st)
	}
}

func TestWorkWaitsWhileTheServerIsAwayAndThroughAKill(t *testing.T) {
	alice, bob, server := pair(t)
	alice.sync()
	bob.sync()
	server.Stop()
	alice.write("offline.txt", 0, []byte("written without a server"))
	if err := alice.plans().Sync(t.Context()); err == nil {
		t.Fatal("synced without a server")
	}
	if st := alice.plans().Status(t.Context()); st.State != syncer.Offline || st.Pending == 0 || st.Reason == "" {
		t.Fatalf("status %+v, want offline", st)
	}
	alice.reopen()
	if got := alice.read("offline.txt"); string(got) != "written without a server" {
		t.Fatalf("after a kill it is %q", got)
	}
	servertest.Start(t, servertest.Config{Dir: server.Dir, Listen: server.URL[len("http://"):]})
	alice.sync()
	bob.sync()
	if got := bob.read("offline.txt"); string(got) != "written without a server" {
		t.Fatalf("it is %q at the other device", got)
	}
}

func TestRunningDevicesSeeEachOthersWorkByThemselves(t *testing.T) {
	alice, bob, _ := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, d := range []*desk{alice, bob} {
		running.Go(func() {
			if err := d.all.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("running ended: %v", err)
			}
		})
	}
	defer running.Wait()
	defer cancel()
	alice.write("a.txt", 0, []byte("from alice"))
	eventually(t, "bob has it", func() bool {
		s, err := bob.all.Find("plans")
		if err != nil {
			return false
		}
		_, there, err := s.Overlay().Child(ctx, s.Overlay().Root, "a.txt")
		return err == nil && there
	})
	bob.write("b.txt", 0, []byte("from bob"))
	eventually(t, "alice has it", func() bool {
		_, there, err := alice.over().Child(ctx, alice.over().Root, "b.txt")
		return err == nil && there
	})
	if got := alice.read("b.txt"); string(got) != "from bob" {
		t.Fatalf("it is %q", got)
	}
}

// eventually polls until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about that %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A file that was open when its folder got a time is committed later than the time.
func TestAFolderKeepsTheTimeThatItWasGiven(t *testing.T) {
	alice, bob, _ := pair(t)
	ctx, o := t.Context(), alice.over()
	folder := alice.make(o.Root, "folder")
	file, _, err := o.CreateFile(ctx, merge.Place{Folder: folder, Name: "file"}, false)
	alice.ok(err)
	at := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	alice.ok(o.SetModified(ctx, folder, at))
	alice.ok(alice.plans().Push(ctx))
	if o.Pending() == 0 {
		t.Error("the open file was sent")
	}
	alice.ok(file.Close())
	alice.sync()
	bob.sync()
	if _, there := bob.tree()["/folder/file"]; !there {
		t.Errorf("bob has %v", bob.tree())
	}
	for name, d := range map[string]*desk{"alice": alice, "bob": bob} {
		n, err := d.over().Node(ctx, folder)
		d.ok(err)
		if got := time.Unix(0, n.Modified); !got.Equal(at) {
			t.Errorf("%s has the folder of %v", name, got)
		}
	}
}
