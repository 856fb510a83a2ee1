package mount

import (
	"context"
	"sync"

	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// maxHeard is how many changed nodes are kept apart. Beyond, all may have changed.
const maxHeard = 1 << 16

// hearing gathers what others changed until the kernel was told.
type hearing struct {
	wake chan struct{} // has room for one

	mu sync.Mutex
	// mu guards what follows.
	nodes map[filesystem.Node]bool
	all   bool
}

func newHearing() *hearing {
	return &hearing{wake: make(chan struct{}, 1), nodes: map[filesystem.Node]bool{}}
}

func (h *hearing) add(nodes []filesystem.Node) {
	h.mu.Lock()
	h.all = h.all || len(nodes) == 0
	for _, n := range nodes {
		h.nodes[n] = true
	}
	if h.all = h.all || len(h.nodes) > maxHeard; h.all {
		clear(h.nodes)
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hearing) take() (nodes []filesystem.Node, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := range h.nodes {
		nodes = append(nodes, n)
	}
	all = h.all
	h.all = false
	clear(h.nodes)
	return nodes, all
}

// heard is called with what others changed. It must not wait.
func (d *drive) heard(nodes []filesystem.Node) {
	d.table.mark(nodes)
	d.hearing.add(nodes)
}

// forget has the kernel forget what others changed, until the context ends.
func (d *drive) forget(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.hearing.wake:
		}
		nodes, all := d.hearing.take()
		if all {
			nodes = d.table.known()
		}
		for _, node := range nodes {
			if n := d.table.of(node); n != nil && ctx.Err() == nil {
				d.refresh(ctx, n)
			}
		}
	}
}

// refresh has the kernel forget what it knows of an inode and is not so any more.
// The kernel answers that it does not know something if it forgot it meanwhile.
func (d *drive) refresh(ctx context.Context, n *inode) {
	if n.kind != manifest.File {
		d.refreshNames(ctx, n)
		return
	}
	d.table.mark([]filesystem.Node{d.nodeOf(n)}) // somebody may have looked before it was told
	if parent, name, ok := d.table.place(n); d.judge(ctx, n) {
		if ok {
			_ = d.server.EntryNotify(parent, name)
		}
		return
	}
	_ = d.server.InodeNotify(n.id, 0, 0)
}

// refreshNames does so for a folder.
func (d *drive) refreshNames(ctx context.Context, n *inode) {
	names, err := d.view.Names(ctx, d.nodeOf(n))
	if err != nil {
		names = nil // the kernel asks again for each, and is told why
	}
	for _, name := range d.table.gone(n, names) {
		_ = d.server.EntryNotify(n.id, name)
	}
	_ = d.server.InodeNotify(n.id, -1, 0)
}

// judge retires an inode if the kernel may know a content by its id that is not
// what the node has by now, and reports whether it did.
func (d *drive) judge(ctx context.Context, n *inode) bool {
	if n.kind != manifest.File || !d.table.doubted(n) {
		return false
	}
	node, h := d.table.at(n)
	if h != nil {
		// Whoever has it open works on what the node has. Only here the kernel may
		// have pages that are not written yet, and those must have one inode.
		if newest, err := h.Newest(ctx); err == nil && newest {
			return false
		}
	} else if a, err := d.view.Stat(ctx, node); err == nil && d.table.unchanged(n, a) {
		return false // it was looked at after the change, or nothing of it changed
	}
	d.table.retire(n)
	return true
}
