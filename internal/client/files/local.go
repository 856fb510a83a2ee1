package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/mirror"
	"parsec/internal/client/overlay"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
)

// Local is a workspace as people at this device see it, by paths: the verified
// tree, and over it the work that is not committed. Nothing of it asks the server
// but for what is not on this device, and every change is kept here first; to
// send it is the syncer's.
//
// A Local belongs to one goroutine.
type Local struct {
	view   *filesystem.View
	mirror *mirror.Mirror
	root   filesystem.Node
	name   string
}

// NewLocal returns a workspace by paths. The view shows that workspace alone, and
// the mirror is its verified tree.
func NewLocal(view *filesystem.View, m *mirror.Mirror) (*Local, error) {
	root, err := view.Root()
	return &Local{view: view, mirror: m, root: root, name: m.Workspace().Name()}, err
}

func (l *Local) address(p string) string { return l.name + ":" + p }

// Stat returns the entry at a path. Symlinks on the way are followed, the last
// one is not.
func (l *Local) Stat(ctx context.Context, p string) (Entry, error) {
	names, err := Split(p)
	if err != nil {
		return Entry{}, err
	}
	p = path.Join("/", path.Join(names...))
	a, err := l.view.Find(ctx, p, false)
	if err != nil {
		return Entry{}, l.missing(ctx, names, err)
	}
	return l.entry(p, a), nil
}

// missing says of which name on the way an error is.
func (l *Local) missing(ctx context.Context, names []string, err error) error {
	if !fault.Is(err, fault.NotFound) && !errors.Is(err, overlay.NotFolder) {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	above := "/"
	for _, name := range names {
		at := path.Join(above, name)
		_, failed := l.view.Find(ctx, at, false)
		switch {
		case errors.Is(failed, overlay.NotFolder):
			return fault.Errorf(fault.NotFound, "%s is not a folder", l.address(above))
		case failed != nil:
			return fault.WithHint(fault.Errorf(fault.NotFound, "no %s", l.address(at)), "`parsec ls %s` shows what is there", l.address(above))
		}
		above = at
	}
	return err
}

// entry returns what a path leads to.
func (l *Local) entry(p string, a filesystem.Attr) Entry {
	e := Entry{Path: p, ID: a.Node.Entry(), Kind: a.Kind, Version: store.Version{Entry: a.Node.Entry(), Number: a.Version}, Pending: a.Pending, Local: a.Local, node: a.Node}
	if !a.Modified.IsZero() {
		e.Manifest = manifest.Manifest{Entry: e.ID, Kind: a.Kind, Name: path.Base(p), Created: a.Created.UnixNano(), Modified: a.Modified.UnixNano()}
	}
	switch a.Kind {
	case manifest.File:
		e.Body = manifest.FileBody{Size: a.Size, Executable: a.Executable}
	case manifest.Symlink:
		e.Body = manifest.SymlinkBody{Target: a.Target}
	default:
		e.Body = manifest.FolderBody{}
	}
	return e
}

// List returns the entries of a folder by name. Those that cannot be shown are
// left out; [Local.Hidden] counts them.
func (l *Local) List(ctx context.Context, folder Entry) ([]Entry, error) {
	if folder.Kind != manifest.Folder {
		return []Entry{folder}, nil
	}
	hidden, err := l.mirror.Hidden(ctx)
	if err != nil {
		return nil, err
	}
	var all []Entry
	err = l.view.List(ctx, folder.node, func(n filesystem.Listed) error {
		if hidden[n.Attr.Node.Entry()] && !n.Attr.Pending && n.Attr.Kind != manifest.Folder {
			return nil
		}
		all = append(all, l.entry(path.Join(folder.Path, n.Name), n.Attr))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", l.address(folder.Path), err)
	}
	return all, nil
}

// Hidden returns how many entries are known to be hidden: whose manifests cannot
// be used, or which are named more than once.
func (l *Local) Hidden(ctx context.Context) (int, error) {
	hidden, err := l.mirror.Hidden(ctx)
	return len(hidden), err
}

// Author returns who wrote the newest version of an entry that is committed, as
// e-mail address and device; "" where none is.
func (l *Local) Author(ctx context.Context, e Entry) (string, error) {
	return l.view.Author(ctx, e.node)
}

// readSize is how much of a file is read at once.
const readSize = 1 << 20

// Content writes the content of a file to w, in order and as it comes.
func (l *Local) Content(ctx context.Context, file Entry, w io.Writer) error {
	if file.Kind != manifest.File {
		return fault.Errorf(fault.Usage, "%s is a %s, not a file", l.address(file.Path), file.Kind)
	}
	return l.read(ctx, file, func(content []byte) error {
		_, err := w.Write(content)
		return err
	})
}

// read calls take with the content of a file, in order.
func (l *Local) read(ctx context.Context, file Entry, take func([]byte) error) error {
	h, err := l.view.Open(ctx, file.node, filesystem.Read)
	if err != nil {
		return fmt.Errorf("read %s: %w", l.address(file.Path), err)
	}
	defer h.Close() // it was only read
	room := make([]byte, min(readSize, file.Size()+1))
	for at := int64(0); ; {
		n, err := h.ReadAt(ctx, room, at)
		if err != nil {
			return l.away(file, err)
		}
		if n == 0 {
			return nil
		}
		if err := take(room[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
}

// away says what it means that content cannot be had.
func (l *Local) away(file Entry, err error) error {
	err = fmt.Errorf("read %s: %w", l.address(file.Path), err)
	if !fault.Is(err, fault.Unreachable) {
		return err
	}
	return fault.WithHint(fault.Errorf(fault.Unreachable, "%s", err.Error()), "its content is not on this device yet; read it again when the server can be reached")
}

// Mkdir makes a folder, and with parents also those above it; then a folder
// that is there already is no error.
func (l *Local) Mkdir(ctx context.Context, p string, parents bool) error {
	names, err := Split(p)
	if err != nil {
		return err
	}
	p = path.Join("/", path.Join(names...))
	if parents {
		if _, err := l.view.MkdirAll(ctx, p); err != nil {
			return fmt.Errorf("make folder %s: %w", l.address(p), err)
		}
		return nil
	}
	if there, err := l.Stat(ctx, p); err == nil {
		if there.Kind == manifest.Folder {
			return fault.Errorf(fault.Conflict, "make folder %s: it is there already", l.address(p))
		}
		return fault.Errorf(fault.Conflict, "make folder %s: a %s is there", l.address(p), there.Kind)
	}
	_, err = l.Stat(ctx, path.Dir(p))
	if fault.Is(err, fault.NotFound) {
		return fault.WithHint(fault.Errorf(fault.NotFound, "make folder %s: %s", l.address(p), err.Error()), "-p makes it too")
	}
	if err != nil {
		return err
	}
	folder, name, err := l.view.Place(ctx, p)
	if err == nil {
		_, err = l.view.Mkdir(ctx, folder, name)
	}
	if err != nil {
		return fmt.Errorf("make folder %s: %w", l.address(p), err)
	}
	return nil
}

// Remove removes an entry, and with recursive also a folder with all below it.
func (l *Local) Remove(ctx context.Context, p string, recursive bool) error {
	e, err := l.Stat(ctx, p)
	if err != nil {
		return err
	}
	switch {
	case e.ID == l.root.Entry():
		return fault.Errorf(fault.Usage, "remove %s: the root folder stays", l.address("/"))
	case e.Kind == manifest.Folder && !recursive:
		return fault.WithHint(fault.Errorf(fault.Usage, "remove %s: it is a folder", l.address(e.Path)), "-r removes it with all that is in it")
	}
	folder, name, err := l.view.Place(ctx, e.Path)
	if err == nil {
		err = l.view.RemoveAll(ctx, folder, name)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", l.address(e.Path), err)
	}
	return nil
}

// RemoveAtOnce removes a folder with all below it by one commit to the verified
// tree that bulk returns, and reports whether it did: it does not where bulk
// returns nil, or something of it is on this device alone.
func (l *Local) RemoveAtOnce(ctx context.Context, p string, bulk func() (*Tree, error)) (done bool, err error) {
	e, err := l.Stat(ctx, p)
	if err != nil || e.Kind != manifest.Folder || e.ID == l.root.Entry() || l.mirror.Workspace().MayWrite() != nil {
		return false, err
	}
	t, err := bulk()
	if err != nil || t == nil {
		return false, err
	}
	own := false
	err = Walk(ctx, l, e, func(e Entry) error {
		own = own || e.Local || e.Pending
		return nil
	})
	if err != nil || own {
		return false, err
	}
	return true, t.Remove(ctx, e)
}

// Move moves or renames an entry. Where a folder is at the destination, the entry
// goes into it; a file there is replaced.
func (l *Local) Move(ctx context.Context, from, to string) error {
	e, err := l.Stat(ctx, from)
	if err != nil {
		return err
	}
	if e.ID == l.root.Entry() {
		return fault.Errorf(fault.Usage, "move %s: the root folder stays", l.address("/"))
	}
	into, name, err := l.Destination(ctx, to, e.Name())
	if err != nil {
		return err
	}
	if err := l.checkOver(ctx, e, into, name); err != nil {
		return err
	}
	folder, old, err := l.view.Place(ctx, e.Path)
	if err == nil {
		_, err = l.view.Rename(ctx, folder, old, into.node, name, false)
	}
	switch {
	case errors.Is(err, overlay.Below):
		return fault.Errorf(fault.Usage, "move %s: its destination lies in it", l.address(e.Path))
	case err != nil:
		return fmt.Errorf("move %s: %w", l.address(e.Path), err)
	}
	return nil
}

// checkOver fails where something is at the destination that is not replaced.
func (l *Local) checkOver(ctx context.Context, e, into Entry, name string) error {
	over, err := l.view.Lookup(ctx, into.node, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return fmt.Errorf("move %s: %w", l.address(e.Path), err)
	case over.Node == e.node:
		return nil
	case over.Kind == manifest.Folder || e.Kind == manifest.Folder:
		return fault.Errorf(fault.Conflict, "move %s: %s is there", l.address(e.Path), l.address(path.Join(into.Path, name)))
	}
	return nil
}

// Destination returns the folder and the name to which something called name
// is copied or moved: into a folder that is there, else under the path's own
// last name.
func (l *Local) Destination(ctx context.Context, to, name string) (Entry, string, error) {
	names, err := Split(to)
	if err != nil {
		return Entry{}, "", err
	}
	there, err := l.follow(ctx, to)
	if err == nil && there.Kind == manifest.Folder {
		return there, name, nil
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Entry{}, "", err
	}
	above, err := l.follow(ctx, strings.Join(names[:len(names)-1], "/"))
	if err != nil {
		return Entry{}, "", err
	}
	if above.Kind != manifest.Folder {
		return Entry{}, "", fault.Errorf(fault.NotFound, "%s is not a folder", l.address(above.Path))
	}
	return above, names[len(names)-1], nil
}

// follow returns what a path leads to, through symlinks to the end.
func (l *Local) follow(ctx context.Context, p string) (Entry, error) {
	e, err := l.Stat(ctx, p)
	if err != nil || e.Kind != manifest.Symlink {
		return e, err
	}
	a, err := l.view.Find(ctx, e.Path, true)
	if err != nil {
		return e, nil // it leads nowhere, and is what is there
	}
	return l.entry(e.Path, a), nil
}

// Stored reports whether the server has the newest content of a file.
func (l *Local) Stored(ctx context.Context, file Entry) bool {
	_, ok, err := l.view.Stored(ctx, file.node)
	return ok && err == nil
}

// Canonical returns the path of an entry without symlinks on the way.
func (l *Local) Canonical(ctx context.Context, e Entry) (string, error) {
	p, ok, err := l.view.Path(ctx, e.node)
	if err == nil && !ok {
		err = fault.Errorf(fault.NotFound, "no %s any more", l.address(e.Path))
	}
	return p, err
}

// Keep makes all that was done survive power loss.
func (l *Local) Keep(ctx context.Context) error { return l.view.Sync(ctx, l.root) }

// A Lister lists folders of a tree.
type Lister interface {
	// List returns the entries of a folder by name, and an entry that is none by
	// itself.
	List(ctx context.Context, folder Entry) ([]Entry, error)
}

// Walk calls visit with an entry and all below it, each folder before what it
// holds, in the order of names.
func Walk(ctx context.Context, t Lister, from Entry, visit func(Entry) error) error {
	if err := visit(from); err != nil || from.Kind != manifest.Folder {
		return err
	}
	all, err := t.List(ctx, from)
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := Walk(ctx, t, e, visit); err != nil {
			return err
		}
	}
	return nil
}
