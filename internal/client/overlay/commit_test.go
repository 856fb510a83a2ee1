package overlay_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// made makes a folder with a file in it.
func (w *world) made() (folder id.Entry) {
	w.t.Helper()
	n, err := w.o.Create(context.Background(), merge.Place{Folder: w.server.root, Name: "folder"}, merge.Node{Kind: manifest.Folder})
	w.check(err)
	_, err = w.o.Create(context.Background(), merge.Place{Folder: n.Entry, Name: "link"}, merge.Node{Kind: manifest.Symlink, Target: "t"})
	w.check(err)
	return n.Entry
}

func (w *world) take() *overlay.Batch {
	w.t.Helper()
	b, err := w.o.Take(overlay.Limits{Ops: 10, Bytes: 1 << 20, Blocks: 100})
	w.check(err)
	return b
}

func (w *world) has(folder id.Entry, when string) {
	w.t.Helper()
	all, err := w.o.Children(context.Background(), folder)
	w.check(err)
	_, found, err := w.o.Child(context.Background(), folder, "link")
	w.check(err)
	if len(all) != 1 || !found {
		w.t.Fatalf("%s the folder lists %v, and names what is in it: %v", when, all, found)
	}
}

// What was made in a folder, and committed while the folder moved, is in the base
// alone, though the move still waits.
func TestAFolderThatMovesWhileItIsCommittedKeepsWhatIsInIt(t *testing.T) {
	w := newWorld(t, t.TempDir())
	folder := w.made()
	w.now = w.now.Add(time.Hour)
	b := w.take()
	w.rename(merge.Place{Folder: w.server.root, Name: "folder"}, merge.Place{Folder: w.server.root, Name: "moved"})
	w.has(folder, "before")
	w.accept(b)
	w.has(folder, "after")
	if err := w.o.Remove(t.Context(), merge.Place{Folder: w.server.root, Name: "moved"}, true); err == nil {
		t.Error("a folder was removed with what is in it")
	}
	w.now = w.now.Add(time.Hour)
	w.push(10)
	w.has(folder, "at last")
	w.check(w.o.Close())
}

// meanwhile is a base in which something happens while it is asked for a folder.
type meanwhile struct {
	*server
	happen func()
}

func (s *meanwhile) Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	all, err := s.server.Children(ctx, folder)
	if happen := s.happen; happen != nil {
		s.happen = nil
		happen()
	}
	return all, err
}

// Who lists a folder while it is committed gets what is in it once: from the base
// of before with the work, or from the base of after.
func TestWhatIsCommittedWhileAFolderIsListedIsListed(t *testing.T) {
	w := newWorld(t, t.TempDir())
	base := &meanwhile{server: w.server}
	w.check(w.o.Close())
	w.config.Base = base
	w.start()
	w.made()
	w.now = w.now.Add(time.Hour)
	b := w.take()
	base.happen = func() { w.accept(b) }
	all, err := w.o.Children(t.Context(), w.server.root)
	w.check(err)
	if len(all) != 1 {
		t.Errorf("listed %v", all)
	}
	w.check(w.o.Close())
}

func TestWhoIsDoneNeedNotWaitUntilWorkSettles(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.made()
	if b := w.take(); b != nil {
		t.Fatalf("%d operations settled at once", len(b.Ops()))
	}
	w.o.Hurry()
	w.now = w.now.Add(time.Millisecond)
	w.rename(merge.Place{Folder: w.server.root, Name: "folder"}, merge.Place{Folder: w.server.root, Name: "moved"})
	b := w.take()
	if b == nil || len(b.Ops()) != 2 {
		t.Fatalf("what was done before is taken, and not what was done since: %+v", b)
	}
	w.accept(b)
	w.check(w.o.Close())
}

func TestWhoSyncsAFileGoesOnWithItUntilItIsClosed(t *testing.T) {
	w := newWorld(t, t.TempDir())
	f, _, err := w.o.CreateFile(t.Context(), merge.Place{Folder: w.server.root, Name: "database"}, false)
	w.check(err)
	_, err = f.WriteAt(t.Context(), []byte("a page"), 0)
	w.check(err)
	w.check(f.Sync())
	if at, ok := w.o.NextSettled(); !ok || !at.Equal(w.now.Add(time.Second)) {
		t.Errorf("what is synced settles at %v, want a second after %v", at, w.now)
	}
	if b := w.take(); b != nil {
		t.Fatal("what was synced has settled")
	}
	w.check(f.Flush())
	b := w.take()
	if b == nil {
		t.Fatal("what was closed has not settled")
	}
	w.upload(b)
	w.accept(b)
	w.check(f.Close())
	w.check(w.o.Close())
}

func TestManySmallGapsAreReadFromTheBaseAtOnce(t *testing.T) {
	w := newWorld(t, t.TempDir())
	at := merge.Place{Folder: w.server.root, Name: "database"}
	f, n, err := w.o.CreateFile(t.Context(), at, false)
	w.check(err)
	const size = 3 << 20
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i>>12 + i)
	}
	_, err = f.WriteAt(t.Context(), want, 0)
	w.check(err)
	w.check(f.Close())
	w.push(10)
	f, err = w.o.Open(t.Context(), n.Entry, true)
	w.check(err)
	for off := 0; off < size; off += 16 << 10 { // but for one block
		if off >= 1<<20 && off < 1<<20+manifest.BlockSize {
			continue
		}
		copy(want[off:], "changed")
		_, err = f.WriteAt(t.Context(), []byte("changed"), int64(off))
		w.check(err)
	}
	before, got := w.server.reads, make([]byte, size)
	_, err = f.ReadAt(t.Context(), got, 0)
	w.check(err)
	if !bytes.Equal(got, want) {
		t.Error("what is read is not what was written")
	}
	if n := w.server.reads - before; n > 6 {
		t.Errorf("the base was read %d times", n)
	}
	w.check(f.Close())
	w.check(w.o.Close())
}

// A file that took the name of another one removes that one, which may be
// committed by then. So it is no file that can be made elsewhere instead, though
// it was never committed itself.
func TestWhatTookAnotherPlaceRemovesItThoughItMovesOn(t *testing.T) {
	w := newWorld(t, t.TempDir())
	at := func(name string) merge.Place { return merge.Place{Folder: w.server.root, Name: name} }
	for _, name := range []string{"a", "b"} {
		_, err := w.o.Create(t.Context(), at(name), merge.Node{Kind: manifest.Symlink, Target: name})
		w.check(err)
	}
	w.now = w.now.Add(time.Hour)
	b := w.take()
	w.rename(at("a"), at("b"))
	w.check(b.Release())
	b, err := w.o.Take(overlay.Limits{Ops: 1, Bytes: 1 << 20, Blocks: 100})
	w.check(err)
	w.accept(b) // "a" alone
	w.rename(at("b"), at("c"))
	want := map[string]string{"/c": w.shown(w.o)["/c"]}
	if diff := cmp.Diff(want, w.shown(w.o)); diff != "" || want["/c"] == "" {
		t.Errorf("the overlay shows something else (-want +got):\n%s", diff)
	}
	w.now = w.now.Add(time.Hour)
	w.push(10)
	if diff := cmp.Diff(want, w.shown(w.o)); diff != "" {
		t.Errorf("in the end there is something else (-want +got):\n%s", diff)
	}
	w.check(w.o.Close())
}
