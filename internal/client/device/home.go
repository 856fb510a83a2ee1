package device

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
)

// A home holds the device files of one workstation in one folder.
const (
	folder    = "devices"
	extension = ".device"
)

// Path returns where a home keeps a device's file.
func Path(home string, d id.Device) string {
	return filepath.Join(home, folder, d.String()+extension)
}

// Found is a device file in a home, by what its header says. Nothing vouches
// for that before the file is unlocked.
type Found struct {
	Header
	Method Method
	Path   string
}

// List returns the devices of a home, by ascending id. A file that cannot be
// read does not hide the others: they are returned beside the error.
func List(home string) ([]Found, error) {
	dir := filepath.Join(home, folder)
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	var all []Found
	var problems []error
	for _, name := range names {
		text, ok := strings.CutSuffix(name.Name(), extension)
		if !ok {
			continue
		}
		found, err := find(filepath.Join(dir, name.Name()), text)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, found)
	}
	return all, errors.Join(problems...)
}

func find(path, name string) (Found, error) {
	data, err := read(path)
	if err != nil {
		return Found{}, err
	}
	h, method, err := Parse(data)
	if err != nil {
		return Found{}, fmt.Errorf("%s: %w", path, err)
	}
	if h.Device.String() != name {
		return Found{}, fault.WithHint(fault.Broken(PromiseFile, "%s: it is the file of device %s", path, h.Device),
			"give the file back the name of its device")
	}
	return Found{Header: h, Method: method, Path: path}, nil
}

// Pick returns the device with this id or label; without a name, the only one.
func Pick(all []Found, name string) (Found, error) {
	var matching []Found
	for _, f := range all {
		if name == "" || f.Device.String() == name || f.Label == name {
			matching = append(matching, f)
		}
	}
	switch {
	case len(matching) == 1:
		return matching[0], nil
	case len(matching) > 1:
		return Found{}, fault.WithHint(fault.Errorf(fault.Usage, "choose device: %d devices match", len(matching)),
			"give --device with an id from `parsec device list`")
	case name == "":
		return Found{}, fault.WithHint(fault.Errorf(fault.NotFound, "choose device: there is none here yet"),
			"open an invitation with `parsec invite claim URL`, or a new organization with `parsec org bootstrap URL`")
	}
	return Found{}, fault.WithHint(fault.Errorf(fault.NotFound, "choose device: there is no device %q here", name),
		"see `parsec device list`")
}

// Open unlocks the device file at path.
func Open(path string, l Lock) (*Device, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return Unlock(data, l)
}

// Create writes the file of a new device, closed by l. It never replaces one.
func (d *Device) Create(path string, l Lock) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("create device: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return exists(path)
	}
	err := d.write(path, l, durable.CreateFile)
	if errors.Is(err, fs.ErrExist) {
		return exists(path)
	}
	return err
}

func exists(path string) error {
	return fault.Errorf(fault.Conflict, "create device: %s exists", path)
}

// Save replaces the device's file, closed as it was opened or created.
func (d *Device) Save(path string) error {
	if d.opened == nil {
		return fault.Errorf(fault.Invalid, "save device: it was never created")
	}
	data, err := d.seal(d.opened)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data)
}

// Relock replaces the device's file by one that l closes. When it fails, the
// file is closed as before.
func (d *Device) Relock(path string, l Lock) error {
	before := d.opened
	if err := d.write(path, l, durable.WriteFile); err != nil {
		return err
	}
	if before != nil && before.protection.Method == ByKeyring && l.method != ByKeyring {
		// The key opens nothing any more; one that stays behind does no harm.
		_ = before.ring.Delete(d.Device.String())
	}
	return nil
}

func (d *Device) write(path string, l Lock, write func(string, []byte) error) error {
	u, err := l.unlock(l.newProtection(), d.Device, true)
	if err != nil {
		return err
	}
	data, err := d.seal(u)
	if err != nil {
		return err
	}
	if err := write(path, data); err != nil {
		return err
	}
	d.opened = u
	return nil
}

// Forget removes a device's file, and its key where a keyring holds one. The
// organization's log still knows the device.
func Forget(f Found, ring Keyring) error {
	if err := os.Remove(f.Path); err != nil {
		return fmt.Errorf("forget device: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(f.Path)); err != nil {
		return err
	}
	if f.Method != ByKeyring {
		return nil
	}
	if err := ring.Delete(f.Device.String()); err != nil && !errors.Is(err, ErrNoKey) {
		return noKeyring(err)
	}
	return nil
}

// read returns the bytes of a device file that is private to its owner.
func read(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fault.Errorf(fault.Invalid, "read device file %s: it is not a file", path) // opening a pipe would wait
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.WithHint(fault.Errorf(fault.NotFound, "read device file: %w", err), "see `parsec device list`")
	case err != nil:
		return nil, fmt.Errorf("read device file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read device file: %w", err)
	}
	if err := checkPrivate(path, info); err != nil {
		return nil, err
	}
	if info.Size() > MaxSize {
		return nil, fault.Errorf(fault.Invalid, "read device file %s: it is longer than %d bytes", path, MaxSize)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read device file: %w", err)
	}
	return data, nil
}
