//go:build unix

package device

import (
	"io/fs"
	"os"
	"syscall"

	"parsec/internal/base/fault"
)

// checkPrivate refuses a file of another user, or one that others may touch.
func checkPrivate(path string, info fs.FileInfo) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fault.WithHint(fault.Errorf(fault.Denied, "read device file %s: it belongs to another user of this machine", path),
			"run parsec as its owner, or take it over: chown %s", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fault.WithHint(fault.Errorf(fault.Denied, "read device file %s: others may read or change it (mode %04o)", path, mode),
			"make it private: chmod 600 %s", path)
	}
	return nil
}
