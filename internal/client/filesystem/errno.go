package filesystem

import (
	"context"
	"errors"
	"syscall"

	"parsec/internal/base/fault"
	"parsec/internal/client/overlay"
)

// Refusal is why a file system does not do what it is asked for, as far as POSIX
// tells it apart and package overlay does not.
type Refusal uint8

// The refusals.
const (
	// ReadOnly: nothing can be changed there (EROFS).
	ReadOnly Refusal = 1 + iota
	// NotPermitted: nobody may do that (EPERM).
	NotPermitted
	// NotOpenFor: the file was not opened for that (EBADF).
	NotOpenFor
	// NotSupported: a workspace cannot hold that (EOPNOTSUPP).
	NotSupported
	// TooLong: a name of more than 255 bytes (ENAMETOOLONG).
	TooLong
	// NotText: a name that is not UTF-8 (EILSEQ).
	NotText
	// OtherWorkspace: a rename from one workspace into another (EXDEV).
	OtherWorkspace
	// Leads: a symlink that may lead out of the workspace (EACCES).
	Leads
	// Loop: symlinks that lead to each other (ELOOP).
	Loop
	// NotLink: something that is no symlink is to be read as one (EINVAL).
	NotLink
	// NoMore: no data, or no hole, behind that offset (ENXIO).
	NoMore
	// Locked: somebody else has the lock (EAGAIN).
	Locked
	// Deadlock: to wait for the lock would be for ever (EDEADLK).
	Deadlock

	refusals
)

// refused has one row for each refusal.
var refused = [refusals]struct {
	text  string
	errno syscall.Errno
}{
	0:              {"refused", syscall.EIO},
	ReadOnly:       {"it is read-only", syscall.EROFS},
	NotPermitted:   {"that is not permitted", syscall.EPERM},
	NotOpenFor:     {"the file was not opened for that", syscall.EBADF},
	NotSupported:   {"a workspace cannot hold that", syscall.EOPNOTSUPP},
	TooLong:        {"the name is longer than 255 bytes", syscall.ENAMETOOLONG},
	NotText:        {"the name is not UTF-8", syscall.EILSEQ},
	OtherWorkspace: {"the other place is in another workspace", syscall.EXDEV},
	Leads:          {"the symlink may lead out of the workspace", syscall.EACCES},
	Loop:           {"symlinks lead to each other", syscall.ELOOP},
	NotLink:        {"it is no symlink", syscall.EINVAL},
	NoMore:         {"there is no more", syscall.ENXIO},
	Locked:         {"somebody else has locked it", syscall.EAGAIN},
	Deadlock:       {"to wait for the lock would be for ever", syscall.EDEADLK},
}

// Refusals returns every refusal, for tables that must name them all.
func Refusals() []Refusal {
	all := make([]Refusal, 0, refusals)
	for r := ReadOnly; r < refusals; r++ {
		all = append(all, r)
	}
	return all
}

// Error says what is wrong.
func (r Refusal) Error() string {
	if r >= refusals {
		r = 0
	}
	return refused[r].text
}

// ofTree are the refusals of package overlay.
var ofTree = map[overlay.Refusal]syscall.Errno{
	overlay.Exists:    syscall.EEXIST,
	overlay.NotFolder: syscall.ENOTDIR,
	overlay.IsFolder:  syscall.EISDIR,
	overlay.NotEmpty:  syscall.ENOTEMPTY,
	overlay.Below:     syscall.EINVAL,
	overlay.Across:    syscall.EXDEV, // who moves copies instead
	overlay.Replaced:  syscall.ESTALE,
}

// ofKind are the kinds of errors without a refusal.
var ofKind = map[fault.Kind]syscall.Errno{
	fault.Failed:          syscall.EIO,
	fault.Usage:           syscall.EINVAL,
	fault.Invalid:         syscall.EINVAL,
	fault.NotFound:        syscall.ENOENT,
	fault.Denied:          syscall.EACCES,
	fault.Unauthenticated: syscall.EACCES,
	fault.Unreachable:     syscall.EIO,
	fault.Integrity:       syscall.EIO,
	fault.Conflict:        syscall.EBUSY,
	fault.Stale:           syscall.ESTALE,
	fault.Missing:         syscall.EIO,
	fault.TooLarge:        syscall.EFBIG,
	fault.Busy:            syscall.EIO,
	fault.Full:            syscall.ENOSPC,
	fault.Upgrade:         syscall.EIO,
	fault.Canceled:        syscall.EINTR,
	fault.Frozen:          syscall.EACCES,
	fault.Clock:           syscall.EIO,
}

// ofDisk are the errors of the local disk that a program is told as they are.
var ofDisk = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}

// Errno returns the error number that stands for an error, 0 for none.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if r, ok := errors.AsType[Refusal](err); ok {
		return refused[r].errno
	}
	if r, ok := errors.AsType[overlay.Refusal](err); ok {
		return ofTree[r]
	}
	for _, e := range ofDisk {
		if errors.Is(err, e) {
			return e
		}
	}
	if errors.Is(err, context.Canceled) {
		return syscall.EINTR
	}
	return ofKind[fault.KindOf(err)]
}
