package main

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// The order is that of docs/operations.md: first the database, then the blocks
// that its rows point at.
func TestABackupOfARunningServerIsWhole(t *testing.T) {
	s := &studio{t: t, dir: t.TempDir()}
	s.start()
	s.found(3)
	var wait sync.WaitGroup
	moment, stop, wrote := time.Now().UnixNano(), make(chan struct{}), make(chan struct{}, 1000)
	for _, d := range s.writers {
		client := s.dial(d)
		wait.Go(func() {
			for n := uint64(0); s.one(client, d, moment, n) == nil; n++ {
				select {
				case <-stop:
					return
				case wrote <- struct{}{}:
				}
			}
		})
	}
	for range 30 {
		<-wrote
	}
	s.mu.Lock() // nothing more is sent while it is looked at; what is under way goes on
	kept := slices.DeleteFunc(slices.Clone(s.all), func(w *written) bool { return w.index == 0 })
	s.mu.Unlock()
	copied := t.TempDir()
	backup(t, filepath.Join(s.dir, defaultData), filepath.Join(copied, defaultData))
	close(stop)
	wait.Wait()
	if _, err := s.server.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if len(kept) == len(s.all) {
		t.Error("nothing was written during the backup, which shows little")
	}
	s.dir, s.all = copied, kept
	s.start()
	s.check()
	if _, err := s.server.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// backup copies a data folder.
func backup(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(from, "metadata.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "VACUUM INTO ?", filepath.Join(to, "metadata.sqlite")); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	blocks := filepath.Join(from, "blocks")
	err = fs.WalkDir(os.DirFS(blocks), ".", func(path string, d fs.DirEntry, err error) error {
		there := filepath.Join(to, "blocks", path)
		switch {
		case err != nil:
			return err
		case path == "new": // what is being written
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(there, 0o700)
		}
		content, err := os.ReadFile(filepath.Join(blocks, path))
		if err != nil {
			return err
		}
		return os.WriteFile(there, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
