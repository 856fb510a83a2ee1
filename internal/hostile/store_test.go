package hostile_test

import (
	"crypto/sha256"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/client/session"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/hostile"
	"parsec/internal/verify"
)

func TestAttack16_BlocksTakenAndNotStored(t *testing.T) {
	s := newScene(t)
	s.proxy.Answer(pack.UploadPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", pack.MediaType)
	})
	s.broken(s.bob, transfer.PromiseStored, s.write("/new.txt", "gone"))
}

// accepts has the proxy say that a record was taken, and place it nowhere.
func accepts(p *hostile.Proxy, procedure string, at func(record []byte) record.Position) {
	p.Answer(hostile.Path(procedure), func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var raw []byte
		switch procedure {
		case "WorkspaceService/Commit":
			var q parsecv1.CommitRequest
			_ = proto.Unmarshal(body, &q)
			raw = q.GetRecord()
		case "WorkspaceService/Append":
			var q parsecv1.WorkspaceAppendRequest
			_ = proto.Unmarshal(body, &q)
			raw = q.GetRecord()
		default:
			var q parsecv1.OrganizationAppendRequest
			_ = proto.Unmarshal(body, &q)
			raw = q.GetRecord()
		}
		head := at(raw)
		answer, _ := proto.Marshal(&parsecv1.Appended{Position: &parsecv1.Position{Index: head.Index, Head: head.Head[:]}})
		w.Header().Set("Content-Type", "application/proto")
		w.Write(answer)
	})
}

func anywhere([]byte) record.Position { return record.Position{Index: 1000, Head: record.Head{1}} }

func TestAttack16_CommitTakenAndPlacedNowhere(t *testing.T) {
	s := newScene(t)
	accepts(s.proxy, "WorkspaceService/Commit", anywhere)
	before := s.facts(s.bob)
	s.breaks(verify.RuleSequence.String(), s.write("/new.txt", "gone")(s.bob))
	after := s.facts(s.bob)
	after.Blocks = before.Blocks // which are there and belong to nothing
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("something was written or remembered (-before +after):\n%s", diff)
	}
	s.heals(s.bob, s.write("/new.txt", "here"))
	s.ok(s.read(first().and("/new.txt", "here"))(s.alice))
}

func TestAttack16_RotationTakenAndPlacedNowhere(t *testing.T) {
	s := newScene(t)
	s.alice.ToServer(s.proxy.URL)
	rotate := func(p *clienttest.Person) error {
		tree, err := s.open(p)
		if err != nil {
			return err
		}
		return tree.Workspace().Rotate(t.Context())
	}
	accepts(s.proxy, "WorkspaceService/Append", anywhere)
	s.broken(s.alice, verify.RuleSequence.String(), rotate)
	s.ok(s.read(first())(s.bob))
}

func TestAttack16_RevocationTakenAndPlacedNowhere(t *testing.T) {
	s := newScene(t)
	s.alice.ToServer(s.proxy.URL)
	revoke := func(p *clienttest.Person) error {
		if err := p.Held.Sync(t.Context()); err != nil {
			return err
		}
		_, err := p.RevokeUser(t.Context(), "bob@example.com")
		return err
	}
	accepts(s.proxy, "OrganizationService/Append", anywhere)
	s.broken(s.alice, verify.RuleSequence.String(), revoke)
}

// The server may say exactly where the record would stand. Then only the next
// look at the log tells, as after a rollback.
func TestAttack16_CommitTakenForgottenLater(t *testing.T) {
	s := newScene(t)
	tree, err := s.open(s.bob)
	s.ok(err)
	at := tree.Workspace().Log().Position()
	accepts(s.proxy, "WorkspaceService/Commit", func(raw []byte) record.Position { return at.Next(sha256.Sum256(raw)) })
	s.ok(s.write("/new.txt", "forgotten")(s.bob))
	s.proxy.Honest()
	s.bob.Reopen()
	s.breaks(session.PromiseNoRollback, s.read(first())(s.bob))
	s.breaks(session.PromiseNoRollback, s.write("/other.txt", "onto less")(s.bob))
	s.ok(s.read(first())(s.alice))
}

// links has Bob add symlinks beside the first entries.
func (w *world) links(all map[string]string) {
	w.Helper()
	children := []manifest.Child{w.folderChild(), w.notesChild()}
	var changes []change
	for name, target := range all {
		e := id.New[id.Entry]()
		children = append(children, w.child(name, e, manifest.Symlink))
		changes = append(changes, change{entry: e, parent: w.root, name: name, body: manifest.SymlinkBody{Target: target}})
	}
	sortChildren(children)
	w.signed(w.bob, true, append(changes, w.rootChange(children...))...)
}

// A chain of links each of which stays inside does so as a whole; a loop is
// copied as it is and followed by nobody.
func TestAttack15_ChainsAndLoopsOfLinks(t *testing.T) {
	w := newWorld(t)
	w.links(map[string]string{"a": "b", "b": "c", "c": "folder/deep.txt", "self": "self", "up": "folder"})
	dest := t.TempDir()
	w.ok(w.export(w.alice, dest))
	want := map[string]string{
		"plans/notes.txt": "first draft", "plans/folder/deep.txt": "far below",
		"plans/a": "-> b", "plans/b": "-> c", "plans/c": "-> folder/deep.txt", "plans/self": "-> self", "plans/up": "-> folder",
	}
	if diff := cmp.Diff(want, w.local(dest)); diff != "" {
		t.Errorf("the export differs (-want +got):\n%s", diff)
	}
}

// Whatever links stand at the destination, nothing is written through them.
func TestAttack15_LinksThatStandAtTheDestination(t *testing.T) {
	s := newScene(t)
	for name, plant := range map[string]string{
		"in place of the folder": "plans/folder", "in place of a file": "plans/notes.txt", "in place of the whole": "plans",
	} {
		t.Run(name, func(t *testing.T) {
			outside, dest := t.TempDir(), t.TempDir()
			s.ok(os.WriteFile(filepath.Join(outside, "kept"), []byte("kept"), 0o600))
			target := outside
			if filepath.Ext(plant) == ".txt" {
				target = filepath.Join(outside, "kept")
			}
			s.ok(os.MkdirAll(filepath.Dir(filepath.Join(dest, plant)), 0o755))
			s.ok(os.Symlink(target, filepath.Join(dest, plant)))
			_ = s.export(s.alice, dest) // it may refuse, or replace the link
			if diff := cmp.Diff(map[string]string{"kept": "kept"}, s.local(outside)); diff != "" {
				t.Errorf("something was written outside (-want +got):\n%s", diff)
			}
		})
	}
}

// A file comes with a name that a link of the same workspace has, so that it
// could be written through it: names are unique in a folder, whoever signs.
func TestAttack15_FileBelowALink(t *testing.T) {
	w := newWorld(t)
	outside := t.TempDir()
	link, below := id.New[id.Entry](), id.New[id.Entry]()
	w.signed(w.bob, true,
		w.rootChange(w.folderChild(), w.child("link", link, manifest.Symlink), w.child("link", below, manifest.Folder), w.notesChild()),
		change{entry: link, parent: w.root, name: "link", body: manifest.SymlinkBody{Target: "folder"}},
		change{entry: below, parent: w.root, name: "link", body: folderOf(w.child("deep.txt", w.deep, manifest.File))})
	dest := t.TempDir()
	_ = w.export(w.alice, dest)
	if got := w.local(outside); len(got) != 0 {
		t.Errorf("something was written outside: %v", got)
	}
	if got := w.local(dest); len(got) != 0 { // the root folder that says so is none
		t.Errorf("the export left %v", got)
	}
}

// Imports copy links as links: what they point to is not read.
func TestAttack15_ImportFollowsNoLink(t *testing.T) {
	s := newScene(t)
	src := t.TempDir()
	s.ok(os.Symlink("/etc/passwd", filepath.Join(src, "link")))
	s.ok(os.Symlink("..", filepath.Join(src, "up")))
	root, err := s.plans.Stat(t.Context(), "/")
	s.ok(err)
	s.ok(s.plans.Import(t.Context(), src, root, "imported", files.CopyOptions{}))
	s.ok(s.read(first().and("/imported/", "").and("/imported/link", "-> /etc/passwd").and("/imported/up", "-> .."))(s.bob))
}
