package main

import (
	"database/sql"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"parsec/internal/services"
)

// The order is that of docs/operations.md: first the database, then the blocks
// that its rows point at.
func TestABackupOfARunningServerIsWhole(t *testing.T) {
	for name, database := range databases(t) {
		t.Run(name, func(t *testing.T) { isWhole(&studio{t: t, dir: t.TempDir(), database: database}) })
	}
}

func isWhole(s *studio) {
	t := s.t
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
	put := backup(t, s.database, filepath.Join(s.dir, defaultData), filepath.Join(copied, defaultData))
	close(stop)
	wait.Wait()
	if _, err := s.server.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if len(kept) == len(s.all) {
		t.Error("nothing was written during the backup, which shows little")
	}
	s.dir, s.all, s.database = copied, kept, put
	s.start()
	s.check()
	if _, err := s.server.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// backup copies a database and a data folder, and returns the URL of the copy.
func backup(t *testing.T, database, from, to string) string {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	put := ""
	if database == "" {
		vacuumInto(t, filepath.Join(from, "metadata.sqlite"), filepath.Join(to, "metadata.sqlite"))
	} else {
		put = services.Postgres(t)
		dump := filepath.Join(to, "metadata.dump")
		tool(t, "pg_dump", "--format=custom", "--file="+dump, "--dbname="+database)
		defer tool(t, "pg_restore", "--no-owner", "--dbname="+put, dump)
	}
	copyBlocks(t, filepath.Join(from, "blocks"), filepath.Join(to, "blocks"))
	return put
}

// tool runs one of PostgreSQL's programs.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func vacuumInto(t *testing.T, from, to string) {
	t.Helper()
	db, err := sql.Open("sqlite", from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "VACUUM INTO ?", to); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func copyBlocks(t *testing.T, from, to string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(from), ".", func(path string, d fs.DirEntry, err error) error {
		there := filepath.Join(to, path)
		switch {
		case err != nil:
			return err
		case path == "new": // what is being written
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(there, 0o700)
		}
		content, err := os.ReadFile(filepath.Join(from, path))
		if err != nil {
			return err
		}
		return os.WriteFile(there, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
