package overlay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/client/journal"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// script does a little of everything and calls step after each operation, with
// whether it must survive a kill, and whether it must survive power loss.
func script(t *testing.T, w *world, step func(kill, power bool)) {
	t.Helper()
	ctx := t.Context()
	root := w.server.root
	at := func(name string) merge.Place { return merge.Place{Folder: root, Name: name} }
	write := func(name, content string, sync bool) {
		f, _, err := w.o.CreateFile(ctx, at(name), false)
		w.check(err)
		step(false, false)
		_, err = f.WriteAt(ctx, []byte(content), 0)
		w.check(err)
		step(false, false)
		if sync {
			w.check(f.Sync())
			step(true, true)
		}
		w.check(f.Close())
		step(true, sync)
	}
	write("first", "the first file", false)
	write("second", strings.Repeat("long ", 20_000), true)
	dir, err := w.o.Create(ctx, at("folder"), merge.Node{Kind: manifest.Folder})
	w.check(err)
	step(false, false)
	write("new", "a new content", false)
	w.rename(at("new"), at("first"))
	w.check(w.o.Flush())
	step(true, false)
	w.rename(at("second"), merge.Place{Folder: dir.Entry, Name: "moved"})
	w.check(w.o.Flush())
	step(true, false)
	w.now = w.now.Add(2 * time.Second)
	w.push(100)
	write("later", "not pushed", true)
	w.check(w.o.Compact(ctx))
	step(true, true)
	w.check(w.o.Remove(ctx, at("first"), false))
	step(false, false)
	w.check(w.o.Sync())
	step(true, true)
}

// snapshot is what a crash must leave: one of the trees.
type snapshot struct {
	dir    string
	server *server
	trees  []map[string]string
}

func TestEveryKillAndPowerLossLeavesAPrefixWithAllThatIsSafe(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, filepath.Join(dir, "live"))
	var kills, losses []snapshot
	sinceKill, sincePower := []map[string]string{{}}, []map[string]string{{}}
	script(t, w, func(kill, power bool) {
		tree := w.shown(w.o)
		if kill {
			sinceKill = nil
		}
		if power {
			sincePower = nil
		}
		sinceKill, sincePower = append(sinceKill, tree), append(sincePower, tree)
		to := filepath.Join(dir, fmt.Sprint("kill", len(kills)))
		w.check(os.CopyFS(to, os.DirFS(w.config.Journal.Dir)))
		kills = append(kills, snapshot{to, w.server.clone(), slices.Clone(sinceKill)})
		to = filepath.Join(dir, fmt.Sprint("power", len(losses)))
		losePower(t, w, to, len(losses)%3)
		losses = append(losses, snapshot{to, w.server.clone(), slices.Clone(sincePower)})
	})
	for _, s := range append(kills, losses...) {
		w.config.Journal.Dir, w.config.Base, w.config.Blocks = s.dir, s.server, s.server
		o, err := overlay.Open(w.config)
		w.check(err)
		w.o, w.committed = o, true
		w.answer()
		got := w.shown(o)
		if !slices.ContainsFunc(s.trees, func(tree map[string]string) bool { return len(tree)+len(got) == 0 || cmp.Equal(tree, got) }) {
			t.Errorf("%s is none of the %d trees that may be left: %v", filepath.Base(s.dir), len(s.trees), got)
		}
		for _, p := range o.Problems() {
			t.Errorf("%s has a problem: %v", filepath.Base(s.dir), p.Err)
		}
		w.check(o.Close())
	}
}

// losePower copies a journal as power loss leaves it: what was synced, and of
// the rest nothing, a part, or something that was never written.
func losePower(t *testing.T, w *world, to string, how int) {
	t.Helper()
	w.check(os.MkdirAll(to, 0o700))
	for path, length := range w.o.Synced() {
		data, err := os.ReadFile(path)
		w.check(err)
		end := min(int(length), len(data))
		tail := data[end:]
		switch how {
		case 0:
			tail = nil
		case 1:
			tail = tail[:len(tail)/2]
		case 2:
			tail = make([]byte, len(tail))
			rand.Read(tail)
		}
		w.check(os.WriteFile(filepath.Join(to, filepath.Base(path)), slices.Concat(data[:end], tail), 0o600))
	}
}

func TestNothingStandsInClearOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	script(t, w, func(bool, bool) {})
	w.check(w.o.Close())
	words := []string{"first", "second", "folder", "moved", "later", "long long", "content", "not pushed"}
	files := 0
	w.check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, word := range words {
			if bytes.Contains(data, []byte(word)) || strings.Contains(path, word) {
				t.Errorf("%s holds %q", path, word)
			}
		}
		return err
	}))
	if files == 0 {
		t.Fatal("nothing is on the disk")
	}
}

func TestDamageCostsOnlyTheFileItConcerns(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, t.TempDir())
	root := w.server.root
	put := func(name, content string) {
		f, _, err := w.o.CreateFile(ctx, merge.Place{Folder: root, Name: name}, false)
		w.check(err)
		_, err = f.WriteAt(ctx, []byte(content), 0)
		w.check(err)
		w.check(f.Sync())
		w.check(f.Close())
	}
	put("pushed", "the server's version")
	w.now = w.now.Add(time.Hour)
	w.push(10)
	put("whole", "a whole file")
	c, _, err := w.o.Child(ctx, root, "pushed")
	w.check(err)
	f, err := w.o.Open(ctx, c.Entry, true)
	w.check(err)
	_, err = f.WriteAt(ctx, bytes.Repeat([]byte("local"), 8_000), 0)
	w.check(err)
	w.check(f.Close())
	put("last", "what comes after")
	w.check(w.o.Close())
	paths, err := filepath.Glob(filepath.Join(w.config.Journal.Dir, "*.journal"))
	w.check(err)
	damage(t, paths)

	w.start()
	_, err = w.readFile("pushed")
	if err != nil && !fault.Is(err, fault.Integrity) {
		t.Fatalf("reading what is damaged: %v", err)
	}
	want := map[string]string{"/pushed": `file false "the server's version"`, "/whole": `file false "a whole file"`, "/last": `file false "what comes after"`}
	if diff := cmp.Diff(want, w.shown(w.o)); diff != "" {
		t.Errorf("what is shown (-want +got):\n%s", diff)
	}
	problems := w.o.Problems()
	if !slices.ContainsFunc(problems, func(p overlay.Problem) bool { return p.Entry == c.Entry && fault.Is(p.Err, fault.Integrity) }) {
		t.Errorf("the damaged entry is not among the problems: %v", problems)
	}
	w.now = w.now.Add(time.Hour)
	w.push(10)
	if diff := cmp.Diff(want, w.server.tree()); diff != "" {
		t.Errorf("what is pushed (-want +got):\n%s", diff)
	}
	w.check(w.o.Close())
}

// What waits is in a list of two copies. Where both are damaged, the contents
// themselves are still there, and become files that a person can look at.
func TestWhatWaitsIsRecoveredWhenBothCopiesOfItsListAreDamaged(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, t.TempDir())
	w.config.Journal.SegmentSize = 8 << 10
	w.check(w.o.Close())
	w.start()
	put := func(name, content string) {
		f, _, err := w.o.CreateFile(ctx, merge.Place{Folder: w.server.root, Name: name}, false)
		w.check(err)
		_, err = f.WriteAt(ctx, []byte(content), 0)
		w.check(err)
		w.check(f.Close())
	}
	put("pending", "not sent yet")
	put("another", "neither")
	for range 20 {
		put("temporary", strings.Repeat("of no use any more", 500))
		w.check(w.o.Remove(ctx, merge.Place{Folder: w.server.root, Name: "temporary"}, false))
		w.check(w.o.Close())
		w.start()
		w.check(w.o.Compact(ctx))
	}
	w.check(w.o.Close())
	damageStates(t, w.config.Journal)

	w.start()
	got := map[string]bool{}
	for path, what := range w.shown(w.o) {
		got[regexp.MustCompile(`[0-9]+`).ReplaceAllString(path, "N")+" "+what] = true
	}
	want := map[string]bool{"/recovered N-N-N N folder": true, `/recovered N-N-N N/file N file false "not sent yet"`: true, `/recovered N-N-N N/file N file false "neither"`: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is shown (-want +got):\n%s", diff)
	}
	p := w.o.Problems()
	if len(p) != 1 || !fault.Is(p[0].Err, fault.Integrity) || !strings.Contains(p[0].Err.Error(), "damaged, 2 contents are recovered") || fault.HintOf(p[0].Err) == "" {
		t.Errorf("the problems are %v", p)
	}
	if w.o.Pending() == 0 {
		t.Error("nothing waits to be sent")
	}
	w.now = w.now.Add(time.Hour)
	w.push(10)
	if sent := fmt.Sprint(w.server.tree()); !strings.Contains(sent, "not sent yet") || !strings.Contains(sent, "neither") {
		t.Errorf("the server has %s", sent)
	}
	w.check(w.o.Close())
}

// damageStates damages all that a journal holds but what was written to files.
func damageStates(t *testing.T, c journal.Config) {
	t.Helper()
	replay := func() (payloads map[uint64]int, others int) {
		payloads = map[uint64]int{}
		j, _, err := journal.Open(c, func(r journal.Record) error {
			if payloads[r.Number] = r.Payload; r.Payload == 0 {
				others++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for number, n := range payloads {
			if n == 0 || j.ReadAt(number, make([]byte, n), 0) != nil {
				delete(payloads, number)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		return payloads, others
	}
	wanted, _ := replay()
	paths, err := filepath.Glob(filepath.Join(c.Dir, "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 200; at < len(whole); at += 48 {
			before := slices.Clone(whole)
			whole[at] ^= 1
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			if left, _ := replay(); !maps.Equal(left, wanted) {
				whole = before
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, others := replay(); others > 0 {
		t.Fatalf("%d records are whole", others)
	}
}

func (w *world) readFile(name string) ([]byte, error) {
	c, _, err := w.o.Child(context.Background(), w.server.root, name)
	w.check(err)
	f, err := w.o.Open(context.Background(), c.Entry, false)
	w.check(err)
	p := make([]byte, 100_000)
	n, err := f.ReadAt(context.Background(), p, 0)
	w.check(f.Close())
	return p[:n], err
}

// damage changes a byte in the middle of the longest payload.
func damage(t *testing.T, paths []string) {
	t.Helper()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 41_000 {
			continue
		}
		data[len(data)-21_000] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no segment is long enough")
}

func TestAHundredThousandOperationsWait(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.config.Journal.SegmentSize = 0
	w.start()
	ctx := t.Context()
	folder, err := w.o.Create(ctx, merge.Place{Folder: w.server.root, Name: "many"}, merge.Node{Kind: manifest.Folder})
	w.check(err)
	for i := range 100_000 {
		_, err := w.o.Create(ctx, merge.Place{Folder: folder.Entry, Name: fmt.Sprint(i)}, merge.Node{Kind: manifest.Symlink, Target: "t"})
		w.check(err)
	}
	w.check(w.o.Close())
	w.start()
	all, err := w.o.Children(ctx, folder.Entry)
	w.check(err)
	if len(all) != 100_000 || w.o.Pending() != 100_001 {
		t.Fatalf("%d children and %d operations are left", len(all), w.o.Pending())
	}
	w.now = w.now.Add(time.Hour)
	w.push(10_000)
	if n := len(maps.Clone(w.server.entries[folder.Entry].kids)); n != 100_000 || w.o.Pending() != 0 {
		t.Fatalf("the server has %d of them, %d wait", n, w.o.Pending())
	}
	w.check(w.o.Compact(ctx))
	if size, _ := w.o.Held(); size > 1<<20 {
		t.Errorf("the journal still takes %d bytes", size)
	}
	w.check(w.o.Close())
}

// rename moves over what is there.
func (w *world) rename(from, to merge.Place) {
	w.t.Helper()
	_, err := w.o.Move(context.Background(), from, to, true)
	w.check(err)
}
