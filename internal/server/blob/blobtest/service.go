package blobtest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/httpstore"
	"parsec/internal/services"
)

// Service is a real service of a test's own, whose process that holds the
// objects may be killed or stopped.
type Service struct {
	*services.ObjectStore
	// Process names that process.
	Process string
	// Open opens a new place there.
	Open func(t *testing.T, url string, p httpstore.Patience) blob.Store
}

// RunService checks what a store makes of a service whose process dies or
// hangs, and whose disk loses or changes what it holds.
func RunService(t *testing.T, s Service) {
	t.Run("a process that was killed is an error, until it is back", s.killed)
	t.Run("a process that hangs is an error, until it goes on", s.hangs)
	t.Run("an object that was lost is not found, and can be stored again", s.lost)
	t.Run("bytes that rotted on the disk are passed on or an error", s.rotten)
	t.Run("an object that was cut on the disk is an error", s.short)
}

func (s Service) killed(t *testing.T) {
	store := s.Open(t, s.URL(), httpstore.Patience{Silence: 20 * time.Second, Attempts: 2, Pause: time.Millisecond})
	there, key, content := newKey(), newKey(), noise(100_000)
	put(t, store, there, content)
	s.Signal(s.Process, "KILL")
	fails(t, "put", store.Put(t.Context(), key, [][]byte{content}), fault.Unreachable)
	_, err := get(store, there, 0, 10)
	fails(t, "get", err, fault.Unreachable)
	_, err = store.Size(t.Context(), there)
	fails(t, "size", err, fault.Unreachable)
	s.Resume(s.Process)
	until(t, func() error { return store.Put(t.Context(), key, [][]byte{content}) })
	check(t, store, key, content)
	check(t, store, there, content)
}

func (s Service) hangs(t *testing.T) {
	store := s.Open(t, s.URL(), httpstore.Patience{Silence: time.Second, Attempts: 2, Pause: time.Millisecond})
	there, key, content := newKey(), newKey(), noise(100_000)
	put(t, store, there, content)
	s.Signal(s.Process, "STOP")
	defer s.Signal(s.Process, "CONT")
	fails(t, "put", store.Put(t.Context(), key, [][]byte{content}), fault.Unreachable)
	_, err := get(store, there, 0, 10)
	fails(t, "get", err, fault.Unreachable)
	s.Signal(s.Process, "CONT")
	// What was sent before may be stored any moment now, or not at all.
	until(t, func() error { return store.Put(t.Context(), key, [][]byte{content}) })
	check(t, store, key, content)
	check(t, store, there, content)
}

// until repeats what fails for as long as the service is not back in full.
func until(t *testing.T, do func() error) {
	t.Helper()
	end := time.After(time.Minute)
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-end:
			t.Fatalf("still failing after a minute: %v", err)
		default:
		}
	}
}

func (s Service) lost(t *testing.T) {
	store := s.Open(t, s.URL(), patient())
	key, content := newKey(), noise(100_000)
	put(t, store, key, content)
	if err := os.Remove(s.file(t, content)); err != nil {
		t.Fatal(err)
	}
	_, err := get(store, key, 0, 10)
	fails(t, "get", err, fault.NotFound)
	_, err = store.Size(t.Context(), key)
	fails(t, "size", err, fault.NotFound)
	put(t, store, key, content)
	check(t, store, key, content)
}

func (s Service) rotten(t *testing.T) {
	store := s.Open(t, s.URL(), patient())
	key, content := newKey(), noise(100_000)
	put(t, store, key, content)
	changed := bytes.Clone(content)
	changed[50_000] ^= 1
	file := s.file(t, content)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(changed, 0); err != nil {
		t.Fatal(err)
	}
	got, err := get(store, key, 40_000, 20_000)
	if err == nil && !bytes.Equal(got, changed[40_000:60_000]) {
		t.Error("read bytes that are not those on the disk")
	}
}

func (s Service) short(t *testing.T) {
	store := s.Open(t, s.URL(), patient())
	key, content := newKey(), noise(100_000)
	put(t, store, key, content)
	if err := os.Truncate(s.file(t, content), 60_000); err != nil {
		t.Fatal(err)
	}
	if got, err := get(store, key, 40_000, 60_000); err == nil {
		t.Errorf("read %d bytes of 20,000 without an error", len(got))
	}
}

// file returns the file that has this content.
func (s Service) file(t *testing.T, content []byte) (found string) {
	t.Helper()
	err := filepath.WalkDir(s.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".db") {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Equal(text, content) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("find the object's file below %s: %q, %v", s.Data, found, err)
	}
	return found
}

// Pages checks a list that goes over pages, of a store that asks for so many
// objects at once.
func Pages(t *testing.T, s blob.Store, page int) {
	t.Helper()
	scope := newScope()
	total := 0
	for _, more := range []int{page - 1, 1, 1, page} { // to nearly a page, a page, one more, two pages and one
		for range more {
			put(t, s, blob.Key{Scope: scope, Pack: id.New[id.Pack]()})
		}
		total += more
		got := list(t, s, scope, id.Pack{})
		if len(got) != total || !slices.IsSortedFunc(got, func(a, b blob.Object) int { return a.Key.Compare(b.Key) }) {
			t.Errorf("listed %d objects of %d, or not in order", len(got), total)
		}
		if rest := list(t, s, scope, got[0].Key.Pack); len(rest) != total-1 {
			t.Errorf("listed %d objects of the %d behind the first", len(rest), total-1)
		}
	}
}
