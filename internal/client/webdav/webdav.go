// Package webdav shows a view of package filesystem as WebDAV, class 1 and 2 of
// RFC 4918 with the quota of RFC 4331: what macOS, Windows and every file
// manager can connect to without a driver. Files, names, folders and who may do
// what are package filesystem's; what this one has of its own is what only
// WebDAV knows: locks of URLs, which other faces do not see, the conditions of
// requests, and properties that mean something to their client alone.
//
// The package keeps nothing on the disk. Locks, and properties that stand for
// nothing in a workspace, are in memory, within limits, and gone with the
// process.
//
// Invariants:
//   - A file that is put or copied takes its place whole, as the next version of
//     what was there. An upload that breaks off changes nothing and leaves
//     nothing behind.
//   - Conditions and locks are looked at again at the moment a change happens,
//     and no other request of this face comes in between.
//   - An ETag changes with a file's size and time of modification, by whomever,
//     and so with every change of its content that does not put both back. It does
//     not change when own work is committed.
//   - Content streams: memory for a request does not depend on how much it moves.
//   - Nothing is answered before [Guard] has seen who asks, and through which
//     name.
package webdav

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/client/filesystem"
)

// The limits of requests.
const (
	// maxXML is how many bytes of XML a request may have.
	maxXML = 256 << 10
	// maxXMLDepth is how deep its elements may lie in each other.
	maxXMLDepth = 32
	// maxRequests is how many requests are served at once; others wait. Each
	// takes about maxChunk of memory.
	maxRequests = 64
	// maxChunk is how many bytes of content are moved at once.
	maxChunk = 256 << 10
	// patience is how long the other side may take for the next part of a body.
	patience = 2 * time.Minute
)

// Config is how a handler works. A zero field means the default beside it.
type Config struct {
	// ReadOnly says that the view is read-only: clients are told so before they
	// try, by the lack of locks.
	ReadOnly bool
	// Now is the clock of locks; time.Now.
	Now func() time.Time
}

// Handler is a [http.Handler] over a view. It lets everybody in: see [Guard].
type Handler struct {
	view  *filesystem.View
	cfg   Config
	locks *locks
	dead  *properties
	// slots has one element for each request that is served.
	slots chan struct{}
	// order has one element while a request looks at conditions and acts.
	order chan struct{}
}

var _ http.Handler = (*Handler)(nil)

// New returns the handler of a view.
func New(view *filesystem.View, cfg Config) *Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Handler{
		view: view, cfg: cfg, locks: newLocks(cfg.Now), dead: newProperties(),
		slots: make(chan struct{}, maxRequests), order: make(chan struct{}, 1),
	}
}

// request is one request at work.
type request struct {
	*Handler
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context
	// path is the path of the request's URL, without a slash at its end.
	path string
	// lists are those of the If header.
	lists []list
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if !take(ctx, h.slots) {
		return // nobody waits for an answer any more
	}
	defer func() { <-h.slots }()
	// That of the request before on this connection may be over.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	q := &request{Handler: h, w: w, r: r, ctx: ctx}
	if err := q.serve(); err != nil {
		q.refuse(err)
	}
}

// take puts an element into a channel, unless the context ends before.
func take(ctx context.Context, c chan struct{}) bool {
	select {
	case c <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// ordered calls act while no other request does so.
func (q *request) ordered(act func() error) error {
	if !take(q.ctx, q.order) {
		return fault.Errorf(fault.Canceled, "wait for another request: %w", context.Cause(q.ctx))
	}
	defer func() { <-q.order }()
	return act()
}

func (q *request) serve() error {
	act := q.method()
	if act == nil {
		q.w.Header().Set("Allow", q.allowed())
		return refusef(http.StatusMethodNotAllowed, "%s is not one of the methods here", q.r.Method)
	}
	if q.r.Method == http.MethodOptions {
		return act()
	}
	var err error
	if q.path, err = cleanPath(q.r.URL.Path); err != nil {
		return err
	}
	if q.lists, err = parseIf(q.r.Header.Values("If")); err != nil {
		return err
	}
	return act()
}

func (q *request) method() func() error {
	switch q.r.Method {
	case http.MethodOptions:
		return q.options
	case http.MethodGet, http.MethodHead:
		return q.get
	case "PROPFIND":
		return q.propfind
	}
	if q.cfg.ReadOnly {
		return nil
	}
	switch q.r.Method {
	case http.MethodPut:
		return q.put
	case http.MethodDelete:
		return q.remove
	case "MKCOL":
		return q.makeFolder
	case "COPY":
		return q.copy
	case "MOVE":
		return q.move
	case "PROPPATCH":
		return q.proppatch
	case "LOCK":
		return q.lock
	case "UNLOCK":
		return q.unlock
	}
	return nil
}

func (q *request) allowed() string {
	if q.cfg.ReadOnly {
		return "OPTIONS, GET, HEAD, PROPFIND"
	}
	return "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK"
}

// options says what there is. Who sees no locks, as macOS, writes nothing.
func (q *request) options() error {
	class := "1, 2"
	if q.cfg.ReadOnly {
		class = "1"
	}
	q.w.Header().Set("DAV", class)
	q.w.Header().Set("MS-Author-Via", "DAV") // without it Windows looks for another protocol
	q.w.Header().Set("Allow", q.allowed())
	q.w.Header().Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// The depths of requests.
const (
	depthZero = iota
	depthOne
	depthInfinity
)

// depth returns the Depth header, which is one of those allowed, and infinity
// where it is missing.
func (q *request) depth(allowed ...int) (int, error) {
	given := q.r.Header.Get("Depth")
	for i, text := range []string{"0", "1", "infinity"} {
		if strings.EqualFold(given, text) || given == "" && i == depthInfinity {
			for _, a := range allowed {
				if a == i {
					return i, nil
				}
			}
		}
	}
	return 0, refusef(http.StatusBadRequest, "Depth: %q is not possible for %s", given, q.r.Method)
}

// done answers that a change was made.
func (q *request) done(created bool) error {
	status := http.StatusNoContent
	if created {
		status = http.StatusCreated
		q.w.Header().Set("Content-Length", "0")
	}
	q.w.WriteHeader(status)
	return nil
}

// noBody returns an error if a request has a body that it should not have.
func (q *request) noBody() error {
	if q.r.ContentLength == 0 {
		return nil
	}
	if n, _ := q.r.Body.Read(make([]byte, 1)); n > 0 {
		return refusef(http.StatusUnsupportedMediaType, "%s has no body here", q.r.Method)
	}
	return nil
}

// refusef returns an error with a status.
func refusef(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}
