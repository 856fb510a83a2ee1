package filesystem

import (
	"context"
	"encoding/binary"
	"time"
	"unicode/utf8"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/overlay"
	"parsec/internal/client/tree"
	"parsec/internal/format/manifest"
)

// Attr is what there is to see of a node.
type Attr struct {
	Node Node
	Kind manifest.Kind
	// Number is the inode number: the same as long as the device has the entry,
	// through restarts too.
	Number uint64
	// Size is in bytes: of a file its content's, of a symlink its target's.
	Size              uint64
	Modified, Created time.Time
	Executable        bool
	// Target is where a symlink leads, as it was written.
	Target string
	// Version is the newest one of the server that it shows or lies above, 0 if
	// it was never committed.
	Version uint64
	// Pending says that there is work that is not committed, Local that it never
	// will be, since its name is ignored.
	Pending, Local bool
	// Removed says that no name leads to it: somebody has it open still.
	Removed bool
}

// Changes are those of [View.Set]; nil where nothing is to change.
type Changes struct {
	Size       *uint64
	Modified   *time.Time
	Executable *bool
}

func attrOf(v *volume, n overlay.Node) Attr {
	a := Attr{
		Node: Node{v, n.Entry}, Kind: n.Kind, Number: n.Number, Executable: n.File.Executable, Target: n.Target,
		Version: n.Version, Pending: n.Pending, Local: n.Local, Removed: n.Removed,
	}
	if n.Modified != 0 { // the root of an empty workspace has no time
		a.Modified = time.Unix(0, n.Modified)
	}
	if n.Created != 0 {
		a.Created = time.Unix(0, n.Created)
	}
	switch n.Kind {
	case manifest.File:
		a.Size = n.File.Size
	case manifest.Symlink:
		a.Size = uint64(len(n.Target))
	}
	if a.Node.root() {
		a.Number = rootNumber(v.ID())
	}
	return a
}

// rootNumber returns the inode number of a workspace's root: each has its own,
// as all of them may be shown side by side. Ids are random.
func rootNumber(w id.Workspace) uint64 { return binary.BigEndian.Uint64(w[:8])>>1 | 1<<32 }

// topNumber is the inode number of the root above all workspaces.
const topNumber = 1

// Stat returns what there is to see of a node.
func (v *View) Stat(ctx context.Context, n Node) (Attr, error) {
	if n.Top() {
		return v.statTop(ctx)
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	found, err := n.volume.over.Node(ctx, n.entry)
	if err != nil {
		return Attr{}, err
	}
	return attrOf(n.volume, found), nil
}

// statTop does so for the root above all workspaces, which is as new as the
// newest of them.
func (v *View) statTop(ctx context.Context) (Attr, error) {
	top := Attr{Kind: manifest.Folder, Number: topNumber}
	for _, n := range v.device.top() {
		a, err := v.Stat(ctx, Node{n.volume, n.volume.over.Root})
		if err != nil {
			return Attr{}, err
		}
		if a.Modified.After(top.Modified) {
			top.Modified, top.Created = a.Modified, a.Created
		}
	}
	return top, nil
}

// Lookup returns what a folder names so.
func (v *View) Lookup(ctx context.Context, folder Node, name string) (Attr, error) {
	if folder.Top() {
		for _, n := range v.device.top() {
			if n.name == name {
				return v.Stat(ctx, Node{n.volume, n.volume.over.Root})
			}
		}
		return Attr{}, fault.Errorf(fault.NotFound, "no workspace is called %q here", name)
	}
	if err := checkName(name); err != nil {
		return Attr{}, err
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	c, err := v.child(ctx, folder, name)
	if err != nil {
		return Attr{}, err
	}
	return v.Stat(ctx, Node{folder.volume, c.Entry})
}

// child returns what a folder of a workspace names so.
func (v *View) child(ctx context.Context, folder Node, name string) (manifest.Child, error) {
	c, found, err := folder.volume.over.Child(ctx, folder.entry, name)
	if found && err == nil {
		var hidden bool
		hidden, err = folder.volume.hides(ctx, folder.entry, c)
		found = !hidden
	}
	if err != nil || found {
		return c, err
	}
	n, err := folder.volume.over.Node(ctx, folder.entry)
	switch {
	case err != nil:
		return c, err
	case n.Kind != manifest.Folder:
		return c, fault.Errorf(fault.Conflict, "look into folder: %w", overlay.NotFolder)
	}
	return c, fault.Errorf(fault.NotFound, "%q is not there", name)
}

// checkName refuses what cannot be a name, as POSIX tells it apart.
func checkName(name string) error {
	switch err := manifest.CheckName(name); {
	case err == nil:
		return nil
	case len(name) > manifest.MaxName:
		return fault.Errorf(fault.Invalid, "name %.20q...: %w", name, TooLong)
	case !utf8.ValidString(name):
		return fault.Errorf(fault.Invalid, "name %q: %w", name, NotText)
	default:
		return err
	}
}

// Set changes what is said of a node, and returns what there is to see then.
func (v *View) Set(ctx context.Context, n Node, c Changes) (Attr, error) {
	if err := v.mayChange(n); err != nil {
		return Attr{}, err
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	over := n.volume.over
	if c.Size != nil {
		f, err := over.Open(ctx, n.entry, true)
		if err != nil {
			return Attr{}, err
		}
		if err := errorOf(f.Truncate(ctx, int64(min(*c.Size, 1<<62))), f.Close()); err != nil {
			return Attr{}, err
		}
	}
	if c.Executable != nil {
		if err := over.SetExecutable(ctx, n.entry, *c.Executable); err != nil {
			return Attr{}, err
		}
	}
	if c.Modified != nil {
		if err := over.SetModified(ctx, n.entry, *c.Modified); err != nil {
			return Attr{}, err
		}
	}
	v.changed(n)
	return v.Stat(ctx, n)
}

// errorOf returns the first error.
func errorOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// Mkdir makes a folder.
func (v *View) Mkdir(ctx context.Context, folder Node, name string) (Attr, error) {
	return v.make(ctx, folder, name, merge.Node{Kind: manifest.Folder})
}

// Symlink makes a symlink. Any target can be stored; see [View.ReadLink] for
// which can be read.
func (v *View) Symlink(ctx context.Context, folder Node, name, target string) (Attr, error) {
	if err := manifest.CheckTarget(target); err != nil {
		return Attr{}, err
	}
	return v.make(ctx, folder, name, merge.Node{Kind: manifest.Symlink, Target: target})
}

func (v *View) make(ctx context.Context, folder Node, name string, n merge.Node) (Attr, error) {
	if err := errorOf(v.mayMake(folder, name), checkNew(folder, name)); err != nil {
		return Attr{}, err
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	made, err := folder.volume.over.Create(ctx, merge.Place{Folder: folder.entry, Name: name}, n)
	if err != nil {
		return Attr{}, err
	}
	v.changed(folder)
	return attrOf(folder.volume, made), nil
}

func (v *View) mayMake(folder Node, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return v.mayChange(folder)
}

// ReadLink returns where a symlink leads. One whose target might lead out of its
// workspace is there, and can be neither read nor followed: whoever follows it
// does so on this device, outside of the workspace.
func (v *View) ReadLink(ctx context.Context, n Node) (string, error) {
	a, err := v.Stat(ctx, n)
	if err != nil {
		return "", err
	}
	if a.Kind != manifest.Symlink {
		return "", fault.Errorf(fault.Invalid, "read symlink: %w", NotLink)
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	depth, err := n.volume.depth(ctx, n.entry)
	if err != nil {
		return "", err
	}
	if err := tree.CheckTarget(a.Target, depth); err != nil {
		return "", &leadsError{err}
	}
	return a.Target, nil
}

// leadsError says why a symlink is not followed.
type leadsError struct{ error }

func (e *leadsError) Unwrap() []error { return []error{e.error, Leads} }

// maxDepth bounds how deep an entry can lie: a path of more folders is longer
// than any system allows.
const maxDepth = 4096

// depth returns in how many folders below the root an entry lies.
func (v *volume) depth(ctx context.Context, e id.Entry) (int, error) {
	for depth := range maxDepth {
		at, ok, err := v.over.Parent(ctx, e)
		if err != nil {
			return 0, err
		}
		if !ok || at.Folder == v.over.Root || at.Folder.IsZero() {
			return depth, nil
		}
		e = at.Folder
	}
	return 0, fault.Errorf(fault.Invalid, "find path: %w", Loop)
}

// Unlink removes a file or symlink. Who has it open goes on with it.
func (v *View) Unlink(ctx context.Context, folder Node, name string) error {
	return v.remove(ctx, folder, name, false)
}

// Rmdir removes a folder that is empty.
func (v *View) Rmdir(ctx context.Context, folder Node, name string) error {
	return v.remove(ctx, folder, name, true)
}

func (v *View) remove(ctx context.Context, folder Node, name string, isFolder bool) error {
	if err := v.mayMake(folder, name); err != nil {
		return err
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	if err := folder.volume.over.Remove(ctx, merge.Place{Folder: folder.entry, Name: name}, isFolder); err != nil {
		return err
	}
	v.changed(folder)
	return nil
}

// Rename moves or renames what a folder names so, over what is at the other place
// unless keep is set. It returns which node that is from then on: a file that
// takes the place of another one goes on as that one, with its history, and keeps
// its inode number. What was written to it before is kept with the new name,
// also through a kill.
func (v *View) Rename(ctx context.Context, from Node, name string, to Node, newName string, keep bool) (Node, error) {
	if err := errorOf(v.mayMake(from, name), v.mayMake(to, newName), checkNew(to, newName)); err != nil {
		return Node{}, err
	}
	if from.volume != to.volume {
		return Node{}, fault.Errorf(fault.Conflict, "move %q: %w", name, OtherWorkspace)
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	over := from.volume.over
	moved, err := over.Move(ctx, merge.Place{Folder: from.entry, Name: name}, merge.Place{Folder: to.entry, Name: newName}, !keep)
	if err == nil {
		err = over.Flush()
	}
	if err != nil {
		return Node{}, err
	}
	n := Node{from.volume, moved}
	v.changed(from, to, n)
	return n, nil
}

// Sync makes everything that was done in a node's workspace survive power loss;
// for the root above all workspaces, in all of them.
func (v *View) Sync(_ context.Context, n Node) error {
	if !n.Top() {
		return n.volume.over.Sync()
	}
	for _, w := range v.device.top() {
		if err := w.volume.over.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// Author returns who wrote the newest version of a node that is committed.
func (v *View) Author(ctx context.Context, n Node) (string, error) {
	if n.Top() {
		return "", nil
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	return n.volume.Workspace.Author(ctx, n.entry)
}

// Problem returns why what was done to a node does not go to the server, nil if
// it does or nothing was.
func (v *View) Problem(n Node) error {
	if n.Top() {
		return nil
	}
	for _, p := range n.volume.over.Problems() {
		if p.Entry == n.entry {
			return p.Err
		}
	}
	return nil
}
