package files_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/clienttest"
	"parsec/internal/client/files"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// breaker ends a copy after a number of files.
type breaker struct {
	files.Silent
	left   atomic.Int64
	cancel context.CancelFunc
}

func (b *breaker) Done(n int, _ uint64) {
	if b.left.Add(int64(-n)) <= 0 {
		b.cancel()
	}
}

func TestACopyThatWasBrokenOffGoesOn(t *testing.T) {
	alice, tree := alone(t)
	src := filepath.Join(t.TempDir(), "src")
	for i := range 30 {
		dir := filepath.Join(src, fmt.Sprint("folder ", i%5))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("file ", i)), make([]byte, 1000*i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree.Transfer.Pack = 64 << 10
	tree.CommitSize = 4
	for stop := int64(2); stop < 30; stop += 9 {
		ctx, cancel := context.WithCancel(t.Context())
		b := &breaker{cancel: cancel}
		b.left.Store(stop)
		root, err := tree.Stat(t.Context(), "/")
		if err != nil {
			t.Fatal(err)
		}
		err = tree.ImportAll(ctx, []files.Source{{Path: src, Name: "src"}}, root, files.CopyOptions{Update: true, Progress: b})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		alice.Kill()
		alice.Reopen()
		alice.Sync()
		tree = alice.Tree("plans")
		tree.Transfer.Pack, tree.CommitSize = 64<<10, 4
	}
	root, err := tree.Stat(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.ImportAll(t.Context(), []files.Source{{Path: src, Name: "src"}}, root, files.CopyOptions{Update: true}); err != nil {
		t.Fatal(err)
	}
	e, err := tree.Stat(t.Context(), "/src")
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	for stop := int64(2); stop < 30; stop += 9 {
		ctx, cancel := context.WithCancel(t.Context())
		b := &breaker{cancel: cancel}
		b.left.Store(stop)
		err := tree.Export(ctx, e, dst, files.CopyOptions{Update: true, Progress: b})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		half, err := filepath.Glob(filepath.Join(dst, "*", ".parsec-*"))
		if err != nil || len(half) != 0 {
			t.Fatalf("a broken export left %q, %v", half, err)
		}
	}
	if err := tree.Export(t.Context(), e, dst, files.CopyOptions{Update: true}); err != nil {
		t.Fatal(err)
	}
	got, want := snapshot(t, dst), snapshot(t, src)
	for _, s := range []map[string]file{got, want} { // folders that were made in parts have times of their own
		for name, f := range s {
			if f.Mode.IsDir() {
				delete(s, name)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the copy differs (-source +copy):\n%s", diff)
	}
}

func TestAnotherDeviceOfOnesOwnSeesEverything(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	put(t, tree, "/f", "from the first")
	alice.Reopen()
	alice.Sync()
	second := alice.EnrollDevice()
	second.Sync()
	other := second.Tree("plans")
	if got := cat(t, other, "/f"); got != "from the first" {
		t.Errorf("the second device reads %q", got)
	}
	put(t, other, "/g", "from the second")
	alice.Reopen()
	alice.Sync()
	if got := cat(t, alice.Tree("plans"), "/g"); got != "from the second" {
		t.Errorf("the first device reads %q", got)
	}
	if role := other.Workspace().Role(); role != record.RoleOwner {
		t.Errorf("the second device has role %s", role)
	}
}

func TestAPersonSeesWhenOthersWereHeardLast(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	mine := alice.CreateWorkspace("plans")
	put(t, mine, "/f", "alice's")
	alice.Share(mine, bob, record.RoleContributor)
	if at, ok := mine.Workspace().OthersSeen(); ok {
		t.Errorf("others were heard at %s, before they said anything", at)
	}
	bob.Sync()
	before := time.Now()
	put(t, bob.Tree("plans"), "/g", "bob's")
	alice.Reopen()
	alice.Sync()
	if at, ok := alice.Tree("plans").Workspace().OthersSeen(); !ok || at.Before(before) {
		t.Errorf("others were heard at %s, %v; want after %s", at, ok, before)
	}
}
