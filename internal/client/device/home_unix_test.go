//go:build unix

package device_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/client/device"
)

func TestTheFileOfAnotherUserIsRefused(t *testing.T) {
	path := "/etc/passwd" // root's, for everybody else
	if os.Geteuid() == 0 {
		_, path = create(t, t.TempDir(), "laptop")
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	_, err := device.Open(path, quick())
	if !fault.Is(err, fault.Denied) || !strings.Contains(fault.HintOf(err), "chown") {
		t.Errorf("got %v, %q", err, fault.HintOf(err))
	}
}

func TestWhatIsNoFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, device.MaxSize+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fault.Kind{
		dir: fault.Invalid, pipe: fault.Invalid, large: fault.Invalid, filepath.Join(dir, "none"): fault.NotFound,
	} {
		if _, err := device.Open(path, quick()); !fault.Is(err, want) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
