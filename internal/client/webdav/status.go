package webdav

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"

	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
)

// refusal is an error that WebDAV has a status for.
type refusal struct {
	status int
	text   string
	// condition is the element of RFC 4918 section 16 that says what was
	// violated, "" for none, and href which resource is meant by it.
	condition, href string
}

func (e *refusal) Error() string { return e.text }

// statusLocked is that of RFC 4918 section 11.3.
const statusLocked = http.StatusLocked

func locked(href string) error {
	return &refusal{statusLocked, "a lock is in the way, and the request does not name its token", "lock-token-submitted", href}
}

// ofErrno are the statuses of errors that HTTP tells apart better than by their
// kind.
func ofErrno(e syscall.Errno) int {
	switch e {
	case syscall.EEXIST, syscall.EISDIR:
		return http.StatusMethodNotAllowed
	case syscall.EROFS, syscall.EPERM, syscall.EACCES, syscall.ELOOP:
		return http.StatusForbidden
	case syscall.ENOSPC, syscall.EDQUOT:
		return http.StatusInsufficientStorage
	case syscall.ENAMETOOLONG, syscall.EILSEQ:
		return http.StatusBadRequest
	}
	return 0
}

// statusOf returns the status of an error.
func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	if r, ok := errors.AsType[*http.MaxBytesError](err); ok && r != nil {
		return http.StatusRequestEntityTooLarge
	}
	if status := ofErrno(filesystem.Errno(err)); status != 0 {
		return status
	}
	return fault.KindOf(err).HTTP()
}

// refuse answers with an error. The text is for people: it names the file, and
// goes to nobody but who asked for it.
func (q *request) refuse(err error) {
	status := statusOf(err)
	h := q.w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Content-Disposition", "Content-Length"} {
		h.Del(name)
	}
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "10")
	}
	h.Set("Cache-Control", "no-store")
	text := err.Error()
	if hint := fault.HintOf(err); hint != "" {
		text += "; " + hint
	}
	r, ok := errors.AsType[*refusal](err)
	if !ok || r.condition == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		body := text + "\n"
		h.Set("Content-Length", strconv.Itoa(len(body)))
		q.w.WriteHeader(status)
		if q.r.Method != http.MethodHead {
			_, _ = q.w.Write([]byte(body)) // who asked may be gone
		}
		return
	}
	inner := "<D:" + r.condition + "/>"
	if r.href != "" {
		inner = fmt.Sprintf("<D:%s><D:href>%s</D:href></D:%[1]s>", r.condition, escape(href(r.href, false)))
	}
	h.Set("Content-Type", xmlType)
	q.w.WriteHeader(status)
	_, _ = fmt.Fprintf(q.w, "%s<D:error xmlns:D=\"DAV:\">%s</D:error>\n", xmlHeader, inner)
}

// statusLine is a status as multi-status answers have it.
func statusLine(status int) string {
	return fmt.Sprintf("HTTP/1.1 %d %s", status, http.StatusText(status))
}
