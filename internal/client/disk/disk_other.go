//go:build !unix

package disk

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// The codes with which Windows says that a disk has no room.
const (
	handleDiskFull = syscall.Errno(39)
	diskFull       = syscall.Errno(112)
)

// isFull reports whether an error says that a disk has no room.
func isFull(err error) bool { return errors.Is(err, handleDiskFull) || errors.Is(err, diskFull) }

// setLinkTime does nothing: links have no time of their own that can be set here.
func setLinkTime(*os.Root, string, time.Time) error { return nil }

// Open opens a file to be read.
func Open(name string) (*os.File, error) { return os.Open(name) }

// NextData returns the rest of the file: holes are not looked for.
func NextData(_ *os.File, at int64, info os.FileInfo) (start, end int64, err error) {
	return at, info.Size(), nil
}

// Space returns how large the file system is that a folder lies on, and how much
// of it is free for this user, in bytes.
func Space(dir string) (total, free uint64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	err = windows.GetDiskFreeSpaceEx(name, &free, &total, nil)
	return total, free, err
}
