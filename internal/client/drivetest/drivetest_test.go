//go:build linux

package drivetest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/drivetest"
)

func TestTheBareDiskIsAsTheModel(t *testing.T) {
	t.Parallel()
	var g sync.WaitGroup
	for seed := range uint64(2) {
		dir, o := t.TempDir(), drivetest.Options{Operations: 700, Seed: seed}
		g.Go(func() {
			if err := errors.Join(drivetest.TryContent(dir, o), drivetest.TryNames(dir, o)); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
}

// edit changes a file behind the exerciser's back, if it is there.
func edit(path string, change func(f *os.File, size int64) error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	if s, err := f.Stat(); err == nil {
		err = change(f, s.Size())
		if err != nil {
			panic(err)
		}
	}
	_ = f.Close()
}

// first returns the first path that fits a pattern in a folder or one below it.
func first(folder, pattern string) string {
	for range 3 {
		if all, _ := filepath.Glob(filepath.Join(folder, pattern)); len(all) > 0 {
			return all[0]
		}
		folder = filepath.Join(folder, "*")
	}
	return ""
}

func TestAWrongFileSystemIsFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		exercise func(string, drivetest.Options) error
		wrong    func(folder string, done int)
		says     string
	}{
		"one byte is another one": {drivetest.TryContent, func(folder string, _ int) {
			edit(filepath.Join(folder, "b"), func(f *os.File, size int64) error {
				if size <= 4096 {
					return nil
				}
				_, err := f.WriteAt([]byte{0}, 4096)
				return err
			})
		}, "bytes 4096 to 4096 differ"},
		"the last byte is lost": {drivetest.TryContent, func(folder string, _ int) {
			edit(filepath.Join(folder, "c"), func(f *os.File, size int64) error {
				if size < 1000 {
					return nil
				}
				return f.Truncate(size - 1)
			})
		}, ""},
		"a file is lost": {drivetest.TryNames, func(folder string, _ int) {
			_ = os.Remove(first(folder, "a"))
		}, "ENOENT"},
		"a file is executable": {drivetest.TryNames, func(folder string, done int) {
			if done > 5 {
				_ = os.Chmod(first(folder, "c"), 0o755)
			}
		}, "executable"},
		"a folder has a file too many": {drivetest.TryNames, func(folder string, _ int) {
			if p := first(folder, "ünï"); p != "" {
				_ = os.WriteFile(filepath.Join(filepath.Dir(p), "stray"), nil, 0o600)
			}
		}, "is listed and not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.exercise(t.TempDir(), drivetest.Options{Seed: 7, Between: test.wrong})
			failure, ok := errors.AsType[*drivetest.Failure](err)
			if !ok {
				t.Fatalf("it was not found: %v", err)
			}
			if s := failure.Error(); !strings.Contains(s, test.says) || !strings.Contains(s, "seed 7") {
				t.Errorf("the failure does not say %q and the seed:\n%s", test.says, s)
			}
			if len(failure.Log) > 60 && failure.Shrunk {
				t.Errorf("%d operations are left of %d", len(failure.Log), failure.Number)
			}
		})
	}
}

func TestARunIsThatOfItsSeed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) []string {
		err := drivetest.TryContent(t.TempDir(), drivetest.Options{Seed: seed, Refused: map[string]syscall.Errno{"punch hole": syscall.EIO}})
		failure, ok := errors.AsType[*drivetest.Failure](err)
		if !ok {
			t.Fatalf("a hole that was punched was not found, where it is to be refused: %v", err)
		}
		return failure.Log
	}
	if diff := cmp.Diff(run(1), run(1)); diff != "" {
		t.Errorf("two runs of a seed differ:\n%s", diff)
	}
	if cmp.Equal(run(1), run(2)) {
		t.Error("two seeds have the same run")
	}
}
