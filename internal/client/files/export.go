package files

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/disk"
	"parsec/internal/client/list"
	"parsec/internal/client/mirror"
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
	// Aside is asked of each local file and folder that would be new in a [Tree],
	// with the path of the folder there. It returns true for what it takes over,
	// with all below it; nil takes nothing.
	Aside func(from Source, folder string) bool
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
	return exportFrom(ctx, &export{from: t, mirror: t.Mirror, address: t.address}, from, to, o)
}

// Export copies an entry as [Tree.Export] does, as this device shows it. Offline
// says that the server is not asked for content: what is not here is skipped.
func (l *Local) Export(ctx context.Context, from Entry, to string, offline bool, o CopyOptions) error {
	return exportFrom(ctx, &export{from: l, mirror: l.mirror, address: l.address, local: l, offline: offline}, from, to, o)
}

func exportFrom(ctx context.Context, x *export, from Entry, to string, o CopyOptions) (err error) {
	dir, err := disk.Into(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	x.to, x.update, x.tally = dir, o.Update, o.tally()
	ws := x.mirror.Workspace()
	err = transfer.Download(ctx, x.mirror.Transfer, ws.Place(), ws.Session().Server(),
		func(ctx context.Context, in *transfer.Incoming[*piece]) error {
			x.in = in
			return x.add(ctx, from, filepath.Base(to), 0)
		}, x.write)
	if err == nil {
		err = x.finish()
	}
	return errors.Join(err, x.tally.err())
}

// export is one export at work. Its producer runs in one goroutine and write
// in several.
type export struct {
	from    Lister
	mirror  *mirror.Mirror
	address func(path string) string
	// local reads what the server does not have, or is not asked for; nil where
	// it has everything.
	local   *Local
	offline bool
	to      *disk.Destination
	update  bool
	tally   *tally
	in      *transfer.Incoming[*piece]
	// links are made at the end, so that nothing is written through them.
	links []link
}

type link struct {
	path  string
	entry Entry
}

// arriving is a file whose blocks come.
type arriving struct {
	path  string
	entry Entry
	left  atomic.Int64 // blocks
	once  sync.Once
	err   error // of beginning
	file  *disk.File
	// lacks says that the file is left out, which is told once.
	lacks atomic.Bool
}

// piece is where in a file a block belongs.
type piece struct {
	file   *arriving
	offset int64
}

// leave leaves out an entry. Only a full disk ends the export.
func (x *export) leave(e Entry, err error) error {
	if fault.Is(err, fault.Full) {
		return err
	}
	at := x.address(e.Path)
	x.tally.Skipped(at, fmt.Errorf("copy %s: %w", at, err))
	return nil
}

// add exports one entry to a path below the destination.
func (x *export) add(ctx context.Context, e Entry, to string, depth int) error {
	switch e.Kind {
	case manifest.Folder:
		return x.addFolder(ctx, e, to, depth)
	case manifest.Symlink:
		if tree.CheckTarget(e.Target(), max(0, depth-1)) != nil {
			x.tally.Outside(x.address(e.Path), e.Target())
		}
		x.links = append(x.links, link{to, e})
		return nil
	}
	return x.addFile(ctx, e, to)
}

func (x *export) addFolder(ctx context.Context, e Entry, to string, depth int) error {
	if err := x.to.Folder(to); err != nil {
		return x.leave(e, err)
	}
	if e.Manifest.Kind == manifest.Folder {
		x.to.KeepTime(to, time.Unix(0, e.Manifest.Modified))
	}
	children, err := x.from.List(ctx, e)
	if mirror.Confined(err) {
		return x.leave(e, err)
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
	if x.local != nil {
		stored, ok, err := x.local.view.Stored(ctx, e.node)
		if err != nil {
			return x.leave(e, err)
		}
		if !ok || x.offline {
			return x.addLocal(ctx, e, to)
		}
		body = stored
	}
	blocks, err := list.Open(body)
	if err != nil {
		return x.leave(e, err)
	}
	f := &arriving{path: to, entry: e}
	f.left.Store(1) // until all are asked for
	for p, err := range blocks.All(ctx, x.mirror.Pages()) {
		if mirror.Confined(err) {
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

// addLocal exports a file of which the content is read as programs read it.
func (x *export) addLocal(ctx context.Context, e Entry, to string) error {
	f, err := x.to.Create(to, e.Size(), e.Executable())
	if err != nil {
		return x.leave(e, err)
	}
	var at int64
	err = x.local.read(ctx, e, func(content []byte) error {
		n, err := f.WriteAt(content, at)
		at += int64(n)
		x.tally.Done(0, uint64(n))
		return err
	})
	if err != nil {
		return errors.Join(f.Discard(), either(ctx.Err(), x.leave(e, err)))
	}
	if err := f.Finish(time.Unix(0, e.Manifest.Modified)); err != nil {
		return x.leave(e, err)
	}
	x.tally.Done(1, 0)
	return nil
}

func (x *export) unchanged(e Entry, to string) bool {
	info, err := x.to.Look(to)
	return err == nil && info.Mode().IsRegular() && uint64(info.Size()) == e.Size() &&
		info.ModTime().UnixNano() == e.Manifest.Modified && disk.Executable(info) == e.Executable()
}

// write takes one block of a file. A file that lacks one is left out, as a
// member may have signed it so; and so is one that cannot be written.
func (x *export) write(p *piece, content []byte, lacking error) error {
	f := p.file
	if lacking == nil && !f.lacks.Load() {
		lacking = x.put(f, content, p.offset)
	}
	if err := x.lack(f, lacking); err != nil {
		return err
	}
	return x.arrived(f)
}

func (x *export) put(f *arriving, content []byte, at int64) error {
	if err := x.begin(f); err != nil {
		return err
	}
	if _, err := f.file.WriteAt(content, at); err != nil {
		return err
	}
	x.tally.Done(0, uint64(len(content)))
	return nil
}

// begin makes the file when its first block comes.
func (x *export) begin(f *arriving) error {
	f.once.Do(func() { f.file, f.err = x.to.Create(f.path, f.entry.Size(), f.entry.Executable()) })
	return f.err
}

// lack leaves out a file, if there is a reason to.
func (x *export) lack(f *arriving, why error) error {
	if why == nil || f.lacks.Swap(true) {
		return nil
	}
	return x.leave(f.entry, why)
}

// arrived counts one block, or the end of asking, and gives the file its name
// after the last.
func (x *export) arrived(f *arriving) error {
	if f.left.Add(-1) > 0 {
		return nil
	}
	if f.lacks.Load() {
		if f.file == nil {
			return nil
		}
		return f.file.Discard()
	}
	err := x.begin(f)
	if err == nil {
		err = f.file.Finish(time.Unix(0, f.entry.Manifest.Modified))
	}
	if err == nil {
		x.tally.Done(1, 0)
	}
	return x.lack(f, err)
}

// finish makes the links and then gives the folders their times.
func (x *export) finish() error {
	for _, l := range x.links {
		x.tally.Found(1, 0)
		err := x.to.Link(l.path, l.entry.Target(), time.Unix(0, l.entry.Manifest.Modified))
		if err == nil {
			x.tally.Done(1, 0)
		} else if err := x.leave(l.entry, err); err != nil {
			return err
		}
	}
	return x.to.SetTimes()
}
