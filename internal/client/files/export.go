package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/list"
	"parsec/internal/client/transfer"
	"parsec/internal/client/tree"
	"parsec/internal/format/manifest"
)

// CopyOptions are how a copy goes about it.
type CopyOptions struct {
	// Update leaves alone what is at the destination already with the same
	// size, modification time and executable bit.
	Update bool
	// Progress is told how it goes on; nil for nobody.
	Progress Progress
}

func (o CopyOptions) tally() *tally {
	if o.Progress == nil {
		return &tally{Progress: Silent{}}
	}
	return &tally{Progress: o.Progress}
}

// Export copies an entry, and all below it, to a local path, which is the
// copy's own. A folder is merged into one that is there; files are replaced.
// Each file appears under its name once it is whole. Everything is written
// below the destination's folder, whatever links stand there.
//
// What cannot be copied is skipped and reported, and the rest goes on.
func (t *Tree) Export(ctx context.Context, from Entry, to string, o CopyOptions) error {
	root, err := os.OpenRoot(filepath.Dir(to))
	if err != nil {
		return fault.Errorf(fault.NotFound, "copy to %s: %w", to, err)
	}
	defer root.Close()
	x := &export{tree: t, root: root, depth: 0, update: o.Update, tally: o.tally()}
	err = transfer.Download(ctx, t.Transfer, t.ws.Place(), t.ws.Session().Server(),
		func(ctx context.Context, in *transfer.Incoming[*piece]) error {
			x.in = in
			return x.add(ctx, from, filepath.Base(to), 0)
		}, x.write)
	x.discard()
	if err == nil {
		err = x.finish()
	}
	return errors.Join(err, x.tally.err())
}

// export is one export at work. Its producer runs in one goroutine and write
// in several.
type export struct {
	tree   *Tree
	root   *os.Root
	depth  int
	update bool
	tally  *tally
	in     *transfer.Incoming[*piece]
	// folders and links are made or completed at the end, in this order.
	links   []link
	folders []folderTime

	mu      sync.Mutex // guards partial
	partial map[string]bool
}

type link struct {
	path  string
	entry Entry
}

type folderTime struct {
	path     string
	modified time.Time
}

// arriving is a file whose blocks come.
type arriving struct {
	path  string
	entry Entry
	left  atomic.Int64 // blocks
	once  sync.Once
	err   error // of opening, or the first of writing
	temp  string
	file  *os.File
	// lacks says that a block did not come, which is told once.
	lacks atomic.Bool
	fails sync.Once
}

// piece is where in a file a block belongs.
type piece struct {
	file   *arriving
	offset int64
}

// add exports one entry to a path below the root.
func (x *export) add(ctx context.Context, e Entry, to string, depth int) error {
	switch e.Kind {
	case manifest.Folder:
		return x.addFolder(ctx, e, to, depth)
	case manifest.Symlink:
		if tree.CheckTarget(e.Target(), max(0, depth-1)) != nil {
			x.tally.Outside(x.tree.address(e.Path), e.Target())
		}
		x.links = append(x.links, link{to, e})
		return nil
	}
	return x.addFile(ctx, e, to)
}

func (x *export) addFolder(ctx context.Context, e Entry, to string, depth int) error {
	if err := x.root.Mkdir(to, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder %s: %w", to, err)
	}
	if info, err := x.root.Lstat(to); err != nil || !info.IsDir() {
		return fault.WithHint(fault.Errorf(fault.Conflict, "make folder %s: something else is there", to), "move it away, or copy to another place")
	}
	if e.Manifest.Kind == manifest.Folder {
		x.folders = append(x.folders, folderTime{to, time.Unix(0, e.Manifest.Modified)})
	}
	children, err := x.tree.List(ctx, e)
	if confined(err) {
		x.tally.Skipped(x.tree.address(e.Path), fmt.Errorf("copy %s: %w", x.tree.address(e.Path), err))
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := x.add(ctx, c, filepath.Join(to, c.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (x *export) addFile(ctx context.Context, e Entry, to string) error {
	body := e.Body.(manifest.FileBody)
	x.tally.Found(1, body.Size)
	if x.update && x.unchanged(e, to) {
		x.tally.Done(1, body.Size)
		return nil
	}
	blocks, err := list.Open(body)
	if err != nil {
		x.tally.Skipped(x.tree.address(e.Path), err)
		return nil
	}
	f := &arriving{path: to, entry: e}
	f.left.Store(1) // until all are asked for
	for p, err := range blocks.All(ctx, pages{x.tree}) {
		if confined(err) {
			return x.write(&piece{file: f}, nil, err)
		}
		if err != nil {
			return err
		}
		if p.Ref.Hole() {
			continue
		}
		f.left.Add(1)
		if err := x.in.Want(p.Ref, &piece{f, int64(p.Start)}); err != nil {
			return err
		}
	}
	return x.arrived(f)
}

func (x *export) unchanged(e Entry, to string) bool {
	info, err := x.root.Lstat(to)
	return err == nil && info.Mode().IsRegular() && uint64(info.Size()) == e.Size() &&
		info.ModTime().UnixNano() == e.Manifest.Modified && executable(info) == e.Executable()
}

func executable(info fs.FileInfo) bool { return info.Mode().Perm()&0o100 != 0 }

// write takes one block of a file. A file that lacks one is left out, as a
// member may have signed it so.
func (x *export) write(p *piece, content []byte, lacking error) error {
	f := p.file
	switch {
	case lacking != nil:
		f.fails.Do(func() {
			f.lacks.Store(true)
			at := x.tree.address(f.entry.Path)
			x.tally.Skipped(at, fmt.Errorf("copy %s: %w", at, lacking))
		})
	case !f.lacks.Load():
		if err := x.open(f); err != nil {
			return err
		}
		if _, err := f.file.WriteAt(content, p.offset); err != nil {
			return diskError("write "+f.path, err)
		}
		x.tally.Done(0, uint64(len(content)))
	}
	return x.arrived(f)
}

// diskError tells a disk without room from other failures.
func diskError(what string, err error) error {
	if isFull(err) {
		return fault.WithHint(fault.Errorf(fault.Full, "%s: %w", what, err), "make room and run the command again with --update")
	}
	return fmt.Errorf("%s: %w", what, err)
}

// open makes the file under a temporary name when its first block comes.
func (x *export) open(f *arriving) error {
	f.once.Do(func() {
		f.temp = filepath.Join(filepath.Dir(f.path), ".parsec-"+rand.Text()[:12]+".part")
		mode := fs.FileMode(0o666)
		if f.entry.Executable() {
			mode = 0o777
		}
		x.mark(f.temp, true)
		f.file, f.err = x.root.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if f.err == nil {
			f.err = f.file.Truncate(int64(f.entry.Size()))
		}
		if f.err != nil {
			f.err = diskError("create "+f.path, f.err)
		}
	})
	return f.err
}

// arrived counts one block, or the end of asking, and gives the file its name
// after the last.
func (x *export) arrived(f *arriving) error {
	if f.left.Add(-1) > 0 {
		return nil
	}
	if f.lacks.Load() {
		return x.drop(f)
	}
	if err := x.open(f); err != nil {
		return err
	}
	modified := time.Unix(0, f.entry.Manifest.Modified)
	if err := errors.Join(f.file.Close(), x.root.Chtimes(f.temp, modified, modified)); err != nil {
		return diskError("write "+f.path, err)
	}
	if err := x.root.Rename(f.temp, f.path); err != nil {
		return fmt.Errorf("replace %s: %w", f.path, err)
	}
	x.mark(f.temp, false)
	x.tally.Done(1, 0)
	return nil
}

// drop removes what came of a file that is left out.
func (x *export) drop(f *arriving) error {
	if f.file == nil {
		return nil
	}
	if err := errors.Join(f.file.Close(), x.root.Remove(f.temp)); err != nil {
		return fmt.Errorf("leave out %s: %w", f.path, err)
	}
	x.mark(f.temp, false)
	return nil
}

// mark notes a temporary file, so that none is left behind.
func (x *export) mark(temp string, there bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.partial == nil {
		x.partial = map[string]bool{}
	}
	if there {
		x.partial[temp] = true
	} else {
		delete(x.partial, temp)
	}
}

// discard removes what an error left unfinished.
func (x *export) discard() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for temp := range x.partial {
		x.root.Remove(temp)
	}
}

// finish makes the links, which nothing is written through, and then gives
// the folders their times, the innermost first.
func (x *export) finish() error {
	for _, l := range x.links {
		if err := x.makeLink(l); err != nil {
			return err
		}
	}
	for _, f := range slices.Backward(x.folders) {
		if err := x.root.Chtimes(f.path, f.modified, f.modified); err != nil {
			return fmt.Errorf("set time of %s: %w", f.path, err)
		}
	}
	return nil
}

func (x *export) makeLink(l link) error {
	x.tally.Found(1, 0)
	target := filepath.FromSlash(l.entry.Target())
	if info, err := x.root.Lstat(l.path); err == nil {
		if info.IsDir() {
			return fault.Errorf(fault.Conflict, "make link %s: a folder is there", l.path)
		}
		if err := x.root.Remove(l.path); err != nil {
			return fmt.Errorf("replace %s: %w", l.path, err)
		}
	}
	if err := x.root.Symlink(target, l.path); err != nil {
		return fmt.Errorf("make link %s: %w", l.path, err)
	}
	x.tally.Done(1, 0)
	return setLinkTime(x.root, path.Clean(l.path), time.Unix(0, l.entry.Manifest.Modified))
}
