package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/client/disk"
	"parsec/internal/client/list"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
)

// Source is a local file or folder to be copied, and the name of its copy. For
// a folder, an empty name says that only what is in it is copied.
type Source struct {
	Path, Name string
}

// ImportAll copies local files and folders, and all below them, into a folder of
// the workspace. A folder is merged into one that is there; files are replaced,
// as new versions of the same entries. Links are copied as links.
//
// Content is committed as it goes, many files at once, so that an import that
// breaks off leaves whole files and goes on with Update. What cannot be
// copied is skipped and reported, and the rest goes on.
func (t *Tree) ImportAll(ctx context.Context, from []Source, into Entry, o CopyOptions) error {
	return t.importing(ctx, o, func(ctx context.Context, im *importer) error {
		to, err := im.into(ctx, into, names(from)...)
		if err != nil {
			return err
		}
		for _, s := range from {
			if s.Name == "" {
				err = im.addChildren(ctx, s.Path, to)
			} else {
				err = im.addSource(ctx, s, to)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// names returns the names that copies will have, or none if that is not known.
func names(from []Source) []string {
	all := make([]string, len(from))
	for i, s := range from {
		if all[i] = s.Name; s.Name == "" {
			return nil
		}
	}
	return all
}

// Import copies one local file or folder, as [Tree.ImportAll] does.
func (t *Tree) Import(ctx context.Context, from string, into Entry, name string, o CopyOptions) error {
	return t.ImportAll(ctx, []Source{{from, name}}, into, o)
}

func (im *importer) addSource(ctx context.Context, s Source, to target) error {
	info, err := os.Lstat(s.Path)
	if err != nil {
		return fault.Errorf(fault.NotFound, "copy %s: %w", s.Path, errors.Unwrap(err))
	}
	return im.add(ctx, s.Path, s.Name, info, to)
}

// ImportStream copies what r gives into one file of the workspace.
func (t *Tree) ImportStream(ctx context.Context, r io.Reader, into Entry, name string, o CopyOptions) error {
	return t.importing(ctx, o, func(ctx context.Context, im *importer) error {
		to, err := im.into(ctx, into, name)
		if err != nil {
			return err
		}
		w, err := newWrite(name, manifest.File, to, t.now())
		if err != nil {
			return fmt.Errorf("copy to %s: %w", t.address(path.Join(to.path, name)), err)
		}
		body, err := im.stream(ctx, w, r)
		if err != nil {
			return err
		}
		return im.complete(w, body)
	})
}

func (t *Tree) importing(ctx context.Context, o CopyOptions, produce func(context.Context, *importer) error) error {
	if err := t.ws.MayWrite(); err != nil {
		return err
	}
	im := &importer{tree: t, update: o.Update, aside: o.Aside, tally: o.tally()}
	b := &batch{tree: t, tally: im.tally}
	commit := func(ctx context.Context, writes []*write) error {
		im.mu.Lock()
		defer im.mu.Unlock()
		return b.add(ctx, writes)
	}
	err := transfer.Upload(ctx, t.Transfer, t.ws.Place(), t.ws.Session().Server(),
		func(ctx context.Context, out *transfer.Outgoing[*write]) error {
			im.out = out
			return produce(ctx, im)
		}, commit)
	if err == nil {
		err = b.commit(ctx)
	}
	return errors.Join(err, im.tally.err())
}

// importer is the producer of an import.
type importer struct {
	mu     sync.Mutex // guards tree, which the commits of what is produced use too
	tree   *Tree
	update bool
	aside  func(Source, string) bool
	tally  *tally
	out    *transfer.Outgoing[*write]
}

// into returns a folder to be copied into. Where names are given, only they
// are going to be written.
func (im *importer) into(ctx context.Context, folder Entry, names ...string) (target, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	there, err := im.tree.byName(ctx, folder, names...)
	return target{folder: folder.ID, path: folder.Path, there: there}, err
}

// byName returns the entries of a folder by name: those with some names, and
// all where no names are given.
func (t *Tree) byName(ctx context.Context, folder Entry, names ...string) (map[string]Entry, error) {
	list := t.List
	if len(names) > 0 {
		list = func(ctx context.Context, folder Entry) ([]Entry, error) { return t.pick(ctx, folder, names) }
	}
	all, err := list(ctx, folder)
	if err != nil {
		return nil, err
	}
	there := make(map[string]Entry, len(all))
	for _, e := range all {
		there[e.Name()] = e
	}
	return there, nil
}

// add copies one local entry. Only what ends the whole import is an error.
func (im *importer) add(ctx context.Context, from, name string, info fs.FileInfo, to target) error {
	if _, exists := to.there[name]; !exists && im.aside != nil && im.aside(Source{from, name}, to.path) {
		return nil
	}
	err := manifest.CheckName(name)
	if err == nil {
		switch mode := info.Mode(); {
		case mode.IsDir():
			err = im.addFolder(ctx, from, name, info, to)
		case mode.IsRegular():
			err = im.addFile(ctx, from, name, info, to)
		case mode&fs.ModeSymlink != 0:
			err = im.addLink(from, name, info, to)
		default:
			err = fault.Errorf(fault.Invalid, "it is neither a file, a folder nor a link")
		}
	}
	return im.leave(ctx, from, err)
}

// leave leaves out an entry whose error is its own.
func (im *importer) leave(ctx context.Context, from string, err error) error {
	_, own := errors.AsType[*skip](err)
	if ctx.Err() != nil || !own && !fault.Is(err, fault.Invalid) {
		return err
	}
	im.tally.Skipped(from, fmt.Errorf("copy %s: %w", from, err))
	return nil
}

func (im *importer) addFolder(ctx context.Context, from, name string, info fs.FileInfo, to target) error {
	if there, exists := to.there[name]; exists && there.Kind == manifest.Folder {
		below, err := im.into(ctx, there)
		if err != nil {
			return err
		}
		return im.addChildren(ctx, from, below)
	}
	w, err := newWrite(name, manifest.Folder, to, info.ModTime().UnixNano())
	if err != nil {
		return err
	}
	if err := im.complete(w, manifest.FolderBody{}); err != nil {
		return err
	}
	return im.addChildren(ctx, from, target{folder: w.entry, path: path.Join(to.path, name)})
}

// addChildren copies what is in a local folder.
func (im *importer) addChildren(ctx context.Context, from string, below target) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		im.tally.Skipped(from, fmt.Errorf("copy %s: %w", from, err))
		return nil
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil { // it vanished
			im.tally.Skipped(filepath.Join(from, e.Name()), err)
			continue
		}
		if err := im.add(ctx, filepath.Join(from, e.Name()), e.Name(), info, below); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) addLink(from, name string, info fs.FileInfo, to target) error {
	im.tally.Found(1, 0)
	points, err := os.Readlink(from)
	if err != nil {
		return &skip{err}
	}
	points = filepath.ToSlash(points)
	if err := manifest.CheckTarget(points); err != nil {
		return err
	}
	at := info.ModTime().UnixNano()
	if im.update && to.has(name, looks{kind: manifest.Symlink, size: uint64(len(points)), modified: at, points: points}) {
		im.tally.Done(1, 0)
		return nil
	}
	w, err := newWrite(name, manifest.Symlink, to, at)
	if err != nil {
		return err
	}
	return im.complete(w, manifest.SymlinkBody{Target: points})
}

func (im *importer) addFile(ctx context.Context, from, name string, info fs.FileInfo, to target) error {
	size, at := uint64(info.Size()), info.ModTime().UnixNano()
	im.tally.Found(1, size)
	if im.update && to.has(name, looks{kind: manifest.File, size: size, modified: at, executable: disk.Executable(info)}) {
		im.tally.Done(1, size)
		return nil
	}
	w, err := newWrite(name, manifest.File, to, at)
	if err != nil {
		return err
	}
	f, err := disk.Open(from)
	if err != nil {
		return &skip{err}
	}
	defer f.Close()
	body, err := im.read(ctx, w, f, info)
	if err != nil {
		return err
	}
	body.Executable = disk.Executable(info)
	return im.complete(w, body)
}

func (im *importer) complete(w *write, body manifest.Body) error {
	w.body = body
	return im.out.Complete(w)
}

// read seals a file of known size. A file that changes meanwhile is not copied.
func (im *importer) read(ctx context.Context, w *write, f *os.File, before fs.FileInfo) (manifest.FileBody, error) {
	builder := list.NewBuilder(sealer{im.out, w})
	size := before.Size()
	for at := int64(0); at < size; {
		start, end, err := disk.NextData(f, at, before)
		if err != nil {
			return manifest.FileBody{}, &skip{err}
		}
		if start > at {
			if err := builder.Add(ctx, manifest.Hole(uint64(start-at))); err != nil {
				return manifest.FileBody{}, err
			}
		}
		for at = start; at < end; {
			n := int(min(manifest.BlockSize, end-at))
			if err := im.readBlock(ctx, w, builder, f, at, n); err != nil {
				return manifest.FileBody{}, err
			}
			at += int64(n)
		}
	}
	after, err := f.Stat()
	if err != nil {
		return manifest.FileBody{}, &skip{err}
	}
	if after.Size() != size || !after.ModTime().Equal(before.ModTime()) {
		return manifest.FileBody{}, &skip{fault.WithHint(errChanged, "copy it again with --update once nobody writes to it")}
	}
	blocks, err := builder.Finish(ctx)
	return manifest.FileBody{Size: uint64(size), Blocks: blocks}, err
}

var errChanged = errors.New("it changed while it was read")

// readBlock reads one block where it is sealed.
func (im *importer) readBlock(ctx context.Context, w *write, builder *list.Builder, f *os.File, at int64, n int) error {
	room, err := im.out.Room(n)
	if err != nil {
		return err
	}
	if _, err := f.ReadAt(room, at); err != nil {
		if errors.Is(err, io.EOF) {
			err = errChanged
		}
		return &skip{err}
	}
	im.tally.Done(0, uint64(n))
	return seal(ctx, im.out, w, builder, room)
}

// seal seals the next block of a file, where it stands.
func seal(ctx context.Context, out *transfer.Outgoing[*write], w *write, builder *list.Builder, room []byte) error {
	ref := out.Seal(room)
	if err := w.add(ref); err != nil {
		return err
	}
	return builder.Add(ctx, ref)
}

// stream seals what comes, until it ends.
func (im *importer) stream(ctx context.Context, w *write, r io.Reader) (manifest.FileBody, error) {
	builder := list.NewBuilder(sealer{im.out, w})
	for {
		room, err := im.out.Room(manifest.BlockSize)
		if err != nil {
			return manifest.FileBody{}, err
		}
		n, err := io.ReadFull(r, room)
		if n > 0 {
			im.tally.Done(0, uint64(n))
			if err := seal(ctx, im.out, w, builder, room[:n]); err != nil {
				return manifest.FileBody{}, err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return manifest.FileBody{}, fmt.Errorf("read standard input: %w", err)
		}
	}
	size := builder.Size()
	blocks, err := builder.Finish(ctx)
	return manifest.FileBody{Size: size, Blocks: blocks}, err
}

// sealer seals the pages of a list beside the blocks that they name.
type sealer struct {
	out *transfer.Outgoing[*write]
	w   *write
}

var _ list.Sealer = sealer{}

// SealPage implements [list.Sealer].
func (s sealer) SealPage(_ context.Context, plain []byte) (manifest.Ref, error) {
	ref, err := s.out.SealCopy(plain)
	if err != nil {
		return ref, err
	}
	return ref, s.w.add(ref)
}
