package mount

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"parsec/internal/client/filesystem"
)

// handle is an open file.
type handle struct {
	*filesystem.Handle
	inode  *inode
	writes bool
}

// flagsOf returns how a file is opened. The kernel reads what surrounds a part
// of a page that is written, and knows itself where the end is.
func flagsOf(open uint32) filesystem.Flags {
	flags := filesystem.Read
	if open&syscall.O_ACCMODE != syscall.O_RDONLY {
		flags |= filesystem.Write
	}
	if open&syscall.O_TRUNC != 0 {
		flags |= filesystem.Truncate
	}
	return flags
}

// Open implements [fuse.RawFileSystem].
func (d *drive) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := d.table.get(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	h, err := d.open(call(cancel), n, flagsOf(in.Flags))
	if err != nil {
		return status(err)
	}
	out.Fh, out.OpenFlags = d.files.add(h), fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (d *drive) open(ctx context.Context, n *inode, flags filesystem.Flags) (*handle, error) {
	var opened *filesystem.Handle
	err := d.on(ctx, n, func(node filesystem.Node, other *handle) (err error) {
		if other != nil {
			opened, err = d.again(ctx, n, other, flags)
			return err
		}
		opened, err = d.view.Open(ctx, node, flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	h := &handle{opened, n, flags&filesystem.Write != 0}
	a, err := opened.Stat()
	if err == nil && flags&filesystem.Truncate != 0 {
		d.table.made(h, a)
		return h, nil
	}
	if err == nil && !d.table.open(h, a) {
		err = stale()
	}
	if err != nil {
		_ = opened.Close() // nothing was written
		return nil, err
	}
	return h, nil
}

// again opens what somebody has open already.
func (d *drive) again(ctx context.Context, n *inode, other *handle, flags filesystem.Flags) (*filesystem.Handle, error) {
	if newest, err := other.Newest(ctx); err != nil {
		return nil, err
	} else if !newest && !d.table.nameless(n) {
		d.table.retire(n)
		return nil, stale()
	}
	h, err := other.Again(flags)
	if err != nil || flags&filesystem.Truncate == 0 {
		return h, err
	}
	if err := h.Truncate(ctx, 0); err != nil {
		_ = h.Close() // nothing was written
		return nil, err
	}
	return h, nil
}

// Create implements [fuse.RawFileSystem].
func (d *drive) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	ctx, folder := call(cancel), d.table.get(in.NodeId)
	if folder == nil {
		return fuse.Status(syscall.ESTALE)
	}
	flags := flagsOf(in.Flags)
	if in.Flags&syscall.O_EXCL != 0 {
		flags |= filesystem.Exclusive
	}
	opened, a, err := d.view.Create(ctx, d.nodeOf(folder), name, flags, in.Mode&0o100 != 0)
	if err != nil {
		return status(err)
	}
	n := d.told(ctx, folder, name, a, &out.EntryOut)
	h := &handle{opened, n, flags&filesystem.Write != 0}
	d.table.made(h, a)
	out.Fh, out.OpenFlags = d.files.add(h), fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// with calls act with an open file.
func (d *drive) with(number uint64, act func(*handle) error) fuse.Status {
	h, ok := d.files.get(number)
	if !ok {
		return fuse.EBADF
	}
	return status(act(h))
}

// Read implements [fuse.RawFileSystem].
func (d *drive) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	var n int
	s := d.with(in.Fh, func(h *handle) (err error) {
		n, err = h.ReadAt(call(cancel), buf[:min(len(buf), int(in.Size))], int64(in.Offset))
		return err
	})
	if s != fuse.OK {
		return nil, s
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write implements [fuse.RawFileSystem].
func (d *drive) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	var n int
	s := d.with(in.Fh, func(h *handle) (err error) {
		n, err = h.WriteAt(call(cancel), data, int64(in.Offset))
		return err
	})
	return uint32(n), s
}

// Lseek implements [fuse.RawFileSystem]. The kernel does not write its pages
// before it asks, so what they cover would look like a hole, and who copies the
// file would lose it. It is told to write them: that waits for nothing but writes,
// which other goroutines answer.
func (d *drive) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if in.Whence != unix.SEEK_DATA && in.Whence != unix.SEEK_HOLE {
		return fuse.EINVAL
	}
	return d.with(in.Fh, func(h *handle) error {
		if d.table.written(h.inode) {
			_ = d.server.InodeNotify(h.inode.id, 0, 0)
		}
		at, err := h.Seek(call(cancel), int64(in.Offset), in.Whence == unix.SEEK_HOLE)
		out.Offset = uint64(at)
		return err
	})
}

// Fallocate implements [fuse.RawFileSystem]. Room is never set aside.
func (d *drive) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	ctx := call(cancel)
	return d.with(in.Fh, func(h *handle) error {
		off, length, keep := int64(in.Offset), int64(in.Length), in.Mode&unix.FALLOC_FL_KEEP_SIZE != 0
		switch in.Mode &^ unix.FALLOC_FL_KEEP_SIZE {
		case 0:
			if keep {
				return nil
			}
			return h.Grow(ctx, off+length)
		case unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE:
			return h.Zero(ctx, off, length, !keep)
		default:
			return filesystem.NotSupported
		}
	})
}

// Flush implements [fuse.RawFileSystem]: somebody closes the file.
func (d *drive) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	return d.with(in.Fh, func(h *handle) error {
		d.unlock(h, in.LockOwner, false)
		return h.Flush()
	})
}

// Fsync implements [fuse.RawFileSystem].
func (d *drive) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return d.with(in.Fh, func(h *handle) error { return h.Sync() })
}

// Release implements [fuse.RawFileSystem]: the last who had the file so has closed
// it. What there was to say of errors, Flush has said.
func (d *drive) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	h, ok := d.files.remove(in.Fh)
	if !ok {
		return
	}
	if in.ReleaseFlags&fuse.FUSE_RELEASE_FLOCK_UNLOCK != 0 {
		d.unlock(h, in.LockOwner, true)
	}
	d.close(h)
}

func (d *drive) close(h *handle) {
	a, err := h.Stat()
	if err == nil {
		d.table.close(h, a)
	}
	_ = h.Close()
}
