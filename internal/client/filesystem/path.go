package filesystem

import (
	"context"
	"path"
	"slices"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// maxLinks is how many symlinks a path may lead through, as many as Linux allows.
const maxLinks = 40

// Find returns what is at a path below the root of the view. Symlinks on the way
// are followed, the last one only if follow is set. Slashes at the beginning and
// the end mean nothing.
func (v *View) Find(ctx context.Context, p string, follow bool) (Attr, error) {
	a, err := v.walk(ctx, names(p), follow)
	if err != nil {
		return Attr{}, about(p, err)
	}
	return a, nil
}

// about says of which path an error is.
func about(p string, err error) error {
	return fault.Errorf(fault.KindOf(err), "%s: %w", path.Clean("/"+p), err)
}

// names returns the names that a path consists of.
func names(p string) []string {
	return strings.FieldsFunc(path.Clean("/"+p), func(c rune) bool { return c == '/' })
}

// walk goes along names from the root.
func (v *View) walk(ctx context.Context, left []string, follow bool) (Attr, error) {
	root, err := v.Root()
	if err != nil {
		return Attr{}, err
	}
	at, err := v.Stat(ctx, root)
	if err != nil {
		return Attr{}, err
	}
	way, links := []Attr{at}, 0
	for len(left) > 0 {
		name := left[0]
		left = left[1:]
		if name == ".." { // in a symlink's target
			way = way[:max(1, len(way)-1)]
			continue
		}
		a, err := v.Lookup(ctx, way[len(way)-1].Node, name)
		if err != nil {
			return Attr{}, err
		}
		if a.Kind != manifest.Symlink || len(left) == 0 && !follow {
			way = append(way, a)
			continue
		}
		if links++; links > maxLinks {
			return Attr{}, fault.Errorf(fault.Invalid, "follow symlink: %w", Loop)
		}
		target, err := v.ReadLink(ctx, a.Node)
		if err != nil {
			return Attr{}, err
		}
		left = append(strings.Split(target, "/"), left...)
	}
	return way[len(way)-1], nil
}

// Place returns the folder that a path leads to, but for its last name, and that
// name. It fails for the root.
func (v *View) Place(ctx context.Context, p string) (folder Node, name string, err error) {
	all := names(p)
	if len(all) == 0 {
		return Node{}, "", about(p, fault.Errorf(fault.Conflict, "the root is always there: %w", overlay.Exists))
	}
	last := len(all) - 1
	a, err := v.walk(ctx, all[:last], true)
	if err != nil {
		return Node{}, "", about(p, err)
	}
	if a.Kind != manifest.Folder {
		return Node{}, "", about(p, fault.Errorf(fault.Conflict, "what is above it: %w", overlay.NotFolder))
	}
	return a.Node, all[last], nil
}

// MkdirAll makes a folder, and those above it, where they are not there.
func (v *View) MkdirAll(ctx context.Context, p string) (Attr, error) {
	all := names(p)
	at, err := v.walk(ctx, nil, true)
	if err != nil {
		return at, err
	}
	for i := range all {
		next, err := v.walk(ctx, all[:i+1], true)
		if fault.Is(err, fault.NotFound) {
			next, err = v.Mkdir(ctx, at.Node, all[i])
		}
		if err == nil && next.Kind != manifest.Folder {
			err = fault.Errorf(fault.Conflict, "make folder: %w", overlay.NotFolder)
		}
		if err != nil {
			return at, about(path.Join(all[:i+1]...), err)
		}
		at = next
	}
	return at, nil
}

// RemoveAll removes what a folder names so, with all that is in it. What somebody
// adds meanwhile makes it fail; what it removed until then stays removed.
func (v *View) RemoveAll(ctx context.Context, folder Node, name string) error {
	if err := v.mayMake(folder, name); err != nil {
		return err // before anything is gone
	}
	a, err := v.Lookup(ctx, folder, name)
	if err != nil {
		return err
	}
	if a.Kind != manifest.Folder {
		return v.Unlink(ctx, folder, name)
	}
	err = v.List(ctx, a.Node, func(l Listed) error { return v.RemoveAll(ctx, a.Node, l.Name) })
	if err != nil {
		return err
	}
	return v.Rmdir(ctx, folder, name)
}

// Walk calls visit with a node and everything below it, folders before what is in
// them, with their paths from the node on: "" for itself.
func (v *View) Walk(ctx context.Context, a Attr, visit func(p string, a Attr) error) error {
	return v.walkBelow(ctx, "", a, visit)
}

func (v *View) walkBelow(ctx context.Context, p string, a Attr, visit func(string, Attr) error) error {
	if err := visit(p, a); err != nil || a.Kind != manifest.Folder {
		return err
	}
	return v.List(ctx, a.Node, func(l Listed) error {
		return v.walkBelow(ctx, path.Join(p, l.Name), l.Attr, visit)
	})
}

// Path returns the path of a node from the root of the view on, and false if no
// name leads to it.
func (v *View) Path(ctx context.Context, n Node) (string, bool, error) {
	if n.Top() {
		return "/", true, nil
	}
	var all []string
	for e := n.entry; e != n.volume.over.Root; {
		at, ok, err := n.volume.over.Parent(ctx, e)
		if err != nil || !ok || at.Folder.IsZero() || len(all) > maxDepth {
			return "", false, err
		}
		all = append(all, at.Name)
		e = at.Folder
	}
	if v.opts.Workspace.IsZero() {
		for _, w := range v.device.top() {
			if w.volume == n.volume {
				all = append(all, w.name)
			}
		}
	}
	slices.Reverse(all)
	return "/" + strings.Join(all, "/"), true, nil
}
