package webdav

import (
	"encoding/xml"
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
