package webdav

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
)

// get sends a file, or ranges of it.
func (q *request) get() error {
	s, err := q.existing(q.path)
	if err != nil {
		return err
	}
	if err := q.check(s); err != nil {
		return err
	}
	if s.isFolder() {
		q.w.Header().Set("Allow", "OPTIONS, PROPFIND, MKCOL, COPY, MOVE, DELETE, LOCK, UNLOCK")
		return refusef(http.StatusMethodNotAllowed, "%s is a folder: PROPFIND lists it", s.path)
	}
	f, err := q.view.Open(q.ctx, s.attr.Node, filesystem.Read)
	if err != nil {
		return err
	}
	defer f.Close()
	a, err := f.Stat()
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("ETag", etag(a))
	h.Set("Content-Type", contentType(s.path))
	h.Set("Cache-Control", "private, no-cache") // a cache asks each time whether it is the same still
	if !strings.HasPrefix(q.r.Header.Get("Range"), "bytes=") {
		q.r.Header.Del("Range") // in which units, nobody here knows: RFC 9110 section 14.2
	}
	content := &reader{ctx: q.ctx, f: f}
	w := &lateWriter{ResponseWriter: q.w}
	http.ServeContent(w, q.r, "", a.Modified, io.NewSectionReader(content, 0, int64(a.Size)))
	if content.err != nil && !w.begun {
		return content.err
	}
	w.begin() // what was begun and failed is cut off by the length that was announced
	return nil
}

// contentType returns the type of a file by its name.
func contentType(p string) string {
	if t := mime.TypeByExtension(path.Ext(p)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// reader reads a file for a request, and remembers what failed.
type reader struct {
	ctx context.Context
	f   *filesystem.Handle
	err error
}

// ReadAt implements [io.ReaderAt].
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.f.ReadAt(r.ctx, p, off)
	if err != nil {
		r.err = err
		return n, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// lateWriter sends the header only with the first byte of the body, so that a
// file that cannot be read has a status that says so. Each write has its time.
type lateWriter struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *lateWriter) WriteHeader(status int) { w.status = status }

func (w *lateWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// Write implements [io.Writer].
func (w *lateWriter) Write(p []byte) (int, error) {
	w.begin()
	allow(http.NewResponseController(w.ResponseWriter).SetWriteDeadline)
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements [io.ReaderFrom], in larger parts than io.Copy has.
func (w *lateWriter) ReadFrom(r io.Reader) (int64, error) {
	size := int64(maxChunk)
	if l, ok := r.(*io.LimitedReader); ok {
		size = max(1, min(size, l.N))
	}
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, size))
}

// allow gives the other side its time for the next part. Where the connection
// has no deadlines, there is nothing to be done.
func allow(set func(time.Time) error) { _ = set(time.Now().Add(patience)) }

// put takes a file in, and has it take its place when it is whole.
func (q *request) put() error {
	if q.r.Header.Get("Content-Range") != "" {
		return refusef(http.StatusBadRequest, "PUT takes whole files, and no Content-Range")
	}
	modified, err := askedTime(q.r.Header)
	if err != nil {
		return err
	}
	s, err := q.mayPut()
	if err != nil {
		return err
	}
	folder, _, err := q.at(s)
	if err != nil {
		return err
	}
	draft, err := q.view.Draft(q.ctx, folder, s.found && s.attr.Executable)
	if err != nil {
		return err
	}
	defer draft.Close() // nobody sees a draft that stays, and the next one removes it
	if err := q.receive(draft); err != nil {
		return err
	}
	var now filesystem.Attr
	err = q.ordered(func() error {
		if s, err = q.mayPut(); err == nil {
			now, err = q.place(draft, s, modified)
		}
		return err
	})
	if err != nil {
		return err
	}
	q.w.Header().Set("ETag", etag(now))
	if modified != nil {
		q.w.Header().Set("X-OC-Mtime", "accepted")
	}
	return q.done(!s.found)
}

// mayPut returns where a file is to be put, and fails if it may not be.
func (q *request) mayPut() (spot, error) {
	s, err := q.find(q.path)
	if err != nil {
		return s, err
	}
	if s.isFolder() {
		return s, refusef(http.StatusMethodNotAllowed, "%s is a folder", s.path)
	}
	if err := q.check(s); err != nil {
		return s, err
	}
	return s, q.locks.allow(q.submitted(), q.writing(s)...)
}

// writing returns what a request needs the locks of that writes a file.
func (q *request) writing(s spot) []need {
	needs := []need{{path: s.real}}
	if !s.found {
		needs = append(needs, need{path: path.Dir(s.real)})
	}
	return needs
}

// receive writes the body into a draft.
func (q *request) receive(draft *filesystem.Draft) error {
	size := int64(maxChunk)
	if q.r.ContentLength >= 0 {
		size = min(size, q.r.ContentLength+1)
	}
	buf, off := make([]byte, size), int64(0)
	defer q.calm()
	for {
		allow(http.NewResponseController(q.w).SetReadDeadline)
		n, err := io.ReadFull(q.r.Body, buf)
		if n > 0 {
			if _, err := draft.WriteAt(q.ctx, buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && q.whole(off):
			return nil
		case err != nil:
			return broken(err)
		}
	}
}

// calm ends the time for the rest of a body: it is there, and what follows may
// take as long as it does.
func (q *request) calm() { _ = http.NewResponseController(q.w).SetReadDeadline(time.Time{}) }

// whole reports whether a body that ended after so many bytes did so where it
// should have. [io.ReadFull] cannot tell these apart.
func (q *request) whole(n int64) bool {
	if q.r.ContentLength >= 0 {
		return n == q.r.ContentLength
	}
	again, err := q.r.Body.Read(make([]byte, 1))
	return again == 0 && errors.Is(err, io.EOF)
}

func broken(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refusef(http.StatusRequestTimeout, "receive file: nothing came for %v", patience)
	}
	return refusef(http.StatusBadRequest, "receive file: it broke off: %v", err)
}

// place has a draft take its place, with a time if one is given.
func (q *request) place(draft *filesystem.Draft, s spot, modified *time.Time) (filesystem.Attr, error) {
	if s.name == "" {
		return filesystem.Attr{}, refusef(http.StatusMethodNotAllowed, "the root is a folder")
	}
	folder, name, err := q.at(s)
	if err != nil {
		return filesystem.Attr{}, err
	}
	if err := q.distinct(draft, s, modified); err != nil {
		return filesystem.Attr{}, err
	}
	return draft.Place(q.ctx, folder, name, !s.found)
}

// distinct gives a draft a time of modification, and sees to it that its ETag is
// not the one of the file whose place it takes: a client may give both the same
// time.
func (q *request) distinct(draft *filesystem.Draft, s spot, modified *time.Time) error {
	a, err := draft.Stat()
	if err != nil {
		return err
	}
	at := a.Modified
	if modified != nil {
		at = *modified
	}
	if s.found && s.attr.Size == a.Size && s.attr.Modified.Equal(at) {
		at = at.Add(time.Nanosecond)
	}
	if at.Equal(a.Modified) {
		return nil
	}
	_, err = q.view.Set(q.ctx, draft.Node(), filesystem.Changes{Modified: &at})
	return err
}

// askedTime returns the time that a client wants a file to have, nil for none.
func askedTime(h http.Header) (*time.Time, error) {
	given := h.Get("X-OC-Mtime")
	if given == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseFloat(given, 64)
	// Times are nanoseconds since 1970 in 63 bits.
	if err != nil || !(seconds >= -9e9 && seconds <= 9e9) {
		return nil, refusef(http.StatusBadRequest, "X-OC-Mtime: %.40q is no number of seconds since 1970", given)
	}
	at := time.Unix(0, int64(seconds*1e9))
	if whole := int64(seconds); float64(whole) == seconds {
		at = time.Unix(whole, 0)
	}
	return &at, nil
}

// copyContent copies the content of a file into a draft.
func (q *request) copyContent(from filesystem.Node, to *filesystem.Draft) (filesystem.Attr, error) {
	f, err := q.view.Open(q.ctx, from, filesystem.Read)
	if err != nil {
		return filesystem.Attr{}, err
	}
	defer f.Close()
	a, err := f.Stat()
	if err != nil {
		return a, err
	}
	buf := make([]byte, min(maxChunk, a.Size+1))
	for off := int64(0); off < int64(a.Size); {
		n, err := f.ReadAt(q.ctx, buf, off)
		if err == nil && n == 0 {
			err = fault.Errorf(fault.Failed, "copy file: it ends at %d of %d bytes", off, a.Size)
		}
		if err == nil {
			_, err = to.WriteAt(q.ctx, buf[:n], off)
		}
		if err != nil {
			return a, err
		}
		off += int64(n)
	}
	return a, nil
}
