package merge_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// find returns the entry at a path that the device's user sees.
func (d *device) find(path string) id.Entry {
	at := root
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name != "" {
			at = d.local.entries[at].kids[name].Entry
		}
	}
	return at
}

func (d *device) place(path string) merge.Place {
	i := strings.LastIndexByte(path, '/')
	folder := d.find(path[:i])
	d.work(folder)
	return merge.Place{Folder: folder, Name: path[i+1:]}
}

// run does what a line of a script says.
func (d *device) run(line string) error {
	word := strings.Fields(line)
	number := func(s string) uint64 { n, _ := strconv.ParseUint(s, 10, 64); return n }
	switch word[0] {
	case "mkdir":
		return d.do(merge.Create{Entry: d.world.id(), At: d.place(word[1]), Node: folderNode()})
	case "new":
		return d.do(merge.Create{Entry: d.world.id(), At: d.place(word[1]), Node: fileOf(number(word[2]))})
	case "link":
		return d.do(merge.Create{Entry: d.world.id(), At: d.place(word[1]), Node: merge.Node{Kind: manifest.Symlink, Target: word[2]}})
	case "write", "touch", "chmod":
		e := d.find(word[1])
		seen := d.seen(e)
		d.work(seen.Place.Folder)
		now := seen.Node
		switch n := number(word[2]); word[0] {
		case "write":
			now = fileOf(n)
		case "touch":
			now.Modified = int64(n)
		case "chmod":
			now.File.Executable = n > 0
		}
		return d.do(merge.Write{Entry: e, Seen: seen, Now: now, Copy: d.world.id()})
	case "rm":
		e := d.find(word[1])
		return d.do(merge.Remove{Entry: e, Seen: d.seen(e), Below: d.under(e)})
	case "mv":
		e, over := d.find(word[1]), d.find(word[2])
		d.work(d.seen(e).Place.Folder)
		op := merge.Move{Entry: e, Seen: d.seen(e), To: d.place(word[2])}
		if !over.IsZero() {
			op.Over, op.OverSeen, op.Copy = over, d.seen(over), d.world.id()
		}
		return d.do(op)
	case "sync":
		return d.sync(len(d.ops))
	}
	return fmt.Errorf("unknown word %q", word[0])
}

func (d *device) script(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.SplitSeq(lines, ";") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := d.run(line); err != nil {
			t.Fatalf("%s: %s: %v", d.name, line, err)
		}
	}
}

var ignoreMarkers = cmpopts.IgnoreUnexported(manifest.FileBody{}, manifest.List{})

const conflict = " (conflict, device1, 2026-11-03)"

// meet lets two devices start from one tree and work apart; the first one
// commits, then the second, whose plan is returned.
func meet(t *testing.T, start, first, second string) (*world, *merge.Plan) {
	t.Helper()
	w := newWorld(2)
	a, b := w.devices[0], w.devices[1]
	a.script(t, start+"; sync")
	b.script(t, "sync")
	a.script(t, first)
	b.script(t, second)
	a.script(t, "sync")
	before := w.server.clone()
	plan, err := merge.Rebase(t.Context(), before, &b.known, b.ops, b.config())
	if err != nil {
		t.Fatal(err)
	}
	b.script(t, "sync")
	a.script(t, "sync")
	if err := w.check(); err != nil {
		t.Fatal(err)
	}
	return w, plan
}

func TestTwoDevicesThatDidNotKnowOfEachOther(t *testing.T) {
	for _, c := range []struct {
		name                 string
		start, first, second string
		want                 string // paths, then what went otherwise than intended
	}{
		{"two files in one folder", "mkdir /f", "new /f/a 1", "new /f/b 2", "/f /f/a=1 /f/b=2"},
		{"one new name for two files", "", "new /a.txt 1", "new /a.txt 2", "/a" + conflict + ".txt=2 /a.txt=1; renamed"},
		{"one new name for two equal files", "", "new /a 1", "new /a 1", "/a=1; joined"},
		{"one new name for two folders", "", "mkdir /f; new /f/a 1; mkdir /f/s", "mkdir /f; new /f/b 2; mkdir /f/s; new /f/s/c 3", "/f /f/a=1 /f/b=2 /f/s /f/s/c=3; joined joined"},
		{"one new name for a file and a folder", "", "new /a 1", "mkdir /a; new /a/b 2", "/a" + conflict + " /a" + conflict + "/b=2 /a=1; renamed"},
		{"one new name for two symlinks that agree", "", "link /l t", "link /l t", "/l; joined"},
		{"one new name for two symlinks that differ", "", "link /l t", "link /l u", "/l /l" + conflict + "; renamed"},
		{"a folder replaced by a file of the same name", "mkdir /f; new /f/a 1", "rm /f; new /f 2", "new /f/b 3", "/f" + conflict + " /f" + conflict + "/b=3 /f=2; renamed revived"},

		{"one file edited on both", "new /a.txt 1", "write /a.txt 2", "write /a.txt 3", "/a" + conflict + ".txt=3 /a.txt=2; copied"},
		{"one file edited twice on one side", "new /a 1", "write /a 2", "write /a 3; write /a 4", "/a" + conflict + "=4 /a=2; copied"},
		{"one file edited in the same way", "new /a 1", "write /a 2", "write /a 2", "/a=2"},
		{"content here, mode there", "new /a 1", "chmod /a 1", "write /a 2", "/a=2x"},
		{"mode here, content there", "new /a 1", "write /a 2", "chmod /a 1", "/a=2x"},
		{"edited and renamed", "new /a 1", "mv /a /b", "write /a 2", "/b=2"},
		{"edited on both and renamed", "new /a 1; mkdir /f", "mv /a /f/b; write /f/b 3", "write /a 2", "/f /f/b" + conflict + "=2 /f/b=3; copied"},

		{"edited here, removed there", "new /a 1", "write /a 2", "rm /a", "/a=2; spared"},
		{"removed here, edited there", "new /a 1", "rm /a", "write /a 2", "/a=2; revived"},
		{"removed here and replaced, edited there", "new /a 1", "rm /a; new /a 3", "write /a 2", "/a" + conflict + "=2 /a=3; renamed revived"},
		{"removed on both", "new /a 1", "rm /a", "rm /a", ""},
		{"removed here, renamed there", "new /a 1", "rm /a", "mv /a /b", "/b=1; revived"},
		{"renamed here, removed there", "new /a 1", "mv /a /b", "rm /a", "/b=1; spared"},
		{"a folder removed here, moved there", "mkdir /f; new /f/a 1", "rm /f", "mv /f /g", "; removed"},
		{"a folder removed here, moved there and worked in", "mkdir /f; new /f/a 1; mkdir /g", "rm /f", "mv /f /g/f; new /g/f/b 2", "/g /g/f /g/f/b=2; removed revived"},

		{"a folder removed with what was seen", "mkdir /f; mkdir /f/s; new /f/s/a 1; new /f/b 2", "new /f/s/c 3", "rm /f", "/f /f/s /f/s/c=3; spared"},
		{"a folder removed into which a file was moved", "mkdir /f; new /f/a 1; new /b 2", "mv /b /f/b", "rm /f", "/f /f/b=2; spared"},
		{"a folder removed in which a file was moved", "mkdir /f; mkdir /f/s; new /f/a 1", "mv /f/a /f/s/a", "rm /f", "/f /f/s /f/s/a=1; spared"},
		{"a folder removed out of which a file was moved", "mkdir /f; new /f/a 1", "mv /f/a /a", "rm /f", "/a=1"},
		{"a folder removed in which others removed a file", "mkdir /f; mkdir /f/s; new /f/s/a 1", "rm /f/s/a", "rm /f", ""},
		{"a folder removed under which others removed", "mkdir /f; mkdir /f/s; new /f/s/a 1", "rm /f/s", "rm /f", ""},
		{"work in a removed folder brings back only itself", "mkdir /f; mkdir /f/s; new /f/s/a 1; new /f/b 2", "rm /f", "new /f/s/c 3", "/f /f/s /f/s/c=3; revived revived"},
		{"an edit in a removed folder brings back only itself", "mkdir /f; new /f/a 1; new /f/b 2", "rm /f", "write /f/a 3", "/f /f/a=3; revived revived"},
		{"work in a removed folder that was made again", "mkdir /f; new /f/a 1", "rm /f; mkdir /f; new /f/d 4", "new /f/b 2", "/f /f/b=2 /f/d=4"},
		{"new times of a removed folder are no work", "mkdir /f", "rm /f", "touch /f 9", ""},

		{"renamed on both", "new /a 1", "mv /a /b", "mv /a /c", "/b=1; stayed"},
		{"renamed alike on both", "new /a 1", "mv /a /b", "mv /a /b", "/b=1"},
		{"moved here, renamed there", "new /a 1; mkdir /f", "mv /a /f/a", "mv /a /b", "/f /f/b=1; stayed"},
		{"moved to two folders", "new /a 1; mkdir /f; mkdir /g", "mv /a /f/a", "mv /a /g/a", "/f /f/a=1 /g; stayed"},
		{"moved to a name that was taken", "new /a 1", "new /b 2", "mv /a /b", "/b" + conflict + "=1 /b=2; renamed"},
		{"a into b while b into a", "mkdir /a; mkdir /b; new /a/x 1; new /b/y 2", "mv /a /b/a", "mv /b /a/b", "/b /b/a /b/a/x=1 /b/y=2; stayed"},
		{"deep into each other", "mkdir /a; mkdir /a/s; mkdir /b; mkdir /b/t", "mv /a /b/t/a", "mv /b /a/s/b; new /a/s/b/y 2", "/b /b/t /b/t/a /b/t/a/s /b/y=2; stayed"},

		{"a program's save", "new /doc 1", "new /other 9", "new /tmp 2; mv /tmp /doc", "/doc=2 /other=9"},
		{"a program's save against an edit", "new /doc 1", "write /doc 3", "new /tmp 2; mv /tmp /doc", "/doc" + conflict + "=2 /doc=3; copied"},
		{"a program's save against a removal", "new /doc 1", "rm /doc", "new /tmp 2; mv /tmp /doc", "/doc=2; revived"},
		{"a program's save against a rename", "new /doc 1", "mv /doc /report", "new /tmp 2; mv /tmp /doc", "/report=2"},
		{"renamed over a file, which others edited", "new /a 1; new /b 2", "write /a 3", "mv /a /b", "/a=3 /b=1; spared"},
		{"renamed over a symlink", "new /a 1; link /l t", "new /c 3", "mv /a /l", "/c=3 /l=1"},
		{"renamed over an empty folder that no longer is", "mkdir /f; new /f/a 1; mkdir /g", "new /g/b 2", "mv /f /g", "/g /g" + conflict + " /g" + conflict + "/a=1 /g/b=2; spared renamed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, plan := meet(t, c.start, c.first, c.second)
			got := strings.ReplaceAll(w.server.tree(), "\n", " ")
			for i, n := range plan.Notes {
				sep := " "
				if i == 0 {
					sep = "; "
				}
				got += sep + n.What.String()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%+v", diff, plan.Notes)
			}
		})
	}
}

func TestOnlyCommitsThatRemoveOrMoveRestructure(t *testing.T) {
	for _, c := range []struct {
		name, start, do string
		want            bool
		puts, gone      int
	}{
		{"a new file", "", "new /a 1", false, 2, 0},
		{"a file in a new folder", "", "mkdir /f; new /f/a 1", false, 3, 0},
		{"an edit", "new /a 1", "write /a 2", false, 1, 0},
		{"a removal", "new /a 1", "rm /a", true, 1, 1},
		{"a removal of a tree", "mkdir /f; new /f/a 1; new /f/b 2", "rm /f", true, 1, 3},
		{"a rename", "new /a 1", "mv /a /b", true, 1, 0},
		{"a move", "new /a 1; mkdir /f", "mv /a /f/a", true, 2, 0},
		{"a rename of what is new", "", "new /a 1; mv /a /b", false, 2, 0},
		{"a program's save", "new /doc 1", "new /tmp 2; mv /tmp /doc", false, 1, 0},
		{"a rename over a file", "new /a 1; new /b 2", "mv /a /b", true, 2, 1},
		{"something made and removed", "new /x 9", "mkdir /f; new /f/a 1; rm /f", false, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, plan := meet(t, c.start, "", c.do)
			if plan.Restructures != c.want || len(plan.Puts) != c.puts || len(plan.Gone) != c.gone {
				t.Errorf("restructures %v with %d puts and %d gone, want %v, %d, %d", plan.Restructures, len(plan.Puts), len(plan.Gone), c.want, c.puts, c.gone)
			}
		})
	}
}

func TestGoneAreParentsFirst(t *testing.T) {
	w, plan := meet(t, "mkdir /f; mkdir /f/s; new /f/s/a 1; new /f/b 2", "", "rm /f")
	if len(plan.Gone) != 4 || len(w.server.entries) != 5 {
		t.Fatalf("%d gone of %d", len(plan.Gone), len(w.server.entries))
	}
	first := plan.Gone[0].Entry
	for _, g := range plan.Gone[1:] {
		if g.Entry == first {
			t.Error("an entry is gone twice")
		}
	}
	if first[15] != 1 {
		t.Errorf("first gone is %s, want the folder", first)
	}
}

func TestASweepSkipsWhatCameBack(t *testing.T) {
	w := newWorld(1)
	d := w.devices[0]
	d.script(t, "mkdir /f; new /f/a 1; new /f/b 2; new /c 3; sync")
	f, a, b, c := d.find("/f"), d.find("/f/a"), d.find("/f/b"), d.find("/c")
	delete(w.server.entries[root].kids, "f")
	w.server.entries[root].kids["b"] = manifest.Child{Name: "b", Entry: b, Kind: manifest.File}
	w.server.parents = nil
	w.server.entries[f] = entry{version: 2, gone: true}
	got, err := merge.Sweep(t.Context(), w.server, root, []id.Entry{f, a, b, c, {0xee}})
	if want := []merge.Gone{{Entry: a, Version: 2}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestFilesOfEqualContentAreOne(t *testing.T) {
	mine, theirs := fileOf(7), fileOf(7)
	theirs.File.Blocks.Items = []byte("other blocks")
	for _, c := range []struct {
		name  string
		alter func(*merge.Node)
		same  bool
		want  merge.What
	}{
		{"same content", func(*merge.Node) {}, true, merge.Joined},
		{"other content", func(*merge.Node) {}, false, merge.Renamed},
		{"other mode", func(n *merge.Node) { n.File.Executable = true }, true, merge.Renamed},
		{"other time", func(n *merge.Node) { n.Modified++ }, true, merge.Renamed},
		{"other size", func(n *merge.Node) { n.File.Size++ }, true, merge.Renamed},
	} {
		m := newModel()
		other := theirs
		c.alter(&other)
		m.entries[root] = entry{version: 1, node: folderNode(), kids: map[string]manifest.Child{"a": {Name: "a", Entry: id.Entry{1}, Kind: manifest.File}}}
		m.entries[id.Entry{1}] = entry{version: 1, node: other}
		config := (&device{name: "x"}).config()
		config.Same = func(_ context.Context, ours, theirs manifest.FileBody) (bool, error) {
			if ours.Size != theirs.Size {
				t.Errorf("%s: files of %d and %d bytes are compared", c.name, ours.Size, theirs.Size)
			}
			return c.same, nil
		}
		at := merge.Place{Folder: root, Name: "a"}
		ops := []merge.Op{merge.Create{Entry: id.Entry{2}, At: at, Node: mine}}
		plan, err := merge.Rebase(t.Context(), m, &merge.Base{}, ops, config)
		if err != nil || len(plan.Notes) != 1 || plan.Notes[0].What != c.want {
			t.Errorf("%s: %+v, %v", c.name, plan, err)
			continue
		}
		if joined := plan.Became(id.Entry{2}) == (id.Entry{1}); joined != (c.want == merge.Joined) {
			t.Errorf("%s: became %s", c.name, plan.Became(id.Entry{2}))
		}
		// A later edit of what was joined is an edit, not a conflict.
		seen := merge.Seen{Place: at, Node: mine}
		ops = append(ops, merge.Write{Entry: id.Entry{2}, Seen: seen, Now: fileOf(8), Copy: id.Entry{3}})
		plan, err = merge.Rebase(t.Context(), m, &merge.Base{}, ops, config)
		if err != nil || len(plan.Notes) != 1 {
			t.Errorf("%s, then edited: %+v, %v", c.name, plan, err)
		}
	}
}

func TestAJoinedFolderIsUsedByLaterCommits(t *testing.T) {
	w := newWorld(2)
	a, b := w.devices[0], w.devices[1]
	a.script(t, "mkdir /f; new /f/a 1; sync")
	b.script(t, "mkdir /f; new /f/b 2; new /f/c 3")
	if err := b.sync(1); err != nil {
		t.Fatal(err)
	}
	a.script(t, "sync; rm /f; sync")
	b.script(t, "sync")
	if got := strings.ReplaceAll(w.server.tree(), "\n", " "); got != "/f /f/b=2 /f/c=3" {
		t.Errorf("got %s", got)
	}
}

func TestARecordThatLandedIsNotRepeated(t *testing.T) {
	w := newWorld(1)
	d := w.devices[0]
	d.script(t, "mkdir /f; new /f/a 1")
	ops := slices.Clone(d.ops)
	d.script(t, "sync; mv /f/a /b; sync")
	plan, err := merge.Rebase(t.Context(), w.server, &merge.Base{}, ops, d.config())
	if err != nil || len(plan.Puts)+len(plan.Gone) > 0 {
		t.Errorf("got %+v, %v", plan, err)
	}
}

func TestWithholdingKeepsWhatDependsOnTheRefused(t *testing.T) {
	e := func(n byte) id.Entry { return id.Entry{n} }
	at := func(folder byte, name string) merge.Place { return merge.Place{Folder: e(folder), Name: name} }
	ops := []merge.Op{
		merge.Create{Entry: e(10), At: at(1, "a")},
		merge.Create{Entry: e(11), At: at(2, "f")},
		merge.Create{Entry: e(12), At: at(11, "in f")},
		merge.Move{Entry: e(20), Seen: merge.Seen{Place: at(1, "x")}, To: at(3, "y")},
		merge.Move{Entry: e(21), Seen: merge.Seen{Place: at(2, "x")}, To: at(4, "y")},
		merge.Write{Entry: e(30)},
		merge.Write{Entry: e(21)},
		merge.Remove{Entry: e(40), Seen: merge.Seen{Place: at(5, "z")}, Below: map[id.Entry]merge.Seen{e(12): {}}},
	}
	rest, held := merge.Withhold(ops, map[id.Entry]bool{e(2): true})
	if want := []merge.Op{ops[0], ops[3], ops[5]}; !cmp.Equal(rest, want, ignoreMarkers) {
		t.Errorf("rest is %v", rest)
	}
	if want := []merge.Op{ops[1], ops[2], ops[4], ops[6], ops[7]}; !cmp.Equal(held, want, ignoreMarkers) {
		t.Errorf("held are %v", held)
	}
}

func TestLookingBelowSeesEverything(t *testing.T) {
	w := newWorld(1)
	d := w.devices[0]
	d.script(t, "mkdir /f; mkdir /f/s; new /f/s/a 1; new /f/b 2; new /c 3; sync")
	got, err := merge.LookBelow(t.Context(), w.server, d.find("/f"))
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
	want := merge.Seen{Version: 1, Place: merge.Place{Folder: d.find("/f/s"), Name: "a"}}
	if diff := cmp.Diff(want, got[d.find("/f/s/a")], ignoreMarkers); diff != "" {
		t.Error(diff)
	}
	seen, err := merge.Look(t.Context(), w.server, d.find("/c"))
	if err != nil || seen.Node.File.Size != 3 || seen.Place != (merge.Place{Folder: root, Name: "c"}) {
		t.Errorf("got %+v, %v", seen, err)
	}
}

func BenchmarkRebaseAThousandNewFiles(b *testing.B) {
	m := newModel()
	m.entries[root] = entry{version: 1, node: folderNode(), kids: map[string]manifest.Child{}}
	var ops []merge.Op
	for i := range 1000 {
		ops = append(ops, merge.Create{Entry: id.Entry{1, byte(i), byte(i >> 8)}, At: merge.Place{Folder: root, Name: fmt.Sprint(i)}, Node: fileOf(uint64(i))})
	}
	config := (&device{name: "x"}).config()
	for b.Loop() {
		if p, err := merge.Rebase(b.Context(), m, &merge.Base{}, ops, config); err != nil || len(p.Puts) != 1001 {
			b.Fatal(err)
		}
	}
}
