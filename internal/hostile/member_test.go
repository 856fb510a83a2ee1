package hostile_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/client/audit"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/client/remote"
	"parsec/internal/client/transfer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// change is what a member signs about an entry, true or not.
type change struct {
	entry  id.Entry
	parent id.Entry
	name   string
	body   manifest.Body
	// raw is the sealed manifest, where it is to be anything at all.
	raw []byte
	// edit makes the manifest say something else than the commit.
	edit func(*manifest.Manifest)
}

// signed has a member commit changes that the program would never make. What
// is wrong is under the member's own signature; the server cannot see it.
func (s *scene) signed(member *clienttest.Person, restructures bool, changes ...change) {
	s.Helper()
	ctx := s.Context()
	tree, err := s.open(member)
	s.ok(err)
	ws := tree.Workspace()
	key, err := ws.Newest(ctx)
	s.ok(err)
	commit := record.Commit{Generation: ws.Log().Generation(), Restructures: restructures}
	var manifests [][]byte
	for _, c := range changes {
		newest, err := member.Local().Cache.Newest(ctx, ws.ID(), []id.Entry{c.entry})
		s.ok(err)
		m := manifest.Manifest{
			Entry: c.entry, Version: newest[0].Number + 1, Author: member.Device().Device,
			Parent: c.parent, Name: c.name, Created: 1, Modified: 1,
		}
		said := record.Change{Entry: m.Entry, Version: m.Version, Base: m.Version}
		if c.edit != nil {
			c.edit(&m)
		}
		if c.raw == nil {
			c.raw, _ = key.SealManifest(m, c.body)
		}
		digest := sha256.Sum256(c.raw)
		said.Manifest = digest[:]
		commit.Changes, manifests = append(commit.Changes, said), append(manifests, c.raw)
	}
	s.ok(s.sendCommit(member, ws, commit, manifests))
}

// sendCommit signs a commit as a member and brings it to the server, without
// asking the member's own program whether it may be.
func (s *scene) sendCommit(member *clienttest.Person, ws *workspace.Workspace, c record.Commit, manifests [][]byte) error {
	d := member.Device()
	raw := member.Sign(record.WorkspaceLog(d.Organization, ws.ID()),
		record.Seen{Organization: member.Organization().Position(), Workspace: ws.Log().Position()},
		ws.Log().Sequence(d.Device)+1, ws.Log().Time(), c)
	_, err := member.Server().Commit(s.Context(), ws.ID(), remote.Commit{Record: raw, Manifests: manifests})
	return err
}

// folderOf is the body of a folder with these children.
func folderOf(children ...manifest.Child) manifest.FolderBody {
	return manifest.FolderBody{Children: manifest.List{Items: manifest.EncodeItems(children)}}
}

func fileOf(refs ...manifest.Ref) manifest.FileBody {
	b := manifest.FileBody{Blocks: manifest.List{Items: manifest.EncodeItems(refs)}}
	for _, r := range refs {
		b.Size += r.Size
	}
	return b
}

// world is the entries of a scene, for those who write about them.
type world struct {
	*scene
	root, notes, folder, deep id.Entry
}

func newWorld(t *testing.T) *world {
	s := newScene(t)
	return &world{s, s.plans.Root(), s.entryOf("/notes.txt"), s.entryOf("/folder"), s.entryOf("/folder/deep.txt")}
}

func (w *world) child(name string, e id.Entry, k manifest.Kind) manifest.Child {
	return manifest.Child{Name: name, Entry: e, Kind: k}
}

func (w *world) folderChild() manifest.Child { return w.child("folder", w.folder, manifest.Folder) }
func (w *world) notesChild() manifest.Child  { return w.child("notes.txt", w.notes, manifest.File) }
func (w *world) deepChild() manifest.Child   { return w.child("deep.txt", w.deep, manifest.File) }

// rootChange is a new version of the root folder.
func (w *world) rootChange(children ...manifest.Child) change {
	return change{entry: w.root, body: folderOf(children...)}
}

func (w *world) folderChange(children ...manifest.Child) change {
	return change{entry: w.folder, parent: w.root, name: "folder", body: folderOf(children...)}
}

// hides has Bob sign changes, and expects that everybody, whether they have
// followed all along or come new, is shown the same and told whose fault it is
// that there is no more; and that the others can work on.
func (w *world) hides(want sight, reason string, changes ...change) {
	w.Helper()
	w.signed(w.bob, true, changes...)
	w.agree(want, reason)
	then := w.plans.Workspace().Log().Position().Index
	w.ok(w.write("/work.txt", "goes on")(w.alice))
	w.ok(w.read(want.and("/work.txt", "goes on"))(w.bob))
	for _, p := range []*clienttest.Person{w.alice, w.bob} {
		got, err := w.lookBack(p, then)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			w.Errorf("%s is shown something else of what was there then: %v (-want +got):\n%s", p.Device().Email, err, diff)
		}
	}
}

// agree expects that all are shown the same, and told the same reason.
func (w *world) agree(want sight, reason string) {
	w.Helper()
	people := map[string]*clienttest.Person{"alice, who followed": w.alice, "bob, who did it": w.bob}
	name := fmt.Sprintf("carol-%s@example.com", strings.ToLower(rand.Text()[:6]))
	people["a newcomer"] = w.newcomer(name)
	for who, p := range people {
		got, err := w.look(p)
		if err != nil {
			w.Errorf("%s: %v", who, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("%s is shown something else (-want +got):\n%s", who, diff)
		}
		if reason != "" {
			w.named(who, p, reason)
		}
	}
}

// named expects a problem with this reason, which names Bob.
func (w *world) named(who string, p *clienttest.Person, reason string) {
	w.Helper()
	tree, err := w.open(p)
	w.ok(err)
	problems, err := audit.Problems(w.Context(), tree)
	w.ok(err)
	for _, f := range problems {
		if strings.Contains(f.Reason, reason) && strings.Contains(f.Reason, "bob@example.com") {
			return
		}
	}
	w.Errorf("%s has the problems %v, want one that says %q and names bob@example.com", who, problems, reason)
}

func TestAttack12_MemberMakesACycle(t *testing.T) {
	w := newWorld(t)
	w.hides(first(), "contains the folder",
		w.folderChange(w.deepChild(), w.child("up", w.folder, manifest.Folder)))
	tree, err := w.open(w.alice)
	w.ok(err)
	w.ok(w.alice.Work(tree, func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, "/folder", true) }))
	w.ok(w.read(sight{"//": "", "/notes.txt": "first draft", "/work.txt": "goes on"})(w.bob))
}

func TestAttack12_MemberMakesACycleOfTwo(t *testing.T) {
	w := newWorld(t)
	inner := id.New[id.Entry]()
	w.hides(first().and("/folder/inner/", ""), "contains the folder",
		w.folderChange(w.deepChild(), w.child("inner", inner, manifest.Folder)),
		change{entry: inner, parent: w.folder, name: "inner", body: folderOf(w.child("up", w.folder, manifest.Folder))})
}

func TestAttack12_MemberHangsTheRootBelowAFolder(t *testing.T) {
	w := newWorld(t)
	w.hides(first(), "contains the folder",
		w.folderChange(w.deepChild(), w.child("root", w.root, manifest.Folder)))
}

func TestAttack12_MemberDetachesACycle(t *testing.T) {
	w := newWorld(t)
	inner := id.New[id.Entry]()
	w.signed(w.bob, true, w.rootChange(w.notesChild()),
		w.folderChange(w.child("inner", inner, manifest.Folder)),
		change{entry: inner, parent: w.folder, name: "inner", body: folderOf(w.child("up", w.folder, manifest.Folder))})
	want := sight{"//": "", "/notes.txt": "first draft"}
	for _, p := range []*clienttest.Person{w.alice, w.bob, w.newcomer("carol@example.com")} {
		w.ok(w.read(want)(p))
		w.ok(w.write("/work-of-"+p.Device().Email, "goes on")(p))
		want = want.and("/work-of-"+p.Device().Email, "goes on")
	}
}

func TestAttack12_MemberGivesAFileTwoParents(t *testing.T) {
	w := newWorld(t)
	w.hides(first(), "in another folder",
		w.folderChange(w.deepChild(), w.child("stolen.txt", w.notes, manifest.File)))
	tree, err := w.open(w.alice)
	w.ok(err)
	w.ok(w.alice.Work(tree, func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, "/folder", true) })) // with what is in it, and nothing else
	w.ok(w.read(sight{"//": "", "/notes.txt": "first draft", "/work.txt": "goes on"})(w.bob))
}

func TestAttack12_MemberGivesAFileTwoNames(t *testing.T) {
	w := newWorld(t)
	w.hides(first(), "in another folder",
		w.rootChange(w.folderChild(), w.notesChild(), w.child("twin.txt", w.notes, manifest.File)))
}

func TestAttack12_MemberGivesAFolderTwoParents(t *testing.T) {
	w := newWorld(t)
	inner := id.New[id.Entry]()
	w.hides(first().and("/inner/", ""), "in another folder",
		w.rootChange(w.folderChild(), w.child("inner", inner, manifest.Folder), w.notesChild()),
		change{entry: inner, parent: w.root, name: "inner", body: folderOf(w.child("stolen", w.folder, manifest.Folder))})
}

func TestAttack12_MemberNamesWhatLeavesTheTree(t *testing.T) {
	w := newWorld(t)
	for _, v := range []variant[string]{
		{"the folder above", ".."},
		{"the folder itself", "."},
		{"a path", "../../outside"},
		{"nothing", ""},
		{"a NUL", "a\x00b"},
		{"an over-long name", strings.Repeat("n", 256)},
		{"what is not UTF-8", "\xff"},
	} {
		t.Run(v.name, func(t *testing.T) {
			in := *w.scene
			in.T = t
			on := &world{&in, w.root, w.notes, w.folder, w.deep}
			on.signed(w.bob, false, w.folderChange(w.child(v.lie, w.deep, manifest.File)))
			on.ok(on.read(sight{"//": "", "/notes.txt": "first draft", "/folder/": ""})(w.bob))
			on.named("bob, who did it", w.bob, "open entry")
		})
	}
	w.agree(sight{"//": "", "/notes.txt": "first draft", "/folder/": ""}, "open entry")
	w.ok(w.write("/folder/new.txt", "healed")(w.alice))
	w.agree(sight{"//": "", "/notes.txt": "first draft", "/folder/": "", "/folder/new.txt": "healed"}, "")
}

func TestAttack12_MemberNamesAnEntryThatNeverWas(t *testing.T) {
	w := newWorld(t)
	w.hides(first(), "missing or malformed",
		w.folderChange(w.deepChild(), w.child("nothing.txt", id.New[id.Entry](), manifest.File)))
}

func TestAttack12_MemberNamesAFolderAsAFile(t *testing.T) {
	w := newWorld(t)
	w.hides(sight{"//": "", "/notes.txt": "first draft"}, "not what its folder says",
		w.rootChange(w.child("folder", w.folder, manifest.File), w.notesChild()))
}

func TestAttack12_MemberSealsNonsense(t *testing.T) {
	w := newWorld(t)
	nonsense := make([]byte, 300)
	rand.Read(nonsense)
	w.hides(sight{"//": "", "/folder/": "", "/folder/deep.txt": "far below"}, "sealed under another key",
		change{entry: w.notes, raw: nonsense})
}

func TestAttack12_MemberSealsAnotherManifest(t *testing.T) {
	w := newWorld(t)
	want := sight{"//": "", "/folder/": "", "/folder/deep.txt": "far below"}
	for _, v := range []variant[func(*manifest.Manifest)]{
		{"of another version", func(m *manifest.Manifest) { m.Version += 7 }},
		{"of another author", func(m *manifest.Manifest) { m.Author = id.New[id.Device]() }},
	} {
		t.Run(v.name, func(t *testing.T) {
			w.signed(w.bob, false, change{entry: w.notes, parent: w.root, name: "notes.txt", body: fileOf(), edit: v.lie})
			w.ok(w.read(want)(w.bob))
		})
	}
	w.agree(want, "written by device")
}

// The root folder is everybody's: whoever makes its manifest unusable empties
// it, which a contributor may do anyway, but the others can go on.
func TestAttack12_MemberSealsNonsenseAsTheRootFolder(t *testing.T) {
	w := newWorld(t)
	nonsense := make([]byte, 300)
	rand.Read(nonsense)
	w.hides(sight{"//": ""}, "sealed under another key", change{entry: w.root, raw: nonsense})
}

func TestAttack12_MemberSignsADeltaOnAWrongBase(t *testing.T) {
	s := newScene(t)
	tree, err := s.open(s.bob)
	s.ok(err)
	before := s.facts(s.alice)
	root, sealed := tree.Root(), []byte("a delta")
	newest, err := s.bob.Local().Cache.Newest(t.Context(), s.workspace(), []id.Entry{root})
	s.ok(err)
	digest := sha256.Sum256(sealed)
	err = s.sendCommit(s.bob, tree.Workspace(), record.Commit{Generation: 1, Changes: []record.Change{
		{Entry: root, Version: newest[0].Number + 1, Base: newest[0].Base + 1, Manifest: digest[:]},
	}}, [][]byte{sealed})
	if err == nil {
		t.Error("the server took a delta on a wrong base")
	}
	if diff := cmp.Diff(before, s.facts(s.alice)); diff != "" {
		t.Errorf("something was written (-before +after):\n%s", diff)
	}
}

func TestAttack12_MemberWritesWhatOnlyANewerProgramKnows(t *testing.T) {
	w := newWorld(t)
	kind := manifest.Kind(9)
	w.hides(sight{"//": "", "/notes.txt": "first draft", "/folder/": ""}, "unknown kind",
		w.folderChange(w.deepChild(), w.child("new", id.New[id.Entry](), kind)))
}

// A folder whose pages are not there cannot be told from one whose pages the
// server withholds. Only that folder cannot be read.
func TestAttack12_MemberNamesPagesThatAreNotThere(t *testing.T) {
	w := newWorld(t)
	lost := manifest.Page{Ref: manifest.Ref{ID: id.New[id.Block](), Size: 100, Key: [32]byte{1}}, Span: 1}
	c := w.folderChange()
	c.body = manifest.FolderBody{Children: manifest.List{Depth: 1, Pages: []manifest.Page{lost}}}
	w.signed(w.bob, true, c)
	for _, p := range []*clienttest.Person{w.alice, w.newcomer("carol@example.com")} {
		tree, err := w.open(p)
		w.ok(err)
		root, err := tree.Stat(t.Context(), "/")
		w.ok(err)
		all, err := tree.List(t.Context(), root)
		w.ok(err)
		if len(all) != 2 {
			t.Errorf("the root folder shows %d entries, want 2", len(all))
		}
		w.ok(put(t.Context(), tree, "/notes.txt", "goes on"))
		folder, err := tree.Stat(t.Context(), "/folder")
		w.ok(err)
		_, err = tree.List(t.Context(), folder)
		w.breaks(transfer.PromiseStored, err)
	}
}

// A file whose key, size or content its author got wrong is left out of an
// export; the others are copied.
func TestAttack12_MemberRefersToABlockWrongly(t *testing.T) {
	w := newWorld(t)
	right := w.refOf(w.plans, "/notes.txt")
	for _, v := range []variant[func(*manifest.Ref)]{
		{"with another key", func(r *manifest.Ref) { r.Key[0] ^= 1 }},
		{"with another size", func(r *manifest.Ref) { r.Size += 1000 }},
		{"with another digest", func(r *manifest.Ref) { r.Digest[0] ^= 1 }},
		{"that is not there", func(r *manifest.Ref) { r.ID = id.New[id.Block]() }},
	} {
		t.Run(v.name, func(t *testing.T) {
			ref, dest := right, t.TempDir()
			v.lie(&ref)
			w.signed(w.bob, false, change{entry: w.notes, parent: w.root, name: "notes.txt", body: fileOf(ref)})
			if err := w.export(w.alice, dest); err == nil || !strings.Contains(err.Error(), "notes.txt") {
				t.Errorf("got %v, want an error that names the file", err)
			}
			if diff := cmp.Diff(map[string]string{"plans/folder/deep.txt": "far below"}, w.local(dest)); diff != "" {
				t.Errorf("the export left something else (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAttack15_SymlinksThatLeadOut(t *testing.T) {
	w := newWorld(t)
	link := id.New[id.Entry]()
	w.signed(w.bob, true, w.rootChange(w.folderChild(), w.child("link", link, manifest.Symlink), w.notesChild()))
	for _, v := range []variant[string]{
		{"absolute", "/etc/passwd"},
		{"above the root", "../outside"},
		{"above by a name", "folder/../../outside"},
		{"far above", "../../../../../../etc/passwd"},
		{"through a dot", "./../../outside"},
	} {
		t.Run(v.name, func(t *testing.T) {
			w.signed(w.bob, false, change{entry: link, parent: w.root, name: "link", body: manifest.SymlinkBody{Target: v.lie}})
			dest := t.TempDir()
			w.ok(w.export(w.alice, dest)) // the link as it is, and nothing through it
			want := map[string]string{"plans/notes.txt": "first draft", "plans/folder/deep.txt": "far below", "plans/link": "-> " + v.lie}
			if diff := cmp.Diff(want, w.local(dest)); diff != "" {
				t.Errorf("the export left something else (-want +got):\n%s", diff)
			}
		})
	}
}

func sortChildren(all []manifest.Child) {
	slices.SortFunc(all, func(a, b manifest.Child) int { return strings.Compare(a.Name, b.Name) })
}
