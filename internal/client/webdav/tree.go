package webdav

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// makeFolder makes a folder.
func (q *request) makeFolder() error {
	if err := q.noBody(); err != nil {
		return err
	}
	return q.ordered(func() error {
		s, err := q.find(q.path)
		if err != nil {
			return err
		}
		if s.found {
			return refusef(http.StatusMethodNotAllowed, "%s is there already", s.path)
		}
		if err := q.mayChange(s, false); err != nil {
			return err
		}
		if _, err := q.view.Mkdir(q.ctx, s.folder, s.name); err != nil {
			return err
		}
		return q.done(true)
	})
}

// mayChange fails if the request's conditions do not hold, or if a lock is in
// the way of making, replacing or removing what is at a spot.
func (q *request) mayChange(s spot, removed bool) error {
	if err := q.check(s); err != nil {
		return err
	}
	return q.locks.allow(q.submitted(), changing(s, removed)...)
}

func changing(s spot, removed bool) []need {
	needs := []need{{path: s.path, deep: true}}
	if removed || !s.found {
		needs = append(needs, need{path: path.Dir(s.path)})
	}
	return needs
}

// remove removes a file or a folder with all that is in it.
func (q *request) remove() error {
	if _, err := q.depth(depthInfinity); err != nil {
		return err
	}
	return q.ordered(func() error {
		s, err := q.existing(q.path)
		if err != nil {
			return err
		}
		if err := q.mayChange(s, true); err != nil {
			return err
		}
		if err := q.removeAt(s); err != nil {
			return err
		}
		q.locks.release(s.path)
		return q.done(false)
	})
}

// removeAt removes what is at a spot: of a symlink itself.
func (q *request) removeAt(s spot) error {
	if s.name == "" {
		return refusef(http.StatusForbidden, "the root cannot be removed")
	}
	err := q.view.RemoveAll(q.ctx, s.folder, s.name)
	if err == nil && !s.link {
		q.dead.drop(s.attr.Node)
	}
	return err
}

// transfer is what COPY and MOVE are asked for.
type transfer struct {
	from, to spot
	// replace says that what is at the destination may be replaced.
	replace bool
	// shallow says that of a folder only itself is copied.
	shallow  bool
	modified *time.Time
}

// destination returns the path that a Destination header names.
func (q *request) destination() (string, error) {
	given := q.r.Header.Get("Destination")
	u, err := url.Parse(given)
	if err != nil || given == "" || u.Path == "" {
		return "", refusef(http.StatusBadRequest, "Destination: %.200q is no URL", given)
	}
	if u.Host != "" && !strings.EqualFold(u.Host, q.r.Host) {
		return "", refusef(http.StatusBadGateway, "Destination: %q is another server", u.Host)
	}
	return cleanPath(u.Path)
}

// transfer finds both ends of a COPY or MOVE, and fails where it may not be done.
func (q *request) transfer(move bool) (t transfer, err error) {
	depths := []int{depthInfinity}
	if !move {
		depths = append(depths, depthZero)
	}
	depth, err := q.depth(depths...)
	if err != nil {
		return t, err
	}
	t.shallow = depth == depthZero
	if t.replace, err = q.overwrite(); err != nil {
		return t, err
	}
	if t.modified, err = askedTime(q.r.Header); err != nil {
		return t, err
	}
	to, err := q.destination()
	if err != nil {
		return t, err
	}
	if t.from, err = q.existing(q.path); err != nil {
		return t, err
	}
	if t.to, err = q.find(to); err != nil {
		return t, err
	}
	return t, q.mayTransfer(t, move)
}

func (q *request) overwrite() (bool, error) {
	switch given := q.r.Header.Get("Overwrite"); given {
	case "T", "t", "":
		return true, nil
	case "F", "f":
		return false, nil
	default:
		return false, refusef(http.StatusBadRequest, "Overwrite: %.20q is neither T nor F", given)
	}
}

func (q *request) mayTransfer(t transfer, move bool) error {
	from := t.from.real
	if move {
		from = t.from.path
	}
	switch {
	case t.from.name == "" || t.to.name == "":
		return refusef(http.StatusForbidden, "the root can be neither copied nor replaced")
	case from == t.to.path || from == t.to.real:
		return refusef(http.StatusForbidden, "source and destination are the same")
	case t.from.isFolder() && below(t.to.path, from):
		return refusef(http.StatusForbidden, "a folder cannot be put into itself")
	case below(from, t.to.path):
		return refusef(http.StatusForbidden, "the source is in what would be replaced")
	}
	if err := q.check(t.from); err != nil {
		return err
	}
	if move { // between workspaces, it would begin as a copy
		if err := q.writable(t.from); err != nil {
			return err
		}
		if t.from.folder.Top() {
			return refusef(http.StatusForbidden, "a workspace cannot be moved")
		}
	}
	if t.to.found && !t.replace {
		return refusef(http.StatusPreconditionFailed, "Overwrite: %s is there already", t.to.path)
	}
	needs := changing(t.to, false)
	if move {
		needs = append(needs, changing(t.from, true)...)
	}
	return q.locks.allow(q.submitted(), needs...)
}

// move moves or renames a file or folder.
func (q *request) move() error {
	return q.ordered(func() error {
		t, err := q.transfer(true)
		if err != nil {
			return err
		}
		if err := q.makeRoom(t); err != nil {
			return err
		}
		if err := q.rename(t); err != nil {
			return err
		}
		q.locks.release(t.from.path)
		return q.done(!t.to.found)
	})
}

// makeRoom removes what the destination has, unless a file takes the place of
// another one: that goes on as its next version.
func (q *request) makeRoom(t transfer) error {
	if !t.to.found || !t.from.isFolder() && !t.to.isFolder() && !t.to.link {
		return nil
	}
	return q.removeAt(t.to)
}

func (q *request) rename(t transfer) error {
	n, err := q.view.Rename(q.ctx, t.from.folder, t.from.name, t.to.folder, t.to.name, !t.replace)
	if errors.Is(err, filesystem.OtherWorkspace) {
		if err = q.copyTree(t); err == nil {
			err = q.removeAt(t.from)
		}
		return err
	}
	if err == nil && !t.from.link {
		q.dead.move(t.from.attr.Node, n)
	}
	return err
}

// copy copies a file, or a folder with all that is in it.
func (q *request) copy() error {
	t, err := q.transfer(false)
	if err != nil {
		return err
	}
	if !t.from.isFolder() {
		if err := q.copyFile(t.from.attr.Node, &t, true); err != nil {
			return err
		}
		return q.done(!t.to.found)
	}
	err = q.ordered(func() error {
		if t, err = q.transfer(false); err == nil {
			err = q.makeRoom(t)
		}
		return err
	})
	if err == nil {
		err = q.copyTree(t)
	}
	if err != nil {
		return q.partly(t, err)
	}
	return q.done(!t.to.found)
}

// copyFile copies a file to the destination, in one step. With again set, it
// looks once more whether it may, before that.
func (q *request) copyFile(from filesystem.Node, t *transfer, again bool) error {
	draft, err := q.view.Draft(q.ctx, t.to.folder, false)
	if err != nil {
		return err
	}
	defer draft.Close() // as in put
	a, err := q.copyContent(from, draft)
	if err != nil {
		return err
	}
	if _, err := q.view.Set(q.ctx, draft.Node(), filesystem.Changes{Executable: &a.Executable}); err != nil {
		return err
	}
	at := &a.Modified
	if t.modified != nil {
		at = t.modified
	}
	place := func() error {
		if again {
			if *t, err = q.transfer(false); err == nil {
				err = q.makeRoom(*t)
			}
			if err != nil {
				return err
			}
		}
		now, err := q.place(draft, spotOf(t.to), at)
		if err == nil {
			q.dead.copy(from, now.Node)
		}
		return err
	}
	if !again {
		return place()
	}
	return q.ordered(place)
}

// spotOf returns a destination as it is after [request.makeRoom]: what stood in
// the way is gone.
func spotOf(s spot) spot {
	if s.isFolder() || s.link {
		s.found, s.link, s.real = false, false, s.path
	}
	return s
}

// partError is what failed below the top of a copy.
type partError struct {
	error
	path string
}

func (e *partError) Unwrap() error { return e.error }

// copyTree copies a folder, or a file where [request.copyFile] needs not look
// again, to where nothing is in the way.
func (q *request) copyTree(t transfer) error {
	if !t.from.isFolder() {
		return q.copyFile(t.from.attr.Node, &t, false)
	}
	top, err := q.view.Mkdir(q.ctx, t.to.folder, t.to.name)
	if err != nil {
		return err
	}
	q.dead.copy(t.from.attr.Node, top.Node)
	if t.shallow {
		return nil
	}
	made := map[string]filesystem.Node{".": top.Node}
	return q.view.Walk(q.ctx, t.from.attr, func(p string, a filesystem.Attr) error {
		if p == "" {
			return nil
		}
		if err := q.copyPart(made, p, a); err != nil {
			return &partError{err, path.Join(t.to.path, p)}
		}
		return nil
	})
}

// copyPart copies one part of a folder into the folders that were made already.
func (q *request) copyPart(made map[string]filesystem.Node, p string, a filesystem.Attr) error {
	folder, name := made[path.Dir(p)], path.Base(p)
	switch a.Kind {
	case manifest.Folder:
		n, err := q.view.Mkdir(q.ctx, folder, name)
		made[p] = n.Node
		q.dead.copy(a.Node, n.Node)
		return err
	case manifest.Symlink:
		_, err := q.view.Symlink(q.ctx, folder, name, a.Target)
		return err
	}
	t := transfer{to: spot{path: p, real: p, folder: folder, name: name}}
	return q.copyFile(a.Node, &t, false)
}

// partly answers that a copy ended in its middle.
func (q *request) partly(t transfer, err error) error {
	part, ok := errors.AsType[*partError](err)
	if !ok {
		return err
	}
	q.w.Header().Set("Content-Type", xmlType)
	q.w.WriteHeader(http.StatusMultiStatus)
	_, _ = fmt.Fprintf(q.w, "%s<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>%s</D:href><D:status>%s</D:status><D:responsedescription>%s</D:responsedescription></D:response></D:multistatus>\n",
		xmlHeader, escape(href(part.path, false)), statusLine(statusOf(part.error)), escape(part.Error()))
	return nil
}
