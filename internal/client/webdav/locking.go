package webdav

import (
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"parsec/internal/client/filesystem"
)

// lock takes a lock, or has one begin anew where the request has no body. Where
// nothing is, it makes an empty file: RFC 4918 section 7.3.
func (q *request) lock() error {
	asked, err := q.readXML()
	if err != nil {
		return err
	}
	timeout := askedTimeout(q.r.Header.Get("Timeout"))
	if asked == nil {
		return q.refresh(timeout)
	}
	depth, err := q.depth(depthZero, depthInfinity)
	if err != nil {
		return err
	}
	l, err := wanted(asked)
	if err != nil {
		return err
	}
	l.timeout, l.deep = timeout, depth == depthInfinity
	created := false
	err = q.ordered(func() error {
		l, created, err = q.takeLock(l)
		return err
	})
	if err != nil {
		return err
	}
	q.w.Header().Set("Lock-Token", "<"+l.token+">")
	return q.answerLock(l, created)
}

// wanted reads which lock is asked for.
func wanted(e *element) (l lock, err error) {
	if !e.is("lockinfo") {
		return l, refusef(http.StatusBadRequest, "read request: it is no DAV:lockinfo")
	}
	scope, kind := e.child("lockscope"), e.child("locktype")
	if scope == nil || kind == nil || kind.child("write") == nil {
		return l, refusef(http.StatusUnprocessableEntity, "only locks of type DAV:write are possible")
	}
	switch {
	case scope.child("shared") != nil:
		l.shared = true
	case scope.child("exclusive") == nil:
		return l, refusef(http.StatusUnprocessableEntity, "a lock is exclusive or shared")
	}
	if owner := e.child("owner"); owner != nil {
		l.owner = owner.String()
	}
	if len(l.owner) > maxOwner {
		return l, refusef(http.StatusRequestEntityTooLarge, "the owner of a lock has more than %d bytes", maxOwner)
	}
	return l, nil
}

// askedTimeout reads a Timeout header.
func askedTimeout(header string) time.Duration {
	for _, one := range strings.Split(header, ",") {
		one = strings.TrimSpace(one)
		if strings.EqualFold(one, "Infinite") {
			return maxTimeout
		}
		number, ok := strings.CutPrefix(strings.ToLower(one), "second-")
		if n, err := strconv.ParseUint(number, 10, 32); ok && err == nil && n > 0 {
			return min(time.Duration(n)*time.Second, maxTimeout)
		}
	}
	return defaultTimeout
}

// takeLock takes a lock of what the request is about, and makes a file where
// there is nothing.
func (q *request) takeLock(l lock) (lock, bool, error) {
	s, err := q.find(q.path)
	if err != nil {
		return l, false, err
	}
	if err := q.check(s); err != nil {
		return l, false, err
	}
	if err := q.writable(s); err != nil {
		return l, false, err
	}
	if !s.found {
		if err := q.locks.allow(q.submitted(), need{path: path.Dir(s.path)}); err != nil {
			return l, false, err
		}
	}
	l.path = s.real
	if l, err = q.locks.add(l); err != nil || s.found {
		return l, false, err
	}
	h, _, err := q.view.Create(q.ctx, s.folder, s.name, filesystem.Write|filesystem.Exclusive, false)
	if err == nil {
		err = h.Close()
	}
	if err != nil {
		q.locks.remove(l.token, l.path)
	}
	return l, true, err
}

// refresh has a lock begin anew that the If header names.
func (q *request) refresh(timeout time.Duration) error {
	s, err := q.existing(q.path)
	if err != nil {
		return err
	}
	if err := q.check(s); err != nil {
		return err
	}
	l, ok := q.locks.refresh(s.real, q.submitted(), timeout)
	if !ok {
		return refusef(http.StatusPreconditionFailed, "the If header names no lock of this file")
	}
	return q.answerLock(l, false)
}

// answerLock answers with a lock.
func (q *request) answerLock(l lock, created bool) error {
	q.w.Header().Set("Content-Type", xmlType)
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	q.w.WriteHeader(status)
	_, _ = fmt.Fprintf(q.w, "%s<D:prop xmlns:D=\"DAV:\"><D:lockdiscovery>%s</D:lockdiscovery></D:prop>\n", xmlHeader, q.activeLock(l))
	return nil
}

// activeLock returns the XML that describes a lock.
func (q *request) activeLock(l lock) string {
	scope, depth := "exclusive", "0"
	if l.shared {
		scope = "shared"
	}
	if l.deep {
		depth = "infinity"
	}
	left := max(0, l.expires.Sub(q.cfg.Now()).Round(time.Second)/time.Second)
	return fmt.Sprintf("<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:%s/></D:lockscope><D:depth>%s</D:depth>%s"+
		"<D:timeout>Second-%d</D:timeout><D:locktoken><D:href>%s</D:href></D:locktoken><D:lockroot><D:href>%s</D:href></D:lockroot></D:activelock>",
		scope, depth, l.owner, left, l.token, escape(href(l.path, false)))
}

// unlock ends a lock.
func (q *request) unlock() error {
	token := strings.TrimSpace(q.r.Header.Get("Lock-Token"))
	if len(token) < 2 || token[0] != '<' || token[len(token)-1] != '>' {
		return refusef(http.StatusBadRequest, "Lock-Token: a token in < and > is needed")
	}
	s, err := q.existing(q.path)
	if err != nil {
		return err
	}
	if err := q.check(s); err != nil {
		return err
	}
	if !q.locks.remove(token[1:len(token)-1], s.real) {
		return &refusal{http.StatusConflict, "that is the token of no lock of this file", "lock-token-matches-request-uri", ""}
	}
	return q.done(false)
}
