package files_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/client/history"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// at returns a tree as it was behind a record.
func at(t testing.TB, tree *files.Tree, index uint64) *files.Tree {
	t.Helper()
	past, err := files.At(t.Context(), tree.Mirror, history.Moment{Index: index})
	if err != nil {
		t.Fatal(err)
	}
	return past
}

func position(tree *files.Tree) uint64 { return tree.Workspace().Log().Position().Index }

func restore(t testing.TB, tree *files.Tree, index uint64, p string, dry bool) (did []string) {
	t.Helper()
	all, err := tree.Restore(t.Context(), at(t, tree, index), p, files.RestoreOptions{DryRun: dry})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		did = append(did, r.What+" "+r.Path)
	}
	return did
}

// state returns what each path of a tree leads to.
func state(t testing.TB, tree *files.Tree) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range paths(t, tree) {
		if e := stat(t, tree, p); e.Kind == manifest.Folder {
			all[p] = "/"
		} else {
			all[p] = fmt.Sprint(e.Manifest.Modified, " ", cat(t, tree, p))
		}
	}
	return all
}

func TestWhatWasThereComesBack(t *testing.T) {
	alice, tree := alone(t)
	work := func(act func(context.Context, *files.Local) error) {
		t.Helper()
		if err := alice.Work(tree, act); err != nil {
			t.Fatal(err)
		}
	}
	work(func(ctx context.Context, l *files.Local) error { return l.Mkdir(ctx, "/a/sub/empty", true) })
	put(t, tree, "/a/x", "1")
	put(t, tree, "/a/sub/y", strings.Repeat("y", 100_000))
	put(t, tree, "/b", "b")
	then, before := position(tree), state(t, tree)
	was, moved := stat(t, tree, "/a/sub/y"), stat(t, tree, "/b")
	put(t, tree, "/a/x", "2")
	put(t, tree, "/a/new", "new")
	work(func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, "/a/sub", true) })
	work(func(ctx context.Context, l *files.Local) error { return l.Move(ctx, "/b", "/c") })

	if diff := cmp.Diff(before, state(t, at(t, tree, then))); diff != "" {
		t.Errorf("the tree then (-want +got):\n%s", diff)
	}
	now := position(tree)
	want := []string{"changed /a/x", "created /a/sub", "created /a/sub/empty", "created /a/sub/y", "created /b"}
	byPath := func(all []string) []string { slices.Sort(all); return all }
	if got := byPath(restore(t, tree, then, "/", true)); !slices.Equal(got, want) || position(tree) != now {
		t.Errorf("a dry run says %q and the log goes from %d to %d", got, now, position(tree))
	}
	sent := alice.Server().Meter().Sent()
	if got := restore(t, tree, then, "/a/sub/y", false); !slices.Equal(got, []string{"created /a/sub", "created /a/sub/y"}) {
		t.Errorf("restoring a file did %q", got)
	}
	if got := byPath(restore(t, tree, then, "/", false)); !slices.Equal(got, []string{"changed /a/x", "created /a/sub/empty", "created /b"}) {
		t.Errorf("restoring the rest did %q", got)
	}
	if n := alice.Server().Meter().Sent() - sent; n > 20_000 {
		t.Errorf("%d bytes were sent", n)
	}
	after := state(t, tree)
	if got, want := after["/a/new"], after["/c"]; !strings.HasSuffix(got, "new") || !strings.HasSuffix(want, "b") {
		t.Errorf("what came later is %q and %q", got, want)
	}
	delete(after, "/a/new")
	delete(after, "/c")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	if got := stat(t, tree, "/a/sub/y"); got.ID != was.ID || got.Version.Number <= was.Version.Number {
		t.Errorf("a removed file is back as entry %v in version %d, and was %v in version %d", got.ID, got.Version.Number, was.ID, was.Version.Number)
	}
	if got := stat(t, tree, "/b"); got.ID == moved.ID || stat(t, tree, "/c").ID != moved.ID {
		t.Error("what was moved is not where it was moved to")
	}
	now = position(tree)
	if got := restore(t, tree, then, "/", false); got != nil || position(tree) != now {
		t.Errorf("a second time did %q", got)
	}
	bob := alice.EnrollDevice()
	bob.Sync()
	if diff := cmp.Diff(state(t, tree), state(t, bob.Tree("plans"))); diff != "" {
		t.Errorf("another device (-want +got):\n%s", diff)
	}
}

func TestManyFoldersComeTogether(t *testing.T) {
	alice, tree := alone(t)
	dir := t.TempDir()
	for i := range 60 {
		folder := filepath.Join(dir, fmt.Sprint("folder ", i), "inner")
		if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "file"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Import(t.Context(), dir, stat(t, tree, "/"), "all", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	then := position(tree)
	if err := alice.Work(tree, func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, "/all", true) }); err != nil {
		t.Fatal(err)
	}
	before := alice.Server().Meter().Requests()
	if all := paths(t, at(t, tree, then)); len(all) != 181 {
		t.Errorf("%d entries are listed", len(all))
	}
	listed := alice.Server().Meter().Requests()
	if n := listed - before; n > 20 {
		t.Errorf("listing 121 folders took %d requests", n)
	}
	if did := restore(t, tree, then, "/", true); len(did) != 181 {
		t.Errorf("%d entries would be restored", len(did))
	}
	if n := alice.Server().Meter().Requests() - listed; n > 6 {
		t.Errorf("comparing 121 folders took %d requests", n)
	}
}

func TestRestoreRefusesWhatItCannotDo(t *testing.T) {
	alice, tree := alone(t)
	put(t, tree, "/file", "1")
	put(t, tree, "/other", "1")
	then := position(tree)
	err := alice.Work(tree, func(ctx context.Context, l *files.Local) error {
		if err := l.Remove(ctx, "/file", false); err != nil {
			return err
		}
		return l.Mkdir(ctx, "/file", false)
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, tree, "/other", "2")
	past := at(t, tree, then)
	did, err := tree.Restore(t.Context(), past, "/", files.RestoreOptions{})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "plans:/file") || len(did) != 1 || cat(t, tree, "/other") != "1" {
		t.Errorf("over a folder: %v, after %v", err, did)
	}
	if _, err := tree.Restore(t.Context(), past, "/nothing", files.RestoreOptions{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("of nothing: %v", err)
	}
	reader := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, reader, record.RoleReader)
	reader.Sync()
	theirs := reader.Tree("plans")
	if _, err := theirs.Restore(t.Context(), at(t, theirs, then), "/other", files.RestoreOptions{}); !fault.Is(err, fault.Denied) {
		t.Errorf("by a reader: %v", err)
	}
}

// change does something at random.
func change(ctx context.Context, r *rand.Rand, alice *clienttest.Person, tree *files.Tree, n int) error {
	name := func() string { return string(rune('a' + r.IntN(3))) }
	p := path.Join("/", name(), name())
	switch r.IntN(4) {
	case 0, 1:
		into, at, err := tree.Destination(ctx, p, "")
		if err != nil {
			return alice.Work(tree, func(ctx context.Context, l *files.Local) error { return l.Mkdir(ctx, path.Dir(p), true) })
		}
		return tree.ImportStream(ctx, strings.NewReader(fmt.Sprint("content ", n)), into, at, files.CopyOptions{})
	case 2:
		return alice.Work(tree, func(ctx context.Context, l *files.Local) error { return l.Move(ctx, p, path.Join("/", name())) })
	}
	return alice.Work(tree, func(ctx context.Context, l *files.Local) error { return l.Remove(ctx, path.Join("/", name()), true) })
}

func TestAnyStateComesBack(t *testing.T) {
	alice, tree := alone(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	states := map[uint64]map[string]string{}
	for n := range 11 {
		_ = change(t.Context(), r, alice, tree, n) // much of it makes no sense
		if err := tree.Pull(t.Context()); err != nil {
			t.Fatal(err)
		}
		states[position(tree)] = state(t, tree)
	}
	indexes := slices.Sorted(maps.Keys(states))
	r.Shuffle(len(indexes), func(i, j int) { indexes[i], indexes[j] = indexes[j], indexes[i] })
	for _, i := range indexes[:min(4, len(indexes))] {
		before := state(t, tree)
		past := at(t, tree, i)
		if diff := cmp.Diff(states[i], state(t, past)); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
		_, err := tree.Restore(t.Context(), past, "/", files.RestoreOptions{})
		if err != nil && !fault.Is(err, fault.Conflict) {
			t.Fatal(err)
		}
		after := state(t, tree)
		for p, was := range states[i] {
			if kept := before[p]; after[p] != was && (err == nil || kept == "" || (kept == "/") == (was == "/")) && !below(before, states[i], p) {
				t.Errorf("after restoring record %d, %s is %q, and was %q", i, p, after[p], was)
			}
		}
		for p, kept := range before {
			if _, was := states[i][p]; !was && after[p] != kept {
				t.Errorf("after restoring record %d, %s is %q, and was %q before", i, p, after[p], kept)
			}
		}
		if did, _ := tree.Restore(t.Context(), past, "/", files.RestoreOptions{DryRun: true}); len(did) > 0 {
			t.Errorf("restoring record %d a second time would do %v", i, did)
		}
	}
}

// below reports whether something else than a folder is above a path now, where a
// folder was.
func below(now, then map[string]string, p string) bool {
	for p = path.Dir(p); p != "/"; p = path.Dir(p) {
		if kind, there := now[p]; there && kind != "/" && then[p] == "/" {
			return true
		}
	}
	return false
}
