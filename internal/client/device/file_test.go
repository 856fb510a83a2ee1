package device_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/cryptotest"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/device"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

// The file as the documentation describes it, so that tests can forge one.
type file struct {
	_      struct{} `cbor:",toarray"`
	Head   []byte
	Check  [32]byte
	Sealed []byte
	Sum    [32]byte
}

type head struct {
	_          struct{} `cbor:",toarray"`
	Version    uint64
	Header     device.Header
	Protection device.Protection
}

// take returns the parts of a device file.
func take(t *testing.T, data []byte) (file, head) {
	t.Helper()
	var f file
	var h head
	if err := canon.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	if err := canon.Unmarshal(f.Head, &h); err != nil {
		t.Fatal(err)
	}
	return f, h
}

// join returns the device file with these parts, with a checksum that matches.
func join(f file, h head) []byte {
	f.Head = canon.Marshal(h)
	f.Sum = label.DeviceFileDigest.Hash(f.Head, f.Check[:], f.Sealed)
	return canon.Marshal(f)
}

// written returns the bytes of d's file, closed by l.
func written(t *testing.T, d *device.Device, l device.Lock) []byte {
	t.Helper()
	path := device.Path(t.TempDir(), d.Device)
	if err := d.Create(path, l); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestADeviceComesBackUnderEachLock(t *testing.T) {
	for name, lock := range map[string]device.Lock{
		"password":            password(t, "correct horse"),
		"keyring":             device.WithKeyring(ring{}),
		"recovery passphrase": device.WithPassphrase(device.NewPassphrase()),
	} {
		t.Run(name, func(t *testing.T) {
			want := alice(t)
			data := written(t, want, lock)
			got, err := device.Unlock(data, lock)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
			h, method, err := device.Parse(data)
			if diff := cmp.Diff(want.Header, h); err != nil || diff != "" || method.String() != name {
				t.Error(method, err, diff)
			}
		})
	}
}

func TestAWrongSecretMayBeTriedAgain(t *testing.T) {
	d := alice(t)
	for name, c := range map[string]struct{ right, wrong device.Lock }{
		"password":   {password(t, "correct horse"), password(t, "correct horsf")},
		"passphrase": {device.WithPassphrase(device.NewPassphrase()), device.WithPassphrase(device.NewPassphrase())},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := device.Unlock(written(t, d, c.right), c.wrong)
			if !fault.Is(err, fault.Denied) || !errors.Is(err, device.ErrWrongSecret) || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestALockOfAnotherMethodIsRefused(t *testing.T) {
	data := written(t, alice(t), device.WithKeyring(ring{}))
	_, err := device.Unlock(data, device.WithPassphrase(device.NewPassphrase()))
	if !fault.Is(err, fault.Usage) || fault.HintOf(err) != "give the keyring" {
		t.Errorf("got %v, %q", err, fault.HintOf(err))
	}
}

func TestADamagedFileIsNotTakenForAWrongPassword(t *testing.T) {
	lock := device.WithPassphrase(device.NewPassphrase())
	honest := written(t, alice(t), lock)
	cases := map[string][]byte{
		"empty":                  nil,
		"with a byte more":       append(bytes.Clone(honest), 0),
		"longer than any":        make([]byte, device.MaxSize+1),
		"no device file":         []byte("-----BEGIN OPENSSH PRIVATE KEY-----"),
		"a promise of gigabytes": {0x84, 0x5b, 0, 0, 0, 1, 0, 0, 0, 0},
		"nested":                 bytes.Repeat([]byte{0x81}, 1000),
	}
	for _, n := range []int{1, 10, 100, len(honest) / 2, len(honest) - 1} {
		cases[fmt.Sprintf("cut to %d bytes", n)] = honest[:n]
	}
	for i := 0; i < len(honest); i += 7 {
		flipped := bytes.Clone(honest)
		flipped[i] ^= 0x10
		cases[fmt.Sprintf("byte %d flipped", i)] = flipped
	}
	for name, data := range cases {
		_, err := device.Unlock(data, lock)
		if kind := fault.KindOf(err); kind != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v of kind %v", name, err, kind)
		}
	}
}

func TestAForgedFileIsABrokenPromise(t *testing.T) {
	lock := device.WithPassphrase(device.NewPassphrase())
	mine, other := alice(t), alice(t)
	f, h := take(t, written(t, mine, lock))
	otherFile, otherHead := take(t, written(t, other, lock))
	wrongSecret := func(err error) bool { return errors.Is(err, device.ErrWrongSecret) }
	forged := func(err error) bool { return fault.PromiseOf(err) == device.PromiseFile }
	for name, c := range map[string]struct {
		change func(*file, *head)
		want   func(error) bool
	}{
		"another server":                 {func(_ *file, h *head) { h.Header.Server = "https://evil.example" }, forged},
		"another organization":           {func(_ *file, h *head) { h.Header.Organization[0] ^= 2 }, forged},
		"another organization's name":    {func(_ *file, h *head) { h.Header.OrganizationName = "Evil" }, forged},
		"another user":                   {func(_ *file, h *head) { h.Header.User[0] ^= 1 }, forged},
		"another device":                 {func(_ *file, h *head) { h.Header.Device[0] ^= 1 }, forged},
		"another e-mail address":         {func(_ *file, h *head) { h.Header.Email = "eve@example.com" }, forged},
		"another label":                  {func(_ *file, h *head) { h.Header.Label = "phone" }, forged},
		"a bit of the secrets flipped":   {func(f *file, _ *head) { f.Sealed[100] ^= 1 }, forged},
		"the secrets cut":                {func(f *file, _ *head) { f.Sealed = f.Sealed[:100] }, forged},
		"no secrets":                     {func(f *file, _ *head) { f.Sealed = nil }, forged},
		"the secrets of another device":  {func(f *file, _ *head) { f.Sealed = otherFile.Sealed }, forged},
		"the header of another device":   {func(_ *file, h *head) { h.Header = otherHead.Header }, forged},
		"the salt of another device":     {func(_ *file, h *head) { h.Protection = otherHead.Protection }, wrongSecret},
		"the check of another device":    {func(f *file, _ *head) { f.Check = otherFile.Check }, wrongSecret},
		"salt and check of another one":  {func(f *file, h *head) { f.Check, h.Protection = otherFile.Check, otherHead.Protection }, forged},
		"all but the secrets of another": {func(f *file, h *head) { f.Check, *h = otherFile.Check, otherHead }, forged},
	} {
		t.Run(name, func(t *testing.T) {
			forgedFile, forgedHead := f, h
			forgedFile.Sealed = bytes.Clone(f.Sealed)
			c.change(&forgedFile, &forgedHead)
			got, err := device.Unlock(join(forgedFile, forgedHead), lock)
			if got != nil || !c.want(err) || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParametersOutOfBoundsAreRefusedBeforeTheyAreUsed(t *testing.T) {
	lock := password(t, "correct horse")
	f, h := take(t, written(t, alice(t), lock))
	if p := h.Protection; p.Memory != 64<<10 || p.Passes != 3 || p.Threads != 4 {
		t.Errorf("a new file takes %d KiB, %d passes, %d threads", p.Memory, p.Passes, p.Threads)
	}
	for name, c := range map[string]struct {
		change func(*head)
		want   fault.Kind
	}{
		"less memory":                   {func(h *head) { h.Protection.Memory = 64<<10 - 1 }, fault.Integrity},
		"fewer passes":                  {func(h *head) { h.Protection.Passes = 2 }, fault.Integrity},
		"no thread":                     {func(h *head) { h.Protection.Threads = 0 }, fault.Integrity},
		"four terabytes":                {func(h *head) { h.Protection.Memory = 1<<32 - 1 }, fault.Integrity},
		"a gigabyte and a bit":          {func(h *head) { h.Protection.Memory = 1<<20 + 1 }, fault.Integrity},
		"passes for a year":             {func(h *head) { h.Protection.Passes = 1<<32 - 1 }, fault.Integrity},
		"255 threads":                   {func(h *head) { h.Protection.Threads = 255 }, fault.Integrity},
		"a passphrase with parameters":  {func(h *head) { h.Protection.Method = device.ByPassphrase }, fault.Invalid},
		"a method of no meaning":        {func(h *head) { h.Protection.Method = 4 }, fault.Upgrade},
		"a newer version":               {func(h *head) { h.Version = 2 }, fault.Upgrade},
		"no device":                     {func(h *head) { h.Header.Device = id.Device{} }, fault.Invalid},
		"no user":                       {func(h *head) { h.Header.User = id.User{} }, fault.Invalid},
		"no organization":               {func(h *head) { h.Header.Organization = id.Fingerprint{} }, fault.Invalid},
		"a label that moves the cursor": {func(h *head) { h.Header.Label = "\x1b[2J" }, fault.Invalid},
		"no label":                      {func(h *head) { h.Header.Label = "" }, fault.Invalid},
		"no e-mail address":             {func(h *head) { h.Header.Email = "alice" }, fault.Invalid},
		"no name":                       {func(h *head) { h.Header.OrganizationName = "" }, fault.Invalid},
		"a server that is a file":       {func(h *head) { h.Header.Server = "file:///etc/passwd" }, fault.Invalid},
		"a server of no address":        {func(h *head) { h.Header.Server = "https://" }, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			forged := h
			c.change(&forged)
			_, err := device.Unlock(join(f, forged), lock)
			if !fault.Is(err, c.want) || fault.HintOf(err) == "" {
				t.Errorf("got %v of kind %v", err, fault.KindOf(err))
			}
			if c.want == fault.Integrity && fault.PromiseOf(err) != device.PromiseProtection {
				t.Errorf("%v names another promise", err)
			}
		})
	}
}

func TestAMoreCostlyPasswordIsAccepted(t *testing.T) {
	lock := password(t, "correct horse")
	f, h := take(t, written(t, alice(t), lock))
	h.Protection.Passes = 4
	_, err := device.Unlock(join(f, h), lock)
	if !errors.Is(err, device.ErrWrongSecret) {
		t.Errorf("got %v, want another key derived", err)
	}
}

func TestAnIncompleteDeviceIsNotWritten(t *testing.T) {
	for name, change := range map[string]func(*device.Device){
		"no signing key":    func(d *device.Device) { d.Signing = nil },
		"no encryption key": func(d *device.Device) { d.Encryption = nil },
		"no user key":       func(d *device.Device) { d.UserKeys = nil },
		"no storage key":    func(d *device.Device) { d.Storage = [32]byte{} },
		"no root":           func(d *device.Device) { d.Enrolled.Root = nil },
		"no position":       func(d *device.Device) { d.Enrolled.Organization.Index = 0 },
		"a workspace twice": func(d *device.Device) { d.Enrolled.Workspaces[1] = d.Enrolled.Workspaces[0] },
		"no label":          func(d *device.Device) { d.Label = "" },
	} {
		t.Run(name, func(t *testing.T) {
			d := alice(t)
			change(d)
			path := device.Path(t.TempDir(), d.Device)
			err := d.Create(path, device.WithPassphrase(device.NewPassphrase()))
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("a file is there, %v", err)
			}
		})
	}
}

func TestTheGoldenFileOpens(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	lock := password(t, "correct horse battery staple")
	want := alice(t)
	data := written(t, want, lock)
	path := filepath.Join("testdata", "golden.device")
	if *update {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, data) {
		t.Errorf("the file has SHA-256 %x, want %x", sha256.Sum256(data), sha256.Sum256(golden))
	}
	got, err := device.Unlock(golden, lock)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
}

func FuzzUnlock(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "golden.device"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:len(golden)/2])
	f.Add([]byte{0x84, 0x40, 0x40, 0x40, 0x40})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Passphrases are cheap, so that the fuzzer gets behind them.
		d, err := device.Unlock(data, device.WithPassphrase(device.Passphrase{}))
		if d != nil || err == nil {
			t.Fatal("something opened")
		}
		if _, _, parsed := device.Parse(data); parsed == nil && !errors.Is(err, device.ErrWrongSecret) &&
			!fault.Is(err, fault.Usage) && !fault.Is(err, fault.Integrity) {
			t.Errorf("a file that parses does not unlock: %v", err)
		}
	})
}
