package drivetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// contentKinds returns the kinds of operations by their names.
var contentKinds = sync.OnceValue(func() map[string]contentKind {
	all := map[string]contentKind{}
	for _, some := range []map[string]contentKind{fileKinds(), byteKinds(), holeKinds(), mapKinds()} {
		maps.Copy(all, some)
	}
	return all
})

// contentOrder returns the names of the kinds in an order that stays.
var contentOrder = sync.OnceValue(func() []string { return slices.Sorted(maps.Keys(contentKinds())) })

// nothing chooses nothing more.
func nothing(*content, *rand.Rand, *contentOp) {}

// region chooses a part of a handle's file.
func region(c *content, r *rand.Rand, op *contentOp) {
	op.off = offset(r, c.at(op.handle))
	op.len = length(r, op.off)
	op.bytes = r.IntN(len(c.pool) - maxSize/2)
}

// onHandle does what needs an open handle; without one there is nothing to do.
func onHandle(do func(c *content, h *opened, op contentOp) error) func(*content, contentOp) error {
	return func(c *content, op contentOp) error {
		if h := c.handles[op.handle]; h != nil {
			return do(c, h, op)
		}
		return nil
	}
}

func showName(op contentOp) string   { return fileName(op.name) }
func showNames(op contentOp) string  { return fileName(op.name) + " to " + fileName(op.other) }
func showHandle(op contentOp) string { return fmt.Sprintf("handle %d", op.handle) }
func showRegion(op contentOp) string {
	return fmt.Sprintf("handle %d, %d bytes at %d", op.handle, op.len, op.off)
}

// fileKinds are those to which a file's name matters.
func fileKinds() map[string]contentKind {
	return map[string]contentKind{
		"open": {14, chooseOpen, doOpen, func(op contentOp) string {
			return fmt.Sprintf("%s as handle %d, flags %s", fileName(op.name), op.handle, showFlags(op.flags))
		}},
		"close": {5, nothing, (*content).doClose, showHandle},
		"close all": {1, nothing, func(c *content, _ contentOp) error {
			var all []error
			for i := range c.mappings {
				all = append(all, c.unmap(i))
			}
			for i := range c.handles {
				all = append(all, c.doClose(contentOp{handle: i}))
			}
			return errors.Join(all...)
		}, func(contentOp) string { return "" }},
		"read whole": {3, nothing, (*content).checkName, showName},
		"rename":     {3, func(_ *content, r *rand.Rand, op *contentOp) { op.other = r.IntN(fileNames) }, doRename, showNames},
		"unlink":     {2, nothing, doUnlink, showName},
		"truncate name": {
			3, func(c *content, r *rand.Rand, op *contentOp) { op.off = offset(r, c.names[op.name]) }, doTruncateName,
			func(op contentOp) string { return fmt.Sprintf("%s to %d", fileName(op.name), op.off) },
		},
		"set time of name": {
			2, func(_ *content, r *rand.Rand, op *contentOp) { op.off = times(r) }, doSetTime,
			func(op contentOp) string { return fmt.Sprintf("%s to %d ns", fileName(op.name), op.off) },
		},
	}
}

// showFlags spells the flags of open.
func showFlags(flags int) string {
	s := [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR"}[flags&unix.O_ACCMODE]
	for _, f := range []struct {
		bit  int
		name string
	}{{unix.O_CREAT, "O_CREAT"}, {unix.O_EXCL, "O_EXCL"}, {unix.O_TRUNC, "O_TRUNC"}, {unix.O_APPEND, "O_APPEND"}} {
		if flags&f.bit != 0 {
			s += "|" + f.name
		}
	}
	return s
}

func chooseOpen(_ *content, r *rand.Rand, op *contentOp) {
	op.flags = []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR, unix.O_RDWR}[r.IntN(5)]
	if r.IntN(4) > 0 {
		op.flags |= unix.O_CREAT
	}
	if r.IntN(10) == 0 {
		op.flags |= unix.O_EXCL | unix.O_CREAT
	}
	if op.flags&unix.O_ACCMODE == unix.O_RDONLY {
		return
	}
	if r.IntN(10) == 0 {
		op.flags |= unix.O_TRUNC
	}
	if r.IntN(4) == 0 {
		op.flags |= unix.O_APPEND
	}
}

func doOpen(c *content, op contentOp) error {
	if err := c.doClose(op); err != nil {
		return err
	}
	o := c.names[op.name]
	var want syscall.Errno
	switch {
	case o == nil && op.flags&unix.O_CREAT == 0:
		want = unix.ENOENT
	case o != nil && op.flags&unix.O_EXCL != 0:
		want = unix.EEXIST
	}
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Open(c.path(op.name), op.flags|unix.O_CLOEXEC, 0o644)
		return err
	})
	if err == nil && want != 0 {
		_ = unix.Close(fd)
	}
	if err != nil || want != 0 {
		return differ(err, want)
	}
	switch {
	case o == nil:
		o = &object{named: true}
		c.names[op.name] = o
	case op.flags&unix.O_TRUNC != 0:
		o.resize(0)
	}
	c.handles[op.handle] = &opened{fd: fd, object: o, flags: op.flags}
	return c.stat(c.handles[op.handle])
}

func (c *content) doClose(op contentOp) error {
	h := c.handles[op.handle]
	if h == nil {
		return nil
	}
	c.handles[op.handle] = nil
	return differ(unix.Close(h.fd), 0)
}

func doRename(c *content, op contentOp) error {
	o := c.names[op.name]
	var want syscall.Errno
	if o == nil {
		want = unix.ENOENT
	}
	if err := differ(again(func() error { return unix.Rename(c.path(op.name), c.path(op.other)) }), want); err != nil || want != 0 || op.name == op.other {
		return err
	}
	if over := c.names[op.other]; over != nil {
		over.named = false
	}
	c.names[op.name], c.names[op.other] = nil, o
	return nil
}

func doUnlink(c *content, op contentOp) error {
	o := c.names[op.name]
	var want syscall.Errno
	if o == nil {
		want = unix.ENOENT
	}
	if err := differ(again(func() error { return unix.Unlink(c.path(op.name)) }), want); err != nil || want != 0 {
		return err
	}
	o.named = false
	c.names[op.name] = nil
	return nil
}

func doTruncateName(c *content, op contentOp) error {
	o := c.names[op.name]
	var want syscall.Errno
	if o == nil {
		want = unix.ENOENT
	}
	if err := differ(again(func() error { return unix.Truncate(c.path(op.name), op.off) }), want); err != nil || want != 0 {
		return err
	}
	o.resize(op.off)
	return nil
}

func doSetTime(c *content, op contentOp) error {
	o := c.names[op.name]
	var want syscall.Errno
	if o == nil {
		want = unix.ENOENT
	}
	both := []unix.Timespec{timeOf(op.off), timeOf(op.off)}
	err := again(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, c.path(op.name), both, 0) })
	if err := differ(err, want); err != nil || want != 0 {
		return err
	}
	o.modified = &op.off
	return nil
}

// byteKinds read and write through handles.
func byteKinds() map[string]contentKind {
	return map[string]contentKind{
		"pread":  {14, region, onHandle(doPread), showRegion},
		"pwrite": {18, region, onHandle(doPwrite), showRegion},
		"read":   {5, region, onHandle(doRead), func(op contentOp) string { return fmt.Sprintf("handle %d, %d bytes", op.handle, op.len) }},
		"write":  {8, region, onHandle(doWrite), func(op contentOp) string { return fmt.Sprintf("handle %d, %d bytes", op.handle, op.len) }},
		"truncate": {6, region, onHandle(doTruncate), func(op contentOp) string {
			return fmt.Sprintf("handle %d to %d", op.handle, op.off)
		}},
		"fsync": {2, nothing, onHandle(func(_ *content, h *opened, _ contentOp) error {
			return differ(again(func() error { return unix.Fsync(h.fd) }), 0)
		}), showHandle},
		"stat": {4, nothing, onHandle(func(c *content, h *opened, _ contentOp) error { return c.stat(h) }), showHandle},
		"set time": {2, func(_ *content, r *rand.Rand, op *contentOp) { op.off = times(r) }, onHandle(func(_ *content, h *opened, op contentOp) error {
			both := []unix.Timespec{timeOf(op.off), timeOf(op.off)}
			h.object.modified = &op.off
			return differ(again(func() error { return unix.UtimesNanoAt(h.fd, "", both, unix.AT_EMPTY_PATH) }), 0)
		}), func(op contentOp) string { return fmt.Sprintf("handle %d to %d ns", op.handle, op.off) }},
		"copy range": {4, func(c *content, r *rand.Rand, op *contentOp) {
			region(c, r, op)
			op.from = r.IntN(handles)
			op.other2 = offset(r, c.at(op.from))
		}, onHandle(doCopy), func(op contentOp) string {
			return fmt.Sprintf("%d bytes from handle %d at %d to handle %d at %d", op.len, op.from, op.other2, op.handle, op.off)
		}},
	}
}

func doPread(c *content, h *opened, op contentOp) error {
	if !h.reads() {
		_, err := unix.Pread(h.fd, make([]byte, 1), op.off)
		return differ(err, unix.EBADF)
	}
	return c.compare(h.fd, op.off, op.len, h.object)
}

func doPwrite(c *content, h *opened, op contentOp) error {
	p := c.pool[op.bytes : op.bytes+int(op.len)]
	off := op.off
	if h.flags&unix.O_APPEND != 0 {
		off = int64(len(h.object.data)) // so does Linux
		p = p[:max(0, min(int64(len(p)), maxSize-off))]
	}
	var n int
	err := again(func() (err error) { n, err = unix.Pwrite(h.fd, p, op.off); return err })
	return wrote(h, n, err, p, off)
}

// wrote takes a write over into the model.
func wrote(h *opened, n int, err error, p []byte, off int64) error {
	var want syscall.Errno
	if !h.writes() {
		want = unix.EBADF
	}
	if err := differ(err, want); err != nil || want != 0 {
		return err
	}
	if n != len(p) {
		return fmt.Errorf("%d of %d bytes were written", n, len(p))
	}
	h.object.write(p, off)
	return nil
}

func doRead(_ *content, h *opened, op contentOp) error {
	p := make([]byte, op.len)
	n := 0
	err := again(func() (err error) { n, err = unix.Read(h.fd, p); return err })
	var want syscall.Errno
	if !h.reads() {
		want = unix.EBADF
	}
	if err := differ(err, want); err != nil || want != 0 {
		return err
	}
	part := h.object.part(h.pos, op.len)
	if n == 0 && len(part) > 0 {
		return fmt.Errorf("nothing is read at %d, of %d bytes", h.pos, len(h.object.data))
	}
	at := h.pos
	h.pos += int64(n)
	return same(p[:n], part[:min(n, len(part))], at)
}

func doWrite(c *content, h *opened, op contentOp) error {
	at := h.pos
	if h.flags&unix.O_APPEND != 0 {
		at = int64(len(h.object.data))
	}
	p := c.pool[op.bytes : op.bytes+int(max(0, min(op.len, maxSize-at)))]
	n := 0
	err := again(func() (err error) { n, err = unix.Write(h.fd, p); return err })
	if err := wrote(h, n, err, p, at); err != nil || !h.writes() {
		return err
	}
	if n > 0 { // nothing does not even go to the end
		h.pos = at + int64(n)
	}
	return nil
}

func doTruncate(_ *content, h *opened, op contentOp) error {
	var want syscall.Errno
	if !h.writes() {
		want = unix.EINVAL
	}
	if err := differ(again(func() error { return unix.Ftruncate(h.fd, op.off) }), want); err != nil || want != 0 {
		return err
	}
	h.object.resize(op.off)
	return nil
}

func doCopy(c *content, h *opened, op contentOp) error {
	from := c.handles[op.from]
	if from == nil {
		return nil
	}
	var want syscall.Errno
	n := int64(len(from.object.part(op.other2, op.len)))
	switch {
	case !from.reads() || !h.writes() || h.flags&unix.O_APPEND != 0:
		want = unix.EBADF
	case from.object == h.object && op.off+n > op.other2 && op.off < op.other2+n:
		want = unix.EINVAL
	}
	source := slices.Clone(from.object.part(op.other2, op.len))
	in, out, left := op.other2, op.off, op.len
	for {
		some := 0
		err := again(func() (err error) {
			some, err = unix.CopyFileRange(from.fd, &in, h.fd, &out, int(left), 0)
			return err
		})
		if err := differ(err, want); err != nil || want != 0 {
			return err
		}
		if left -= int64(some); some == 0 || op.len-left >= n { // a file may have grown by what was copied
			break
		}
	}
	if copied := op.len - left; copied != n {
		return fmt.Errorf("%d bytes were copied, the model copies %d", copied, n)
	}
	h.object.write(source, op.off)
	return nil
}
