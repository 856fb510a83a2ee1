package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes the content of a file durable, and of its metadata what is
// needed to read it.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// begin has the kernel begin to write a part of a file to the disk. Nothing is
// promised by it, so that it does not matter if it fails.
func begin(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}
