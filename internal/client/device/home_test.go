package device_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
	"parsec/internal/client/device"
	"parsec/internal/client/seal"
)

// quick is a lock that takes no time.
func quick() device.Lock { return device.WithPassphrase(device.Passphrase{1}) }

func create(t *testing.T, home, label string) (*device.Device, string) {
	t.Helper()
	d := alice(t)
	d.Label = label
	path := device.Path(home, d.Device)
	if err := d.Create(path, quick()); err != nil {
		t.Fatal(err)
	}
	return d, path
}

func TestAHomeListsItsDevices(t *testing.T) {
	home := t.TempDir()
	if all, err := device.List(home); err != nil || len(all) != 0 {
		t.Fatalf("an empty home lists %d devices, %v", len(all), err)
	}
	laptop, path := create(t, home, "laptop")
	create(t, home, "desk")
	all, err := device.List(home)
	if err != nil || len(all) != 2 {
		t.Fatalf("got %d devices, %v", len(all), err)
	}
	for _, name := range []string{"laptop", laptop.Device.String()} {
		found, err := device.Pick(all, name)
		if err != nil || found.Path != path || found.Header != laptop.Header || found.Method != device.ByPassphrase {
			t.Errorf("%s: got %v, %v", name, found.Header, err)
		}
	}
}

func TestChoosingADeviceNeedsAnUnambiguousName(t *testing.T) {
	home := t.TempDir()
	create(t, home, "laptop")
	one, err := device.List(home)
	if err != nil {
		t.Fatal(err)
	}
	create(t, home, "laptop")
	two, err := device.List(home)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := device.Pick(one, ""); err != nil || got.Label != "laptop" {
		t.Errorf("with one device, got %v", err)
	}
	for name, c := range map[string]struct {
		all    []device.Found
		choice string
		want   fault.Kind
	}{
		"none at all":          {nil, "", fault.NotFound},
		"none of the name":     {one, "phone", fault.NotFound},
		"two and no name":      {two, "", fault.Usage},
		"two of the same name": {two, "laptop", fault.Usage},
	} {
		if _, err := device.Pick(c.all, c.choice); !fault.Is(err, c.want) || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestABadFileDoesNotHideTheOthers(t *testing.T) {
	home := t.TempDir()
	_, good := create(t, home, "good")
	_, damaged := create(t, home, "damaged")
	_, renamed := create(t, home, "renamed")
	_, open := create(t, home, "open")
	if err := os.WriteFile(damaged, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(renamed), "other.device")
	if err := os.Rename(renamed, other); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(good), "notes.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := device.List(home)
	if len(all) != 1 || all[0].Path != good {
		t.Errorf("got %d devices", len(all))
	}
	for _, path := range []string{damaged, other, open} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v does not name %s", err, path)
		}
	}
}

func TestAFileIsPrivateOrRefused(t *testing.T) {
	_, path := create(t, t.TempDir(), "laptop")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("created with mode %v, %v", info.Mode(), err)
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil || folder.Mode().Perm() != 0o700 {
		t.Fatalf("its folder has mode %v, %v", folder.Mode(), err)
	}
	for _, mode := range []fs.FileMode{0o604, 0o640, 0o602, 0o620, 0o666, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := device.Open(path, quick())
		if !fault.Is(err, fault.Denied) || !strings.Contains(fault.HintOf(err), "chmod 600") {
			t.Errorf("mode %v: got %v, %q", mode, err, fault.HintOf(err))
		}
	}
}

func TestADeviceIsNeverCreatedOverAnother(t *testing.T) {
	d, path := create(t, t.TempDir(), "laptop")
	if err := d.Create(path, device.WithPassphrase(device.NewPassphrase())); !fault.Is(err, fault.Conflict) {
		t.Errorf("got %v", err)
	}
	if _, err := device.Open(path, quick()); err != nil {
		t.Error(err)
	}
}

func TestANewKeyIsSavedWithoutThePassword(t *testing.T) {
	_, path := create(t, t.TempDir(), "laptop")
	d, err := device.Open(path, quick())
	if err != nil {
		t.Fatal(err)
	}
	d.UserKeys = append([]*seal.KeyPair{seal.NewKeyPair()}, d.UserKeys...)
	if err := d.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := device.Open(path, quick())
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, d)
	if err := alice(t).Save(path); err == nil {
		t.Error("a device without a lock was saved")
	}
}

func TestAChangedPasswordReplacesTheOldOne(t *testing.T) {
	d, path := create(t, t.TempDir(), "laptop")
	if err := d.Relock(path, password(t, "correct horse")); err != nil {
		t.Fatal(err)
	}
	if _, err := device.Open(path, quick()); !fault.Is(err, fault.Usage) {
		t.Errorf("the old lock: got %v", err)
	}
	got, err := device.Open(path, password(t, "correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, d)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Relock(path, password(t, "correct horse")); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, old := take(t, before)
	if _, fresh := take(t, after); old.Protection.Salt == fresh.Protection.Salt {
		t.Error("the salt is the old one")
	}
}

func TestPasswordsOutOfBoundsAreRefused(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("x", 1025)} {
		if _, err := device.Password(secret.Bytes(text)); !fault.Is(err, fault.Usage) {
			t.Errorf("%d bytes: got %v", len(text), err)
		}
	}
}

func TestTheKeyringKeepsTheKeyAsLongAsAFileNeedsIt(t *testing.T) {
	r, d := ring{}, alice(t)
	path := device.Path(t.TempDir(), d.Device)
	if err := d.Create(path, device.WithKeyring(r)); err != nil || len(r) != 1 {
		t.Fatalf("%d keys, %v", len(r), err)
	}
	key := r[d.Device.String()]
	if err := d.Relock(path, device.WithKeyring(r)); err != nil || r[d.Device.String()] != key {
		t.Fatalf("a key that a file needs was replaced, %v", err)
	}
	if _, err := device.Open(path, device.WithKeyring(r)); err != nil {
		t.Fatal(err)
	}
	if err := d.Relock(path, quick()); err != nil || len(r) != 0 {
		t.Fatalf("%d keys are left, %v", len(r), err)
	}
	if err := d.Relock(path, device.WithKeyring(r)); err != nil || len(r) != 1 {
		t.Fatalf("%d keys, %v", len(r), err)
	}
	found := device.Found{Header: d.Header, Method: device.ByKeyring, Path: path}
	if err := device.Forget(found, r); err != nil || len(r) != 0 {
		t.Fatalf("%d keys are left, %v", len(r), err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there, %v", err)
	}
}

func TestAKeyringThatCannotHelpSaysSo(t *testing.T) {
	r, d := ring{}, alice(t)
	path := device.Path(t.TempDir(), d.Device)
	if err := d.Create(path, device.WithKeyring(noRing{})); !errors.Is(err, errNoRing) || !strings.Contains(fault.HintOf(err), "--password-file") {
		t.Errorf("no keyring: got %v, %q", err, fault.HintOf(err))
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was written, %v", err)
	}
	if err := d.Create(path, device.WithKeyring(r)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ring device.Keyring
		want fault.Kind
	}{
		"another person's keyring": {ring{}, fault.Denied},
		"a keyring gone":           {noRing{}, fault.Failed},
		"nonsense in the keyring":  {ring{d.Device.String(): "x"}, fault.Invalid},
		"another key":              {ring{d.Device.String(): strings.Repeat("A", 43) + "="}, fault.Denied},
	} {
		if _, err := device.Open(path, device.WithKeyring(c.ring)); !fault.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTheSystemsKeyringIsReachedThroughItsLibrary(t *testing.T) {
	keyring.MockInit()
	r := device.SystemKeyring{}
	if _, err := r.Get("a"); !errors.Is(err, device.ErrNoKey) {
		t.Errorf("got %v", err)
	}
	if err := r.Set("a", "b"); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Get("a"); err != nil || got != "b" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := r.Delete("a"); err != nil {
		t.Error(err)
	}
	if err := r.Delete("a"); !errors.Is(err, device.ErrNoKey) {
		t.Errorf("got %v", err)
	}
}
