//go:build real

package mount_test

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"parsec/internal/format/record"
	"parsec/internal/services"
)

// These tests take their inputs as people have them. They run with the tag real,
// since they need gigabytes of disk.

// patient is how long reads wait for a server that is busy with gigabytes.
const patient = time.Minute

func TestRealTreeIsTheSameOnBothDevices(t *testing.T) {
	services.Programs(t, "tar", "rsync")
	a, b := twoFor(t, record.RoleContributor, patient)
	a.busy()
	b.busy()
	a.sh(t, "tree", `
		tar -C "$(go env GOROOT)" -cf - src | tar -xf -
		diff -r src "$(go env GOROOT)/src"
		test -z "$(rsync -rltnO --delete --itemize-changes "$(go env GOROOT)/src/" src/)"`)
	a.pass(b)
	b.sh(t, "Bob's", `
		diff -r ../tree/src "$(go env GOROOT)/src"
		test -z "$(rsync -rltnO --delete --itemize-changes "$(go env GOROOT)/src/" ../tree/src/)"
		rm -rf ../tree`)
	b.pass(a)
	if _, err := os.Stat(a.path("tree")); !os.IsNotExist(err) {
		t.Errorf("Alice still has what Bob removed: %v", err)
	}
}

func TestRealFileOf2GiBIsTheSameOnBothDevices(t *testing.T) {
	a, b := twoFor(t, record.RoleContributor, patient)
	a.busy()
	b.busy()
	f, err := os.Create(a.path("large"))
	a.ok(err)
	source, sum := rand.NewChaCha8([32]byte{1}), sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), source, 2<<30)
	a.ok(err)
	a.ok(f.Close())
	want := [32]byte(sum.Sum(nil))
	a.pass(b)
	if got := b.sum("large"); got != want {
		t.Errorf("Bob has %x, want %x", got, want)
	}
	// A change in the middle is that alone.
	f, err = os.OpenFile(b.path("large"), os.O_WRONLY, 0)
	b.ok(err)
	_, err = f.WriteAt([]byte("changed by Bob"), 1<<30-7)
	b.ok(err)
	b.ok(f.Close())
	b.pass(a)
	if got, want := a.sum("large"), b.sum("large"); got != want {
		t.Errorf("Alice has %x, want %x", got, want)
	}
	f, err = os.Open(a.path("large"))
	a.ok(err)
	defer f.Close()
	p := make([]byte, 14)
	if _, err := f.ReadAt(p, 1<<30-7); err != nil || string(p) != "changed by Bob" {
		t.Errorf("Alice reads %q, %v", p, err)
	}
}

// sum returns the SHA-256 of a file.
func (d *desk) sum(name string) [32]byte {
	d.t.Helper()
	f, err := os.Open(d.path(name))
	d.ok(err)
	defer f.Close()
	h := sha256.New()
	_, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	d.ok(err)
	return [32]byte(h.Sum(nil))
}
