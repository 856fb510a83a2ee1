// Package filesystem gives the workspaces of a device the semantics of a file
// system, once for all faces: the mount, WebDAV, the command line and the local
// page say how they are asked and how they answer, and decide nothing. It
// follows POSIX.1-2024 wherever the workspace can hold what that asks for; what
// it cannot hold (hard links, device nodes, owners, permissions but one bit) is
// refused with an error that says so.
//
// The package keeps nothing on the disk and moves nothing over the network: the
// tree and its contents are package overlay's, committing them is package
// syncer's. What it adds is names and paths, open files with their rights,
// folders that are read with stable cursors, locks, symlinks that do not lead
// out, one view of all workspaces, and who is told of which change.
//
// Invariants:
//   - Nothing waits for the network without an end; see [Config.Patience].
//   - An error of the network is that of the call alone. The next one tries anew.
//   - No lock but that of an open folder is held while the tree is asked.
//   - Who watches hears of every change but those that were made through its own
//     view, and never from within a lock.
package filesystem

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/overlay"
)

// Workspace is what of a workspace is shown.
type Workspace interface {
	ID() id.Workspace
	Name() string
	// Overlay returns the tree with the work that is not committed.
	Overlay() *overlay.Overlay
	// MayWrite fails where nothing may be changed, and says why.
	MayWrite() error
	// Author returns who wrote the newest version of an entry that is committed,
	// "" where none is.
	Author(ctx context.Context, e id.Entry) (string, error)
}

// Config is how a file system works. A zero field means the default beside it.
type Config struct {
	// Patience bounds how long a call waits for content of the server; 30 s.
	Patience time.Duration
	// Space returns how much room there is; nil where nobody knows.
	Space func(context.Context) (Space, error)
}

// Space is how much room there is, in bytes.
type Space struct {
	Total, Free uint64
}

// Device is the workspaces of a device as a file system. There is one for each
// open device, with a [View] for each face. Its methods may be called from many
// goroutines.
type Device struct {
	workspaces func() []Workspace
	cfg        Config

	mu sync.Mutex
	// mu guards what follows.
	volumes map[id.Workspace]*volume
	views   map[*View]func([]Node)
}

// New returns the file system of the workspaces that a function returns, which is
// called again and again.
func New(workspaces func() []Workspace, cfg Config) *Device {
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	return &Device{workspaces: workspaces, cfg: cfg, volumes: map[id.Workspace]*volume{}, views: map[*View]func([]Node){}}
}

// volume is one workspace as a file system.
type volume struct {
	Workspace
	over  *overlay.Overlay
	locks locks

	drafts sync.Mutex
	// drafts guards swept, which says that no draft of before is left.
	swept bool
}

// Options say what a view shows.
type Options struct {
	// Workspace is the only one that is shown, as the root; zero for all, as
	// folders of the root.
	Workspace id.Workspace
	// ReadOnly says that nothing can be changed.
	ReadOnly bool
}

// View is the file system as one face has it. Its methods may be called from many
// goroutines.
type View struct {
	device *Device
	opts   Options
}

// View returns a view of the file system.
func (d *Device) View(opts Options) *View { return &View{d, opts} }

// Node names an entry of a view, or its root. Nodes can be compared. A node stays
// the same through renames, but for one: a file that takes the place of another
// one goes on as that one; see [View.Rename].
type Node struct {
	volume *volume // nil for the root above all workspaces
	entry  id.Entry
}

// Top reports whether a node is the root above all workspaces.
func (n Node) Top() bool { return n.volume == nil }

// Entry returns the entry's id, zero for the root above all workspaces.
func (n Node) Entry() id.Entry { return n.entry }

// Workspace returns in which workspace a node is, zero for the root above all.
func (n Node) Workspace() id.Workspace {
	if n.volume == nil {
		return id.Workspace{}
	}
	return n.volume.ID()
}

// root reports whether a node is the root folder of a workspace.
func (n Node) root() bool { return n.volume != nil && n.entry == n.volume.over.Root }

// of returns the volume of a workspace.
func (d *Device) of(w Workspace) *volume {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.volumes[w.ID()]
	if v == nil || v.over != w.Overlay() {
		v = &volume{Workspace: w, over: w.Overlay()}
		d.volumes[w.ID()] = v
		v.over.Watch(func(entries []id.Entry) { d.changedByOthers(v, entries) })
	}
	return v
}

// named is a workspace as a folder of the root.
type named struct {
	name   string
	volume *volume
}

// top returns the workspaces by the names of their folders, in order. Where two
// have the same name, each has the beginning of its id in it.
func (d *Device) top() []named {
	var all []named
	count := map[string]int{}
	for _, w := range d.workspaces() {
		all = append(all, named{w.Name(), d.of(w)})
		count[w.Name()]++
	}
	for i, n := range all {
		if count[n.name] > 1 {
			all[i].name = n.name + " (" + n.volume.ID().String()[:8] + ")"
		}
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return all
}

// Root returns the root of the view. It fails where the view's only workspace is
// not on this device.
func (v *View) Root() (Node, error) {
	if v.opts.Workspace.IsZero() {
		return Node{}, nil
	}
	for _, w := range v.device.workspaces() {
		if w.ID() == v.opts.Workspace {
			volume := v.device.of(w)
			return Node{volume, volume.over.Root}, nil
		}
	}
	return Node{}, fault.Errorf(fault.NotFound, "open workspace %s: this device has none with this id", v.opts.Workspace)
}

// mayChange fails where a node's workspace cannot be changed.
func (v *View) mayChange(n Node) error {
	switch {
	case n.Top():
		return fault.WithHint(fault.Errorf(fault.Denied, "change the list of workspaces: %w", NotPermitted), "`parsec workspace` makes and renames them")
	case v.opts.ReadOnly:
		return fault.Errorf(fault.Denied, "change workspace %q: %w", n.volume.Name(), ReadOnly)
	}
	if err := n.volume.MayWrite(); err != nil {
		return &readOnlyError{err}
	}
	return nil
}

// MayChange reports whether something can be changed in a node's workspace.
func (v *View) MayChange(n Node) bool { return v.mayChange(n) == nil }

// readOnlyError says why a workspace cannot be changed.
type readOnlyError struct{ error }

func (e *readOnlyError) Unwrap() []error { return []error{e.error, ReadOnly} }

// Space returns how much room there is.
func (v *View) Space(ctx context.Context) (Space, error) {
	if v.device.cfg.Space == nil {
		return Space{}, nil
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	return v.device.cfg.Space(ctx)
}

// Watch has tell called with the nodes that may have changed: by others, by
// another view, or because they were renamed. A folder is among them where its
// list of names changed. No nodes at all mean that all may have. tell is called
// by whoever made the change; it must not wait, and not call the view. What is
// returned ends it.
func (v *View) Watch(tell func([]Node)) (stop func()) {
	d := v.device
	d.mu.Lock()
	defer d.mu.Unlock()
	d.views[v] = tell
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.views, v)
	}
}

func (d *Device) changedByOthers(v *volume, entries []id.Entry) {
	nodes := make([]Node, len(entries))
	for i, e := range entries {
		nodes[i] = Node{v, e}
	}
	d.tell(nil, nodes)
}

// tell tells all views but one.
func (d *Device) tell(not *View, nodes []Node) {
	d.mu.Lock()
	var all []func([]Node)
	for v, tell := range d.views {
		if v != not {
			all = append(all, tell)
		}
	}
	d.mu.Unlock()
	for _, tell := range all {
		tell(nodes)
	}
}

// changed tells the other views what was changed through this one.
func (v *View) changed(nodes ...Node) { v.device.tell(v, nodes) }
