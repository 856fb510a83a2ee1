package drivetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// fileNames is how many names there are: few, so that operations meet.
	fileNames = 4
	handles   = 6
	mappings  = 3
	// maxSize is how large a file becomes.
	maxSize = 3 << 20
	page    = 4096
)

// boundaries are sizes at which file systems change what they do: of a page, of
// what a kernel reads or writes at once, of a block.
var boundaries = []int64{page, 128 << 10, 512 << 10, 1 << 20}

// object is a file of the model, whether or not a name leads to it.
type object struct {
	data  []byte
	named bool
	// modified is the time in nanoseconds since 1970, where a program set it and
	// nothing changed the file since.
	modified *int64
}

// opened is a handle.
type opened struct {
	fd     int
	object *object
	flags  int
	pos    int64
}

func (h *opened) reads() bool  { return h.flags&unix.O_ACCMODE != unix.O_WRONLY }
func (h *opened) writes() bool { return h.flags&unix.O_ACCMODE != unix.O_RDONLY }

// mapping is a part of a file in memory.
type mapping struct {
	memory []byte
	object *object
	off    int64
	writes bool
}

// content is the machine of [Content].
type content struct {
	folder   string
	refused  map[string]syscall.Errno
	names    [fileNames]*object
	handles  [handles]*opened
	mappings [mappings]*mapping
	pool     []byte
}

// contentOp is an operation of [Content]. Which fields it has is its kind's matter.
type contentOp struct {
	kind             string
	name, other      int
	handle, from     int
	flags            int
	off, other2, len int64
	// bytes is where in the pool that begins which is written.
	bytes int
}

// String is the line of the log.
func (op contentOp) String() string {
	return fmt.Sprintf("%s %s", op.kind, contentKinds()[op.kind].show(op))
}

// contentKind is a kind of operation.
type contentKind struct {
	// weight is how often it is chosen, beside the others.
	weight int
	// choose fills in what the operation needs.
	choose func(c *content, r *rand.Rand, op *contentOp)
	do     func(c *content, op contentOp) error
	show   func(op contentOp) string
}

func startContent(folder string, o Options) (machine[contentOp], error) {
	return &content{folder: folder, refused: o.Refused, pool: pool()}, nil
}

// pool returns bytes to write, none of them zero.
var pool = sync.OnceValue(func() []byte {
	p := make([]byte, 2<<20+4099)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p)
	return bytes.ReplaceAll(p, []byte{0}, []byte{1})
})

func (c *content) path(name int) string { return filepath.Join(c.folder, fileName(name)) }

func fileName(name int) string { return string(rune('a' + name)) }

func (c *content) next(r *rand.Rand) contentOp {
	kinds, order := contentKinds(), contentOrder()
	total := 0
	for _, name := range order {
		total += kinds[name].weight
	}
	n := r.IntN(total)
	for _, name := range order {
		if n -= kinds[name].weight; n < 0 {
			op := contentOp{kind: name, name: r.IntN(fileNames), handle: r.IntN(handles)}
			kinds[name].choose(c, r, &op)
			return op
		}
	}
	panic("no operation")
}

func (c *content) do(op contentOp) error { return contentKinds()[op.kind].do(c, op) }

func (c *content) close() {
	for i := range c.mappings {
		_ = c.unmap(i)
	}
	for _, h := range c.handles {
		if h != nil {
			_ = unix.Close(h.fd)
		}
	}
}

// check compares what each name and each handle leads to.
func (c *content) check() error {
	for i := range c.names {
		if err := c.checkName(contentOp{name: i}); err != nil {
			return fmt.Errorf("at the end, file %s: %w", fileName(i), err)
		}
	}
	for i, h := range c.handles {
		if h == nil {
			continue
		}
		if err := c.stat(h); err != nil {
			return fmt.Errorf("at the end, handle %d: %w", i, err)
		}
		if !h.reads() {
			continue
		}
		if err := c.compare(h.fd, 0, int64(len(h.object.data))+1, h.object); err != nil {
			return fmt.Errorf("at the end, handle %d: %w", i, err)
		}
	}
	return nil
}

// offset chooses where to read or write in a file, favouring its end and
// boundaries.
func offset(r *rand.Rand, o *object) int64 {
	size := int64(0)
	if o != nil {
		size = int64(len(o.data))
	}
	var at int64
	switch r.IntN(8) {
	case 0:
		return 0
	case 1, 2:
		b := boundaries[r.IntN(len(boundaries))]
		at = b*r.Int64N(5) + r.Int64N(5) - 2
	case 3:
		at = size + r.Int64N(5) - 2
	case 4:
		at = size + r.Int64N(300<<10)
	case 5:
		at = r.Int64N(maxSize)
	default:
		at = r.Int64N(size + 1)
	}
	return min(max(at, 0), maxSize-1)
}

// length chooses how much to read or write at an offset.
func length(r *rand.Rand, off int64) int64 {
	var n int64
	switch r.IntN(16) {
	case 0, 1, 2, 3, 4:
		n = 1 + r.Int64N(200)
	case 5, 6, 7, 8:
		n = page + r.Int64N(5) - 2
	case 9:
		n = 128<<10 + r.Int64N(5) - 2
	case 10:
		n = 512<<10 + r.Int64N(5) - 2
	case 11:
		n = r.Int64N(1 << 20)
	default:
		n = 1 + r.Int64N(40<<10)
	}
	return min(n, maxSize-off)
}

// at returns what a handle leads to, nil if it is not open.
func (c *content) at(handle int) *object {
	if h := c.handles[handle]; h != nil {
		return h.object
	}
	return nil
}

// resize gives a file of the model a size.
func (o *object) resize(size int64) {
	if size <= int64(len(o.data)) {
		clear(o.data[size:])
		o.data = o.data[:size]
	} else {
		o.data = append(o.data, make([]byte, size-int64(len(o.data)))...)
	}
	o.modified = nil
}

// write writes into a file of the model.
func (o *object) write(p []byte, off int64) {
	if end := off + int64(len(p)); end > int64(len(o.data)) && len(p) > 0 {
		o.resize(end)
	}
	copy(o.data[min(off, int64(len(o.data))):], p)
	o.modified = nil
}

// part returns what is in a part of a file of the model.
func (o *object) part(off, n int64) []byte {
	size := int64(len(o.data))
	return o.data[min(off, size):min(off+n, size)]
}

// compare reads a part of a file and compares it.
func (c *content) compare(fd int, off, n int64, o *object) error {
	got := make([]byte, n)
	read := 0
	for int64(read) < n {
		var some int
		err := again(func() (err error) { some, err = unix.Pread(fd, got[read:], off+int64(read)); return err })
		if err != nil {
			return fmt.Errorf("read at %d: %w", off+int64(read), differ(err, 0))
		}
		if some == 0 {
			break
		}
		read += some
	}
	return same(got[:read], o.part(off, n), off)
}

// same says where two pieces of a file begin to differ, and how.
func same(got, want []byte, off int64) error {
	if bytes.Equal(got, want) {
		return nil
	}
	n := min(len(got), len(want))
	at := 0
	for at < n && got[at] == want[at] {
		at++
	}
	if at == n {
		return fmt.Errorf("from %d on %d bytes are read, the model has %d", off, len(got), len(want))
	}
	last := n
	for last > at && got[last-1] == want[last-1] {
		last--
	}
	return fmt.Errorf("bytes %d to %d differ: the system's begin with %x, the model's with %x",
		off+int64(at), off+int64(last)-1, got[at:min(at+8, last)], want[at:min(at+8, last)])
}

// stat compares what is said of an open file.
func (c *content) stat(h *opened) error {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(h.fd, &st) }); err != nil {
		return differ(err, 0)
	}
	return said(&st, h.object)
}

// said compares what is said of a file.
func said(st *unix.Stat_t, o *object) error {
	links := uint64(0)
	if o.named {
		links = 1
	}
	switch {
	case st.Size != int64(len(o.data)):
		return fmt.Errorf("the size is %d, the model's %d", st.Size, len(o.data))
	case uint64(st.Nlink) != links:
		return fmt.Errorf("the number of links is %d, the model's %d", st.Nlink, links)
	case o.modified != nil && unix.TimespecToNsec(st.Mtim) != *o.modified:
		return fmt.Errorf("the time of modification is %d ns, the model's %d ns", unix.TimespecToNsec(st.Mtim), *o.modified)
	}
	return nil
}

// checkName opens a file by its name, and compares all that is in it.
func (c *content) checkName(op contentOp) error {
	o := c.names[op.name]
	var fd int
	err := again(func() (err error) { fd, err = unix.Open(c.path(op.name), unix.O_RDONLY|unix.O_CLOEXEC, 0); return err })
	if o == nil || err != nil {
		want := syscall.Errno(0)
		if o == nil {
			want = unix.ENOENT
		}
		if err == nil {
			_ = unix.Close(fd)
		}
		return differ(err, want)
	}
	h := &opened{fd: fd, object: o}
	return errors.Join(c.stat(h), c.compare(fd, 0, int64(len(o.data))+1, o), unix.Close(fd))
}
