//go:build unix

package files_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parsec/internal/client/files"
)

func TestAnUpdateWithinAWorkspaceSeesThatALinkPointsElsewhere(t *testing.T) {
	_, tree := alone(t)
	ctx := t.Context()
	src, at := t.TempDir(), time.Unix(1e9, 0)
	folder := filepath.Join(src, "folder")
	lay(t, src, map[string]string{"folder/plain": "1"})
	link := func(target string) {
		name := filepath.Join(folder, "link")
		os.Remove(name)
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		times := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
		if err := tree.Import(ctx, folder, stat(t, tree, "/"), "folder", files.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"one", "two"} {
		link(target)
		err := tree.Copy(ctx, stat(t, tree, "/folder"), stat(t, tree, "/"), "copy", files.CopyOptions{Update: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := stat(t, tree, "/copy/link").Target(); got != target {
			t.Errorf("the copy's link points to %q, want %q", got, target)
		}
	}
}
