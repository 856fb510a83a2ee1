package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"parsec/internal/base/fault"
)

// system is the name of the file system, as the kernel has it.
const system = "fuse.parsec"

// on returns what is mounted on exactly a folder, nil if nothing is.
func on(dir string) (*mountinfo.Info, error) {
	all, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[len(all)-1], nil // what was mounted last is on top
}

// ours reports whether what is mounted shows a view.
func ours(m *mountinfo.Info) bool { return m != nil && m.FSType == system }

// resolved returns a folder's path without symlinks. A mount whose process was
// killed cannot be looked into, but what leads to it can.
func resolved(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if full, err := filepath.EvalSymlinks(dir); err == nil {
		return full, nil
	}
	above, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return "", fault.Errorf(fault.NotFound, "find folder: %w", err)
	}
	return filepath.Join(above, filepath.Base(dir)), nil
}

// Unmount unmounts a folder that shows a view, in this process or another one. It
// fails with [fault.NotFound] where none does, and with [fault.Conflict] while a
// program has something of it open.
func Unmount(dir string) error {
	full, err := resolved(dir)
	if err != nil {
		return err
	}
	switch m, err := on(full); {
	case err != nil:
		return err
	case !ours(m):
		return fault.Errorf(fault.NotFound, "unmount %s: parsec is not mounted there", dir)
	}
	if err := detach(full, dead(full)); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// dead reports whether the process that answered for a folder has ended.
func dead(dir string) bool {
	var s unix.Stat_t
	return errors.Is(unix.Lstat(dir, &s), unix.ENOTCONN)
}

// detach unmounts a folder: as root by itself, else by fusermount3. With lazy,
// programs that have something of it open keep that, and nobody else finds it.
func detach(dir string, lazy bool) error {
	flags, args := unix.UMOUNT_NOFOLLOW, []string{"-u", "-q"}
	if lazy {
		flags, args = flags|unix.MNT_DETACH, append(args, "-z")
	}
	err := unix.Unmount(dir, flags)
	if errors.Is(err, unix.EPERM) {
		var said bytes.Buffer
		c := exec.Command("fusermount3", append(args, "--", dir)...)
		c.Stderr = &said
		if err = c.Run(); err == nil {
			return nil
		}
		if m, listed := on(dir); listed == nil && !ours(m) {
			return nil // somebody was faster
		}
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
		if strings.Contains(said.String(), "busy") || said.Len() == 0 {
			err = unix.EBUSY
		}
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fault.WithHint(fault.Errorf(fault.Conflict, "a program has a file or folder of it open"), "close it, or see which with `fuser -m %s`", dir)
	case errors.Is(err, syscall.EINVAL): // it is not mounted any more
		return nil
	}
	return err
}

// abort ends the connection of a folder that is shown, whoever has something of it
// open, and reports whether it could.
func abort(dir string, m *mountinfo.Info) bool {
	if unix.Unmount(dir, unix.UMOUNT_NOFOLLOW|unix.MNT_FORCE|unix.MNT_DETACH) == nil { // as root
		return true
	}
	// As another user, where the system has that mounted.
	control := filepath.Join("/sys/fs/fuse/connections", strconv.Itoa(m.Minor), "abort")
	return os.WriteFile(control, []byte("1"), 0) == nil
}

// flush has the kernel write what it has not written yet.
func flush(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
