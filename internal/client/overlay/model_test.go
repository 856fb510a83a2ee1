package overlay_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"parsec/internal/base/id"
	"parsec/internal/client/journal"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// thing is a file, folder or symlink of the model.
type thing struct {
	kind       manifest.Kind
	content    []byte
	executable bool
	target     string
	kids       map[string]*thing
}

func (t *thing) clone(seen map[*thing]*thing) *thing {
	if c, ok := seen[t]; ok {
		return c
	}
	c := &thing{kind: t.kind, content: slices.Clone(t.content), executable: t.executable, target: t.target}
	seen[t] = c
	if t.kids != nil {
		c.kids = map[string]*thing{}
		for name, k := range t.kids {
			c.kids[name] = k.clone(seen)
		}
	}
	return c
}

func (t *thing) walk(path string, out map[string]string) {
	for name, k := range t.kids {
		out[path+"/"+name] = describe(k.kind, k.content, k.executable, k.target)
		k.walk(path+"/"+name, out)
	}
}

func (t *thing) tree() map[string]string {
	out := map[string]string{}
	t.walk("", out)
	return out
}

type open struct {
	file  *overlay.File
	thing *thing
}

// world is an overlay and the model that it should equal.
type world struct {
	t      fataler
	dir    string
	runs   int
	config overlay.Config
	server *server
	o      *overlay.Overlay
	root   *thing
	open   []open
	now    time.Time
	// committed says whether the server took the last intended plan.
	committed bool
	// history are the trees since the last one that is safe.
	history []map[string]string
}

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Logf(string, ...any)
}

func newWorld(t fataler, dir string) *world {
	w := &world{t: t, dir: dir, server: newServer(), root: &thing{kind: manifest.Folder, kids: map[string]*thing{}}, now: time.Unix(1_800_000_000, 0)}
	w.config = overlay.Config{
		Journal: journal.Config{Device: id.New[id.Device](), Workspace: id.Workspace(w.server.root), SegmentSize: 64 << 10},
		Root:    w.server.root, Base: w.server, Blocks: w.server,
		Now: func() time.Time { return w.now },
	}
	rand.Read(w.config.Journal.Key[:])
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	w.config.Journal.Dir = filepath.Join(w.dir, fmt.Sprint(w.runs))
	var err error
	if w.o, err = overlay.Open(w.config); err != nil {
		w.t.Fatal(err)
	}
	w.open = nil
	w.history = []map[string]string{w.root.tree()}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%+v", err)
	}
}

// done notes that something was done; safe says that it survives a kill.
func (w *world) done(safe bool) {
	w.now = w.now.Add(time.Millisecond)
	if safe {
		w.history = nil
	}
	w.history = append(w.history, w.root.tree())
}

// folders returns all folders with their entries, the root first.
func (w *world) folders() (things []*thing, entries []id.Entry) {
	things, entries = []*thing{w.root}, []id.Entry{w.server.root}
	for i := 0; i < len(things); i++ {
		for _, name := range slices.Sorted(maps.Keys(things[i].kids)) {
			if k := things[i].kids[name]; k.kind == manifest.Folder {
				c, ok, err := w.o.Child(context.Background(), entries[i], name)
				w.check(err)
				if !ok {
					w.t.Fatalf("the folder %s is not there", name)
				}
				things, entries = append(things, k), append(entries, c.Entry)
			}
		}
	}
	return things, entries
}

// shown returns what the overlay shows.
func (w *world) shown(o *overlay.Overlay) map[string]string {
	out := map[string]string{}
	w.show(o, w.server.root, "", out)
	return out
}

func (w *world) show(o *overlay.Overlay, folder id.Entry, path string, out map[string]string) {
	ctx := context.Background()
	all, err := o.Children(ctx, folder)
	w.check(err)
	for _, c := range all {
		one, ok, err := o.Child(ctx, folder, c.Name)
		w.check(err)
		if !ok || one != c {
			w.t.Fatalf("the folder lists %v and names %v %v", c, one, ok)
		}
		if p, ok, err := o.Parent(ctx, c.Entry); err != nil || !ok || p != (merge.Place{Folder: folder, Name: c.Name}) {
			w.t.Fatalf("%s/%s is at %v, %v, %v", path, c.Name, p, ok, err)
		}
		n, err := o.Node(ctx, c.Entry)
		if err != nil {
			w.t.Fatalf("node of %s/%s: %v", path, c.Name, err)
		}
		if n.Kind != c.Kind {
			w.t.Fatalf("%s is a %v and a %v", c.Name, n.Kind, c.Kind)
		}
		var content []byte
		if n.Kind == manifest.File {
			content = w.content(o, c.Entry, n)
		}
		out[path+"/"+c.Name] = describe(n.Kind, content, n.File.Executable, n.Target)
		if c.Kind == manifest.Folder {
			w.show(o, c.Entry, path+"/"+c.Name, out)
		}
	}
}

func (w *world) content(o *overlay.Overlay, e id.Entry, n overlay.Node) []byte {
	f, err := o.Open(context.Background(), e, false)
	w.check(err)
	content := make([]byte, n.File.Size+10)
	got, err := f.ReadAt(context.Background(), content, 0)
	w.check(err)
	if got != int(n.File.Size) {
		w.t.Fatalf("read %d of %d bytes", got, n.File.Size)
	}
	w.check(f.Close())
	return content[:got]
}

func (w *world) compare() {
	w.t.Helper()
	if diff := cmp.Diff(w.root.tree(), w.shown(w.o)); diff != "" {
		w.t.Fatalf("the overlay shows something else (-want +got):\n%s", diff)
	}
	for _, h := range w.open {
		got := make([]byte, len(h.thing.content)+10)
		n, err := h.file.ReadAt(context.Background(), got, 0)
		w.check(err)
		if string(got[:n]) != string(h.thing.content) {
			w.t.Fatalf("an open file has %d bytes that differ from the %d of the model", n, len(h.thing.content))
		}
	}
}

// expect says whether an error is what the model foresees.
func (w *world) expect(err error, want overlay.Refusal) bool {
	w.t.Helper()
	if want == 0 {
		w.check(err)
		return true
	}
	var got overlay.Refusal
	if !errors.As(err, &got) || got != want {
		w.t.Fatalf("got %v, want %v", err, want)
	}
	return false
}

// kill copies what is on the disk and goes on with that, like after a kill.
func (w *world) kill() {
	from := w.config.Journal.Dir
	w.runs++
	to := filepath.Join(w.dir, fmt.Sprint(w.runs))
	if _, err := os.Stat(from); err == nil {
		w.check(os.CopyFS(to, os.DirFS(from)))
	}
	w.check(w.o.Abandon())
	history := w.history
	w.start()
	w.answer()
	got := w.shown(w.o)
	for i, tree := range slices.Backward(history) {
		if cmp.Equal(tree, got) {
			w.adopt(i == len(history)-1, got)
			return
		}
	}
	for _, p := range w.o.Problems() {
		w.t.Logf("a problem: %v", p.Err)
	}
	w.t.Fatalf("after a kill, the tree is none of the %d since the last flush (-want +got):\n%s", len(history), cmp.Diff(history[len(history)-1], got))
}

// answer ends a batch of which it is not known whether it was committed.
func (w *world) answer() {
	w.t.Helper()
	b, _, ok := w.o.Unsettled()
	switch {
	case ok && w.committed:
		w.check(b.Accept())
	case ok:
		w.check(b.Release())
	}
}

// adopt makes the model what the overlay shows.
func (w *world) adopt(same bool, _ map[string]string) {
	if !same {
		w.root = w.read(w.server.root)
	} else {
		w.root = w.root.clone(map[*thing]*thing{})
	}
	w.history = []map[string]string{w.root.tree()}
	for _, p := range w.o.Problems() {
		w.t.Fatalf("a problem: %v", p.Err)
	}
}

func (w *world) read(folder id.Entry) *thing {
	t := &thing{kind: manifest.Folder, kids: map[string]*thing{}}
	all, err := w.o.Children(context.Background(), folder)
	w.check(err)
	for _, c := range all {
		n, err := w.o.Node(context.Background(), c.Entry)
		w.check(err)
		k := &thing{kind: n.Kind, executable: n.File.Executable, target: n.Target}
		switch n.Kind {
		case manifest.Folder:
			k = w.read(c.Entry)
		case manifest.File:
			k.content = w.content(w.o, c.Entry, n)
		}
		t.kids[c.Name] = k
	}
	return t
}

// upload gives the files of a batch their blocks.
func (w *world) upload(b *overlay.Batch) {
	w.t.Helper()
	for _, f := range b.Files() {
		want := make([]byte, f.Size)
		n, err := f.ReadAt(context.Background(), want, 0)
		w.check(err)
		if n != len(want) {
			w.t.Fatalf("read %d of %d frozen bytes", n, len(want))
		}
		// Only what changed may be needed beside the base.
		got := make([]byte, f.Size)
		if below := min(f.Base.Size, f.Size); below > 0 {
			w.check(w.server.ReadAt(context.Background(), f.Base, got[:below], 0))
		}
		for _, r := range f.Changed {
			copy(got[r.From:r.To], want[r.From:r.To])
		}
		if string(got) != string(want) {
			w.t.Fatalf("the changes %v do not make the base of %d the content of %d", f.Changed, f.Base.Size, f.Size)
		}
		b.Body(f, w.server.body(want, false))
	}
}

func (w *world) plan(b *overlay.Batch) *merge.Plan {
	w.t.Helper()
	plan, err := merge.Rebase(context.Background(), w.server, b.Base(), b.Ops(), merge.Config{Root: w.server.root, Device: "laptop", Now: w.now})
	w.check(err)
	return plan
}

// push takes and commits all that is settled, in parts.
func (w *world) push(ops int) {
	w.t.Helper()
	for {
		b, err := w.o.Take(overlay.Limits{Ops: ops, Bytes: 1 << 20, Blocks: 100})
		w.check(err)
		if b == nil {
			return
		}
		w.upload(b)
		w.accept(b)
	}
}

func (w *world) accept(b *overlay.Batch) {
	w.t.Helper()
	plan := w.plan(b)
	if len(plan.Notes) > 0 {
		w.t.Fatalf("nobody else works here, but %v", plan.Notes)
	}
	w.check(b.Intend([32]byte{1}, plan))
	w.check(w.server.commit(plan))
	w.committed = true
	w.check(b.Accept())
}

func names() *rapid.Generator[string] { return rapid.SampledFrom([]string{"a", "b", "c"}) }

// step does something random.
func (w *world) step(t *rapid.T, in *overlay.Batch) {
	ctx := context.Background()
	things, entries := w.folders()
	i := rapid.IntRange(0, len(things)-1).Draw(t, "folder")
	folder, at := things[i], merge.Place{Folder: entries[i], Name: names().Draw(t, "name")}
	k := folder.kids[at.Name]
	switch what := rapid.IntRange(0, 11).Draw(t, "what"); what {
	case 0, 1:
		if len(w.open) > 4 {
			return
		}
		f, _, err := w.o.CreateFile(ctx, at, false)
		if w.expect(err, map[bool]overlay.Refusal{true: overlay.Exists}[k != nil]) {
			folder.kids[at.Name] = &thing{kind: manifest.File}
			w.open = append(w.open, open{f, folder.kids[at.Name]})
			w.done(false)
		}
	case 2:
		_, err := w.o.Create(ctx, at, merge.Node{Kind: manifest.Folder})
		if w.expect(err, map[bool]overlay.Refusal{true: overlay.Exists}[k != nil]) {
			folder.kids[at.Name] = &thing{kind: manifest.Folder, kids: map[string]*thing{}}
			w.done(false)
		}
	case 3:
		if k != nil {
			return
		}
		_, err := w.o.Create(ctx, at, merge.Node{Kind: manifest.Symlink, Target: "x"})
		w.check(err)
		folder.kids[at.Name] = &thing{kind: manifest.Symlink, target: "x"}
		w.done(false)
	case 4, 5:
		if k == nil {
			return
		}
		want := overlay.Refusal(0)
		if len(k.kids) > 0 {
			want = overlay.NotEmpty
		}
		if w.expect(w.o.Remove(ctx, at, k.kind == manifest.Folder), want) {
			delete(folder.kids, at.Name)
			w.done(false)
		}
	case 6, 7:
		w.move(t, things, entries, folder, at, k)
	case 8:
		if k == nil || k.kind != manifest.File || len(w.open) > 4 {
			return
		}
		c, _, err := w.o.Child(ctx, at.Folder, at.Name)
		w.check(err)
		f, err := w.o.Open(ctx, c.Entry, true)
		w.check(err)
		w.open = append(w.open, open{f, k})
	case 9:
		if k == nil || k.kind != manifest.File {
			return
		}
		c, _, err := w.o.Child(ctx, at.Folder, at.Name)
		w.check(err)
		w.check(w.o.SetExecutable(ctx, c.Entry, !k.executable))
		// That others see it in the middle is all right.
		w.history = append(w.history, w.root.tree())
		k.executable = !k.executable
		w.done(false)
	default:
		w.stepFile(t)
	}
}

func (w *world) move(t *rapid.T, things []*thing, entries []id.Entry, folder *thing, from merge.Place, k *thing) {
	if k == nil {
		return
	}
	i := rapid.IntRange(0, len(things)-1).Draw(t, "to folder")
	to := merge.Place{Folder: entries[i], Name: names().Draw(t, "to")}
	over := things[i].kids[to.Name]
	want := overlay.Refusal(0)
	switch {
	case over == k:
	case over != nil && k.kind == manifest.Folder && over.kind != manifest.Folder:
		want = overlay.NotFolder
	case over != nil && k.kind != manifest.Folder && over.kind == manifest.Folder:
		want = overlay.IsFolder
	case over != nil && len(over.kids) > 0:
		want = overlay.NotEmpty
	case k.holds(things[i]):
		want = overlay.Below
	}
	_, err := w.o.Move(context.Background(), from, to, true)
	if !w.expect(err, want) || over == k {
		return
	}
	delete(folder.kids, from.Name)
	things[i].kids[to.Name] = k
	w.done(false)
	w.check(w.o.Flush())
	w.done(true)
}

func (t *thing) holds(other *thing) bool {
	if t == other {
		return true
	}
	for _, k := range t.kids {
		if k.holds(other) {
			return true
		}
	}
	return false
}

func (w *world) stepFile(t *rapid.T) {
	if len(w.open) == 0 {
		return
	}
	ctx := context.Background()
	i := rapid.IntRange(0, len(w.open)-1).Draw(t, "handle")
	h := w.open[i]
	size := rapid.SampledFrom([]int{1, 10, 5_000, 140_000, 300_000})
	switch rapid.IntRange(0, 6).Draw(t, "file") {
	case 0, 1:
		off, n := size.Draw(t, "offset")-1, size.Draw(t, "length")
		data := make([]byte, n)
		rand.Read(data[:min(n, 40)])
		_, err := h.file.WriteAt(ctx, data, int64(off))
		w.check(err)
		for len(data) > 0 { // a kill may leave it cut where pages end
			some := min(len(data), 128<<10-off%(128<<10))
			if need := off + some - len(h.thing.content); need > 0 {
				h.thing.content = append(h.thing.content, make([]byte, need)...)
			}
			copy(h.thing.content[off:], data[:some])
			off, data = off+some, data[some:]
			w.done(false)
		}
	case 2:
		w.history = append(w.history, w.root.tree())
		n := size.Draw(t, "size") - 1
		w.check(h.file.Truncate(ctx, int64(n)))
		h.thing.content = append(h.thing.content, make([]byte, max(0, n-len(h.thing.content)))...)[:n]
		w.done(false)
	case 3:
		w.history = append(w.history, w.root.tree())
		_, err := h.file.Append(ctx, []byte("more"))
		w.check(err)
		h.thing.content = append(h.thing.content, "more"...)
		w.done(false)
	case 4:
		w.check(h.file.Sync())
		w.done(true)
	default:
		w.check(h.file.Close())
		w.done(true)
		w.open = slices.Delete(w.open, i, i+1)
	}
}

func TestWhatIsShownPushedAndReplayedIsWhatWasDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "overlay")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := newWorld(t, dir)
		var b *overlay.Batch
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 12).Draw(t, "act") {
			case 0:
				w.now = w.now.Add(2 * time.Second)
			case 1:
				if b == nil {
					b, err = w.o.Take(overlay.Limits{Ops: rapid.IntRange(1, 10).Draw(t, "ops"), Bytes: 1 << 20, Blocks: 100})
					w.check(err)
				}
			case 2:
				if b != nil {
					w.upload(b)
					w.accept(b)
					b = nil
				}
			case 3:
				if b != nil {
					w.check(b.Release())
					b = nil
				}
			case 4:
				b = nil
				w.kill()
			case 5:
				w.check(w.o.Compact(context.Background()))
			case 6:
				if b != nil { // the answer is lost, and the process
					w.upload(b)
					plan := w.plan(b)
					w.check(b.Intend([32]byte{2}, plan))
					w.committed = rapid.Bool().Draw(t, "committed")
					if w.committed {
						w.check(w.server.commit(plan))
					}
					b = nil
					w.killUnsettled()
				}
			default:
				w.step(t, b)
			}
			w.compare()
		}
		if b != nil {
			w.upload(b)
			w.accept(b)
		}
		for _, h := range w.open {
			w.check(h.file.Close())
		}
		w.open = nil
		w.now = w.now.Add(time.Hour)
		w.push(5)
		if n := w.o.Pending(); n != 0 {
			t.Fatalf("%d operations are left", n)
		}
		if diff := cmp.Diff(w.root.tree(), w.server.tree()); diff != "" {
			t.Fatalf("the server has something else (-want +got):\n%s", diff)
		}
		w.compare()
		w.check(w.o.Compact(context.Background()))
		w.check(w.o.Close())
	})
}

func (w *world) killUnsettled() {
	from := w.config.Journal.Dir
	w.runs++
	to := filepath.Join(w.dir, fmt.Sprint(w.runs))
	w.check(os.CopyFS(to, os.DirFS(from)))
	w.check(w.o.Abandon())
	w.start()
	if _, digest, ok := w.o.Unsettled(); !ok || digest != [32]byte{2} {
		w.t.Fatalf("the intent is lost: %v %x", ok, digest)
	}
	w.answer()
	w.adopt(true, nil)
	if got := w.shown(w.o); !cmp.Equal(w.root.tree(), got) {
		w.root = w.read(w.server.root)
	}
	w.history = []map[string]string{w.root.tree()}
}
