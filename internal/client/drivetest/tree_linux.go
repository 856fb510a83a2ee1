package drivetest

import (
	"maps"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// node is a file, folder or symlink of the model.
type node struct {
	kind     uint32 // as in S_IFMT
	parent   *node
	children map[string]*node
	target   string
	content  string
	// executable is whether the owner may execute it.
	executable bool
	// modified is the time in nanoseconds since 1970, where a program set it and
	// nothing changed it since.
	modified *int64
	// numbers are the inode numbers that it may have: the one it was seen with,
	// and those of the files that it has taken the place of.
	numbers []uint64
	// removed says that no name leads to it.
	removed bool
}

func newNode(kind uint32) *node {
	n := &node{kind: kind}
	if kind == unix.S_IFDIR {
		n.children = map[string]*node{}
	}
	return n
}

// names returns a folder's names in order.
func (n *node) names() []string { return slices.Sorted(maps.Keys(n.children)) }

// put has a folder name a node so.
func (n *node) put(name string, child *node) {
	child.parent, n.children[name], n.modified = n, child, nil
}

// take removes a name from a folder.
func (n *node) take(name string) {
	delete(n.children, name)
	n.modified = nil
}

// within reports whether a node is another one or below it.
func (n *node) within(other *node) bool {
	for ; n != nil; n = n.parent {
		if n == other {
			return true
		}
	}
	return false
}

// depth returns in how many folders below the root a node is.
func (n *node) depth() int {
	d := -1
	for n = n.parent; n != nil; n = n.parent {
		d++
	}
	return max(d, 0)
}

// height returns how many folders lie in each other below a node.
func (n *node) height() int {
	h := 0
	for _, child := range n.children {
		h = max(h, 1+child.height())
	}
	return h
}

// each visits all nodes below a folder with their paths, in an order that stays.
func (n *node) each(path string, visit func(path string, n *node)) {
	for _, name := range n.names() {
		child, below := n.children[name], join(path, name)
		visit(below, child)
		child.each(below, visit)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// outside is the model's answer where a path leads out of the exerciser's folder,
// of which it knows nothing. It is no error of any system.
const outside = syscall.Errno(1 << 16)

const (
	maxName  = 255
	maxLinks = 40
)

// place is where a path leads.
type place struct {
	// folder and name are what the last part is called, and where; folder is nil
	// where that is not by a name.
	folder *node
	name   string
	// node is nil if there is nothing.
	node *node
}

// resolve follows a path from a root as Linux does. follow says whether a symlink
// as the last part is followed.
func (n *node) resolve(path string, follow bool) (place, syscall.Errno) {
	at, links := place{node: n}, 0
	parts := split(path)
	for len(parts) > 0 {
		folder, name := at.node, parts[0]
		parts = parts[1:]
		last := len(parts) == 0
		switch {
		case folder.kind != unix.S_IFDIR:
			return place{}, unix.ENOTDIR
		case name == ".." && folder == n:
			return place{}, outside
		case name == "..":
			at = place{node: folder.parent}
			continue
		case len(name) > maxName:
			return place{}, unix.ENAMETOOLONG
		}
		child := folder.children[name]
		switch {
		case child == nil && last:
			return place{folder: folder, name: name}, 0
		case child == nil:
			return place{}, unix.ENOENT
		case child.kind == unix.S_IFLNK && (!last || follow):
			if links++; links > maxLinks {
				return place{}, unix.ELOOP
			}
			parts = append(split(child.target), parts...)
			at = place{node: folder}
		default:
			at = place{folder, name, child}
		}
	}
	return at, 0
}

func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}
