package files_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/client/audit"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// alone returns a person with a workspace on a server of their own.
func alone(t testing.TB) (*clienttest.Person, *files.Tree) {
	t.Helper()
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	return alice, alice.CreateWorkspace("plans")
}

// put writes a file of the workspace.
func put(t testing.TB, tree *files.Tree, path, content string) {
	t.Helper()
	into, name, err := tree.Destination(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.ImportStream(t.Context(), strings.NewReader(content), into, name, files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
}

// mkdir makes a folder of the workspace, and those above it.
func mkdir(t testing.TB, tree *files.Tree, path string) {
	t.Helper()
	into := stat(t, tree, "/")
	empty := t.TempDir()
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if err := tree.Import(t.Context(), empty, into, name, files.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
		into = stat(t, tree, into.Path+"/"+name)
	}
}

// work changes the workspace as commands do.
func work(t testing.TB, p *clienttest.Person, tree *files.Tree, act func(context.Context, *files.Local) error) {
	t.Helper()
	if err := p.Work(tree, act); err != nil {
		t.Fatal(err)
	}
}

// cat returns the content of a file of the workspace.
func cat(t testing.TB, tree *files.Tree, path string) string {
	t.Helper()
	e, err := tree.Stat(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tree.Content(t.Context(), e, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// paths returns all paths of the workspace.
func paths(t testing.TB, tree *files.Tree) []string {
	t.Helper()
	root, err := tree.Stat(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	if err := files.Walk(t.Context(), tree, root, func(e files.Entry) error { all = append(all, e.Path); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all[1:]
}

func want(t testing.TB, tree *files.Tree, expected ...string) {
	t.Helper()
	if got := paths(t, tree); !slices.Equal(got, expected) {
		t.Errorf("the workspace holds %q, want %q", got, expected)
	}
}

func TestFilesAreMovedReplacedAndRemoved(t *testing.T) {
	alice, tree := alone(t)
	mkdir(t, tree, "/a/b")
	put(t, tree, "/a/one", "1")
	put(t, tree, "/a/two", "2")
	want(t, tree, "/a", "/a/b", "/a/one", "/a/two")
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error { return l.Move(ctx, "/a/one", "/a/b") })
	want(t, tree, "/a", "/a/b", "/a/b/one", "/a/two")
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error { return l.Move(ctx, "/a/two", "/a/b/one") })
	want(t, tree, "/a", "/a/b", "/a/b/one")
	if got := cat(t, tree, "/a/b/one"); got != "2" {
		t.Errorf("a file moved over another holds %q", got)
	}
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error {
		if err := l.Move(ctx, "/a", "/a/b/c"); !fault.Is(err, fault.Usage) {
			t.Errorf("moving a folder into itself: %v", err)
		}
		if err := l.Move(ctx, "/a/b", "/c"); err != nil {
			return err
		}
		if err := l.Remove(ctx, "/c", false); !fault.Is(err, fault.Usage) {
			t.Errorf("removing a folder without recursion: %v", err)
		}
		return nil
	})
	want(t, tree, "/a", "/c", "/c/one")
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, "/c", true) })
	want(t, tree, "/a")
	if _, err := tree.Stat(t.Context(), "/c/one"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a removed file: %v", err)
	}
	put(t, tree, "/c", "again")
	alice.Reopen()
	alice.Sync()
	want(t, alice.Tree("plans"), "/a", "/c")
	report, err := audit.Verify(t.Context(), alice.Tree("plans"), files.Silent{})
	if err != nil || len(report.Failures) != 0 || report.Manifests != 3 || report.Blocks != 1 || report.Bytes != 5 {
		t.Errorf("verification: %+v, %v", report, err)
	}
}

func TestACopyWithinAWorkspaceUploadsNothing(t *testing.T) {
	alice, tree := alone(t)
	src := makeTree(t)
	root, err := tree.Stat(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Import(t.Context(), src, root, "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	from, err := tree.Stat(t.Context(), "/src")
	if err != nil {
		t.Fatal(err)
	}
	sent := alice.Server().Meter().Sent()
	if err := tree.Copy(t.Context(), from, root, "copy", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := alice.Server().Meter().Sent() - sent; n > 32<<10 {
		t.Errorf("copying 3 MB sent %d bytes", n)
	}
	from, err = tree.Stat(t.Context(), "/copy")
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	if err := tree.Export(t.Context(), from, dst, files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := snapshot(t, dst), snapshot(t, src); len(got) != len(want) || got["a/large"] != want["a/large"] {
		t.Error("the copy differs")
	}
}

func TestUpdateCopiesOnlyWhatChanged(t *testing.T) {
	alice, tree := alone(t)
	src := makeTree(t)
	root, err := tree.Stat(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	update := files.CopyOptions{Update: true}
	for range 2 {
		if err := tree.Import(t.Context(), src, root, "src", update); err != nil {
			t.Fatal(err)
		}
	}
	at := tree.Workspace().Log().Position().Index
	if at != 2 {
		t.Errorf("an import of the same tree made %d commits", at-2)
	}
	if err := os.WriteFile(filepath.Join(src, "empty"), []byte("not any more"), 0o600); err != nil {
		t.Fatal(err)
	}
	sent := alice.Server().Meter().Sent()
	if err := tree.Import(t.Context(), src, root, "src", update); err != nil {
		t.Fatal(err)
	}
	if n := alice.Server().Meter().Sent() - sent; n > 8<<10 {
		t.Errorf("an import of one changed file sent %d bytes", n)
	}
	if got := cat(t, tree, "/src/empty"); got != "not any more" {
		t.Errorf("the changed file holds %q", got)
	}
	e, err := tree.Stat(t.Context(), "/src/empty")
	if err != nil || e.Version.Number != 2 {
		t.Errorf("the changed file has version %d, %v; want 2", e.Version.Number, err)
	}
}

func TestTwoCopiesAtOnceBothSucceed(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	mine := alice.CreateWorkspace("plans")
	alice.Share(mine, bob, record.RoleContributor)
	bob.Sync()
	theirs := bob.Tree("plans")

	group, ctx := errgroup.WithContext(t.Context())
	const each = 12
	empty := t.TempDir()
	for who, tree := range map[string]*files.Tree{"alice": mine, "bob": theirs} {
		group.Go(func() error { return putMany(ctx, tree, empty, who, each) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	alice.Reopen()
	bob.Reopen()
	alice.Sync()
	bob.Sync()
	a, b := paths(t, alice.Tree("plans")), paths(t, bob.Tree("plans"))
	if !slices.Equal(a, b) {
		t.Fatalf("the two see different trees: %q and %q", a, b)
	}
	if len(a) != 1+2*each {
		t.Errorf("%d entries; want a folder and %d files: %q", len(a), 2*each, a)
	}
}

func TestTwoFilesOfOneNameAreBothKept(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	mine := alice.CreateWorkspace("plans")
	alice.Share(mine, bob, record.RoleContributor)
	bob.Sync()
	theirs := bob.Tree("plans")
	put(t, mine, "/f", "alice's")
	put(t, theirs, "/f", "bob's") // who has not seen alice's
	got := paths(t, theirs)
	if len(got) != 2 || got[0] != "/f" || !strings.HasPrefix(got[1], "/f (conflict, new of bob@example.com, ") {
		t.Fatalf("the workspace holds %q", got)
	}
	if a, b := cat(t, theirs, "/f"), cat(t, theirs, got[1]); a != "alice's" || b != "bob's" {
		t.Errorf("the first keeps the name: got %q and %q", a, b)
	}
}

// putMany writes files of one's own into a folder that both make, a commit each.
func putMany(ctx context.Context, tree *files.Tree, empty, who string, n int) error {
	root, err := tree.Stat(ctx, "/")
	if err == nil {
		err = tree.Import(ctx, empty, root, "shared", files.CopyOptions{})
	}
	if err != nil {
		return err
	}
	for i := range n {
		folder, err := tree.Stat(ctx, "/shared")
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s-%d", who, i)
		content := make([]byte, 100)
		rand.Read(content)
		if err := tree.ImportStream(ctx, bytes.NewReader(content), folder, name, files.CopyOptions{}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func TestAFileThatIsGoneOrNoFileIsSkippedAndTheRestGoesOn(t *testing.T) {
	_, tree := alone(t)
	src := makeTree(t)
	if err := os.WriteFile(filepath.Join(src, "not\xffutf8"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := tree.Stat(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Import(t.Context(), src, root, "src", files.CopyOptions{})
	if err == nil || !strings.Contains(err.Error(), "1 entry was not copied") {
		t.Errorf("got %v", err)
	}
	want(t, tree, "/src", "/src/a", "/src/a/b", "/src/a/b/c", "/src/a/b/c/deep", "/src/a/large", "/src/empty", "/src/run.sh", "/src/ünïcode", "/src/ünïcode/link", "/src/ünïcode/名前")
}

func TestARevokedReaderReadsNoMoreAndTheKeyRotates(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	tree := alice.CreateWorkspace("plans")
	put(t, tree, "/f", "before")
	alice.Share(tree, bob, record.RoleReader)
	bob.Sync()
	if got := cat(t, bob.Tree("plans"), "/f"); got != "before" {
		t.Errorf("bob reads %q", got)
	}
	if _, err := alice.RevokeUser(t.Context(), "bob@example.com"); err != nil {
		t.Fatal(err)
	}
	put(t, tree, "/f", "after")
	if g := tree.Workspace().Log().Generation(); g != 2 {
		t.Errorf("generation %d after a revocation, want 2", g)
	}
	err := bob.Held.Sync(t.Context())
	if !fault.Is(err, fault.Denied) && !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a revoked user: %v, want permission denied", err)
	}
}

func TestNothingIsWrittenThroughALinkThatAnExportMade(t *testing.T) {
	alice, tree := alone(t)
	ctx := t.Context()
	outside, src, dst := t.TempDir(), filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(src, "drop")); err != nil {
		t.Fatal(err)
	}
	root, err := tree.Stat(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Import(ctx, src, root, "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	export := func() error {
		from, err := tree.Stat(ctx, "/src")
		if err != nil {
			t.Fatal(err)
		}
		return tree.Export(ctx, from, dst, files.CopyOptions{})
	}
	if err := export(); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(dst, "drop")); err != nil || target != outside {
		t.Fatalf("the link points to %q, %v", target, err)
	}
	// Now a folder takes the link's place, and a file the place below it.
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error {
		return errors.Join(l.Remove(ctx, "/src/drop", false), l.Mkdir(ctx, "/src/drop", false))
	})
	put(t, tree, "/src/drop/evil", "gotcha")
	if err := export(); !fault.Is(err, fault.Conflict) {
		t.Errorf("a folder in a link's place: %v, want a conflict", err)
	}
	if there, err := os.ReadDir(outside); err != nil || len(there) != 0 {
		t.Errorf("the folder outside holds %v, %v", there, err)
	}
}

func TestAFolderIsRemovedByOneCommitWhateverIsInIt(t *testing.T) {
	alice, tree := alone(t)
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error {
		for i := range 30 {
			if err := l.Mkdir(ctx, fmt.Sprintf("/many/%d/below", i), true); err != nil {
				return err
			}
		}
		return l.Mkdir(ctx, "/stays", false)
	})
	before := tree.Workspace().Log().Position().Index
	bulk := func() (*files.Tree, error) { return tree, nil }
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error {
		if done, err := l.RemoveAtOnce(ctx, "/many", bulk); !done || err != nil {
			t.Errorf("removed at once: %v, %v", done, err)
		}
		return nil
	})
	want(t, tree, "/stays")
	if n := tree.Workspace().Log().Position().Index - before; n != 1 {
		t.Errorf("%d commits removed one folder", n)
	}
	work(t, alice, tree, func(ctx context.Context, l *files.Local) error {
		if err := l.Mkdir(ctx, "/stays/own", false); err != nil {
			return err
		}
		if done, err := l.RemoveAtOnce(ctx, "/stays", bulk); done || err != nil {
			t.Errorf("with work that is only here, removed at once: %v, %v", done, err)
		}
		return l.Remove(ctx, "/stays", true)
	})
	want(t, tree)
}
