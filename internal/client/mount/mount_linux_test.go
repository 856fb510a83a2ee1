package mount_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/history"
	"parsec/internal/client/mount"
	"parsec/internal/client/syncer"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// desk is a person's device with its drive.
type desk struct {
	t      testing.TB
	person *clienttest.Person
	all    *syncer.Device
	mount  *mount.Mount
	// dir is where the workspace "plans" is.
	dir string
}

// sit opens the workspaces of a person and mounts them. Everything is closed again
// before the server that was there then.
func sit(t testing.TB, p *clienttest.Person) *desk {
	t.Helper()
	return sitFor(t, p, 300*time.Millisecond)
}

// sitFor does so, and has reads wait for the server for as long as is said.
func sitFor(t testing.TB, p *clienttest.Person, patience time.Duration) *desk {
	t.Helper()
	all, err := syncer.OpenDevice(t.Context(), p.Session, syncer.DeviceConfig{
		Folder: p.Folder(), Files: filesystem.Config{Patience: patience, Space: space},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := all.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &desk{t: t, person: p, all: all}
	d.ok(all.Discover(t.Context()))
	dir := t.TempDir()
	d.mount = d.start(dir, filesystem.Options{}, mount.Config{})
	d.dir = filepath.Join(dir, "plans")
	return d
}

func space(context.Context) (filesystem.Space, error) {
	return filesystem.Space{Total: 1 << 30, Free: 1 << 20}, nil
}

func (d *desk) start(dir string, opts filesystem.Options, cfg mount.Config) *mount.Mount {
	d.t.Helper()
	m, err := mount.Start(d.all.Files().View(opts), dir, cfg)
	d.ok(err)
	d.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return m
}

func (d *desk) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// alone returns somebody with the one workspace "plans".
func alone(t testing.TB) *desk {
	t.Helper()
	p := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	p.CreateWorkspace("plans")
	return sit(t, p)
}

// two returns two people who share the workspace "plans".
func two(t testing.TB, role record.Role) (a, b *desk) {
	t.Helper()
	return twoFor(t, role, 300*time.Millisecond)
}

func twoFor(t testing.TB, role record.Role, patience time.Duration) (a, b *desk) {
	t.Helper()
	alice := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, bob, role)
	return sitFor(t, alice, patience), sitFor(t, bob, patience)
}

// workspace returns which one "plans" is.
func (d *desk) workspace() id.Workspace {
	d.t.Helper()
	s, err := d.all.Find("plans")
	d.ok(err)
	return s.Workspace().ID()
}

// sync syncs the workspace "plans" until nothing is left.
func (d *desk) sync() {
	d.t.Helper()
	s, err := d.all.Find("plans")
	d.ok(err)
	d.ok(s.Finish(d.t.Context()))
}

// pass has one desk send what it has, and the others fetch it.
func (d *desk) pass(others ...*desk) {
	d.t.Helper()
	d.sync()
	for _, o := range others {
		o.sync()
	}
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(name, content string) {
	d.t.Helper()
	d.ok(os.WriteFile(d.path(name), []byte(content), 0o600))
}

func (d *desk) read(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	d.ok(err)
	return string(b)
}

func (d *desk) open(name string, flags int) *os.File {
	d.t.Helper()
	f, err := os.OpenFile(d.path(name), flags, 0o600)
	d.ok(err)
	d.t.Cleanup(func() { f.Close() })
	return f
}

func (d *desk) names(name string) []string {
	d.t.Helper()
	all, err := os.ReadDir(d.path(name))
	d.ok(err)
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.Name()
	}
	return names
}

func (d *desk) stat(name string) unix.Stat_t {
	d.t.Helper()
	var s unix.Stat_t
	d.ok(unix.Lstat(d.path(name), &s))
	return s
}

// eventually waits until a condition holds: what others change is told to the
// kernel soon, not at once.
func (d *desk) eventually(what string, holds func() bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			d.t.Fatalf("%s: it never was so", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// shows waits until a file has a content.
func (d *desk) shows(name, content string) {
	d.t.Helper()
	d.eventually(name+" shows "+content[:min(20, len(content))], func() bool {
		b, err := os.ReadFile(d.path(name))
		return err == nil && string(b) == content
	})
}

func TestADriveIsAFileSystem(t *testing.T) {
	d := alone(t)
	d.ok(os.MkdirAll(d.path("a/b"), 0o700))
	d.write("a/b/file", "content")
	d.ok(os.Symlink("b/file", d.path("a/link")))
	if got := d.read("a/link"); got != "content" {
		t.Errorf("read %q through a symlink", got)
	}
	f := d.open("a/b/file", os.O_RDWR|os.O_APPEND)
	if _, err := f.WriteString(", and more"); err != nil {
		t.Fatal(err)
	}
	d.ok(f.Truncate(9))
	d.ok(f.Sync())
	d.ok(f.Close())
	if got := d.read("a/b/file"); got != "content, " {
		t.Errorf("read %q", got)
	}
	before := d.stat("a/b/file")
	d.ok(os.Rename(d.path("a/b"), d.path("c")))
	after := d.stat("c/file")
	if before.Ino != after.Ino {
		t.Errorf("inode number %d became %d by a rename of the folder", before.Ino, after.Ino)
	}
	d.ok(os.Chmod(d.path("c/file"), 0o755))
	at := time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)
	d.ok(os.Chtimes(d.path("c/file"), at, at))
	info, err := os.Stat(d.path("c/file"))
	d.ok(err)
	if info.Mode() != 0o700 || !info.ModTime().Equal(at) || info.Size() != 9 {
		t.Errorf("stat: %v, %v, %d bytes", info.Mode(), info.ModTime(), info.Size())
	}
	if diff := cmp.Diff([]string{"a", "c"}, d.names(".")); diff != "" {
		t.Error(diff)
	}
	d.ok(os.RemoveAll(d.path("c")))
	if _, err := os.Stat(d.path("c")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was removed: %v", err)
	}
	var s unix.Statfs_t
	d.ok(unix.Statfs(d.dir, &s))
	if s.Namelen != 255 || s.Blocks*uint64(s.Bsize) != 1<<30 || s.Bavail*uint64(s.Bsize) != 1<<20 {
		t.Errorf("statfs: %+v", s)
	}
	d.eventually("the folder of all workspaces is as new as what is in it", func() bool {
		info, err := os.Stat(filepath.Dir(d.dir))
		return err == nil && time.Since(info.ModTime()) < time.Hour
	})
}

func TestWhatWasNotThereAppearsWhenOthersMakeIt(t *testing.T) {
	a, b := two(t, record.RoleContributor)
	a.ok(os.Mkdir(a.path("folder"), 0o700))
	a.pass(b)
	for _, name := range []string{"new", "folder/new"} {
		if _, err := os.Stat(b.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat %s: %v before anybody made it", name, err)
		}
		a.write(name, "by Alice")
		a.pass(b)
		b.shows(name, "by Alice")
		b.ok(os.Remove(b.path(name)))
		if _, err := os.Stat(b.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat %s: %v after it was removed", name, err)
		}
		b.pass(a)
		a.eventually(name+" is gone", func() bool {
			_, err := os.Stat(a.path(name))
			return errors.Is(err, fs.ErrNotExist)
		})
		a.write(name, "again")
		a.pass(b)
		b.shows(name, "again")
	}
}

func TestWhatAWorkspaceCannotHoldIsRefused(t *testing.T) {
	d := alone(t)
	d.write("file", "content")
	d.write("other", "content")
	d.ok(os.Symlink("../../outside", d.path("out")))
	file := d.open("file", os.O_RDWR)
	at := func(name string) string { return d.path(name) }
	for what, c := range map[string]struct {
		err  error
		want syscall.Errno
	}{
		"a hard link":             {unix.Link(at("file"), at("hard")), unix.EPERM},
		"a pipe":                  {unix.Mkfifo(at("pipe"), 0o600), unix.EPERM},
		"a device":                {unix.Mknod(at("device"), unix.S_IFCHR|0o600, 0), unix.EPERM},
		"another owner":           {unix.Chown(at("file"), 12345, -1), unix.EPERM},
		"to swap two":             {unix.Renameat2(unix.AT_FDCWD, at("file"), unix.AT_FDCWD, at("other"), unix.RENAME_EXCHANGE), unix.EINVAL},
		"a rename over something": {unix.Renameat2(unix.AT_FDCWD, at("file"), unix.AT_FDCWD, at("other"), unix.RENAME_NOREPLACE), unix.EEXIST},
		"a name that is too long": {unix.Mkdir(at(strings.Repeat("x", 256)), 0o700), unix.ENAMETOOLONG},
		"a name that is no text":  {unix.Mkdir(at("\xff"), 0o700), unix.EILSEQ},
		"a symlink that leads out": {func() error {
			_, err := unix.Readlink(at("out"), make([]byte, 100))
			return err
		}(), unix.EACCES},
		"an attribute of one's own": {unix.Setxattr(at("file"), "user.mine", []byte("x"), 0), unix.EOPNOTSUPP},
		"an attribute of parsec's":  {unix.Setxattr(at("file"), "user.parsec.status", []byte("x"), 0), unix.EPERM},
		"a part cut out":            {unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP},
		"a workspace":               {unix.Mkdir(filepath.Join(filepath.Dir(d.dir), "new"), 0o700), unix.EPERM},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	if got := d.names("."); !slices.Equal(got, []string{"file", "other", "out"}) {
		t.Errorf("something was made: %q", got)
	}
}

func TestAnOpenFileGoesOnWithoutAName(t *testing.T) {
	d := alone(t)
	d.write("file", "content")
	f := d.open("file", os.O_RDWR)
	d.ok(os.Remove(d.path("file")))
	if _, err := f.WriteAt([]byte("CONTENT and"), 0); err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	d.ok(err)
	b, err := io.ReadAll(again)
	if string(b) != "CONTENT and" || err != nil {
		t.Errorf("read %q, %v through another handle", b, err)
	}
	d.ok(again.Close())
	d.ok(f.Chmod(0o700))
	d.ok(f.Truncate(3))
	info, err := f.Stat()
	d.ok(err)
	if info.Size() != 3 || info.Sys().(*syscall.Stat_t).Nlink != 0 {
		t.Errorf("stat: %d bytes, %d names", info.Size(), info.Sys().(*syscall.Stat_t).Nlink)
	}
	d.write("file", "another")
	d.ok(f.Close())
	if got := d.read("file"); got != "another" {
		t.Errorf("read %q", got)
	}
}

func TestARenameOverKeepsEachOpenFile(t *testing.T) {
	d := alone(t)
	d.write("old", "old content")
	d.write("new", "new")
	old, renamed := d.open("old", os.O_RDONLY), d.open("new", os.O_RDWR)
	number := d.stat("new").Ino
	d.ok(os.Rename(d.path("new"), d.path("old")))
	if got := d.stat("old").Ino; got != number {
		t.Errorf("the file that moved has inode number %d, had %d", got, number)
	}
	if b, err := io.ReadAll(old); string(b) != "old content" || err != nil {
		t.Errorf("who had the old one open reads %q, %v", b, err)
	}
	if _, err := renamed.WriteAt([]byte(" one, longer than the old"), 3); err != nil {
		t.Fatal(err)
	}
	d.ok(renamed.Close())
	if got := d.read("old"); got != "new one, longer than the old" {
		t.Errorf("read %q", got)
	}
	for i := range 50 { // as an office program saves
		d.write("temporary", fmt.Sprintf("version %d", i))
		d.ok(os.Rename(d.path("temporary"), d.path("old")))
		if got := d.read("old"); got != fmt.Sprintf("version %d", i) {
			t.Fatalf("read %q after saving version %d", got, i)
		}
	}
}

func TestWhatIsWrittenIsNoHole(t *testing.T) {
	d := alone(t)
	f := d.open("file", os.O_RDWR|os.O_CREATE)
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	seek := func(off int64, whence int) int64 {
		t.Helper()
		at, err := unix.Seek(int(f.Fd()), off, whence)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	// The kernel has not written it to anybody yet.
	if data := seek(0, unix.SEEK_DATA); data > 1<<20 || data == 0 {
		t.Errorf("data begins at %d", data)
	}
	if hole := seek(1<<20, unix.SEEK_HOLE); hole != 1<<20+3 {
		t.Errorf("it ends at %d", hole)
	}
	if hole := seek(0, unix.SEEK_HOLE); hole != 0 {
		t.Errorf("the hole begins at %d", hole)
	}
	if _, err := unix.Seek(int(f.Fd()), 1<<20+3, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		t.Errorf("behind the end: %v", err)
	}
	d.ok(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 1<<20, 2))
	b := make([]byte, 3)
	if _, err := f.ReadAt(b, 1<<20); err != nil || string(b) != "\x00\x00d" {
		t.Errorf("read %q, %v where a hole was punched", b, err)
	}
}

func TestLocksHoldBetweenPrograms(t *testing.T) {
	d := alone(t)
	d.write("file", "content")
	a, b := d.open("file", os.O_RDWR), d.open("file", os.O_RDWR)
	d.ok(unix.Flock(int(a.Fd()), unix.LOCK_EX))
	if err := unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("lock what is locked: %v", err)
	}
	var waiting errgroup.Group
	waiting.Go(func() error { return unix.Flock(int(b.Fd()), unix.LOCK_EX) })
	d.ok(a.Close()) // gives it back
	d.ok(waiting.Wait())
	c := d.open("file", os.O_RDWR)
	// Locks of open file descriptions differ within a process.
	lock := unix.Flock_t{Type: unix.F_WRLCK, Len: 4}
	d.ok(unix.FcntlFlock(b.Fd(), unix.F_OFD_SETLK, &lock))
	if err := unix.FcntlFlock(c.Fd(), unix.F_OFD_SETLK, &lock); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("lock a part that is locked: %v", err)
	}
	other := unix.Flock_t{Type: unix.F_WRLCK, Start: 4, Len: 4}
	d.ok(unix.FcntlFlock(c.Fd(), unix.F_OFD_SETLK, &other))
}

func TestAttributesTellHowAFileStands(t *testing.T) {
	d := alone(t)
	d.write("file", "content")
	get := func(name string) string {
		t.Helper()
		b := make([]byte, 100)
		n, err := unix.Getxattr(d.path("file"), name, b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return string(b[:n])
	}
	if got := get("user.parsec.status"); got != "pending" {
		t.Errorf("before it was sent: %q", got)
	}
	if _, err := unix.Getxattr(d.path("file"), "user.parsec.author", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("the author of what was never sent: %v", err)
	}
	d.sync()
	if got := get("user.parsec.status"); got != "synced" {
		t.Errorf("after it was sent: %q", got)
	}
	if v, a := get("user.parsec.version"), get("user.parsec.author"); v != "1" || !strings.Contains(a, "alice@example.com") {
		t.Errorf("version %q of %q", v, a)
	}
	b := make([]byte, 1000)
	n, err := unix.Listxattr(d.path("file"), b)
	d.ok(err)
	if got := bytes.Count(b[:n], []byte("user.parsec.")); got != 3 {
		t.Errorf("listed %q", b[:n])
	}
}

func TestChangesOfOthersAppear(t *testing.T) {
	a, b := two(t, record.RoleContributor)
	a.ok(os.Mkdir(a.path("folder"), 0o700))
	a.write("folder/file", "short")
	a.write("folder/gone", "content")
	a.pass(b)
	b.shows("folder/file", "short")
	b.shows("folder/gone", "content")
	number := b.stat("folder/file").Ino
	long := strings.Repeat("much longer than before ", 1000)
	a.write("folder/file", long)
	a.ok(os.Remove(a.path("folder/gone")))
	a.write("folder/new", "content")
	a.pass(b)
	b.shows("folder/file", long)
	b.eventually("the size grew", func() bool { return b.stat("folder/file").Size == int64(len(long)) })
	if got := b.stat("folder/file").Ino; got != number {
		t.Errorf("inode number %d became %d", number, got)
	}
	b.shows("folder/new", "content")
	b.eventually("it is gone", func() bool {
		_, err := os.Stat(b.path("folder/gone"))
		return errors.Is(err, fs.ErrNotExist)
	})
	a.write("folder/file", "short again")
	a.ok(os.Rename(a.path("folder"), a.path("other")))
	a.pass(b)
	b.shows("other/file", "short again")
	b.eventually("the old name is gone", func() bool { return slices.Equal(b.names("."), []string{"other"}) })
}

func TestWhoHasAFileOpenKeepsItsVersion(t *testing.T) {
	for name, next := range map[string]string{
		"it grows":   strings.Repeat("the next version ", 10_000),
		"it shrinks": "next",
	} {
		t.Run(name, func(t *testing.T) {
			a, b := two(t, record.RoleContributor)
			first := strings.Repeat("first version ", 5_000)
			a.write("file", first)
			a.pass(b)
			reader := b.open("file", os.O_RDONLY)
			head := make([]byte, 14)
			if _, err := reader.Read(head); err != nil {
				t.Fatal(err)
			}
			a.write("file", next)
			a.pass(b)
			b.shows("file", next)
			rest, err := io.ReadAll(reader)
			if got := string(head) + string(rest); got != first || err != nil {
				t.Errorf("who had it open read %d bytes, %v, of %d", len(got), err, len(first))
			}
			b.shows("file", next) // what was read above is in the kernel's memory now
		})
	}
}

func TestWhatIsWrittenToAnOldVersionIsNotLost(t *testing.T) {
	a, b := two(t, record.RoleContributor)
	a.write("file.txt", "first")
	a.pass(b)
	writer := b.open("file.txt", os.O_RDWR)
	if _, err := writer.WriteAt([]byte("Bob's, longer"), 0); err != nil {
		t.Fatal(err)
	}
	a.write("file.txt", "Alice's")
	a.pass(b)
	if _, err := writer.WriteAt([]byte("!"), 13); err != nil {
		t.Fatal(err)
	}
	b.ok(writer.Close())
	b.pass(a)
	b.sync()
	for who, d := range map[string]*desk{"Alice": a, "Bob": b} {
		d.shows("file.txt", "Alice's")
		var copies []string
		d.eventually(who+" sees a copy", func() bool {
			copies = slices.DeleteFunc(d.names("."), func(n string) bool { return n == "file.txt" })
			return len(copies) == 1
		})
		if got := d.read(copies[0]); got != "Bob's, longer!" {
			t.Errorf("%s reads %q in %s", who, got, copies[0])
		}
	}
}

func TestReadersAreToldThatItIsReadOnly(t *testing.T) {
	a, b := two(t, record.RoleReader)
	a.write("file", "content")
	a.pass(b)
	b.shows("file", "content")
	if _, err := os.OpenFile(b.path("file"), os.O_WRONLY, 0); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write as a reader: %v", err)
	}
	if mode := b.stat("file").Mode & 0o777; mode != 0o400 {
		t.Errorf("it seems to be %o", mode)
	}
	dir := t.TempDir()
	a.start(dir, filesystem.Options{Workspace: a.workspace(), ReadOnly: true}, mount.Config{ReadOnly: true})
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o700); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write to what is mounted to be read: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "file")); string(b) != "content" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestTwoMountsOfADeviceSeeTheSame(t *testing.T) {
	d := alone(t)
	dir := t.TempDir()
	d.start(dir, filesystem.Options{Workspace: d.workspace()}, mount.Config{})
	other := &desk{t: t, dir: dir}
	d.write("file", "first")
	other.shows("file", "first")
	for i := range 20 {
		content := strings.Repeat("x", i*1000+1)
		d.write("temporary", content)
		d.ok(os.Rename(d.path("temporary"), d.path("file")))
		other.shows("file", content)
	}
	d.ok(os.Remove(d.path("file")))
	other.eventually("it is gone", func() bool { return len(other.names(".")) == 0 })
}

func TestNothingHangsWithoutTheServer(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, bob, record.RoleContributor)
	a, b := sit(t, alice), sit(t, bob)
	content := strings.Repeat("content ", 1<<12)
	a.write("file", content)
	a.pass(b)
	server.Stop()
	b.eventually("it is listed", func() bool { return slices.Equal(b.names("."), []string{"file"}) })
	if got := b.stat("file").Size; got != int64(len(content)) {
		t.Errorf("the file has %d bytes", got)
	}
	if _, err := os.ReadFile(b.path("file")); !errors.Is(err, syscall.EIO) {
		t.Errorf("read what is not here: %v", err)
	}
	b.write("own", "written meanwhile")
	if got := b.read("own"); got != "written meanwhile" {
		t.Errorf("read %q", got)
	}
	servertest.Start(t, servertest.Config{Dir: server.Dir, Listen: server.URL[len("http://"):]})
	b.shows("file", content)
}

func TestAnUnmountWritesEverything(t *testing.T) {
	d := alone(t)
	f := d.open("file", os.O_RDWR|os.O_CREATE)
	if _, err := f.WriteString("not closed"); err != nil {
		t.Fatal(err)
	}
	if err := mount.Unmount(filepath.Dir(d.dir)); err == nil || !strings.Contains(err.Error(), "open") {
		t.Errorf("unmount what is in use: %v", err)
	}
	d.ok(d.mount.Close())
	if _, err := os.Stat(d.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
	if err := mount.Unmount(filepath.Dir(d.dir)); err == nil {
		t.Error("unmounted what is not mounted")
	}
	dir := t.TempDir()
	d.start(dir, filesystem.Options{Workspace: d.workspace()}, mount.Config{})
	if b, err := os.ReadFile(filepath.Join(dir, "file")); string(b) != "not closed" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestAFolderMustBeEmptyAndThere(t *testing.T) {
	d := alone(t)
	view := d.all.Files().View(filesystem.Options{})
	full := t.TempDir()
	d.ok(os.WriteFile(filepath.Join(full, "file"), nil, 0o600))
	for _, dir := range []string{full, filepath.Join(full, "none"), filepath.Join(full, "file"), filepath.Dir(d.dir)} {
		if m, err := mount.Start(view, dir, mount.Config{}); err == nil {
			t.Errorf("mounted on %s: %v", dir, m.Close())
		}
	}
}

func TestTheKernelForgetsAndSoDoesTheMount(t *testing.T) {
	d := alone(t)
	before := d.mount.Known()
	for i := range 200 {
		d.write(fmt.Sprint(i), "content")
	}
	for i := range 200 {
		d.ok(os.Remove(d.path(fmt.Sprint(i))))
	}
	d.eventually("they are forgotten", func() bool { return d.mount.Known() <= before+1 }) // and the workspace's root
}

func TestManyProgramsWorkAtOnce(t *testing.T) {
	a, b := two(t, record.RoleContributor)
	a.ok(os.Mkdir(a.path("shared"), 0o700))
	a.pass(b)
	b.eventually("it is there", func() bool { return len(b.names(".")) == 1 })
	var group errgroup.Group
	for w := range 8 {
		d := []*desk{a, b}[w%2]
		group.Go(func() error {
			for i := range 14 {
				name := d.path(fmt.Sprintf("shared/%d-%d", w, i%7))
				content := []byte(strings.Repeat(fmt.Sprint(i), 1+i*100))
				if err := os.WriteFile(name+"~", content, 0o600); err != nil {
					return err
				}
				if err := os.Rename(name+"~", name); err != nil {
					return err
				}
				if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
					return fmt.Errorf("read %d bytes of %s, %w, want %d", len(got), name, err, len(content))
				}
			}
			return nil
		})
	}
	for range 10 {
		a.pass(b)
	}
	a.ok(group.Wait())
	b.pass(a)
	a.pass(b)
	b.eventually("both have the same", func() bool { return len(a.names("shared")) == 56 && len(b.names("shared")) == 56 })
	for _, name := range a.names("shared") {
		b.shows("shared/"+name, a.read("shared/"+name))
	}
}

func TestADriveShowsAWorkspaceAsItWas(t *testing.T) {
	d := alone(t)
	d.ok(os.Mkdir(d.path("folder"), 0o700))
	d.write("folder/file", "first")
	d.write("removed", strings.Repeat("long ", 30_000))
	d.ok(os.Symlink("folder/file", d.path("link")))
	d.sync()
	s, err := d.all.Find("plans")
	d.ok(err)
	then := s.Workspace().Log().Position().Index
	d.write("folder/file", "second")
	d.ok(os.Rename(d.path("folder"), d.path("moved")))
	d.ok(os.Remove(d.path("removed")))
	d.write("later", "x")
	d.sync()

	files, err := d.all.Past(t.Context(), history.Moment{Index: then}, s)
	d.ok(err)
	past := t.TempDir()
	m, err := mount.Start(files.View(filesystem.Options{Workspace: s.ID()}), past, mount.Config{ReadOnly: true})
	d.ok(err)
	shows := func(when string) {
		t.Helper()
		was := &desk{t: t, dir: past}
		if got := was.names("."); !slices.Equal(got, []string{"folder", "link", "removed"}) {
			t.Errorf("%s there are %q", when, got)
		}
		if got := was.read("link"); got != "first" || was.read("removed") != strings.Repeat("long ", 30_000) {
			t.Errorf("%s the file is %q", when, got)
		}
	}
	shows("before")
	if err := os.WriteFile(filepath.Join(past, "folder/file"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("to write is refused with %v", err)
	}
	if got, want := (&desk{t: t, dir: past}).stat("folder").Ino, d.stat("moved").Ino; got != want {
		t.Errorf("a folder has number %d, and has %d now", got, want)
	}
	d.ok(os.RemoveAll(d.path("moved")))
	d.sync()
	shows("after more was changed")
	d.ok(m.Close())
	if got := d.names("."); !slices.Equal(got, []string{"later", "link"}) {
		t.Errorf("now there are %q", got)
	}
}
