package mount

import (
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"parsec/internal/client/filesystem"
)

// lockOf returns the lock that a request is about.
func (d *drive) lockOf(in *fuse.LkIn) filesystem.Lock {
	l := filesystem.Lock{
		Owner: d.view.Owner(in.Owner), From: in.Lk.Start, To: filesystem.ToTheEnd, Process: in.Lk.Pid,
		Exclusive: in.Lk.Typ == syscall.F_WRLCK, Whole: in.LkFlags&fuse.LK_FLOCK != 0,
	}
	if in.Lk.End < math.MaxInt64 {
		l.To = in.Lk.End + 1
	}
	return l
}

// GetLk implements [fuse.RawFileSystem].
func (d *drive) GetLk(_ <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	return d.with(in.Fh, func(h *handle) error {
		out.Lk = in.Lk
		l, taken := d.view.Locked(h.Node(), h.inode.number, d.lockOf(in))
		if !taken {
			out.Lk.Typ = syscall.F_UNLCK
			return nil
		}
		out.Lk = fuse.FileLock{Start: l.From, End: math.MaxInt64, Typ: syscall.F_RDLCK, Pid: l.Process}
		if l.Exclusive {
			out.Lk.Typ = syscall.F_WRLCK
		}
		if l.To != filesystem.ToTheEnd {
			out.Lk.End = l.To - 1
		}
		return nil
	})
}

// SetLk implements [fuse.RawFileSystem].
func (d *drive) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return d.lock(cancel, in, false)
}

// SetLkw implements [fuse.RawFileSystem].
func (d *drive) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return d.lock(cancel, in, true)
}

func (d *drive) lock(cancel <-chan struct{}, in *fuse.LkIn, wait bool) fuse.Status {
	return d.with(in.Fh, func(h *handle) error {
		l := d.lockOf(in)
		if in.Lk.Typ == syscall.F_UNLCK {
			d.view.Unlock(h.Node(), h.inode.number, l)
			return nil
		}
		d.locked.Store(true)
		return d.view.Lock(call(cancel), h.Node(), h.inode.number, l, wait)
	})
}

// unlock gives back all that an owner has locked of a file.
func (d *drive) unlock(h *handle, owner uint64, whole bool) {
	if d.locked.Load() {
		d.view.Unlock(h.Node(), h.inode.number, filesystem.Lock{Owner: d.view.Owner(owner), To: filesystem.ToTheEnd, Whole: whole})
	}
}
