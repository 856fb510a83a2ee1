package files_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/client/workspace"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// file is what a copy has to keep.
type file struct {
	Mode     fs.FileMode
	Size     int64
	Modified time.Time
	Content  string
}

// snapshot returns everything below a folder.
func snapshot(t testing.TB, root string) map[string]file {
	t.Helper()
	all := map[string]file{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := file{Mode: info.Mode(), Modified: info.ModTime()}
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			f.Content, f.Size = string(content), info.Size()
		case info.Mode()&fs.ModeSymlink != 0:
			if f.Content, err = os.Readlink(p); err != nil {
				return err
			}
		}
		name, err := filepath.Rel(root, p)
		all[name] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func makeTree(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "src")
	write := func(name string, n int, mode fs.FileMode) {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		content := make([]byte, n)
		rand.Read(content)
		if err := os.WriteFile(p, content, mode); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("empty", 0, 0o644)
	write("run.sh", 100, 0o755)
	write("a/b/c/deep", 5000, 0o644)
	write("a/large", 3<<20+17, 0o644)
	write("ünïcode/名前", 10, 0o644)
	if err := os.Symlink("../a/large", filepath.Join(root, "ünïcode", "link")); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestTwoPeopleShareAFolder(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	tree := alice.CreateWorkspace("plans")
	src := makeTree(t)
	root, err := tree.Stat(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Import(t.Context(), src, root, "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	alice.Share(tree, bob, record.RoleReader)

	bob.Sync()
	theirs := bob.Tree("plans")
	e, err := theirs.Stat(t.Context(), "/src")
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	if err := theirs.Export(t.Context(), e, dst, files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(snapshot(t, src), snapshot(t, dst)); diff != "" {
		t.Errorf("the copy differs (-source +copy):\n%s", diff)
	}
	var content bytes.Buffer
	large, err := theirs.Stat(t.Context(), "/src/a/large")
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Content(t.Context(), large, &content); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(src, "a/large"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content.Bytes(), want) {
		t.Error("the stream of a large file differs")
	}
}

func TestAWorkspaceIsFoundAfterAnotherOfItsNameIsNotSharedAnyMore(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	first := alice.CreateWorkspace("plans")
	alice.Share(first, bob, record.RoleReader)
	bob.Sync()
	bob.Tree("plans")
	person, err := alice.Find("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Workspace().Unshare(t.Context(), person); err != nil {
		t.Fatal(err)
	}
	bob.Reopen()
	bob.Sync()
	if _, err := files.Open(t.Context(), bob.Session, "plans"); !fault.Is(err, fault.Denied) {
		t.Errorf("a workspace that is not shared any more: got %v", err)
	}
	second, err := workspace.Create(t.Context(), alice.Session, "plans")
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Share(t.Context(), person, record.RoleReader); err != nil {
		t.Fatal(err)
	}
	bob.Sync()
	if got := bob.Tree("plans").Workspace().ID(); got != second.ID() {
		t.Errorf("got workspace %s, want %s", got, second.ID())
	}
}

func TestAPersonWithAWrongClockReadsAndIsToldWhenWriting(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	put(t, alice.CreateWorkspace("plans"), "/notes", "first")
	alice.Place.Config.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	alice.Reopen()
	alice.Sync()
	tree, err := files.Open(t.Context(), alice.Session, "plans")
	if err != nil {
		t.Fatal(err)
	}
	if got := cat(t, tree, "/notes"); got != "first" {
		t.Errorf("got %q", got)
	}
	err = alice.Work(tree, func(ctx context.Context, l *files.Local) error { return l.Mkdir(ctx, "/new", false) })
	if !fault.Is(err, fault.Clock) || fault.HintOf(err) == "" {
		t.Errorf("writing: got %v, want a wrong clock with a hint", err)
	}
	alice.Place.Config.Now = nil
	alice.Reopen()
	alice.Sync()
	want(t, alice.Tree("plans"), "/notes")
}
