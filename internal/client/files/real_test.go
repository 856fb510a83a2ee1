//go:build real

package files_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/files"
	"parsec/internal/format/manifest"
)

// These tests take their inputs as people have them: large, many, deep. They
// run with the tag real, since they need gigabytes of disk.

// roundTrip imports a local tree and returns an export of it.
func roundTrip(t *testing.T, src string) string {
	t.Helper()
	_, tree := alone(t)
	root, err := tree.Stat(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Import(t.Context(), src, root, "src", files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	e, err := tree.Stat(t.Context(), "/src")
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	if err := tree.Export(t.Context(), e, dst, files.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	return dst
}

func TestRealTheGoSourceTreeRoundTrips(t *testing.T) {
	src := filepath.Join(runtime.GOROOT(), "src")
	dst := roundTrip(t, src)
	got, want := snapshot(t, dst), snapshot(t, src)
	for _, s := range []map[string]file{got, want} {
		for name, f := range s {
			f.Mode &^= 0o022 // what the umask takes away
			s[name] = f
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the copy differs (-source +copy):\n%.2000s", diff)
	}
}

// stream is n bytes that look random and are the same each time.
func stream(n int64) io.Reader {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err)
	}
	endless := cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, 16)), R: zeros{}}
	return io.LimitReader(endless, n)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// equal compares two streams.
func equal(t *testing.T, a, b io.Reader) bool {
	t.Helper()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return (errA != nil) == (errB != nil)
		}
	}
}

func TestRealAFileOfThreeGibibytesRoundTrips(t *testing.T) {
	const size = 3 << 30
	src := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(src)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, stream(size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.Open(roundTrip(t, src))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if !equal(t, got, stream(size)) {
		t.Error("the copy differs")
	}
}

func TestRealASparseFileStaysSparse(t *testing.T) {
	const size = 1 << 30
	src := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(src)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("in the middle"), size/2+12345); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, size-1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	dst := roundTrip(t, src)
	info, err := os.Stat(dst)
	if err != nil {
		t.Fatal(err)
	}
	if n := info.Sys().(*syscall.Stat_t).Blocks * 512; n > 4<<20 {
		t.Errorf("the copy takes %d bytes on the disk", n)
	}
	a, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := os.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !equal(t, a, b) {
		t.Error("the copy differs")
	}
}

func TestRealManyLongAndDeepNamesRoundTrip(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	deep := src + strings.Repeat("/d", 100)
	long := strings.Repeat("名", 85) // 255 bytes
	for _, dir := range []string{deep, filepath.Join(src, "many"), filepath.Join(src, long)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{filepath.Join(deep, "bottom"), filepath.Join(src, long, long), filepath.Join(src, "line\nbreak"), filepath.Join(src, "e\u0301"), filepath.Join(src, "é")}
	for i := range 10_000 {
		names = append(names, filepath.Join(src, "many", fmt.Sprintf("file %d", i)))
	}
	for i, name := range names {
		if err := os.WriteFile(name, fmt.Appendf(nil, "content %d", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(snapshot(t, src), snapshot(t, roundTrip(t, src))); diff != "" {
		t.Errorf("the copy differs (-source +copy):\n%.2000s", diff)
	}
}

func TestRealAFileOfThreeLevelsOfPagesRoundTrips(t *testing.T) {
	const blocks = 512*512 + 1
	src := t.TempDir()
	sparse(t, filepath.Join(src, "long"), blocks)
	dst := roundTrip(t, src)
	got, err := os.Open(filepath.Join(dst, "long"))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	for i := range blocks {
		var b [2]byte
		if _, err := got.ReadAt(b[:], int64(i)*2*manifest.BlockSize); err != nil || b != [2]byte{byte(i), 1} {
			t.Fatalf("block %d holds %v, %v", i, b, err)
		}
	}
}
