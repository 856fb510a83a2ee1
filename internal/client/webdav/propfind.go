package webdav

import (
	"bufio"
	"encoding/xml"
	"net/http"
	"path"
	"slices"
	"strings"

	"parsec/internal/client/filesystem"
	"parsec/internal/format/manifest"
)

// wish is which properties a client asks for.
type wish struct {
	// all are those that are shown without being asked for, namesOnly says that
	// no values are wanted, and names are those that are asked for.
	all, namesOnly bool
	names          []xml.Name
}

// propfind lists a folder, or says what there is to see of a file.
func (q *request) propfind() error {
	depth, err := q.depth(depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	asked, err := q.readXML()
	if err != nil {
		return err
	}
	w, err := wishOf(asked)
	if err != nil {
		return err
	}
	s, err := q.existing(q.path)
	if err != nil {
		return err
	}
	if err := q.check(s); err != nil {
		return err
	}
	if depth == depthInfinity {
		if s.isFolder() {
			return &refusal{http.StatusForbidden, "a folder is listed with Depth 0 or 1", "propfind-finite-depth", ""}
		}
		depth = depthZero
	}
	return q.answerPropfind(w, s, depth)
}

func wishOf(e *element) (w wish, err error) {
	if e == nil {
		return wish{all: true}, nil
	}
	if !e.is("propfind") {
		return w, refusef(http.StatusBadRequest, "read request: it is no DAV:propfind")
	}
	props := e.child("prop")
	switch {
	case props != nil:
	case e.child("propname") != nil:
		return wish{all: true, namesOnly: true}, nil
	case e.child("allprop") != nil:
		w.all, props = true, e.child("include")
	default:
		return w, refusef(http.StatusBadRequest, "read request: DAV:propfind has none of DAV:prop, DAV:propname, DAV:allprop")
	}
	if props != nil {
		for _, p := range props.elements() {
			w.names = append(w.names, p.name)
		}
	}
	return w, nil
}

// answerPropfind writes the answer while the folder is read.
func (q *request) answerPropfind(w wish, s spot, depth int) error {
	var folder *filesystem.Folder
	if depth == depthOne && s.isFolder() {
		var err error
		if folder, err = q.view.OpenFolder(q.ctx, s.attr.Node); err != nil {
			return err
		}
	}
	q.w.Header().Set("Content-Type", xmlType)
	q.w.Header().Set("Cache-Control", "no-store")
	late := &lateWriter{ResponseWriter: q.w, status: http.StatusMultiStatus}
	out := bufio.NewWriterSize(late, 32<<10)
	table := live()
	write := func(r resource) error {
		_, err := out.WriteString(q.describe(table, w, r))
		return err
	}
	if _, err := out.WriteString(xmlHeader + `<D:multistatus xmlns:D="DAV:">`); err != nil {
		return err
	}
	err := write(resource{q.path, s.real, s.attr})
	for cursor := uint64(0); folder != nil && err == nil; {
		var l filesystem.Listed
		var more bool
		if l, more, err = folder.At(q.ctx, cursor); err != nil || !more {
			break
		}
		cursor = l.Next
		if r, ok := q.listed(s, l); ok {
			err = write(r)
		}
	}
	if err == nil {
		_, err = out.WriteString("</D:multistatus>\n")
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil && late.begun {
		panic(http.ErrAbortHandler) // half a list must not look like a whole one
	}
	return err
}

// listed returns what a client sees of what a folder names. A symlink is what it
// leads to; it is left out if that is not there, may not be followed, or is a
// folder around it, in which clients would go round.
func (q *request) listed(in spot, l filesystem.Listed) (resource, bool) {
	r := resource{path.Join(q.path, l.Name), path.Join(in.real, l.Name), l.Attr}
	if l.Attr.Kind != manifest.Symlink {
		return r, true
	}
	a, err := q.view.Find(q.ctx, r.real, true)
	if err != nil {
		return r, false
	}
	real, ok, err := q.view.Path(q.ctx, a.Node)
	if err != nil || !ok || a.Kind == manifest.Folder && (real == in.real || below(in.real, real)) {
		return r, false
	}
	return resource{r.path, real, a}, true
}

// describe returns the answer about one resource.
func (q *request) describe(table []property, w wish, r resource) string {
	var found, missing strings.Builder
	dead := q.dead.get(r.attr.Node)
	for _, p := range table {
		named := slices.Contains(w.names, p.name)
		if !named && !(w.all && !p.asked) {
			continue
		}
		value, ok := p.value(q, r)
		switch {
		case ok && w.namesOnly:
			found.WriteString(empty(p.name))
		case ok:
			found.WriteString(valued(p.name, value))
		case named:
			missing.WriteString(empty(p.name))
		}
	}
	for _, name := range names(dead) {
		switch {
		case w.namesOnly:
			found.WriteString(empty(name))
		case w.all || slices.Contains(w.names, name):
			found.WriteString(dead[name])
		}
	}
	for _, name := range w.names {
		if _, ok := dead[name]; !ok && !isLive(table, name) {
			missing.WriteString(empty(name))
		}
	}
	return "<D:response><D:href>" + escape(href(r.path, r.isFolder())) + "</D:href>" +
		propstat(found.String(), http.StatusOK, found.Len() > 0 || missing.Len() == 0) +
		propstat(missing.String(), http.StatusNotFound, missing.Len() > 0) + "</D:response>"
}

func isLive(table []property, name xml.Name) bool {
	return slices.ContainsFunc(table, func(p property) bool { return p.name == name })
}

// valued returns a property with a value that is XML already.
func valued(name xml.Name, value string) string {
	if value == "" {
		return empty(name)
	}
	if name.Space == dav {
		return "<D:" + name.Local + ">" + value + "</D:" + name.Local + ">"
	}
	return "<" + name.Local + ` xmlns="` + escape(name.Space) + `">` + value + "</" + name.Local + ">"
}

// propstat returns properties that share a status; nothing unless there is
// something to say.
func propstat(props string, status int, some bool) string {
	if !some {
		return ""
	}
	return "<D:propstat><D:prop>" + props + "</D:prop><D:status>" + statusLine(status) + "</D:status></D:propstat>"
}
