// Package home is the folder in which a person's devices live on one
// workstation: where it is, which folder of it is a device's own, and which
// process holds that now. It does not know what stands in these folders;
// device files are package device's, the local state is package store's.
//
// One process holds a device at a time. The operating system's lock decides,
// so a process that was killed holds nothing; who holds it stands in a file
// beside the lock and is for messages only.
package home

import (
	"fmt"
	"os"
	"path/filepath"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
)

const (
	program = "parsec"
	// local is the folder of all devices' own folders.
	local = "local"
)

// Default returns the home of the person whose environment getenv reads, on
// an operating system named as by [runtime.GOOS].
func Default(goos string, getenv func(string) string) (string, error) {
	var base, below string
	switch goos {
	case "windows":
		base = getenv("LOCALAPPDATA")
	case "darwin":
		base, below = getenv("HOME"), filepath.Join("Library", "Application Support")
	default:
		// The specification has a relative path ignored.
		if base = getenv("XDG_DATA_HOME"); !filepath.IsAbs(base) {
			base, below = getenv("HOME"), filepath.Join(".local", "share")
		}
	}
	if base == "" {
		return "", fault.WithHint(fault.Errorf(fault.Usage, "find home: the environment does not say where it is"),
			"say where devices and local state live with --home DIR")
	}
	return filepath.Join(base, below, program), nil
}

// Folder returns the folder of a home that is a device's own. It is made when
// the device is first claimed.
func Folder(home string, d id.Device) string {
	return filepath.Join(home, local, d.String())
}

// makePrivate makes a folder that only its owner may enter, with those above.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("make folder private: %w", err)
	}
	return nil
}
