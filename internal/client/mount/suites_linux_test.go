package mount_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"

	"parsec/internal/services"
)

// otherwise is what is done in place of a test of go-fuse's suite, and the error
// that it must get.
type otherwise struct {
	try  func(dir string) error
	want syscall.Errno
}

// impossible are the tests of go-fuse's suite that ask for what a workspace cannot
// hold, and one that asks for what no Linux does.
func impossible() map[string]otherwise {
	link := otherwise{func(dir string) error {
		return os.Link(made(dir, "file"), filepath.Join(dir, "link"))
	}, unix.EPERM}
	attribute := otherwise{func(dir string) error {
		return unix.Setxattr(made(dir, "file"), "user.attribute", []byte("value"), 0)
	}, unix.EOPNOTSUPP}
	leadsOut := otherwise{func(dir string) error {
		if err := os.Symlink("/foobar", filepath.Join(dir, "link")); err != nil {
			return err
		}
		_, err := os.Readlink(filepath.Join(dir, "link"))
		return err
	}, unix.EACCES}
	return map[string]otherwise{
		"Link": link, "LinkUnlinkRename": link, "XAttr": attribute, "XAttrLarge": attribute,
		"SymlinkReadlink": leadsOut, "OpenSymlinkRace": leadsOut,
		"FileBasic": {func(dir string) error { // of the mode, one bit is kept
			info, err := os.Stat(made(dir, "file"))
			if err == nil && info.Mode() != 0o700 {
				err = fmt.Errorf("mode %v", info.Mode())
			}
			return err
		}, 0},
		"Tmpfile": {func(dir string) error {
			fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
			if err == nil {
				_ = unix.Close(fd)
			}
			return err
		}, unix.EOPNOTSUPP},
		"RenameOpenDir": {func(dir string) error { // an open folder is nothing once it is replaced
			for _, name := range []string{"new", "old"} {
				if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
					return err
				}
			}
			f, err := os.Open(filepath.Join(dir, "old"))
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.Rename(filepath.Join(dir, "new"), f.Name()); err != nil {
				return err
			}
			_, err = f.Stat()
			return err
		}, unix.ENOENT},
		"FcntlFlockLocksFile": {func(dir string) error { // its authors leave it out too: such locks are the process's
			for range 2 {
				f, err := os.OpenFile(made(dir, "file"), os.O_RDWR, 0)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
					return err
				}
			}
			return nil
		}, 0},
	}
}

// made makes a file, unless it is there, and returns its path.
func made(dir, name string) string {
	p := filepath.Join(dir, name)
	f, err := os.OpenFile(p, os.O_RDONLY|os.O_CREATE, 0o755)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		panic(err)
	}
	return p
}

func TestADrivePassesGoFusesSuite(t *testing.T) {
	d := alone(t)
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			dir := d.path(name)
			d.ok(os.Mkdir(dir, 0o755))
			not, ok := impossible()[name]
			if !ok {
				posixtest.All[name](t, dir)
				return
			}
			if err := not.try(dir); not.want == 0 && err != nil || not.want != 0 && !errors.Is(err, not.want) {
				t.Errorf("it answers %v, want %v", err, not.want)
			}
		})
	}
}

func TestADriveKeepsWhatFioWrites(t *testing.T) {
	services.Programs(t, "fio")
	d := alone(t)
	for name, args := range map[string][]string{
		"calls":              {"--ioengine=psync", "--rw=randrw", "--bsrange=512-64k", "--bs_unaligned"},
		"calls and fsync":    {"--ioengine=psync", "--rw=randwrite", "--bs=4k", "--fsync=32", "--io_size=" + kilobytes(1)},
		"mapped memory":      {"--ioengine=mmap", "--rw=randwrite", "--bs=4k"},
		"past the cache":     {"--ioengine=psync", "--rw=randwrite", "--bs=16k", "--direct=1"},
		"appending":          {"--ioengine=psync", "--rw=write", "--bs=7k", "--file_append=1"},
		"two at once, async": {"--ioengine=posixaio", "--iodepth=8", "--rw=randwrite", "--bs=8k", "--numjobs=2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := d.path(name)
			d.ok(os.Mkdir(dir, 0o755))
			all := append([]string{
				"--name=job", "--directory=" + dir, "--size=" + kilobytes(2), "--verify=crc32c", "--verify_fatal=1", "--do_verify=1",
				"--randseed=" + fmt.Sprint(*seed), "--output-format=terse", "--fallocate=none",
			}, args...)
			c := exec.CommandContext(t.Context(), "fio", all...)
			c.Dir = t.TempDir() // it leaves what it has verified where it is
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("fio %q: %v\n%s", args, err, out)
			}
		})
	}
}

// kilobytes is how much fio writes: as much longer as there are operations.
func kilobytes(each int) string { return fmt.Sprintf("%dk", each**operations) }
