//go:build unix

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"parsec/internal/format/manifest"
)

// isFull reports whether an error says that a disk has no room.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// setLinkTime sets the modification time of a symlink itself.
func setLinkTime(root *os.Root, name string, modified time.Time) error {
	dir, err := root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	at := unix.NsecToTimespec(modified.UnixNano())
	return unix.UtimesNanoAt(int(dir.Fd()), filepath.Base(name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

// Open opens a file to be read, and no link in its place. It does not wait for
// a pipe's other end.
func Open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// minHole is the length in bytes from which a hole is kept as one: shorter
// ones cost more to describe than their zeros take.
const minHole = manifest.BlockSize

// NextData returns the next part of a file, at or behind an offset, that is
// not a hole. Where nothing but a hole follows, both ends are the file's size.
func NextData(f *os.File, at int64, info os.FileInfo) (start, end int64, err error) {
	size := info.Size()
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Blocks*512 >= size {
		return at, size, nil // it has no holes worth looking for
	}
	start, err = seekData(f, at, size)
	if err != nil {
		return at, size, nil // a file system that does not tell
	}
	if start < size && start-at < minHole {
		start = at
	}
	for end = start; end < size; {
		hole, err := unix.Seek(int(f.Fd()), max(end, at), unix.SEEK_HOLE)
		if err != nil {
			return start, size, nil
		}
		next, err := seekData(f, hole, size)
		if err != nil {
			return start, size, nil
		}
		if end = min(hole, size); next-hole >= minHole || next == size {
			break
		}
		end = next
	}
	return start, end, nil
}

// seekData returns where data begins at or behind an offset, or the size.
func seekData(f *os.File, at, size int64) (int64, error) {
	start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, nil
	}
	return min(start, size), err
}

// Space returns how large the file system is that a folder lies on, and how much
// of it is free for this user, in bytes.
func Space(dir string) (total, free uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	unit := uint64(s.Bsize)
	return unit * s.Blocks, unit * s.Bavail, nil
}
