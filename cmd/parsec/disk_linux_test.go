package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"parsec/internal/server/servertest"
)

// small is a disk that can be filled.
type small struct {
	t   *testing.T
	dir string
}

// newSmall mounts a disk of so many bytes, which takes an administrator.
func newSmall(t *testing.T, dir string, bytes int) *small {
	t.Helper()
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = syscall.Mount("small", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &small{t, dir}
}

// fill leaves no room.
func (s *small) fill() {
	s.t.Helper()
	f, err := os.Create(filepath.Join(s.dir, "filler"))
	if err != nil {
		s.t.Fatal(err)
	}
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if err := errors.Join(f.Close(), ifNot(err, syscall.ENOSPC)); err != nil {
		s.t.Fatal(err)
	}
}

func ifNot(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return err
}

// free makes room again.
func (s *small) free() {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, "filler")); err != nil {
		s.t.Fatal(err)
	}
}

// fails runs a command that must fail, and returns what it says of it.
func (k *killed) fails(args ...string) string {
	k.t.Helper()
	said, err := k.command(args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() < 0 || bytes.Contains(said, []byte("panic:")) {
		k.t.Errorf("parsec %s ended with %v: %s", strings.Join(args, " "), err, said)
	}
	return string(said)
}

// file makes a file of so many bytes.
func (k *killed) file(name string, size int) string {
	k.t.Helper()
	path := filepath.Join(k.dir, name)
	if err := os.WriteFile(path, bytes.Repeat([]byte(name), size/len(name)+1), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return path
}

// noRoom fails unless a message says that there is no room, and what to do.
func (k *killed) noRoom(said string) {
	k.t.Helper()
	if !strings.Contains(said, "no room") && !strings.Contains(said, "no space") && !strings.Contains(said, "full") || !strings.Contains(said, "hint: ") {
		k.t.Errorf("of a full disk it says: %s", said)
	}
}

// A disk without room costs what is written meanwhile, which is refused. The
// agent stays, and goes on by itself.
func TestADiskThatIsFullLosesNothingAndTheAgentGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := newSmall(t, filepath.Join(dir, "home"), 32<<20)
	k := newKilledAt(t, servertest.Start(t, servertest.Config{}), dir)
	first, second := k.file("first", 10_000), k.file("second", 6<<20)
	k.agent()
	k.do("cp", first, "plans:/first")
	disk.fill()
	k.noRoom(k.fails("cp", second, "plans:/second"))
	k.noRoom(k.fails("mkdir", "plans:/folder"))
	if out := k.do("cat", "plans:/first"); len(out) != 10_005 {
		t.Errorf("on a full disk, %d bytes are read", len(out))
	}
	disk.free()
	k.do("mkdir", "plans:/folder")
	k.do("cp", second, "plans:/second")
	k.do("sync", "--wait")
	if out := k.do("ls", "plans:/"); out != "first\nfolder\nsecond\n" {
		t.Errorf("the workspace has %q", out)
	}
	k.do("verify", "plans:")
}

// The same of the server's disk: what is refused there waits here.
func TestAServerWhoseDiskIsFullLosesNothingAndGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := newSmall(t, filepath.Join(dir, "data"), 16<<20)
	k := newKilledAt(t, servertest.Start(t, servertest.Config{Dir: disk.dir}), filepath.Join(dir, "person"))
	k.agent()
	first, second := k.file("first", 10_000), k.file("second", 4<<20)
	k.do("cp", first, "plans:/first")
	disk.fill()
	k.noRoom(k.fails("cp", second, "plans:/second"))
	k.do("mkdir", "plans:/folder")
	if said := k.do("status"); !strings.Contains(said, "plans  full") {
		t.Errorf("of a full server the status is: %s", said)
	}
	if out := k.do("cat", "plans:/first"); len(out) != 10_005 {
		t.Errorf("of a full server, %d bytes are read", len(out))
	}
	disk.free()
	k.do("cp", second, "plans:/second")
	k.do("sync", "--wait")
	if out := k.do("ls", "plans:/"); out != "first\nfolder\nsecond\n" {
		t.Errorf("the workspace has %q", out)
	}
	k.do("verify", "plans:")
}
