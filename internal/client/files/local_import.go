package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/disk"
	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// A copy into a [Local] is kept on this device first, a file at a time. It is for
// when the server cannot be reached, or the workspace has work that is not
// committed, with which a commit around it would clash.

// thing is something that is copied into a [Local].
type thing struct {
	looks
	// shown is what it is called in messages.
	shown string
	// content calls take with the content of a file, in order.
	content func(ctx context.Context, take func([]byte) error) error
	// children returns what is in a folder, by names.
	children func(ctx context.Context) (map[string]thing, error)
}

// localCopy is a copy into a [Local] at work.
type localCopy struct {
	to     *Local
	update bool
	tally  *tally
}

// Import copies local files and folders as [Tree.ImportAll] does, and keeps them
// on this device.
func (l *Local) Import(ctx context.Context, from []Source, into Entry, o CopyOptions) error {
	c := &localCopy{l, o.Update, o.tally()}
	for _, s := range from {
		info, err := os.Lstat(s.Path)
		if err != nil {
			return fault.Errorf(fault.NotFound, "copy %s: %w", s.Path, errors.Unwrap(err))
		}
		t, err := onDisk(s.Path, info)
		if err == nil {
			err = c.addAs(ctx, t, s.Name, into)
		}
		if err != nil {
			return err
		}
	}
	return c.tally.err()
}

// ImportStream copies what r gives into one file, and keeps it on this device.
func (l *Local) ImportStream(ctx context.Context, r io.Reader, into Entry, name string, o CopyOptions) error {
	c := &localCopy{l, false, o.tally()}
	t := thing{looks: looks{kind: manifest.File, modified: time.Now().UnixNano()}, shown: "standard input"}
	t.content = func(_ context.Context, take func([]byte) error) error { return pour(r, take) }
	if err := c.add(ctx, t, name, into); err != nil {
		return err
	}
	return c.tally.err()
}

// CopyIn copies an entry of this workspace or another one, and all below it, into
// a folder under a name, or with an empty name what is in it. It keeps the copy
// on this device.
func (l *Local) CopyIn(ctx context.Context, other *Local, from, into Entry, name string, o CopyOptions) error {
	if other.root == l.root {
		for at := into.Path; ; at = path.Dir(at) {
			e, err := l.Stat(ctx, at)
			if err != nil {
				return err
			}
			if e.ID == from.ID {
				return fault.Errorf(fault.Usage, "copy %s: its destination lies in it", l.address(from.Path))
			}
			if at == "/" {
				break
			}
		}
	}
	c := &localCopy{l, o.Update, o.tally()}
	if err := c.addAs(ctx, other.thing(from), name, into); err != nil {
		return err
	}
	return c.tally.err()
}

// pour calls take with what a reader gives.
func pour(r io.Reader, take func([]byte) error) error {
	room := make([]byte, readSize)
	for {
		n, err := r.Read(room)
		if n > 0 {
			if err := take(room[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// thing returns an entry as something to be copied.
func (l *Local) thing(e Entry) thing {
	return thing{
		looks: looksOf(e), shown: l.address(e.Path),
		content: func(ctx context.Context, take func([]byte) error) error { return l.read(ctx, e, take) },
		children: func(ctx context.Context) (map[string]thing, error) {
			list, err := l.List(ctx, e)
			all := make(map[string]thing, len(list))
			for _, below := range list {
				all[below.Name()] = l.thing(below)
			}
			return all, err
		},
	}
}

// onDisk returns what is on the disk as something to be copied. It fails for what
// is neither a file, a folder nor a link.
func onDisk(p string, info fs.FileInfo) (thing, error) {
	t := thing{looks: looks{modified: info.ModTime().UnixNano()}, shown: p}
	switch mode := info.Mode(); {
	case mode.IsDir():
		t.kind, t.children = manifest.Folder, func(context.Context) (map[string]thing, error) { return listDisk(p) }
	case mode.IsRegular():
		t.kind, t.size, t.executable = manifest.File, uint64(info.Size()), disk.Executable(info)
		t.content = func(_ context.Context, take func([]byte) error) error { return readDisk(p, info, take) }
	case mode&fs.ModeSymlink != 0:
		points, err := os.Readlink(p)
		if err != nil {
			return t, &skip{err}
		}
		t.kind, t.points = manifest.Symlink, filepath.ToSlash(points)
		t.size = uint64(len(t.points))
	default:
		return t, &skip{fault.Errorf(fault.Invalid, "it is neither a file, a folder nor a link")}
	}
	return t, nil
}

func listDisk(p string) (map[string]thing, error) {
	entries, err := os.ReadDir(p)
	if err != nil {
		return nil, &skip{err}
	}
	all := make(map[string]thing, len(entries))
	for _, e := range entries {
		at := filepath.Join(p, e.Name())
		info, err := e.Info()
		t := thing{shown: at}
		if err == nil {
			t, err = onDisk(at, info)
		}
		if err != nil { // it is told when it is its turn
			t.content = func(context.Context, func([]byte) error) error { return err }
			t.kind = manifest.File
		}
		all[e.Name()] = t
	}
	return all, nil
}

func readDisk(p string, before fs.FileInfo, take func([]byte) error) error {
	f, err := disk.Open(p)
	if err != nil {
		return &skip{err}
	}
	defer f.Close() // it was only read
	if err := pour(f, take); err != nil {
		return err
	}
	after, err := f.Stat()
	if err != nil {
		return &skip{err}
	}
	if after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return &skip{fault.WithHint(errChanged, "copy it again with --update once nobody writes to it")}
	}
	return nil
}

// addAs copies something under a name, or without one what is in it.
func (c *localCopy) addAs(ctx context.Context, t thing, name string, into Entry) error {
	if name == "" {
		return c.addChildren(ctx, t, into)
	}
	return c.add(ctx, t, name, into)
}

// add copies one thing. Only what ends the whole copy is an error.
func (c *localCopy) add(ctx context.Context, t thing, name string, into Entry) error {
	err := manifest.CheckName(name)
	if err == nil {
		err = c.put(ctx, t, name, into)
	}
	_, own := errors.AsType[*skip](err)
	if err == nil || ctx.Err() != nil || !own && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unreachable) {
		return err
	}
	c.tally.Skipped(t.shown, fmt.Errorf("copy %s: %w", t.shown, err))
	return nil
}

func (c *localCopy) put(ctx context.Context, t thing, name string, into Entry) error {
	if t.kind != manifest.Folder {
		c.tally.Found(1, t.size)
	}
	there, err := c.to.view.Lookup(ctx, into.node, name)
	exists := err == nil
	switch {
	case err != nil && !fault.Is(err, fault.NotFound):
		return err
	case exists && there.Kind != t.kind && (there.Kind == manifest.Folder || t.kind == manifest.Folder):
		return &skip{fault.WithHint(fault.Errorf(fault.Conflict, "a %s is there, which a %s does not replace", there.Kind, t.kind),
			"move it away, or copy to another place")}
	}
	at := c.to.entry(path.Join(into.Path, name), there)
	switch {
	case t.kind == manifest.Folder:
		return c.putFolder(ctx, t, name, into, at, exists)
	case exists && c.update && looksOf(at) == t.looks:
		c.tally.Done(1, t.size)
		return nil
	case t.kind == manifest.Symlink:
		err = c.putLink(ctx, t, name, into, exists)
	default:
		err = c.putFile(ctx, t, name, into)
	}
	if err == nil {
		c.tally.Done(1, 0)
	}
	return err
}

func (c *localCopy) putFolder(ctx context.Context, t thing, name string, into, there Entry, exists bool) error {
	if exists {
		return c.addChildren(ctx, t, there)
	}
	made, err := c.to.view.Mkdir(ctx, into.node, name)
	if err != nil {
		return err
	}
	if err := c.addChildren(ctx, t, c.to.entry(there.Path, made)); err != nil {
		return err
	}
	return c.keepTime(ctx, made.Node, t)
}

func (c *localCopy) keepTime(ctx context.Context, n filesystem.Node, t thing) error {
	at := time.Unix(0, t.modified)
	_, err := c.to.view.Set(ctx, n, filesystem.Changes{Modified: &at})
	return err
}

func (c *localCopy) addChildren(ctx context.Context, t thing, into Entry) error {
	all, err := t.children(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := c.add(ctx, all[name], name, into); err != nil {
			return err
		}
	}
	return nil
}

func (c *localCopy) putLink(ctx context.Context, t thing, name string, into Entry, exists bool) error {
	if exists {
		if err := c.to.view.Unlink(ctx, into.node, name); err != nil {
			return err
		}
	}
	made, err := c.to.view.Symlink(ctx, into.node, name, t.points)
	if err != nil {
		return err
	}
	return c.keepTime(ctx, made.Node, t)
}

// putFile writes a file beside the tree, and gives it its name when it is whole.
func (c *localCopy) putFile(ctx context.Context, t thing, name string, into Entry) (err error) {
	d, err := c.to.view.Draft(ctx, c.to.root, t.executable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	var at int64
	err = t.content(ctx, func(content []byte) error {
		n, err := d.WriteAt(ctx, content, at)
		at += int64(n)
		c.tally.Done(0, uint64(n))
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return err
	}
	modified := time.Unix(0, t.modified)
	if _, err := d.Set(ctx, filesystem.Changes{Modified: &modified}); err != nil {
		return err
	}
	_, err = d.Place(ctx, into.node, name, false)
	return err
}
