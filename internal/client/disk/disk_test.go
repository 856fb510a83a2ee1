package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/disk"
)

// destination returns one in which there are a folder, a file, and links to
// what is beside it.
func destination(t *testing.T) (d *disk.Destination, dir, outside string) {
	t.Helper()
	dir, outside = t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "folder"), 0o755),
		os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o644),
		os.WriteFile(filepath.Join(outside, "file"), []byte("not mine"), 0o644),
		os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := disk.Into(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	})
	return d, dir, outside
}

func write(d *disk.Destination, path, content string, modified time.Time) error {
	f, err := d.Create(path, uint64(len(content)), false)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		return err
	}
	return f.Finish(modified)
}

func names(t *testing.T, dir string) int {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestAFileReplacesAFileOrALinkAndNothingElse(t *testing.T) {
	d, dir, outside := destination(t)
	at := time.Unix(1e9, 5)
	for _, path := range []string{"file", "link", "new", "folder/new"} {
		if err := write(d, path, "fresh", at); err != nil {
			t.Error(err)
		}
		info, err := os.Lstat(filepath.Join(dir, path))
		if err != nil || !info.Mode().IsRegular() || !info.ModTime().Equal(at) || info.Size() != 5 {
			t.Errorf("%s: got %v, %v", path, info, err)
		}
	}
	if err := write(d, "folder", "fresh", at); !fault.Is(err, fault.Conflict) {
		t.Errorf("over a folder: got %v", err)
	}
	if err := write(d, "out/file", "fresh", at); err == nil {
		t.Error("a file was written outside")
	}
	if got, err := os.ReadFile(filepath.Join(outside, "file")); err != nil || string(got) != "not mine" {
		t.Errorf("what was outside is %q, %v", got, err)
	}
	if n := names(t, dir); n != 5 {
		t.Errorf("%d entries are there, want 5", n)
	}
}

func TestAFolderReplacesNothing(t *testing.T) {
	d, _, outside := destination(t)
	for path, conflict := range map[string]bool{"folder": false, "another": false, "file": true, "link": true, "out": true} {
		if err := d.Folder(path); fault.Is(err, fault.Conflict) != conflict || err != nil && !conflict {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if err := d.Folder("out/deep"); err == nil {
		t.Error("a folder was made outside")
	}
	if n := names(t, outside); n != 1 {
		t.Errorf("%d entries outside, want 1", n)
	}
}

func TestALinkReplacesAFileOrALinkAndNothingElse(t *testing.T) {
	d, dir, _ := destination(t)
	at := time.Unix(1e9, 5)
	for _, path := range []string{"file", "link", "new"} {
		if err := d.Link(path, "folder/target", at); err != nil {
			t.Error(err)
		}
		info, err := os.Lstat(filepath.Join(dir, path))
		if err != nil || info.Mode()&fs.ModeSymlink == 0 || !info.ModTime().Equal(at) {
			t.Errorf("%s: got %v, %v", path, info, err)
		}
	}
	if err := d.Link("folder", "x", at); !fault.Is(err, fault.Conflict) {
		t.Errorf("over a folder: got %v", err)
	}
	if err := d.Link("out/link", "x", at); err == nil {
		t.Error("a link was made outside")
	}
}

func TestFoldersGetTheirTimesAtTheEnd(t *testing.T) {
	d, dir, _ := destination(t)
	at := time.Unix(1e9, 0)
	if err := errors.Join(d.Folder("folder/in it")); err != nil {
		t.Fatal(err)
	}
	d.KeepTime("folder", at)
	d.KeepTime("not there", at)
	d.KeepTime("folder/in it", at)
	if err := write(d, "folder/in it/file", "x", at); err != nil {
		t.Fatal(err)
	}
	if err := d.SetTimes(); err == nil {
		t.Error("a folder that is not there got a time")
	}
	for _, path := range []string{"folder", "folder/in it"} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || !info.ModTime().Equal(at) {
			t.Errorf("%s: got %v, %v", path, info.ModTime(), err)
		}
	}
}

func TestWhatIsUnfinishedIsGone(t *testing.T) {
	d, dir, _ := destination(t)
	before := names(t, dir)
	dropped, err := d.Create("dropped", 10, false)
	if err == nil {
		err = dropped.Discard()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"one", "two", "folder/three"} {
		if _, err := d.Create(path, 1<<40, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n, below := names(t, dir), names(t, filepath.Join(dir, "folder")); n != before || below != 0 {
		t.Errorf("%d entries are there, and %d in the folder; want %d and none", n, below, before)
	}
}

func TestAFileTooLargeForTheDiskIsLeftOut(t *testing.T) {
	d, dir, _ := destination(t)
	before := names(t, dir)
	if _, err := d.Create("huge", 1<<64-1, false); err == nil || fault.Is(err, fault.Full) {
		t.Errorf("got %v: what follows is not concerned", err)
	}
	if n := names(t, dir); n != before {
		t.Errorf("%d entries are there, want %d", n, before)
	}
}
