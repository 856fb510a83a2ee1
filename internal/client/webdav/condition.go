package webdav

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// list is one of the lists of an If header, RFC 4918 section 10.4: conditions of
// which all must hold.
type list struct {
	// resource is the URL it is about, "" for the request's.
	resource   string
	conditions []condition
}

// condition is that a resource is locked with a token, or has an ETag.
type condition struct {
	not         bool
	token, etag string
}

// parseIf reads If headers.
func parseIf(headers []string) (all []list, err error) {
	for _, header := range headers {
		rest, resource := strings.TrimSpace(header), ""
		if rest == "" {
			return nil, badIf(header)
		}
		for rest != "" {
			var ok bool
			if rest[0] == '<' {
				if resource, rest, ok = quoted(rest, '>'); !ok {
					return nil, badIf(header)
				}
			}
			l := list{resource: resource}
			if l.conditions, rest, ok = parseList(rest); !ok {
				return nil, badIf(header)
			}
			all = append(all, l)
		}
	}
	return all, nil
}

func badIf(header string) error {
	return refusef(http.StatusBadRequest, "If: %.100q is not what RFC 4918 describes", header)
}

// quoted takes what stands between the first byte and the next one of a kind.
func quoted(s string, end byte) (inside, rest string, ok bool) {
	i := strings.IndexByte(s, end)
	if i < 2 {
		return "", s, false
	}
	return s[1:i], strings.TrimLeft(s[i+1:], " \t"), true
}

func parseList(s string) (all []condition, rest string, ok bool) {
	if !strings.HasPrefix(s, "(") {
		return nil, s, false
	}
	s = strings.TrimLeft(s[1:], " \t")
	for s != "" && s[0] != ')' {
		var c condition
		if len(s) > 3 && strings.EqualFold(s[:3], "Not") {
			c.not, s = true, strings.TrimLeft(s[3:], " \t")
		}
		switch {
		case strings.HasPrefix(s, "<"):
			c.token, s, ok = quoted(s, '>')
		case strings.HasPrefix(s, "["):
			c.etag, s, ok = quoted(s, ']')
		default:
			ok = false
		}
		if !ok {
			return nil, s, false
		}
		all = append(all, c)
	}
	if s == "" || len(all) == 0 {
		return nil, s, false
	}
	return all, strings.TrimLeft(s[1:], " \t"), true
}

// submitted returns the tokens that the request names.
func (q *request) submitted() map[string]bool {
	all := map[string]bool{}
	for _, l := range q.lists {
		for _, c := range l.conditions {
			if c.token != "" {
				all[c.token] = true
			}
		}
	}
	return all
}

// check fails if the conditions of the request do not hold, where s is what its
// URL leads to.
func (q *request) check(s spot) error {
	if err := q.checkMatch(s); err != nil {
		return err
	}
	if len(q.lists) == 0 {
		return nil
	}
	for _, l := range q.lists {
		holds, err := q.holds(l, s)
		if err != nil {
			return err
		}
		if holds {
			return nil
		}
	}
	return refusef(http.StatusPreconditionFailed, "no list of the If header holds")
}

func (q *request) holds(l list, s spot) (bool, error) {
	if l.resource != "" {
		u, err := url.Parse(l.resource)
		if err != nil || u.Host != "" && !strings.EqualFold(u.Host, q.r.Host) {
			return false, nil
		}
		p, err := cleanPath(u.Path)
		if err != nil {
			return false, err
		}
		s, err = q.find(p)
		if _, none := errors.AsType[*noFolderError](err); none {
			s, err = spot{path: p, real: p}, nil
		}
		if err != nil {
			return false, err
		}
	}
	for _, c := range l.conditions {
		is := c.etag != "" && s.found && c.etag == etag(s.attr) ||
			c.token != "" && (q.locks.covers(c.token, s.path) || s.found && q.locks.covers(c.token, s.real))
		if is == c.not {
			return false, nil
		}
	}
	return true, nil
}

// checkMatch looks at the conditions of RFC 9110. Those of a GET are looked at
// while it is answered.
func (q *request) checkMatch(s spot) error {
	if q.r.Method == http.MethodGet || q.r.Method == http.MethodHead {
		return nil
	}
	if want := q.r.Header.Values("If-Match"); len(want) > 0 && !matches(want, s) {
		return refusef(http.StatusPreconditionFailed, "If-Match: the file is another one by now")
	}
	if not := q.r.Header.Values("If-None-Match"); len(not) > 0 && matches(not, s) {
		return refusef(http.StatusPreconditionFailed, "If-None-Match: it is there already")
	}
	return nil
}

// matches reports whether a list of ETags names what is there.
func matches(headers []string, s spot) bool {
	if !s.found {
		return false
	}
	tag := etag(s.attr)
	for _, header := range headers {
		if strings.TrimSpace(header) == "*" {
			return true
		}
		// No ETag of this package has a comma in it.
		if slices.ContainsFunc(strings.Split(header, ","), func(t string) bool { return tag != "" && strings.TrimSpace(t) == tag }) {
			return true
		}
	}
	return false
}
