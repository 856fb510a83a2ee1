//go:build unix

package terminal

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readable reports whether a read of a file would return at once, and waits for
// that a while.
func readable(f *os.File, wait time.Duration) (bool, error) {
	set := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(set, int(wait.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read standard input: %w", err)
	}
	return n > 0, nil
}
