package webdav

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// spot is what a URL leads to, or could lead to. Symlinks are followed: a client
// sees what they lead to, and only what removes or renames acts on themselves.
type spot struct {
	// path is the spot's own, through no symlink but a last one.
	path string
	// folder and name are where something is or could be made; name is "" for
	// the root.
	folder filesystem.Node
	name   string
	found  bool
	// attr is what was found, and real its path, through no symlink at all.
	attr filesystem.Attr
	real string
	// link says that it is a symlink that leads to it.
	link bool
}

func (s spot) isFolder() bool { return s.found && s.attr.Kind == manifest.Folder }

// cleanPath returns the path of a URL, without a slash at its end.
func cleanPath(p string) (string, error) {
	if strings.ContainsRune(p, 0) {
		return "", refusef(http.StatusBadRequest, "the path has a NUL in it")
	}
	return path.Clean("/" + p), nil
}

// find returns what a path leads to. It fails with 409 where there is no folder
// for it.
func (q *request) find(p string) (spot, error) {
	s := spot{path: p, real: p}
	if p != "/" {
		if err := q.findPlace(p, &s); err != nil {
			return s, err
		}
	}
	a, err := q.view.Find(q.ctx, p, true)
	if fault.Is(err, fault.NotFound) {
		if s.link {
			return s, refusef(http.StatusForbidden, "%s is a symlink that leads to nothing", p)
		}
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.found, s.attr = true, a
	real, ok, err := q.view.Path(q.ctx, a.Node)
	if err == nil && !ok {
		err = fault.Errorf(fault.NotFound, "%s: it is not there any more", p)
	}
	s.real = real
	return s, err
}

func (q *request) findPlace(p string, s *spot) error {
	folder, name, err := q.view.Place(q.ctx, p)
	if fault.Is(err, fault.NotFound) || errors.Is(err, overlay.NotFolder) {
		return &noFolderError{err}
	}
	if err != nil {
		return err
	}
	s.folder, s.name = folder, name
	above, ok, err := q.view.Path(q.ctx, folder)
	if err == nil && !ok {
		err = fault.Errorf(fault.NotFound, "%s: it is not there any more", p)
	}
	if err != nil {
		return err
	}
	s.path = path.Join(above, name)
	s.real = s.path
	a, err := q.view.Lookup(q.ctx, folder, name)
	s.link = err == nil && a.Kind == manifest.Symlink
	return nil
}

// noFolderError is that there is no folder for a path.
type noFolderError struct{ error }

func (e *noFolderError) Unwrap() []error {
	return []error{&refusal{status: http.StatusConflict, text: e.Error()}, e.error}
}

// existing returns what is at a path, and fails where nothing is.
func (q *request) existing(p string) (spot, error) {
	s, err := q.find(p)
	if _, none := errors.AsType[*noFolderError](err); none || err == nil && !s.found {
		return s, fault.Errorf(fault.NotFound, "%s: it is not there", p)
	}
	return s, err
}

// at returns the folder and the name of a spot with symlinks followed: where a
// file must be placed to take the place of what was found.
func (q *request) at(s spot) (filesystem.Node, string, error) {
	if !s.link {
		return s.folder, s.name, nil
	}
	return q.view.Place(q.ctx, s.real)
}

// writable fails where nothing can be changed at a spot.
func (q *request) writable(s spot) error {
	n := s.folder
	if s.found {
		n = s.attr.Node
	}
	if !n.Top() && !q.view.MayChange(n) {
		return refusef(http.StatusForbidden, "%s is in a workspace that is read-only", s.path)
	}
	return nil
}

// href returns a path as a URL has it.
func href(p string, folder bool) string {
	if folder && p != "/" {
		p += "/"
	}
	return (&url.URL{Path: p}).EscapedPath()
}

// etag returns the ETag of a file, "" for anything else. It is made of what
// changes with the content and with nothing else: the version is none of it,
// since it moves when own work is committed, and a client that holds on to an
// ETag would take its own work for somebody else's. [request.distinct] sees to
// it that two contents never have the same one.
func etag(a filesystem.Attr) string {
	if a.Kind != manifest.File {
		return ""
	}
	e := a.Node.Entry()
	return fmt.Sprintf(`"%x-%x-%x"`, e[:], a.Size, a.Modified.UnixNano())
}
