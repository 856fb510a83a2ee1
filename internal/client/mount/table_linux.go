package mount

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// inode is what the kernel knows by a node id.
type inode struct {
	id     uint64
	number uint64
	kind   manifest.Kind

	// What follows is guarded by the table's mu.
	//
	// node is what it shows, which changes when it takes another's place.
	node filesystem.Node
	// lookups is how often the kernel was told of the id and has not forgotten it.
	lookups uint64
	handles map[*handle]struct{}
	writers int
	// stale says that others may have changed the node since somebody looked.
	stale bool
	// retired says that the node, if it still is there, has another id by now.
	retired bool
	// unlinked says that it was removed or replaced through this mount.
	unlinked bool
	// parent and name are where the kernel saw it last, children what it saw in it.
	parent   *inode
	name     string
	children map[string]*inode
	// absent are names of a folder that the kernel may know not to be there.
	absent map[string]struct{}
	// seen is the content that the kernel may have pages of.
	seen content
}

// content tells contents of a file apart, as far as they can be without reading.
type content struct {
	size     uint64
	modified time.Time
	version  uint64
}

func contentOf(a filesystem.Attr) content { return content{a.Size, a.Modified, a.Version} }

// same reports whether two contents seem to be the same, whatever their versions:
// what is written here is a new one when it is committed.
func (c content) same(d content) bool { return c.size == d.size && c.modified.Equal(d.modified) }

// table is what the kernel knows.
type table struct {
	// moving is held by who moves something over something else, until the table
	// says so too.
	moving sync.RWMutex

	mu sync.Mutex
	// mu guards what follows.
	last uint64
	ids  map[uint64]*inode
	// current has the inode of each node that a lookup finds.
	current map[filesystem.Node]*inode
	// absent is how many names are absent of all folders.
	absent int
}

// maxAbsent is of how many names it is remembered that the kernel knows them not
// to be there.
const maxAbsent = 1 << 16

func newTable(root filesystem.Attr) *table {
	t := &table{last: fuse.FUSE_ROOT_ID, ids: map[uint64]*inode{}, current: map[filesystem.Node]*inode{}}
	n := &inode{id: fuse.FUSE_ROOT_ID, number: root.Number, kind: root.Kind, node: root.Node, lookups: 1}
	t.ids[n.id], t.current[n.node] = n, n
	return t
}

// get returns the inode of an id, nil if the kernel should not know it.
func (t *table) get(id uint64) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ids[id]
}

// of returns the inode that a lookup of a node finds, nil if there is none.
func (t *table) of(n filesystem.Node) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current[n]
}

// at returns the node that an inode shows, and a handle if it is open.
func (t *table) at(n *inode) (filesystem.Node, *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := range n.handles {
		return n.node, h
	}
	return n.node, nil
}

// nameless reports whether an inode was removed or replaced through this mount.
func (t *table) nameless(n *inode) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.unlinked
}

// enter notes that the kernel is told of a node under a name, and returns the
// node's inode.
func (t *table) enter(parent *inode, name string, a filesystem.Attr) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.current[a.Node]
	if n == nil || n.number != a.Number {
		t.last++
		n = &inode{id: t.last, number: a.Number, kind: a.Kind, node: a.Node, seen: contentOf(a)}
		if old := t.current[a.Node]; old != nil {
			old.retired = true
		}
		t.ids[n.id], t.current[n.node] = n, n
	}
	n.lookups++
	t.put(n, parent, name)
	return n
}

// put notes where the kernel sees an inode; mu is held.
func (t *table) put(n, parent *inode, name string) {
	t.take(n)
	if parent.children == nil {
		parent.children = map[string]*inode{}
	}
	if old := parent.children[name]; old != nil {
		old.parent, old.name = nil, ""
	}
	parent.children[name] = n
	n.parent, n.name = parent, name
	t.hit(parent, name)
}

// miss notes that the kernel may be told that a folder does not name something
// so, unless there is no room to note it.
func (t *table) miss(folder uint64, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.ids[folder]
	if n == nil || t.absent >= maxAbsent {
		return false
	}
	if n.absent == nil {
		n.absent = map[string]struct{}{}
	}
	t.absent -= len(n.absent)
	n.absent[name] = struct{}{}
	t.absent += len(n.absent)
	return true
}

// hit notes that a folder names something so; mu is held.
func (t *table) hit(folder *inode, name string) {
	if _, ok := folder.absent[name]; ok {
		delete(folder.absent, name)
		t.absent--
	}
}

// take notes that the kernel sees an inode nowhere; mu is held.
func (t *table) take(n *inode) {
	if n.parent != nil && n.parent.children[n.name] == n {
		delete(n.parent.children, n.name)
	}
	n.parent, n.name = nil, ""
}

// forget notes that the kernel has forgotten an id a number of times.
func (t *table) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.ids[id]
	if n == nil || id == fuse.FUSE_ROOT_ID {
		return
	}
	n.lookups -= min(lookups, n.lookups)
	t.drop(n)
}

// drop removes an inode that nobody needs; mu is held.
func (t *table) drop(n *inode) {
	if n.lookups > 0 || len(n.handles) > 0 {
		return
	}
	delete(t.ids, n.id)
	t.absent -= len(n.absent)
	n.absent = nil
	t.take(n)
	for _, child := range n.children {
		child.parent, child.name = nil, ""
	}
	if t.current[n.node] == n {
		delete(t.current, n.node)
	}
}

// retire gives the node of an inode another id from now on.
func (t *table) retire(n *inode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.retired = true
	if t.current[n.node] == n {
		delete(t.current, n.node)
	}
}

// mark notes that others may have changed nodes, all if none is named.
func (t *table) mark(nodes []filesystem.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(nodes) == 0 {
		for _, n := range t.current {
			n.stale = true
		}
	}
	for _, node := range nodes {
		if n := t.current[node]; n != nil {
			n.stale = true
		}
	}
}

// unchanged reports whether a file is as the kernel has seen it.
func (t *table) unchanged(n *inode, a filesystem.Attr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := contentOf(a)
	return n.seen.same(c) && n.seen.version == c.version
}

// doubted reports whether others may have changed an inode since somebody
// looked. Who asks looks.
func (t *table) doubted(n *inode) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := n.stale
	n.stale = false
	return was
}

// known returns the nodes of all inodes that a lookup finds.
func (t *table) known() []filesystem.Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]filesystem.Node, 0, len(t.current))
	for n := range t.current {
		all = append(all, n)
	}
	return all
}

// removed notes that a name was removed, and its inode with it.
func (t *table) removed(parent *inode, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := parent.children[name]; n != nil {
		t.unlink(n)
	}
}

// unlink notes that an inode has no name any more; mu is held.
func (t *table) unlink(n *inode) {
	n.unlinked = true
	t.take(n)
	if t.current[n.node] == n {
		delete(t.current, n.node)
	}
}

// moved notes that what a folder named so is a node under another name by now.
func (t *table) moved(from *inode, name string, to *inode, newName string, node filesystem.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, over := from.children[name], to.children[newName]
	if over != nil && over != n {
		t.unlink(over)
	}
	if n == nil {
		return
	}
	if n.node != node {
		if t.current[n.node] == n {
			delete(t.current, n.node)
		}
		if n.node = node; !n.retired {
			t.current[node] = n
		}
	}
	t.put(n, to, newName)
}

// gone returns the names of a folder that the kernel knows and that lead to
// something else by now, if only from nothing to something, and forgets them.
func (t *table) gone(folder *inode, names map[string]filesystem.Node) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for name, child := range folder.children {
		if node, ok := names[name]; !ok || node != child.node || child.retired {
			all = append(all, name)
			child.parent, child.name = nil, ""
			delete(folder.children, name)
		}
	}
	for name := range folder.absent {
		if _, ok := names[name]; ok || names == nil {
			all = append(all, name)
			t.hit(folder, name)
		}
	}
	return all
}

// place returns where the kernel saw an inode last.
func (t *table) place(n *inode) (parent uint64, name string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.parent == nil {
		return 0, "", false
	}
	return n.parent.id, n.name, true
}

// sees notes which content the kernel may have pages of.
func (t *table) sees(n *inode, a filesystem.Attr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.seen = contentOf(a)
}

// open notes an open file, unless the inode's content is not that of the handle
// by now, or others may have changed it meanwhile.
func (t *table) open(h *handle, a filesystem.Attr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := h.inode
	if !n.unlinked && (n.retired || n.stale || len(n.handles) == 0 && !n.seen.same(contentOf(a))) {
		n.stale = true // who looks next finds out
		return false
	}
	if n.handles == nil {
		n.handles = map[*handle]struct{}{}
	}
	n.handles[h] = struct{}{}
	if h.writes {
		n.writers++
	}
	return true
}

// made notes a file that was opened when it was made or emptied.
func (t *table) made(h *handle, a filesystem.Attr) {
	t.mu.Lock()
	h.inode.stale, h.inode.seen = false, contentOf(a)
	t.mu.Unlock()
	t.open(h, a)
}

// close notes that a file was closed, with what there is to see of it.
func (t *table) close(h *handle, a filesystem.Attr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := h.inode
	delete(n.handles, h)
	if h.writes {
		n.writers--
	}
	n.seen = contentOf(a)
	t.drop(n)
}

// written reports whether the kernel may have pages of an inode that it has not
// written yet.
func (t *table) written(n *inode) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.writers > 0
}
