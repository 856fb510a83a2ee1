package overlay_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// ignoring returns a world in which names that end in the suffixes are ignored.
func ignoring(t *testing.T, suffixes ...string) (w *world, set func(...string)) {
	t.Helper()
	w = newWorld(t, t.TempDir())
	w.config.Ignore = func(name string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
	}
	w.check(w.o.Close())
	w.runs++
	w.start()
	return w, func(s ...string) { suffixes = s }
}

func (w *world) make(folder id.Entry, name string, kind manifest.Kind) id.Entry {
	w.t.Helper()
	n, err := w.o.Create(context.Background(), merge.Place{Folder: folder, Name: name}, merge.Node{Kind: kind, Target: map[manifest.Kind]string{manifest.Symlink: "t"}[kind]})
	w.check(err)
	return n.Entry
}

// pushed pushes all work, and says what the server has then.
func (w *world) pushed() string {
	w.t.Helper()
	for w.o.Pending() > 0 {
		w.now = w.now.Add(time.Hour)
		w.push(10)
	}
	var all []string
	for name := range w.server.tree() {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (w *world) pushes(when, want string) {
	w.t.Helper()
	if got := w.pushed(); got != want {
		w.t.Fatalf("%s the server has %q instead of %q", when, got, want)
	}
}

func TestWhatAPatternHeldBackIsPushedOnceItIsGone(t *testing.T) {
	w, set := ignoring(t, ".tmp", "~")
	folder := w.make(w.server.root, "build.tmp", manifest.Folder)
	w.make(folder, "in", manifest.Symlink)
	w.make(folder, "in~", manifest.Symlink)
	w.make(w.server.root, "note", manifest.Symlink)
	w.make(w.server.root, "note~", manifest.Symlink)
	w.pushes("at first", "/note")
	w.check(w.o.PublishUnignored(t.Context()))
	w.pushes("while the list is the same", "/note")

	set("~") // as another process may have, after which this one is killed
	w.reopen()
	w.check(w.o.PublishUnignored(t.Context()))
	w.reopen()
	w.pushes("with one pattern less", "/build.tmp /build.tmp/in /note")

	set()
	w.check(w.o.PublishUnignored(t.Context()))
	w.pushes("without any", "/build.tmp /build.tmp/in /build.tmp/in~ /note /note~")
	w.check(w.o.Close())
}

func TestAnIgnoredFolderThatIsRenamedKeepsIgnoredNamesToItself(t *testing.T) {
	w, _ := ignoring(t, ".tmp", "~")
	folder := w.make(w.server.root, "build.tmp", manifest.Folder)
	below := w.make(folder, "below", manifest.Folder)
	w.make(below, "in", manifest.Symlink)
	w.make(below, "in~", manifest.Symlink)
	w.pushes("at first", "")
	w.rename(merge.Place{Folder: w.server.root, Name: "build.tmp"}, merge.Place{Folder: w.server.root, Name: "build"})
	w.pushes("then", "/build /build/below /build/below/in")
	w.check(w.o.Close())
}

func TestWhatIsSharedStaysSoUnderAnIgnoredName(t *testing.T) {
	w, set := ignoring(t)
	w.make(w.server.root, "old~", manifest.Symlink)
	w.make(w.server.root, "note", manifest.Symlink)
	w.pushes("at first", "/note /old~")
	set("~")
	w.rename(merge.Place{Folder: w.server.root, Name: "note"}, merge.Place{Folder: w.server.root, Name: "note~"})
	w.pushes("then", "/note~ /old~")
	w.check(w.o.Close())
}

// reopen opens the overlay again from the same journal.
func (w *world) reopen() {
	w.t.Helper()
	w.check(w.o.Close())
	var err error
	w.o, err = overlay.Open(w.config)
	w.check(err)
}
