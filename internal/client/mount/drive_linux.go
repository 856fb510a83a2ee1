package mount

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// drive answers the kernel.
type drive struct {
	fuse.RawFileSystem // answers the rest with ENOSYS, so that the kernel does not ask again

	view     *filesystem.View
	readOnly bool
	owner    fuse.Owner
	server   *fuse.Server
	table    *table
	hearing  *hearing
	files    slots[*handle]
	folders  slots[*openFolder]
	// locked says that somebody has locked something since the start.
	locked atomic.Bool
}

var _ fuse.RawFileSystem = (*drive)(nil)

// Init implements [fuse.RawFileSystem].
func (d *drive) Init(server *fuse.Server) { d.server = server }

// String implements [fuse.RawFileSystem].
func (d *drive) String() string { return "parsec" }

// told tells the kernel of a node under a name.
func (d *drive) told(ctx context.Context, parent *inode, name string, a filesystem.Attr, out *fuse.EntryOut) *inode {
	if n := d.table.of(a.Node); n != nil {
		d.judge(ctx, n)
	}
	n := d.table.enter(parent, name, a)
	out.NodeId, out.Generation = n.id, n.id
	d.fill(&out.Attr, a)
	out.SetEntryTimeout(remember(d.nodeOf(parent)))
	out.SetAttrTimeout(remember(a.Node))
	return n
}

// in calls act with the folder of a request, and tells the kernel what it returns.
func (d *drive) in(ctx context.Context, id uint64, name string, out *fuse.EntryOut, act func(filesystem.Node) (filesystem.Attr, error)) fuse.Status {
	folder := d.table.get(id)
	if folder == nil {
		return fuse.Status(syscall.ESTALE)
	}
	a, err := act(d.nodeOf(folder))
	if err != nil {
		return status(err)
	}
	d.told(ctx, folder, name, a, out)
	return fuse.OK
}

// Lookup implements [fuse.RawFileSystem]. The kernel remembers what is not there,
// too: an entry without an id says so.
func (d *drive) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx, forgotten := call(cancel), true
	s := d.in(ctx, header.NodeId, name, out, func(folder filesystem.Node) (filesystem.Attr, error) {
		// Before it is asked for, so that who makes it meanwhile has the kernel forget.
		forgotten = folder.Top() || !d.table.miss(header.NodeId, name)
		return d.view.Lookup(ctx, folder, name)
	})
	if s != fuse.ENOENT || forgotten {
		return s
	}
	*out = fuse.EntryOut{}
	out.SetEntryTimeout(remembered)
	return fuse.OK
}

// Forget implements [fuse.RawFileSystem].
func (d *drive) Forget(id, lookups uint64) { d.table.forget(id, lookups) }

// Mkdir implements [fuse.RawFileSystem].
func (d *drive) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx := call(cancel)
	return d.in(ctx, in.NodeId, name, out, func(folder filesystem.Node) (filesystem.Attr, error) {
		return d.view.Mkdir(ctx, folder, name)
	})
}

// Symlink implements [fuse.RawFileSystem].
func (d *drive) Symlink(cancel <-chan struct{}, header *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	ctx := call(cancel)
	return d.in(ctx, header.NodeId, name, out, func(folder filesystem.Node) (filesystem.Attr, error) {
		return d.view.Symlink(ctx, folder, name, target)
	})
}

// Mknod implements [fuse.RawFileSystem]. A workspace holds no devices and no pipes.
func (d *drive) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return status(filesystem.NotPermitted)
	}
	ctx := call(cancel)
	return d.in(ctx, in.NodeId, name, out, func(folder filesystem.Node) (filesystem.Attr, error) {
		h, a, err := d.view.Create(ctx, folder, name, filesystem.Write|filesystem.Exclusive, in.Mode&0o100 != 0)
		if err == nil {
			err = h.Close()
		}
		return a, err
	})
}

// Link implements [fuse.RawFileSystem]. An entry has one name.
func (d *drive) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return status(filesystem.NotPermitted)
}

// Tmpfile implements [fuse.RawFileSystem]. Programs fall back on a name.
func (d *drive) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return status(filesystem.NotSupported)
}

// Readlink implements [fuse.RawFileSystem].
func (d *drive) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	n := d.table.get(header.NodeId)
	if n == nil {
		return nil, fuse.Status(syscall.ESTALE)
	}
	target, err := d.view.ReadLink(call(cancel), d.nodeOf(n))
	return []byte(target), status(err)
}

// Unlink implements [fuse.RawFileSystem].
func (d *drive) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return d.remove(call(cancel), header.NodeId, name, d.view.Unlink)
}

// Rmdir implements [fuse.RawFileSystem].
func (d *drive) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return d.remove(call(cancel), header.NodeId, name, d.view.Rmdir)
}

func (d *drive) remove(ctx context.Context, id uint64, name string, act func(context.Context, filesystem.Node, string) error) fuse.Status {
	folder := d.table.get(id)
	if folder == nil {
		return fuse.Status(syscall.ESTALE)
	}
	if err := act(ctx, d.nodeOf(folder), name); err != nil {
		return status(err)
	}
	d.table.removed(folder, name)
	return fuse.OK
}

// Rename implements [fuse.RawFileSystem].
func (d *drive) Rename(cancel <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	from, to := d.table.get(in.NodeId), d.table.get(in.Newdir)
	switch {
	case from == nil || to == nil:
		return fuse.Status(syscall.ESTALE)
	case in.Flags&^unix.RENAME_NOREPLACE != 0: // two entries never swap their places at once
		return fuse.EINVAL
	}
	d.table.moving.Lock()
	defer d.table.moving.Unlock()
	moved, err := d.view.Rename(call(cancel), d.nodeOf(from), name, d.nodeOf(to), newName, in.Flags&unix.RENAME_NOREPLACE != 0)
	if err != nil {
		return status(err)
	}
	d.table.moved(from, name, to, newName, moved)
	return fuse.OK
}

// openFolder is an open folder.
type openFolder struct {
	*filesystem.Folder
	inode *inode
	// begun says that something was read.
	begun atomic.Bool
}

// dots is how many entries stand before those of a folder: "." and "..".
const dots = 2

// OpenDir implements [fuse.RawFileSystem].
func (d *drive) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := d.table.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	f, err := d.view.OpenFolder(call(cancel), d.nodeOf(n))
	if err != nil {
		return status(err)
	}
	out.Fh = d.folders.add(&openFolder{Folder: f, inode: n})
	return fuse.OK
}

// ReadDir implements [fuse.RawFileSystem].
func (d *drive) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.list(call(cancel), in, func(_ *inode, e fuse.DirEntry, _ *filesystem.Attr) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus implements [fuse.RawFileSystem].
func (d *drive) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	ctx := call(cancel)
	return d.list(ctx, in, func(folder *inode, e fuse.DirEntry, a *filesystem.Attr) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && a != nil {
			d.told(ctx, folder, e.Name, *a, entry)
		}
		return entry != nil
	})
}

// list adds what a folder names from an offset on until there is no room.
func (d *drive) list(ctx context.Context, in *fuse.ReadIn, add func(*inode, fuse.DirEntry, *filesystem.Attr) bool) fuse.Status {
	f, ok := d.folders.get(in.Fh)
	if !ok {
		return fuse.EBADF
	}
	if f.begun.Swap(true) && in.Offset == 0 { // rewinddir(3)
		if err := f.Rewind(ctx); err != nil {
			return status(err)
		}
	}
	at := in.Offset
	for ; at < dots; at++ {
		if !add(f.inode, fuse.DirEntry{Name: ".."[:at+1], Ino: f.inode.number, Mode: syscall.S_IFDIR, Off: at + 1}, nil) {
			return fuse.OK
		}
	}
	for {
		l, ok, err := f.At(ctx, at-dots)
		if err != nil {
			return status(err)
		}
		if !ok || !add(f.inode, fuse.DirEntry{Name: l.Name, Ino: l.Attr.Number, Mode: d.mode(l.Attr), Off: l.Next + dots}, &l.Attr) {
			return fuse.OK
		}
		at = l.Next + dots
	}
}

// ReleaseDir implements [fuse.RawFileSystem].
func (d *drive) ReleaseDir(in *fuse.ReleaseIn) { d.folders.remove(in.Fh) }

// FsyncDir implements [fuse.RawFileSystem].
func (d *drive) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f, ok := d.folders.get(in.Fh)
	if !ok {
		return fuse.EBADF
	}
	return status(d.view.Sync(call(cancel), f.Node()))
}

// StatFs implements [fuse.RawFileSystem].
func (d *drive) StatFs(cancel <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s, err := d.view.Space(call(cancel))
	if err != nil {
		return status(err)
	}
	*out = fuse.StatfsOut{
		Blocks: s.Total / blockSize, Bfree: s.Free / blockSize, Bavail: s.Free / blockSize,
		Bsize: blockSize, Frsize: blockSize, NameLen: manifest.MaxName,
	}
	return fuse.OK
}
