// Package disk is this machine's side of a copy: it opens what is to be read,
// tells data from holes, and writes a tree of folders, files and links. It
// knows nothing of workspaces.
//
// Invariants: nothing outside of the destination is written, whatever links
// stand in it or are made; a file appears under its name once it is whole; what
// is unfinished when a destination is closed is gone. An error of kind
// [fault.Full] concerns everything that follows, any other only what it names.
package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"parsec/internal/base/fault"
)

// Executable reports whether the owner of a file may execute it.
func Executable(info fs.FileInfo) bool { return info.Mode().Perm()&0o100 != 0 }

// Destination is a folder in which a copy is made. Paths are relative to it. It
// belongs to one goroutine, but for the files.
type Destination struct {
	root *os.Root
	// folders get their times at the end, in the reverse of this order.
	folders []folder

	mu         sync.Mutex // guards unfinished
	unfinished map[*File]bool
}

type folder struct {
	path     string
	modified time.Time
}

// Into opens a folder that is there as a destination.
func Into(dir string) (*Destination, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.Errorf(fault.NotFound, "copy to %s: %w", dir, inner(err))
	}
	return &Destination{root: root, unfinished: map[*File]bool{}}, nil
}

// inner returns an error of the file system without the path that it names.
func inner(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// fail says what failed on what, and tells a disk without room from the rest.
func fail(what, path string, err error) error {
	if err == nil {
		return nil
	}
	if isFull(err) {
		return fault.WithHint(fault.Errorf(fault.Full, "%s %s: %w", what, path, inner(err)), "make room and run the command again with --update")
	}
	return fmt.Errorf("%s %s: %w", what, path, inner(err))
}

func taken(what, path, by string) error {
	return fault.WithHint(fault.Errorf(fault.Conflict, "%s %s: %s is there", what, path, by), "move it away, or copy to another place")
}

// Close removes what is unfinished.
func (d *Destination) Close() error {
	d.mu.Lock()
	left := d.unfinished
	d.unfinished = map[*File]bool{}
	d.mu.Unlock()
	var err error
	for f := range left {
		err = errors.Join(err, f.remove())
	}
	return errors.Join(err, d.root.Close())
}

// Look returns what is at a path; of a link, the link.
func (d *Destination) Look(path string) (fs.FileInfo, error) { return d.root.Lstat(path) }

// Folder makes a folder, unless it is there.
func (d *Destination) Folder(path string) error {
	if err := d.root.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail("make folder", path, err)
	}
	if info, err := d.root.Lstat(path); err != nil || !info.IsDir() {
		return taken("make folder", path, "something else")
	}
	return nil
}

// KeepTime has a folder get this time once everything is in it.
func (d *Destination) KeepTime(path string, modified time.Time) {
	d.folders = append(d.folders, folder{path, modified})
}

// SetTimes gives the folders their times, the innermost first. It returns the
// first error after it has tried all.
func (d *Destination) SetTimes() error {
	var first error
	for _, f := range slices.Backward(d.folders) {
		if err := d.root.Chtimes(f.path, f.modified, f.modified); err != nil && first == nil {
			first = fail("set time of", f.path, err)
		}
	}
	return first
}

// Link makes a link, in place of a file or link that is there.
func (d *Destination) Link(path, target string, modified time.Time) error {
	if info, err := d.root.Lstat(path); err == nil {
		if info.IsDir() {
			return taken("make link", path, "a folder")
		}
		if err := d.root.Remove(path); err != nil {
			return fail("replace", path, err)
		}
	}
	if err := d.root.Symlink(filepath.FromSlash(target), path); err != nil {
		return fail("make link", path, err)
	}
	return fail("set time of link", path, setLinkTime(d.root, filepath.Clean(path), modified))
}

// File is a file that is being written. Its methods may be called from several
// goroutines at once, but Finish and Discard after everything else.
type File struct {
	to   *Destination
	path string
	temp string
	file *os.File
}

// Create begins a file of this size, all of it a hole, under a temporary name.
func (d *Destination) Create(path string, size uint64, executable bool) (*File, error) {
	f := &File{to: d, path: path, temp: filepath.Join(filepath.Dir(path), ".parsec-"+rand.Text()[:12]+".part")}
	mode := fs.FileMode(0o666)
	if executable {
		mode = 0o777
	}
	var err error
	f.file, err = d.root.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, fail("create", path, err)
	}
	d.mu.Lock()
	d.unfinished[f] = true
	d.mu.Unlock()
	if err := f.file.Truncate(int64(size)); err != nil {
		return nil, errors.Join(fail("create", path, err), f.Discard())
	}
	return f, nil
}

// WriteAt implements [io.WriterAt].
func (f *File) WriteAt(content []byte, at int64) (int, error) {
	n, err := f.file.WriteAt(content, at)
	return n, fail("write", f.path, err)
}

// Finish gives the file its time and its name, in place of a file or link that
// is there.
func (f *File) Finish(modified time.Time) error {
	root := f.to.root
	err := errors.Join(f.file.Close(), root.Chtimes(f.temp, modified, modified))
	if err != nil {
		return errors.Join(fail("write", f.path, err), f.Discard())
	}
	if err := root.Rename(f.temp, f.path); err != nil {
		if info, looked := root.Lstat(f.path); looked == nil && info.IsDir() {
			return errors.Join(taken("write", f.path, "a folder"), f.Discard())
		}
		return errors.Join(fail("replace", f.path, err), f.Discard())
	}
	f.forget()
	return nil
}

// Discard removes the file.
func (f *File) Discard() error {
	f.forget()
	return f.remove()
}

func (f *File) forget() {
	f.to.mu.Lock()
	defer f.to.mu.Unlock()
	delete(f.to.unfinished, f)
}

func (f *File) remove() error {
	if err := f.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fail("leave out", f.path, err)
	}
	return fail("leave out", f.path, f.to.root.Remove(f.temp))
}
