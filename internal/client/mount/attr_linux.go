package mount

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// How long the kernel remembers. It is told when something changes, except for
// the list of workspaces and their names.
const (
	remembered    = time.Hour
	rememberedTop = time.Second
)

func remember(n filesystem.Node) time.Duration {
	if n.Top() {
		return rememberedTop
	}
	return remembered
}

// blockSize is the unit in which sizes on the disk are told.
const blockSize = 4096

// mode returns what can be done with a node, by its owner alone.
func (d *drive) mode(a filesystem.Attr) uint32 {
	mode := uint32(0o400)
	if a.Kind == manifest.Folder || a.Executable {
		mode |= 0o100
	}
	if !d.readOnly && (a.Node.Top() || d.view.MayChange(a.Node)) {
		mode |= 0o200
	}
	switch a.Kind {
	case manifest.Folder:
		return syscall.S_IFDIR | mode
	case manifest.Symlink:
		return syscall.S_IFLNK | 0o777
	default:
		return syscall.S_IFREG | mode
	}
}

// fill says what there is to see.
func (d *drive) fill(out *fuse.Attr, a filesystem.Attr) {
	*out = fuse.Attr{
		Ino: a.Number, Size: a.Size, Blocks: (a.Size + blockSize - 1) / blockSize * (blockSize / 512), Blksize: 128 << 10,
		Mode: d.mode(a), Nlink: 1, Owner: d.owner,
	}
	if a.Removed {
		out.Nlink = 0
	}
	if !a.Modified.IsZero() {
		out.Mtime, out.Mtimensec = uint64(a.Modified.Unix()), uint32(a.Modified.Nanosecond())
	}
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
	out.Ctime, out.Ctimensec = out.Mtime, out.Mtimensec
}

// nodeOf returns what an inode shows.
func (d *drive) nodeOf(n *inode) filesystem.Node {
	node, _ := d.table.at(n)
	return node
}

// stale says that a file has another id by now. The kernel looks the name up again.
func stale() error { return fault.Errorf(fault.Stale, "find file: it has a newer version") }

// on calls act with the node of an inode, and with a handle if it is open.
func (d *drive) on(ctx context.Context, n *inode, act func(filesystem.Node, *handle) error) error {
	for {
		node, h := d.table.at(n)
		// What has no name may be the old inode of a node that another one took the
		// place of, and the kernel still says when it changed.
		if h == nil && (n.kind != manifest.Folder && d.table.nameless(n) || n.kind == manifest.File && d.judge(ctx, n)) {
			return stale()
		}
		err := act(node, h)
		if h != nil || !fault.Is(err, fault.NotFound) {
			return err
		}
		// It may be about to take the place of something else.
		d.table.moving.RLock()
		now, _ := d.table.at(n)
		d.table.moving.RUnlock()
		if now == node {
			return err
		}
	}
}

// stat returns what there is to see of an inode.
func (d *drive) stat(ctx context.Context, n *inode) (a filesystem.Attr, err error) {
	err = d.on(ctx, n, func(node filesystem.Node, h *handle) (err error) {
		if h != nil {
			a, err = h.Stat()
			return err
		}
		a, err = d.view.Stat(ctx, node)
		return err
	})
	if err == nil && n.kind == manifest.File && a.Kind != manifest.File {
		err = stale()
	}
	return a, err
}

// GetAttr implements [fuse.RawFileSystem].
func (d *drive) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := d.table.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	a, err := d.stat(call(cancel), n)
	if err != nil {
		return status(err)
	}
	d.fill(&out.Attr, a)
	out.SetTimeout(remember(a.Node))
	return fuse.OK
}

// SetAttr implements [fuse.RawFileSystem].
func (d *drive) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, n := call(cancel), d.table.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	if uid, ok := in.GetUID(); ok && uid != d.owner.Uid {
		return status(filesystem.NotPermitted)
	}
	if gid, ok := in.GetGID(); ok && gid != d.owner.Gid {
		return status(filesystem.NotPermitted)
	}
	a, err := d.stat(ctx, n)
	if err != nil {
		return status(err)
	}
	if c, any := changes(in, a); any {
		if a, err = d.set(ctx, n, c); err != nil {
			return status(err)
		}
	}
	d.fill(&out.Attr, a)
	out.SetTimeout(remember(a.Node))
	return fuse.OK
}

// changes returns what a request changes of what there is.
func changes(in *fuse.SetAttrIn, a filesystem.Attr) (c filesystem.Changes, any bool) {
	if size, ok := in.GetSize(); ok {
		c.Size, any = &size, true
	}
	if mode, ok := in.GetMode(); ok && a.Kind == manifest.File {
		if x := mode&0o100 != 0; x != a.Executable {
			c.Executable, any = &x, true
		}
	}
	if at, ok := in.GetMTime(); ok && !at.Equal(a.Modified) {
		c.Modified, any = &at, true
	}
	return c, any
}

func (d *drive) set(ctx context.Context, n *inode, c filesystem.Changes) (a filesystem.Attr, err error) {
	err = d.on(ctx, n, func(node filesystem.Node, h *handle) (err error) {
		if h != nil {
			a, err = h.Set(ctx, c)
			return err
		}
		if a, err = d.view.Set(ctx, node, c); err == nil {
			d.table.sees(n, a)
		}
		return err
	})
	return a, err
}

// The extended attributes that show how a node stands.
const (
	xattrStatus  = "user.parsec.status"
	xattrVersion = "user.parsec.version"
	xattrAuthor  = "user.parsec.author"
)

// xattrs returns their names.
func xattrs() []string { return []string{xattrStatus, xattrVersion, xattrAuthor} }
