package webdav

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"parsec/internal/client/filesystem"
)

// patch is one instruction of a PROPPATCH.
type patch struct {
	name   xml.Name
	value  *element
	remove bool
}

// proppatch sets and removes properties: all that a request names, or none.
func (q *request) proppatch() error {
	asked, err := q.readXML()
	if err != nil {
		return err
	}
	patches, err := patchesOf(asked)
	if err != nil {
		return err
	}
	return q.ordered(func() error {
		s, err := q.existing(q.path)
		if err != nil {
			return err
		}
		if err := q.check(s); err != nil {
			return err
		}
		if err := q.locks.allow(q.submitted(), need{path: s.real}); err != nil {
			return err
		}
		if err := q.writable(s); err != nil {
			return err
		}
		return q.patch(s, patches)
	})
}

// patchesOf reads the instructions, in their order.
func patchesOf(e *element) (all []patch, err error) {
	if e == nil || !e.is("propertyupdate") {
		return nil, refusef(http.StatusBadRequest, "read request: it is no DAV:propertyupdate")
	}
	for _, step := range e.elements() {
		remove := step.is("remove")
		props := step.child("prop")
		if !remove && !step.is("set") {
			continue
		}
		if props == nil {
			return nil, refusef(http.StatusBadRequest, "read request: there is no DAV:prop in what is to be set or removed")
		}
		for _, p := range props.elements() {
			p.inheritLanguage(props, step, e)
			all = append(all, patch{p.name, p, remove})
		}
	}
	if len(all) == 0 {
		return nil, refusef(http.StatusBadRequest, "read request: DAV:propertyupdate names no property")
	}
	return all, nil
}

// inheritLanguage gives a property the language of the nearest element around it,
// which is a part of its value.
func (e *element) inheritLanguage(around ...*element) {
	isLanguage := func(a xml.Attr) bool { return a.Name == xml.Name{Space: ofXML, Local: "lang"} }
	for _, from := range append([]*element{e}, around...) {
		if i := slices.IndexFunc(from.attributes, isLanguage); i >= 0 {
			if from != e {
				e.attributes = append(e.attributes, from.attributes[i])
			}
			return
		}
	}
}

// patched is what became of one instruction.
type patched struct {
	name xml.Name
	err  error
}

// patch does what is asked for, if all of it can be done.
func (q *request) patch(s spot, patches []patch) error {
	dead := q.dead.get(s.attr.Node)
	if dead == nil {
		dead = map[xml.Name]string{}
	}
	before := maps.Clone(dead)
	var changes filesystem.Changes
	var results []patched
	failed := false
	for _, p := range patches {
		err := p.apply(live(), dead, &changes)
		results = append(results, patched{p.name, err})
		failed = failed || err != nil
	}
	if !failed {
		err := q.dead.set(s.attr.Node, dead)
		if err == nil && changes != (filesystem.Changes{}) {
			if _, err = q.view.Set(q.ctx, s.attr.Node, changes); err != nil {
				_ = q.dead.set(s.attr.Node, before) // there was room for them
			}
		}
		if err != nil {
			return err
		}
	}
	return q.answerPatch(s, results, failed)
}

// apply does an instruction to dead properties, or has the file system do it.
func (p patch) apply(table []property, dead map[xml.Name]string, changes *filesystem.Changes) error {
	i := slices.IndexFunc(table, func(l property) bool { return l.name == p.name })
	switch {
	case i < 0 && p.remove:
		delete(dead, p.name)
		return nil
	case i < 0:
		dead[p.name] = p.value.String()
		return nil
	case table[i].set == nil, p.remove:
		return &refusal{status: http.StatusForbidden, text: "the property follows from the file", condition: "cannot-modify-protected-property"}
	}
	c, err := table[i].set(p.value.text())
	if err != nil {
		return err
	}
	if c.Modified != nil {
		changes.Modified = c.Modified
	}
	if c.Executable != nil {
		changes.Executable = c.Executable
	}
	return nil
}

func (q *request) answerPatch(s spot, results []patched, failed bool) error {
	q.w.Header().Set("Content-Type", xmlType)
	q.w.WriteHeader(http.StatusMultiStatus)
	var b strings.Builder
	for _, r := range results {
		status, why := http.StatusOK, ""
		switch {
		case r.err != nil:
			status, why = statusOf(r.err), escape(r.err.Error())
		case failed:
			status = http.StatusFailedDependency
		}
		fmt.Fprintf(&b, "<D:propstat><D:prop>%s</D:prop><D:status>%s</D:status>", empty(r.name), statusLine(status))
		if r.err != nil && status == http.StatusForbidden {
			b.WriteString("<D:error><D:cannot-modify-protected-property/></D:error>")
		}
		if why != "" {
			b.WriteString("<D:responsedescription>" + why + "</D:responsedescription>")
		}
		b.WriteString("</D:propstat>")
	}
	_, _ = fmt.Fprintf(q.w, "%s<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>%s</D:href>%s</D:response></D:multistatus>\n",
		xmlHeader, escape(href(q.path, s.isFolder())), b.String())
	return nil
}
