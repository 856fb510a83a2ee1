// Package file keeps objects as files below one folder: what a server without
// any configuration uses. It implements package blob.
//
// An object is written under a temporary name, synced, linked to its own
// name, which fails where one is there, and the folder synced. So under its
// own name a file is always whole and never changes, and what a crash leaves
// behind is in the temporary folder, which opening empties. One process at a
// time may have the folder open.
//
// Files are at FINGERPRINT/WORKSPACE/XX/PACK, XX being the first byte of the
// pack's id, so that no folder gets too long, and reading the folders in
// order reads the packs in order. Every path is opened below the root folder
// and cannot lead out of it.
package file

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"parsec/internal/base/durable"
	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

var _ blob.Store = (*Store)(nil)

// temporary is the folder of what is being written.
const temporary = "new"

// Config says where the objects are.
type Config struct {
	// Path is that of the folder, which is created where it is not there; the
	// folder above it has to be.
	Path string
}

// Validate refuses a configuration that cannot work.
func (c Config) Validate() error {
	if c.Path == "" {
		return fault.Errorf(fault.Invalid, "a store of blocks without a path")
	}
	return nil
}

// Store is an open folder.
type Store struct {
	root *os.Root
	disk disk

	mu sync.Mutex // guards folders, and is held while some are created
	// folders has, of each scope whose folder is known to be durable, a bit
	// for each shard whose folder is too.
	folders map[blob.Scope]*[256 / 64]uint64
}

// disk is the steps that make an object durable, in their order: the ones
// that a test lets fail.
type disk struct {
	write   func(f *os.File, parts [][]byte) error
	sync    func(f *os.File) error
	link    func(root *os.Root, from, to string) error
	syncDir func(root *os.Root, dir string) error
}

// Open opens the folder and drops what was being written when it was last in
// use.
func Open(_ context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(c.Path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, wrap("open blocks", err)
	}
	root, err := os.OpenRoot(c.Path)
	if err != nil {
		return nil, wrap("open blocks", err)
	}
	s := &Store{
		root:    root,
		disk:    disk{write: write, sync: (*os.File).Sync, link: (*os.Root).Link, syncDir: syncDir},
		folders: make(map[blob.Scope]*[4]uint64),
	}
	if err := s.begin(c.Path); err != nil {
		return nil, errors.Join(wrap("open blocks", err), root.Close())
	}
	return s, nil
}

// begin empties the temporary folder, and makes both folders durable.
func (s *Store) begin(at string) error {
	if err := s.root.RemoveAll(temporary); err != nil {
		return err
	}
	if err := s.root.Mkdir(temporary, 0o700); err != nil {
		return err
	}
	if err := s.disk.syncDir(s.root, "."); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(filepath.Clean(at)))
}

func shardOf(key blob.Key) string {
	return path.Join(key.Organization.String(), key.Workspace.String(), fmt.Sprintf("%02x", key.Pack[0]))
}

func pathOf(key blob.Key) string { return path.Join(shardOf(key), key.Pack.String()) }

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, key blob.Key, parts [][]byte) error {
	const what = "store pack"
	if err := ctx.Err(); err != nil {
		return wrap(what, err)
	}
	var err error
	for range tries {
		if err = s.try(key, parts); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		// Deletes took the folder away when it was empty, or another process
		// that opened the store what was being written.
		s.forget(key.Scope)
	}
	return wrap(what, err)
}

// tries is how often an object is written whose folder goes meanwhile.
const tries = 10

func (s *Store) try(key blob.Key, parts [][]byte) error {
	name := path.Join(temporary, id.New[id.Pack]().String())
	err := s.put(name, key, parts)
	if errors.Is(err, fs.ErrExist) {
		err = s.putAgain(key, parts)
	}
	// What was written has its own name by now, or is not wanted.
	return errors.Join(err, s.removeTemporary(name))
}

func (s *Store) forget(scope blob.Scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.folders, scope)
}

func (s *Store) put(name string, key blob.Key, parts [][]byte) error {
	if err := s.makeShard(key); err != nil {
		return err
	}
	if err := s.writeFile(name, parts); err != nil {
		return err
	}
	if err := s.disk.link(s.root, name, pathOf(key)); err != nil {
		return err
	}
	return s.disk.syncDir(s.root, shardOf(key))
}

func (s *Store) writeFile(name string, parts [][]byte) (err error) {
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := s.disk.write(f, parts); err != nil {
		return err
	}
	return s.disk.sync(f)
}

// putAgain is a Put of a key that is there already. It syncs the folder: the
// Put that stored the object may have failed to.
func (s *Store) putAgain(key blob.Key, parts [][]byte) error {
	f, err := s.root.Open(pathOf(key))
	if err != nil {
		return err
	}
	defer f.Close()
	same, err := equal(f, parts)
	if err != nil {
		return err
	}
	if !same {
		return fault.Errorf(fault.Conflict, "pack %s has another content", key.Pack)
	}
	if err := s.disk.sync(f); err != nil {
		return err
	}
	return s.disk.syncDir(s.root, shardOf(key))
}

func (s *Store) removeTemporary(name string) error {
	if err := s.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// makeShard makes the folder of a key durable, with all those above it: also
// where it is there already but perhaps not yet synced, once for each time
// the store is opened.
func (s *Store) makeShard(key blob.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	scope := path.Join(key.Organization.String(), key.Workspace.String())
	known := s.folders[key.Scope]
	if known == nil {
		if err := s.makeFolder(scope, path.Dir(scope), "."); err != nil {
			return err
		}
		known = new([4]uint64)
		s.folders[key.Scope] = known
	}
	word, bit := key.Pack[0]/64, uint64(1)<<(key.Pack[0]%64)
	if known[word]&bit != 0 {
		return nil
	}
	if err := s.makeFolder(shardOf(key), scope); err != nil {
		return err
	}
	known[word] |= bit
	return nil
}

// makeFolder makes a folder, and those above it durable.
func (s *Store) makeFolder(dir string, above ...string) error {
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, dir := range above {
		if err := s.disk.syncDir(s.root, dir); err != nil {
			return err
		}
	}
	return nil
}

// bufferSize is beyond which a part is written by itself. Smaller ones are
// gathered, as each call of the system costs as much as copying some KiB.
const bufferSize = 128 << 10

func write(f *os.File, parts [][]byte) error {
	w := bufio.NewWriterSize(f, bufferSize)
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Flush()
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// equal reports whether r has exactly the parts.
func equal(r io.Reader, parts [][]byte) (bool, error) {
	buffer := make([]byte, bufferSize)
	for _, part := range parts {
		for len(part) > 0 {
			n, err := io.ReadFull(r, buffer[:min(len(part), len(buffer))])
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && !bytes.Equal(buffer[:n], part[:n]) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			part = part[n:]
		}
	}
	n, err := io.ReadFull(r, buffer[:1])
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n == 0, err
}

// Get implements [blob.Store].
func (s *Store) Get(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	const what = "read pack"
	f, size, err := s.openFile(ctx, key)
	if err != nil {
		return nil, wrap(what, err)
	}
	if offset < 0 || length < 0 || offset > size || length > size-offset {
		f.Close()
		return nil, fault.Errorf(fault.Invalid, "%s: bytes %d to %d of %d", what, offset, offset+length, size)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, wrap(what, err)
	}
	return &reader{ctx: ctx, f: f, left: length}, nil
}

func (s *Store) openFile(ctx context.Context, key blob.Key) (*os.File, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	f, err := s.root.Open(pathOf(key))
	if err != nil {
		return nil, 0, notFound(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// reader reads a range of a file. It holds the context of the Get that made
// it, which by contract covers the reading.
type reader struct {
	ctx  context.Context
	f    *os.File
	left int64
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if err := r.ctx.Err(); err != nil {
		return 0, wrap("read pack", err)
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, wrap("read pack", err)
}

// Close implements [io.Closer].
func (r *reader) Close() error { return r.f.Close() }

// Size implements [blob.Store].
func (s *Store) Size(ctx context.Context, key blob.Key) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, wrap("size pack", err)
	}
	info, err := s.root.Stat(pathOf(key))
	if err != nil {
		return 0, wrap("size pack", notFound(err))
	}
	return info.Size(), nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	const what = "delete pack"
	if err := ctx.Err(); err != nil {
		return wrap(what, err)
	}
	if err := s.root.Remove(pathOf(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap(what, err)
	}
	// Also where it was not there: the Delete that removed it may have failed.
	if err := s.disk.syncDir(s.root, shardOf(key)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return wrap(what, err)
	}
	s.prune(key)
	return nil
}

// prune removes the folders above a key that are empty, so that nothing tells
// of an organization or a workspace that is gone. One that stays does no harm.
func (s *Store) prune(key blob.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := shardOf(key)
	if s.root.Remove(shard) != nil {
		return
	}
	delete(s.folders, key.Scope)
	if s.root.Remove(path.Dir(shard)) == nil {
		_ = s.root.Remove(path.Dir(path.Dir(shard)))
	}
}

// Close implements [blob.Store].
func (s *Store) Close() error { return s.root.Close() }

// notFound gives the error of opening a pack that is not there its kind.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Errorf(fault.NotFound, "%w", err)
	}
	return err
}

// wrap says what failed and gives an error of the system its kind.
func wrap(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fault.WithHint(fault.Errorf(fault.Full, "%s: %w", what, err), "free some space on the server's disk")
	}
	return fault.Errorf(fault.KindOf(err), "%s: %w", what, err)
}
