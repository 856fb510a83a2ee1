package mount

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"parsec/internal/client/filesystem"
)

// xattr returns an extended attribute of a node, and false if it has none so.
func (d *drive) xattr(ctx context.Context, n *inode, name string) (string, bool, error) {
	if !slices.Contains(xattrs(), name) {
		return "", false, nil
	}
	a, err := d.stat(ctx, n)
	if err != nil || a.Node.Top() {
		return "", false, err
	}
	switch name {
	case xattrStatus:
		return d.state(a), true, nil
	case xattrVersion:
		return strconv.FormatUint(a.Version, 10), true, nil
	default:
		author, err := d.view.Author(ctx, a.Node)
		return author, author != "", err
	}
}

// state returns in a word how far a node and the server have the same, and why
// it cannot go if it cannot.
func (d *drive) state(a filesystem.Attr) string {
	switch problem := d.view.Problem(a.Node); {
	case problem != nil:
		return "problem: " + problem.Error()
	case a.Local:
		return "local"
	case a.Pending:
		return "pending"
	default:
		return "synced"
	}
}

// reply gives the kernel a value, or tells how long it is.
func reply(value string, to []byte) (uint32, fuse.Status) {
	switch {
	case len(to) == 0:
	case len(to) < len(value):
		return uint32(len(value)), fuse.ERANGE
	default:
		copy(to, value)
	}
	return uint32(len(value)), fuse.OK
}

// GetXAttr implements [fuse.RawFileSystem].
func (d *drive) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string, to []byte) (uint32, fuse.Status) {
	n := d.table.get(header.NodeId)
	if n == nil {
		return 0, fuse.Status(syscall.ESTALE)
	}
	value, ok, err := d.xattr(call(cancel), n, name)
	switch {
	case err != nil:
		return 0, status(err)
	case !ok:
		return 0, fuse.ENODATA
	}
	return reply(value, to)
}

// ListXAttr implements [fuse.RawFileSystem].
func (d *drive) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, to []byte) (uint32, fuse.Status) {
	n := d.table.get(header.NodeId)
	if n == nil {
		return 0, fuse.Status(syscall.ESTALE)
	}
	var list strings.Builder
	for _, name := range xattrs() {
		if _, ok, err := d.xattr(call(cancel), n, name); ok && err == nil {
			list.WriteString(name + "\x00")
		}
	}
	return reply(list.String(), to)
}

// unchanged is the answer to who would change an attribute: those that there are
// can only be read, and there are no others.
func unchanged(name string) fuse.Status {
	if slices.Contains(xattrs(), name) {
		return status(filesystem.NotPermitted)
	}
	return status(filesystem.NotSupported)
}

// SetXAttr implements [fuse.RawFileSystem].
func (d *drive) SetXAttr(_ <-chan struct{}, _ *fuse.SetXAttrIn, name string, _ []byte) fuse.Status {
	return unchanged(name)
}

// RemoveXAttr implements [fuse.RawFileSystem].
func (d *drive) RemoveXAttr(_ <-chan struct{}, _ *fuse.InHeader, name string) fuse.Status {
	if slices.Contains(xattrs(), name) {
		return status(filesystem.NotPermitted)
	}
	return fuse.ENODATA
}
