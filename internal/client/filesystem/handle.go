package filesystem

import (
	"context"
	"slices"
	"sync/atomic"

	"parsec/internal/base/fault"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// Flags say how a file is opened.
type Flags uint8

// The flags.
const (
	// Read: it can be read.
	Read Flags = 1 << iota
	// Write: it can be written to.
	Write
	// Append: each write goes to the end.
	Append
	// Truncate: it is emptied first.
	Truncate
	// Exclusive: [View.Create] fails if the name is taken.
	Exclusive
)

func (f Flags) has(some Flags) bool { return f&some != 0 }

// Handle is an open file. It stays with what was opened: through renames, when
// another file takes its name, after its removal, and when others write a newer
// version, which is for who opens it then. Its methods may be called from many
// goroutines.
type Handle struct {
	view   *View
	volume *volume
	file   *overlay.File
	flags  Flags
	// dirty says that others were not told of the last write.
	dirty atomic.Bool
}

// Open opens a file.
func (v *View) Open(ctx context.Context, n Node, flags Flags) (*Handle, error) {
	if n.Top() {
		return nil, fault.Errorf(fault.Conflict, "open file: %w", overlay.IsFolder)
	}
	if flags.has(Write | Append | Truncate) {
		if err := v.mayChange(n); err != nil {
			return nil, err
		}
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	f, err := n.volume.over.Open(ctx, n.entry, flags.has(Write|Append))
	if err != nil {
		return nil, err
	}
	h := &Handle{view: v, volume: n.volume, file: f, flags: flags}
	if !flags.has(Truncate) {
		return h, nil
	}
	if err := f.Truncate(ctx, 0); err != nil {
		return nil, errorOf(err, f.Close())
	}
	h.dirty.Store(true)
	return h, nil
}

// Stored returns the content of a file as the server has it, and false where it
// has another one, or none: there is work on it that is not committed.
func (v *View) Stored(ctx context.Context, n Node) (manifest.FileBody, bool, error) {
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	found, err := n.volume.over.Node(ctx, n.entry)
	return found.File, err == nil && !found.Pending && !found.Local, err
}

// Create opens a file, which is made where it is not there.
func (v *View) Create(ctx context.Context, folder Node, name string, flags Flags, executable bool) (*Handle, Attr, error) {
	for {
		h, a, err := v.create(ctx, folder, name, executable, flags)
		if err == nil || flags.has(Exclusive) || Errno(err) != ofTree[overlay.Exists] {
			return h, a, err
		}
		if a, err = v.Lookup(ctx, folder, name); err == nil {
			h, err = v.Open(ctx, a.Node, flags)
		}
		switch {
		case err == nil:
			a, err = h.Stat()
			return h, a, err
		case !fault.Is(err, fault.NotFound): // else it was removed meanwhile
			return nil, a, err
		}
	}
}

func (v *View) create(ctx context.Context, folder Node, name string, executable bool, flags Flags) (*Handle, Attr, error) {
	if err := errorOf(v.mayMake(folder, name), checkNew(folder, name)); err != nil {
		return nil, Attr{}, err
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	f, n, err := folder.volume.over.CreateFile(ctx, merge.Place{Folder: folder.entry, Name: name}, executable)
	if err != nil {
		return nil, Attr{}, err
	}
	v.changed(folder)
	return &Handle{view: v, volume: folder.volume, file: f, flags: flags}, attrOf(folder.volume, n), nil
}

// Node returns which node the file is now: not the one that was opened, if it has
// taken the place of another file since.
func (h *Handle) Node() Node { return Node{h.volume, h.file.Entry()} }

// Again opens the file once more: what this handle shows, also where its name
// leads to something else by now, or none does.
func (h *Handle) Again(flags Flags) (*Handle, error) {
	if flags.has(Write | Append | Truncate) {
		if err := h.view.mayChange(h.Node()); err != nil {
			return nil, err
		}
	}
	return &Handle{view: h.view, volume: h.volume, file: h.file.Again(flags.has(Write | Append)), flags: flags}, nil
}

// Newest reports whether who opens the node now gets what this handle shows.
func (h *Handle) Newest(ctx context.Context) (bool, error) {
	ctx, cancel := h.view.bounded(ctx)
	defer cancel()
	return h.file.Newest(ctx)
}

// Set changes what is said of the file, which need not have a name any more, and
// returns what there is to see then.
func (h *Handle) Set(ctx context.Context, c Changes) (Attr, error) {
	if err := h.view.mayChange(h.Node()); err != nil {
		return Attr{}, err
	}
	ctx, cancel := h.view.bounded(ctx)
	defer cancel()
	if c.Size != nil {
		h.dirty.Store(true)
		if err := h.file.Truncate(ctx, int64(min(*c.Size, 1<<62))); err != nil {
			return Attr{}, err
		}
	}
	if c.Executable != nil {
		if err := h.file.SetExecutable(ctx, *c.Executable); err != nil {
			return Attr{}, err
		}
	}
	if c.Modified != nil {
		if err := h.file.SetModified(ctx, *c.Modified); err != nil {
			return Attr{}, err
		}
	}
	h.view.changed(h.Node())
	return h.Stat()
}

// Stat returns what there is to see of the file.
func (h *Handle) Stat() (Attr, error) { return attrOf(h.volume, h.file.Node()), nil }

// ReadAt reads from an offset on. It returns less than len(p) only at the end of
// the file, and no error there.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !h.flags.has(Read) {
		return 0, h.not("read")
	}
	ctx, cancel := h.view.bounded(ctx)
	defer cancel()
	return h.file.ReadAt(ctx, p, off)
}

func (h *Handle) not(what string) error {
	return fault.Errorf(fault.Denied, "%s file: %w", what, NotOpenFor)
}

// WriteAt writes at an offset, or at the end if the file was opened to append.
// It takes in all of p or fails; what it has taken in stays then.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !h.flags.has(Write | Append) {
		return 0, h.not("write")
	}
	h.dirty.Store(true)
	if h.flags.has(Append) {
		return h.file.Append(ctx, p)
	}
	return h.file.WriteAt(ctx, p, off)
}

// Truncate gives the file a size. What is added reads as zeros and takes no room.
func (h *Handle) Truncate(ctx context.Context, size int64) error {
	if !h.flags.has(Write | Append) {
		return h.not("truncate")
	}
	h.dirty.Store(true)
	ctx, cancel := h.view.bounded(ctx)
	defer cancel()
	return h.file.Truncate(ctx, size)
}

// zeros is what holes are punched with.
var zeros [128 << 10]byte

// Zero makes a part of the file read as zeros. It grows the file if that is
// asked for, and never makes it smaller.
func (h *Handle) Zero(ctx context.Context, off, length int64, grow bool) error {
	size := int64(h.file.Node().File.Size)
	if off < 0 || length <= 0 {
		return fault.Errorf(fault.Invalid, "zero file: %d bytes at %d", length, off)
	}
	for at := off; at < min(size, off+length); {
		n, err := h.WriteAt(ctx, zeros[:min(int64(len(zeros)), min(size, off+length)-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	if grow {
		return h.Grow(ctx, off+length)
	}
	return nil
}

// Grow makes the file at least so large.
func (h *Handle) Grow(ctx context.Context, size int64) error {
	if int64(h.file.Node().File.Size) >= size {
		return nil
	}
	return h.Truncate(ctx, size)
}

// Seek returns where the next data begins at an offset or behind it, or the next
// hole. There is a hole behind the last byte.
func (h *Handle) Seek(ctx context.Context, off int64, hole bool) (int64, error) {
	size := int64(h.file.Node().File.Size)
	if off < 0 || off >= size {
		return 0, fault.Errorf(fault.Invalid, "seek file: %w", NoMore)
	}
	spans, err := h.file.Spans(ctx, off, size)
	if err != nil {
		return 0, err
	}
	if !hole {
		i := slices.IndexFunc(spans, func(r overlay.Range) bool { return int64(r.To) > off })
		if i < 0 {
			return 0, fault.Errorf(fault.Invalid, "seek file: %w", NoMore)
		}
		return max(off, int64(spans[i].From)), nil
	}
	for _, r := range spans {
		if int64(r.From) > off {
			break
		}
		off = max(off, int64(r.To))
	}
	return off, nil
}

// Flush says that a program is done with the file, for now: what it wrote
// survives a kill of this process, and goes to the server soon.
func (h *Handle) Flush() error {
	if !h.flags.has(Write | Append | Truncate) {
		return nil
	}
	err := h.file.Flush()
	if h.dirty.Swap(false) {
		h.view.changed(h.Node())
	}
	return err
}

// Sync makes what was written survive power loss. It does not wait for the
// server.
func (h *Handle) Sync() error { return h.file.Sync() }

// Close gives the file back, with what [Handle.Flush] does.
func (h *Handle) Close() error { return errorOf(h.Flush(), h.file.Close()) }
