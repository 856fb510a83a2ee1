package drivetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"

	"golang.org/x/sys/unix"
)

// holeKinds make holes and look for them.
func holeKinds() map[string]contentKind {
	allocate := func(name string, weight, mode int) contentKind {
		return contentKind{weight, region, onHandle(func(c *content, h *opened, op contentOp) error {
			return c.allocate(h, op, mode, c.refused[name])
		}), showRegion}
	}
	const keep = unix.FALLOC_FL_KEEP_SIZE
	return map[string]contentKind{
		"allocate":                 allocate("allocate", 1, 0),
		"allocate and keep size":   allocate("allocate and keep size", 1, keep),
		"punch hole":               allocate("punch hole", 4, unix.FALLOC_FL_PUNCH_HOLE|keep),
		"zero range":               allocate("zero range", 2, unix.FALLOC_FL_ZERO_RANGE),
		"zero range and keep size": allocate("zero range and keep size", 2, unix.FALLOC_FL_ZERO_RANGE|keep),
		"seek data":                {4, region, onHandle(doSeekData), showSeek},
		"seek hole":                {4, region, onHandle(doSeekHole), showSeek},
	}
}

func showSeek(op contentOp) string { return fmt.Sprintf("handle %d from %d", op.handle, op.off) }

func (c *content) allocate(h *opened, op contentOp, mode int, refused syscall.Errno) error {
	want := refused
	switch {
	case op.len == 0:
		want = unix.EINVAL
	case !h.writes():
		want = unix.EBADF
	}
	err := again(func() error { return unix.Fallocate(h.fd, uint32(mode), op.off, op.len) })
	if err := differ(err, want); err != nil || want != 0 {
		return err
	}
	o := h.object
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		clear(o.part(op.off, op.len))
	}
	if end := op.off + op.len; mode&unix.FALLOC_FL_KEEP_SIZE == 0 && end > int64(len(o.data)) {
		o.resize(end)
	}
	o.modified = nil
	return c.stat(h)
}

// seek moves to data or a hole, and back to where the model is.
func seek(h *opened, off int64, whence int) (at int64, err error) {
	err = again(func() (err error) { at, err = unix.Seek(h.fd, off, whence); return err })
	if _, back := unix.Seek(h.fd, h.pos, unix.SEEK_SET); back != nil {
		return 0, fmt.Errorf("seek back: %w", back)
	}
	return at, err
}

// doSeekData looks for data: there must be none before it.
func doSeekData(_ *content, h *opened, op contentOp) error {
	size := int64(len(h.object.data))
	at, err := seek(h, op.off, unix.SEEK_DATA)
	switch {
	case op.off >= size:
		return differ(err, unix.ENXIO)
	case errno(err) == unix.ENXIO:
		at = size
	case err != nil:
		return differ(err, 0)
	case at < op.off || at >= size:
		return fmt.Errorf("data is said to be at %d, of %d bytes", at, size)
	}
	if i := notZero(h.object.part(op.off, at-op.off)); i >= 0 {
		return fmt.Errorf("the first data is said to be at %d, and the model has some at %d", at, op.off+int64(i))
	}
	return nil
}

// doSeekHole looks for a hole: it must read as zeros up to the next data.
func doSeekHole(_ *content, h *opened, op contentOp) error {
	size := int64(len(h.object.data))
	at, err := seek(h, op.off, unix.SEEK_HOLE)
	switch {
	case op.off >= size:
		return differ(err, unix.ENXIO)
	case err != nil:
		return differ(err, 0)
	case at < op.off || at > size:
		return fmt.Errorf("a hole is said to be at %d, of %d bytes", at, size)
	case at == size:
		return nil
	}
	end, err := seek(h, at, unix.SEEK_DATA)
	switch {
	case errno(err) == unix.ENXIO:
		end = size
	case err != nil:
		return differ(err, 0)
	}
	if end <= at {
		return fmt.Errorf("both a hole and data are said to be at %d", at)
	}
	if i := notZero(h.object.part(at, end-at)); i >= 0 {
		return fmt.Errorf("a hole is said to be from %d to %d, and the model has data at %d", at, end-1, at+int64(i))
	}
	return nil
}

// zeros is what holes are compared with.
var zeros [64 << 10]byte

// notZero returns where the first byte is that is not zero, or -1.
func notZero(p []byte) int {
	for at := 0; at < len(p); at += len(zeros) {
		some := p[at:min(at+len(zeros), len(p))]
		if !bytes.Equal(some, zeros[:len(some)]) {
			return at + bytes.IndexFunc(some, func(r rune) bool { return r != 0 })
		}
	}
	return -1
}

// mapKinds read and write through memory.
func mapKinds() map[string]contentKind {
	onMapping := func(do func(c *content, m *mapping, op contentOp) error) func(*content, contentOp) error {
		return func(c *content, op contentOp) error {
			if m := c.mappings[op.from]; m != nil {
				return do(c, m, op)
			}
			return nil
		}
	}
	within := func(c *content, r *rand.Rand, op *contentOp) {
		op.from = r.IntN(mappings)
		if m := c.mappings[op.from]; m != nil {
			op.off = r.Int64N(int64(len(m.memory)))
		}
		op.len = length(r, op.off)
		op.bytes = r.IntN(len(c.pool) - maxSize/2)
	}
	show := func(op contentOp) string {
		return fmt.Sprintf("mapping %d, %d bytes at %d of it", op.from, op.len, op.off)
	}
	return map[string]contentKind{
		"map": {10, func(c *content, r *rand.Rand, op *contentOp) {
			region(c, r, op)
			op.from, op.flags = r.IntN(mappings), r.IntN(2)
			op.off = op.off / page * page
		}, onHandle(doMap), func(op contentOp) string {
			return fmt.Sprintf("handle %d as mapping %d, %d bytes at %d, to write: %t", op.handle, op.from, op.len, op.off, op.flags == 1)
		}},
		"read mapped":  {8, within, onMapping(doReadMapped), show},
		"write mapped": {8, within, onMapping(doWriteMapped), show},
		"sync mapped": {2, within, onMapping(func(_ *content, m *mapping, _ contentOp) error {
			return differ(again(func() error { return unix.Msync(m.memory, unix.MS_SYNC) }), 0)
		}), func(op contentOp) string { return fmt.Sprintf("mapping %d", op.from) }},
		"unmap": {
			3, within, func(c *content, op contentOp) error { return c.unmap(op.from) },
			func(op contentOp) string { return fmt.Sprintf("mapping %d", op.from) },
		},
	}
}

func (c *content) unmap(i int) error {
	m := c.mappings[i]
	if m == nil {
		return nil
	}
	c.mappings[i] = nil
	return differ(unix.Munmap(m.memory), 0)
}

func doMap(c *content, h *opened, op contentOp) error {
	if err := c.unmap(op.from); err != nil || op.len == 0 {
		return err
	}
	var want syscall.Errno
	if !h.reads() || op.flags == 1 && !h.writes() {
		want = unix.EACCES
	}
	protection := unix.PROT_READ | op.flags*unix.PROT_WRITE
	var memory []byte
	err := again(func() (err error) {
		memory, err = unix.Mmap(h.fd, op.off, int(op.len), protection, unix.MAP_SHARED)
		return err
	})
	if err == nil && want != 0 {
		_ = unix.Munmap(memory)
	}
	if err := differ(err, want); err != nil || want != 0 {
		return err
	}
	c.mappings[op.from] = &mapping{memory: memory, object: h.object, off: op.off, writes: op.flags == 1}
	return nil
}

// doReadMapped reads up to the end of the page that has the file's last byte.
func doReadMapped(_ *content, m *mapping, op contentOp) error {
	size := int64(len(m.object.data))
	end := min(op.off+op.len, int64(len(m.memory)), (size+page-1)/page*page-m.off)
	if op.off >= end {
		return nil
	}
	want := make([]byte, end-op.off)
	copy(want, m.object.part(m.off+op.off, end-op.off))
	return same(m.memory[op.off:end], want, m.off+op.off)
}

// doWriteMapped writes within the file.
func doWriteMapped(c *content, m *mapping, op contentOp) error {
	end := min(op.off+op.len, int64(len(m.memory)), int64(len(m.object.data))-m.off)
	if op.off >= end || !m.writes {
		return nil
	}
	p := c.pool[op.bytes : op.bytes+int(end-op.off)]
	copy(m.memory[op.off:end], p)
	m.object.write(p, m.off+op.off)
	return nil
}
