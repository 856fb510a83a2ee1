package home

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
)

// The files of a claim in a device's folder. The lock's file stays when the
// claim is released: were it removed, a process that had opened it before and
// one that made it anew would both hold the device.
const (
	lockFile   = "lock"
	holderFile = "holder"
)

// Holder is a process that holds a device.
type Holder struct {
	// Command is what the process does, such as `parsec cp`: without its
	// arguments, which may be names that must not stand on the disk.
	Command string    `json:"command"`
	Process int       `json:"process"`
	Since   time.Time `json:"since"`
	// Serves says that the process serves the device's socket, or is about to.
	Serves bool `json:"serves"`
	// Stays says that it holds the device until it is told to stop.
	Stays bool `json:"stays"`
}

// InUse is the error of a device that another process holds.
type InUse struct {
	// By is zero in the moment between lock and signature.
	By Holder
}

// Error says who holds the device.
func (e *InUse) Error() string {
	if e.By.Process == 0 {
		return "hold device: it is in use by another process"
	}
	return fmt.Sprintf("hold device: it is in use by %q (process %d) since %s",
		e.By.Command, e.By.Process, e.By.Since.Local().Format(time.DateTime))
}

// Claim is the right of this process to a device's folder.
type Claim struct {
	folder string
	lock   *flock.Flock
}

// Hold claims a device of a home for a process, and makes its folder where
// there is none. It fails at once with [fault.Conflict], naming the holder,
// while another process holds it.
func Hold(home string, d id.Device, by Holder) (*Claim, error) {
	c := &Claim{folder: Folder(home, d)}
	if err := makePrivate(c.folder); err != nil {
		return nil, fmt.Errorf("hold device: %w", err)
	}
	c.lock = flock.New(filepath.Join(c.folder, lockFile))
	got, err := c.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("hold device: lock %s: %w", c.lock.Path(), err)
	}
	if !got {
		return nil, inUse(c.folder)
	}
	if err := c.sign(by); err != nil {
		c.lock.Close()
		return nil, fmt.Errorf("hold device: %w", err)
	}
	return c, nil
}

// sign says who holds the device, in a file that is exchanged whole.
func (c *Claim) sign(by Holder) error {
	text, err := json.Marshal(by)
	if err != nil {
		return err
	}
	path := filepath.Join(c.folder, holderFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// inUse names the holder. In the moment between lock and signature it is not
// known, or the one before.
func inUse(folder string) error {
	e := new(InUse)
	text, err := os.ReadFile(filepath.Join(folder, holderFile))
	if err != nil || json.Unmarshal(text, &e.By) != nil {
		e.By = Holder{}
	}
	err = fault.Errorf(fault.Conflict, "%w", e)
	switch {
	case e.By.Process == 0:
		return fault.WithHint(err, "wait until that process is done, or stop it")
	case e.By.Stays:
		return fault.WithHint(err, "`parsec agent stop` ends it")
	}
	return fault.WithHint(err, "wait until process %d is done, or stop it", e.By.Process)
}

// Folder returns the device's own folder.
func (c *Claim) Folder() string { return c.folder }

// Release gives the device back.
func (c *Claim) Release() error {
	// Failing to remove it only leaves an old name beside a free lock.
	_ = os.Remove(filepath.Join(c.folder, holderFile))
	if err := c.lock.Close(); err != nil {
		return fmt.Errorf("release device: %w", err)
	}
	return nil
}

// Remove deletes the device's folder with all that it remembers, and gives
// the claim back.
func (c *Claim) Remove() error {
	entries, err := os.ReadDir(c.folder)
	if err != nil {
		return fmt.Errorf("remove local state: %w", err)
	}
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.folder, e.Name())); err != nil {
			return fmt.Errorf("remove local state: %w", err)
		}
	}
	if err := c.Release(); err != nil {
		return err
	}
	if err := os.RemoveAll(c.folder); err != nil {
		return fmt.Errorf("remove local state: %w", err)
	}
	return nil
}
