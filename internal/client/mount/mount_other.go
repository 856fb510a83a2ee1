//go:build !linux

package mount

import (
	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
)

// Mount is a folder that shows a view. There is none on this system.
type Mount struct{}

func notHere() error {
	return fault.WithHint(fault.Errorf(fault.Failed, "mount: this system has no FUSE that parsec speaks"), "`parsec webdav` serves the same, for the system to connect to")
}

// Start fails: this system has no FUSE that parsec speaks.
func Start(*filesystem.View, string, Config) (*Mount, error) { return nil, notHere() }

// Unmount fails, as [Start] does.
func Unmount(string) error { return notHere() }

// Done returns nil.
func (*Mount) Done() <-chan struct{} { return nil }

// Close does nothing.
func (*Mount) Close() error { return nil }
