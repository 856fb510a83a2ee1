package webdav

import (
	"encoding/xml"
	"net/http"
	"time"
)

// Condition is a condition of an If header.
type Condition struct {
	Resource    string
	Not         bool
	Token, ETag string
}

// ParseIf returns the conditions of an If header, list by list.
func ParseIf(header string) (all [][]Condition, err error) {
	lists, err := parseIf([]string{header})
	for _, l := range lists {
		var one []Condition
		for _, c := range l.conditions {
			one = append(one, Condition{l.resource, c.not, c.token, c.etag})
		}
		all = append(all, one)
	}
	return all, err
}

// Element is an XML element that can be compared.
type Element struct {
	Name       xml.Name
	Attributes []xml.Attr
	Parts      []any
}

func (e *element) export() Element {
	all := Element{Name: e.name, Attributes: e.attributes}
	for _, p := range e.parts {
		if p.element != nil {
			all.Parts = append(all.Parts, p.element.export())
		} else if n := len(all.Parts); n > 0 {
			if text, ok := all.Parts[n-1].(string); ok {
				all.Parts[n-1] = text + p.text
				continue
			}
			all.Parts = append(all.Parts, p.text)
		} else {
			all.Parts = append(all.Parts, p.text)
		}
	}
	return all
}

// ParseXML reads an element, and returns it and its XML as answers have it.
func ParseXML(b []byte) (Element, string, error) {
	e, err := parseXML(b)
	if err != nil {
		return Element{}, "", err
	}
	return e.export(), e.String(), nil
}

// AddLocks takes a number of shared locks.
func AddLocks(n int) error {
	all := newLocks(time.Now)
	for range n {
		if _, err := all.add(lock{path: "/file", shared: true, timeout: time.Hour}); err != nil {
			return err
		}
	}
	return nil
}

// StatusOf returns the status of an error.
func StatusOf(err error) int { return statusOf(err) }

// Asked is what requests ask for.
type Asked struct {
	// Props are how many properties a PROPFIND names, Patches how many a PROPPATCH
	// sets or removes; -1 where it is none.
	Props, Patches int
	// Lock says that it is a lock that can be had, by somebody.
	Lock  bool
	Owner string
}

// ParseBody reads the XML of a request as each of the methods does that have one.
func ParseBody(b []byte) (a Asked, err error) {
	a = Asked{Props: -1, Patches: -1}
	e, err := parseXML(b)
	if err != nil {
		return a, err
	}
	if w, err := wishOf(e); err == nil {
		a.Props = len(w.names)
	}
	if p, err := patchesOf(e); err == nil {
		a.Patches = len(p)
	}
	if l, err := wanted(e); err == nil {
		a.Lock, a.Owner = true, l.owner
	}
	return a, nil
}

// MaxTimeout is how long a lock lasts at most, MaxOwner how many bytes may say who
// has it.
const (
	MaxTimeout = maxTimeout
	MaxOwner   = maxOwner
)

// ParseHeaders reads the headers of a request that are numbers.
func ParseHeaders(h http.Header) (timeout time.Duration, depth int, modified *time.Time, err error) {
	q := &request{r: &http.Request{Method: "PROPFIND", Header: h}}
	depth, err = q.depth(depthZero, depthOne, depthInfinity)
	modified, late := askedTime(h)
	if err == nil {
		err = late
	}
	return askedTimeout(h.Get("Timeout")), depth, modified, err
}
