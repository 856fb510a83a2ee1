package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/blobtest"
	"parsec/internal/server/blob/file"
)

func open(ctx context.Context, place string) (blob.Store, error) {
	return file.Open(ctx, file.Config{Path: place})
}

func TestMain(m *testing.M) { blobtest.Main(m, open) }

func TestTheStoreKeepsTheContract(t *testing.T) {
	blobtest.Run(t, blobtest.Adapter{
		New:  func(t *testing.T) string { return filepath.Join(t.TempDir(), "blocks") },
		Open: open,
	})
}

func newStore(t testing.TB) (*file.Store, string) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "blocks")
	s, err := file.Open(t.Context(), file.Config{Path: at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, at
}

func newKey() blob.Key {
	return blob.Key{
		Scope: blob.Scope{Organization: id.Fingerprint{1}, Workspace: id.New[id.Workspace]()},
		Pack:  id.New[id.Pack](),
	}
}

// files returns the files below a folder that are not folders.
func files(t *testing.T, at string) (found []string) {
	t.Helper()
	if err := filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	if _, err := open(t.Context(), ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("without a path: %v", err)
	}
	taken := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{taken, filepath.Join(taken, "below"), filepath.Join(t.TempDir(), "no", "folder")} {
		if _, err := open(t.Context(), at); err == nil {
			t.Errorf("opened %s", at)
		}
	}
}

func TestFilesAndFoldersAreTheOwnersAlone(t *testing.T) {
	s, at := newStore(t)
	if err := s.Put(t.Context(), newKey(), [][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestEachStepOfAPutMayFailInBothWays(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	for _, test := range []struct {
		step string
		done bool
		// kept says that the object is there after the failure.
		kept bool
	}{
		{"write", false, false},
		{"write", true, false},
		{"sync", false, false},
		{"sync", true, false},
		{"link", false, false},
		{"link", true, true},
		{"sync folder", false, true},
		{"sync folder", true, true},
	} {
		for name, failure := range map[string]error{"no space": syscall.ENOSPC, "over quota": syscall.EDQUOT, "a broken disk": syscall.EIO} {
			t.Run(fmt.Sprintf("%s, done: %t, %s", test.step, test.done, name), func(t *testing.T) {
				s, at := newStore(t)
				key := newKey()
				before := key
				before.Pack[1]++ // in the same folder, which is then there
				if err := s.Put(t.Context(), before, [][]byte{{1}}); err != nil {
					t.Fatal(err)
				}
				s.FailNext(test.step, test.done, failure)
				err := s.Put(t.Context(), key, [][]byte{content})
				want := fault.Full
				if failure == syscall.EIO {
					want = fault.Failed
				}
				if !errors.Is(err, failure) || !fault.Is(err, want) {
					t.Errorf("got %v, want an error of kind %v", err, want)
				}
				_, err = s.Size(t.Context(), key)
				if kept := err == nil; kept != test.kept || !kept && !fault.Is(err, fault.NotFound) {
					t.Errorf("the object is there: %t, %v", kept, err)
				}
				left := 1
				if test.kept {
					left = 2
				}
				if got := files(t, at); len(got) != left {
					t.Errorf("there are %q, want %d files", got, left)
				}
				if err := s.Put(t.Context(), key, [][]byte{content}); err != nil {
					t.Errorf("put again: %v", err)
				}
			})
		}
	}
}

func TestTheBytesAreDurableBeforeTheNameAndTheNameBeforeTheAnswer(t *testing.T) {
	s, at := newStore(t)
	key := newKey()
	organization := key.Organization.String()
	workspace := organization + "/" + key.Workspace.String()
	shard := fmt.Sprintf("%s/%02x", workspace, key.Pack[0])
	put := []string{"write", "sync", "link " + shard, "sync " + shard}
	for _, test := range []struct {
		name string
		want []string
	}{
		{"the first of a shard", append([]string{"sync " + organization, "sync .", "sync " + workspace}, put...)},
		{"another", put},
		{"the first of a shard since the store was opened", append([]string{"sync " + organization, "sync .", "sync " + workspace}, put...)},
	} {
		var got []string
		s.Watch(func(step string) { got = append(got, step) })
		if err := s.Put(t.Context(), key, [][]byte{{1}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		key.Pack[15]++
		if test.name == "another" {
			s.Close()
			var err error
			if s, err = file.Open(t.Context(), file.Config{Path: at}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
		}
	}
}

func TestAFolderThatCouldNotBeMadeDurableIsTriedAgain(t *testing.T) {
	s, _ := newStore(t)
	key := newKey()
	for range 3 { // the folders above the organization's, the workspace's, the shard's
		s.FailNext("sync folder", false, syscall.EIO)
		if err := s.Put(t.Context(), key, nil); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v, want %v", err, syscall.EIO)
		}
	}
	if err := s.Put(t.Context(), key, nil); err != nil {
		t.Error(err)
	}
}

func TestWhatWasBeingWrittenIsDroppedAtTheStart(t *testing.T) {
	s, at := newStore(t)
	key := newKey()
	if err := s.Put(t.Context(), key, [][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(at, "new", "half"), []byte("ha"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := files(t, at); len(got) != 1 {
		t.Errorf("there are %q, want the object alone", got)
	}
}

// Another process that opens the folder takes away what is being written. The
// object is written once more, whatever step it was at.
func TestAnotherProcessThatOpensTheFolderCostsNoUpload(t *testing.T) {
	for _, at := range []string{"write", "sync", "link"} {
		t.Run(at, func(t *testing.T) {
			s, place := newStore(t)
			opened := 0
			s.Watch(func(step string) {
				if verb, _, _ := strings.Cut(step, " "); verb != at || opened == 2 {
					return
				}
				opened++
				other, err := file.Open(t.Context(), file.Config{Path: place})
				if err != nil {
					t.Error(err)
					return
				}
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			})
			key, content := newKey(), bytes.Repeat([]byte("shelves"), 1000)
			if err := s.Put(t.Context(), key, [][]byte{content}); err != nil {
				t.Fatal(err)
			}
			if at != "sync" && opened != 2 { // syncing a file that lost its name is no failure
				t.Errorf("opened %d times", opened)
			}
			r, err := s.Get(t.Context(), key, 0, int64(len(content)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if got := files(t, place); len(got) != 1 {
				t.Errorf("there are %q, want the object alone", got)
			}
		})
	}
}

func TestALinkDoesNotLeadOutOfTheFolder(t *testing.T) {
	s, at := newStore(t)
	key := newKey()
	if err := s.Put(t.Context(), key, [][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	scope := filepath.Join(at, key.Organization.String(), key.Workspace.String())
	if err := os.RemoveAll(scope); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, scope); err != nil {
		t.Fatal(err)
	}
	other := key
	other.Pack = id.New[id.Pack]()
	if err := s.Put(t.Context(), other, [][]byte{{1}}); err == nil {
		t.Error("stored through a link")
	}
	if got := files(t, outside); len(got) != 0 {
		t.Errorf("there are %q outside", got)
	}
}

func TestAFileThatWasCutIsAnError(t *testing.T) {
	s, at := newStore(t)
	key := newKey()
	if err := s.Put(t.Context(), key, [][]byte{make([]byte, 1000)}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), key, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(files(t, at)[0], 500); err != nil {
		t.Fatal(err)
	}
	var buffer bytes.Buffer
	if _, err := buffer.ReadFrom(r); err == nil || buffer.Len() > 500 {
		t.Errorf("read %d bytes, %v; want an error after 500", buffer.Len(), err)
	}
}

// BenchmarkPut stores full packs, of whole blocks and of small ones.
func BenchmarkPut(b *testing.B) {
	for name, size := range map[string]int{"blocks of 512 KiB": 512 << 10, "blocks of 2 KiB": 2 << 10} {
		b.Run(name, func(b *testing.B) {
			s, _ := newStore(b)
			parts := make([][]byte, 16<<20/size)
			for i := range parts {
				parts[i] = make([]byte, size)
			}
			scope := newKey().Scope
			b.SetBytes(16 << 20)
			for b.Loop() {
				if err := s.Put(b.Context(), blob.Key{Scope: scope, Pack: id.New[id.Pack]()}, parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
