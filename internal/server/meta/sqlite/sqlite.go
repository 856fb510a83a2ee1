// Package sqlite keeps the metadata in an embedded SQLite file: what a server
// without any configuration uses. It implements package meta and holds no
// rules of its own.
//
// There is one writing connection. A goroutine lends it to the waiting calls
// of Write in turn, each inside a savepoint, and commits them together: so
// many small writes share one fsync, and locks of rows have nothing to do.
// Reading connections stand beside it; in SQLite's write-ahead log neither
// side waits for the other.
//
// Invariants: a Write is answered after the fsync of the log that holds it;
// no row is read through the writing connection but by a Write.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"modernc.org/sqlite"

	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

var _ meta.Store = (*Store)(nil)

// Config says where the database is.
type Config struct {
	// Path is that of the database file, which is created where it is not
	// there; its folder has to be. SQLite puts two more files beside it. One
	// process at a time may have it open.
	Path string
	// Readers is how many calls of Read may run at once; 0 for 4.
	Readers int
}

// Validate refuses a configuration that cannot work.
func (c Config) Validate() error {
	if c.Path == "" {
		return fault.Errorf(fault.Invalid, "a metadata database without a path")
	}
	if c.Readers < 0 {
		return fault.Errorf(fault.Invalid, "a metadata database with %d readers", c.Readers)
	}
	return nil
}

// Store is an open database.
type Store struct {
	writes  *sql.DB // of the one writing connection
	reads   *sql.DB // of the reading connections
	writer  *writer
	readers chan *conn // those that no call is using
	wait    sync.WaitGroup

	life   sync.RWMutex // held shared by calls; guards closed
	closed bool
}

// Open opens the database. It sets up one that is empty or not there, and
// refuses one whose tables are not those that this version works with.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Readers == 0 {
		c.Readers = 4
	}
	if err := createPrivate(c.Path); err != nil {
		return nil, wrap("open metadata", err)
	}
	s := &Store{readers: make(chan *conn, c.Readers)}
	if err := s.open(ctx, c); err != nil {
		return nil, errors.Join(wrap("open metadata", err), s.release())
	}
	s.wait.Go(s.writer.run)
	return s, nil
}

// createPrivate makes the file, for its owner alone: SQLite would let others
// read it, and gives the files beside it the mode of this one.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

func (s *Store) open(ctx context.Context, c Config) (err error) {
	if s.writes, err = openPool(c.Path, 1, writing); err != nil {
		return err
	}
	t, err := tables(s.writes)
	if err != nil {
		return err
	}
	if err := t.Prepare(ctx); err != nil {
		return err
	}
	w, err := connect(ctx, s.writes)
	if err != nil {
		return err
	}
	s.writer = newWriter(w)
	if s.reads, err = openPool(c.Path, c.Readers, reading); err != nil {
		return err
	}
	for range c.Readers {
		r, err := connect(ctx, s.reads)
		if err != nil {
			return err
		}
		s.readers <- r
	}
	return nil
}

// Settings of the connections. With synchronous FULL each commit syncs the
// write-ahead log. It is moved into the database every 4,000 pages, since
// moving it more often syncs more and moves hot pages again and again; a
// reader that stays long may let it grow, and its file shrinks back to 64 MiB.
const (
	writing = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		"&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)&_pragma=cache_size(-32768)" +
		"&_pragma=temp_store(2)&_defensive=1&_dqs=0"
	reading = "?_pragma=busy_timeout(10000)&_pragma=query_only(1)&_pragma=cache_size(-4096)&_dqs=0"
)

func openPool(path string, size int, settings string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	c, err := sqlite.NewConnector("file:" + (&url.URL{Path: filepath.ToSlash(absolute)}).EscapedPath() + settings)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// Write implements [meta.Store].
func (s *Store) Write(ctx context.Context, fn func(meta.Tx) error) error {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return errClosed("write")
	}
	if ctx.Err() != nil {
		return canceled("write", ctx)
	}
	return s.writer.write(ctx, fn)
}

// Read implements [meta.Store].
func (s *Store) Read(ctx context.Context, fn func(meta.Tx) error) error {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return errClosed("read")
	}
	if ctx.Err() != nil {
		return canceled("read", ctx)
	}
	select {
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		return c.read(fn)
	case <-ctx.Done():
		return canceled("read", ctx)
	}
}

func (c *conn) read(fn func(meta.Tx) error) error {
	if err := c.run("BEGIN"); err != nil {
		return wrap("begin reading", err)
	}
	defer c.run("ROLLBACK")
	c.lost = nil
	if err := fn(tx{c}); err != nil {
		return err
	}
	return c.lost
}

// Close implements [meta.Store].
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.writer.stop()
	s.wait.Wait()
	return s.release()
}

// release closes the connections: the reading ones first, so that closing
// the writing one moves the write-ahead log into the database.
func (s *Store) release() error {
	var errs []error
	close(s.readers)
	for c := range s.readers {
		errs = append(errs, c.close())
	}
	if s.reads != nil {
		errs = append(errs, s.reads.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.conn.close())
	}
	if s.writes != nil {
		errs = append(errs, s.writes.Close())
	}
	return wrap("close metadata", errors.Join(errs...))
}

func errClosed(verb string) error {
	return fault.Errorf(fault.Failed, "%s metadata: the store is closed", verb)
}

func canceled(verb string, ctx context.Context) error {
	return fault.Errorf(fault.Canceled, "%s metadata: %w", verb, context.Cause(ctx))
}

// tx is a transaction on a connection.
type tx struct{ c *conn }

func (t tx) Organizations() meta.Organizations { return organizations{t.c} }
func (t tx) Users() meta.Users                 { return users{t.c} }
func (t tx) Logs() meta.Logs                   { return logs{t.c} }
func (t tx) Workspaces() meta.Workspaces       { return workspaces{t.c} }
func (t tx) Entries() meta.Entries             { return entries{t.c} }
func (t tx) Blocks() meta.Blocks               { return blocks{t.c} }
func (t tx) Grants() meta.Grants               { return grants{t.c} }
func (t tx) Invitations() meta.Invitations     { return invitations{t.c} }
func (t tx) Placements() meta.Placements       { return placements{t.c} }
func (t tx) AdminTokens() meta.AdminTokens     { return adminTokens{t.c} }
func (t tx) Audit() meta.Audit                 { return audit{t.c} }
func (t tx) ObjectStores() meta.ObjectStores   { return objectStores{t.c} }
func (t tx) Turns() meta.Turns                 { return turns{t.c} }
func (t tx) Leftovers() meta.Leftovers         { return leftovers{t.c} }
func (t tx) Deletions() meta.Deletions         { return deletions{t.c} }
