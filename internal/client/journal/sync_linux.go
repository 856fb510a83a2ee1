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
