package overlay_test

import (
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
