package webdav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The XML of answers.
const (
	xmlType   = "application/xml; charset=utf-8"
	xmlHeader = `<?xml version="1.0" encoding="utf-8"?>` + "\n"
	// dav is WebDAV's own namespace.
	dav = "DAV:"
	// ofXML is the namespace of xml:lang.
	ofXML = "http://www.w3.org/XML/1998/namespace"
)

// element is an XML element, with what its property or owner must keep.
type element struct {
	name xml.Name
	// attributes are those that are no declarations of namespaces.
	attributes []xml.Attr
	parts      []part
}

// part is what an element contains: another one, or text.
type part struct {
	element *element
	text    string
}

// is reports whether an element is one of WebDAV's own.
func (e *element) is(local string) bool { return e.name == xml.Name{Space: dav, Local: local} }

// elements returns the elements in an element.
func (e *element) elements() (all []*element) {
	for _, p := range e.parts {
		if p.element != nil {
			all = append(all, p.element)
		}
	}
	return all
}

// child returns WebDAV's element of a name in an element, nil if there is none.
func (e *element) child(local string) *element {
	for _, c := range e.elements() {
		if c.is(local) {
			return c
		}
	}
	return nil
}

// text returns the text in an element, without space around it.
func (e *element) text() string {
	var b strings.Builder
	for _, p := range e.parts {
		b.WriteString(p.text)
	}
	return strings.TrimSpace(b.String())
}

// readXML reads the XML of a request; nil where the request has no body.
func (q *request) readXML() (*element, error) {
	allow(http.NewResponseController(q.w).SetReadDeadline)
	defer q.calm()
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.r.Body, maxXML))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fmt.Errorf("read request: more than %d bytes of XML: %w", tooLarge.Limit, err)
	}
	if err != nil {
		return nil, refusef(http.StatusBadRequest, "read request: %v", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	e, err := parseXML(body)
	if err != nil {
		return nil, refusef(http.StatusBadRequest, "read request: %v", err)
	}
	return e, nil
}

// parseXML reads one element. It expands no entities but the five of XML, and
// takes no document types.
func parseXML(b []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	var root *element
	var open []*element
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root != nil {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.Directive:
			return nil, errors.New("document types are not taken")
		case xml.CharData:
			if len(open) > 0 {
				top := open[len(open)-1]
				top.parts = append(top.parts, part{text: string(token)})
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.StartElement:
			e, err := newElement(token)
			if err != nil {
				return nil, err
			}
			switch {
			case len(open) == maxXMLDepth:
				return nil, fmt.Errorf("elements are more than %d deep", maxXMLDepth)
			case len(open) > 0:
				top := open[len(open)-1]
				top.parts = append(top.parts, part{element: e})
			case root != nil:
				return nil, errors.New("there is more than one element")
			default:
				root = e
			}
			open = append(open, e)
		}
	}
}

func newElement(s xml.StartElement) (*element, error) {
	e := &element{name: s.Name}
	for _, a := range s.Attr {
		switch {
		case a.Name.Space == "xmlns" && a.Value == "": // Namespaces in XML 1.0, section 2.2
			return nil, fmt.Errorf("the prefix %q stands for nothing", a.Name.Local)
		case a.Name.Space == "xmlns", a.Name.Space == "" && a.Name.Local == "xmlns":
		default:
			e.attributes = append(e.attributes, a)
		}
	}
	return e, nil
}

// escape returns text as XML has it. What XML cannot hold is replaced.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

// write writes an element into a document in which D is the prefix of WebDAV's
// namespace, and space the one of elements without a prefix.
func (e *element) write(b *strings.Builder, space string) {
	name := e.name.Local
	if e.name.Space == dav {
		name = "D:" + name
	}
	b.WriteString("<" + name)
	if e.name.Space != dav && e.name.Space != space {
		space = e.name.Space
		b.WriteString(` xmlns="` + escape(space) + `"`)
	}
	for i, a := range e.attributes {
		switch a.Name.Space {
		case "":
			b.WriteString(" " + a.Name.Local)
		case ofXML:
			b.WriteString(" xml:" + a.Name.Local)
		default:
			fmt.Fprintf(b, ` xmlns:a%d="%s" a%[1]d:%[3]s`, i, escape(a.Name.Space), a.Name.Local)
		}
		b.WriteString(`="` + escape(a.Value) + `"`)
	}
	if len(e.parts) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteString(">")
	for _, p := range e.parts {
		if p.element != nil {
			p.element.write(b, space)
		} else {
			b.WriteString(escape(p.text))
		}
	}
	b.WriteString("</" + name + ">")
}

// String returns the element's XML.
func (e *element) String() string {
	var b strings.Builder
	e.write(&b, "")
	return b.String()
}

// empty returns the XML of an element with nothing in it.
func empty(name xml.Name) string { return (&element{name: name}).String() }
