// Package rpc puts the services on the network: the Connect API, the plain
// HTTP endpoints of block transfer, and a page for people who open a link in a
// browser. It authenticates, bounds and logs; it holds no rules about
// organizations and workspaces.
//
// Every request passes the same gate: the rate of its address, the limit of
// its endpoint before memory is taken, its body whole within its time, and the
// proof that the endpoint asks for. What fails becomes an answer in one place,
// so that a failure looks the same on every endpoint. Bodies, tokens and
// addresses of e-mail never reach the log.
package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"connectrpc.com/connect/v2/connecthttp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/limit"
)

// Server is an [http.Handler] for all of the server's addresses.
type Server struct {
	cfg       Config
	log       *slog.Logger
	mux       *http.ServeMux
	endpoints map[string]endpoint
	rpcErrors *connecthttp.ErrorWriter
	// memory is for the bodies of callers who are known, open for those of
	// callers who need no proof.
	memory, open *limit.Memory
	addresses    *limit.Rates[netip.Addr]
	openings     *limit.Rates[netip.Addr]
	devices      *limit.Rates[id.Device]
	streams      *streams
	gate         Organizations
	operator     Operator
	ready        *readiness
	observer     Observer
}

// Observer is told of every request when it has ended.
type Observer interface {
	// Request tells the path, which is one of a few dozen; the kind of the
	// failure, or "ok"; how long it took; and the bytes of both bodies.
	Request(path, outcome string, took time.Duration, in, out int64)
}

// Drain ends what would not end by itself, so that the server can stop when
// the rest is finished.
func (s *Server) Drain() { s.streams.close() }

// Waiting is how many requests wait for memory.
func (s *Server) Waiting() int64 { return s.memory.Waiting() }

// Streams is how many event streams and waits of enrollments are open.
func (s *Server) Streams() int { return s.streams.number() }

// note is what the log will say about a request.
type note struct {
	id  string
	err error
}

type noteKey struct{}

func noteOf(ctx context.Context) *note {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		return n
	}
	return new(note)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	n := &note{id: requestID()}
	r = r.WithContext(context.WithValue(r.Context(), noteKey{}, n))
	a := newAnswer(w, s.cfg.StallTime)
	w.Header().Set(requestIDHeader, n.id)
	b := &body{ReadCloser: r.Body, control: a.control, stall: s.cfg.StallTime}
	r.Body = b
	defer func() {
		b.finish()
		s.record(a, b, r, n, time.Since(begin))
	}()
	defer func() {
		if p := recover(); p != nil {
			s.panicked(a, r, p)
		}
	}()
	if err := s.serve(a, r); err != nil {
		reply(a, r, s.rpcErrors, err)
	}
}

// panicked answers for a handler that panicked, or cuts the connection where
// an answer is under way.
func (s *Server) panicked(a *answer, r *http.Request, p any) {
	if p != http.ErrAbortHandler {
		s.log.ErrorContext(r.Context(), "a handler panicked", "id", noteOf(r.Context()).id, "panic", p, "stack", string(debug.Stack()))
	}
	if a.status != 0 {
		panic(http.ErrAbortHandler)
	}
	reply(a, r, s.rpcErrors, fault.Errorf(fault.Failed, "a handler panicked"))
}

// requestIDHeader names the request in its answer, as the log names it.
const requestIDHeader = "X-Request-Id"

// otherPath stands for all paths that the server does not have. What somebody
// pasted there may be a secret, and there may be any number of them.
const otherPath = "(other)"

// place returns the path of a request if it is one of the server's. These hold
// no secrets: what opens something stands in headers, bodies or behind the #
// of a link.
func (s *Server) place(r *http.Request) string {
	_, known := s.endpoints[r.URL.Path]
	if known || slices.Contains(pagePaths(), r.URL.Path) {
		return r.URL.Path
	}
	return otherPath
}

// record writes the request to the log and tells the observer.
func (s *Server) record(a *answer, b *body, r *http.Request, n *note, took time.Duration) {
	level, status, place, outcome := slog.LevelInfo, a.status, s.place(r), "ok"
	if status == 0 { // an answer without a body, which net/http makes one of 200
		status = http.StatusOK
	}
	attributes := []slog.Attr{
		slog.String("id", n.id), slog.String("method", r.Method), slog.String("path", place),
		slog.Int("status", status), slog.Int64("bytes", a.bytes), slog.Duration("duration", took),
	}
	if n.err != nil {
		kind := fault.KindOf(n.err)
		outcome = kind.String()
		attributes = append(attributes, slog.String("kind", kind.String()), slog.String("error", n.err.Error()))
		if kind == fault.Failed || kind == fault.Full {
			level = slog.LevelError
		}
	} else if place == healthPath || place == readyPath {
		level = slog.LevelDebug
	}
	s.log.LogAttrs(r.Context(), level, "request", attributes...)
	if s.observer != nil {
		s.observer.Request(place, outcome, took, b.bytes, a.bytes)
	}
}

func requestID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// serve holds a request to the limits of its endpoint, authenticates it, and
// has it answered.
func (s *Server) serve(w *answer, r *http.Request) error {
	from := s.address(r)
	if err := s.addresses.Allow(from, s.cfg.Now()); err != nil {
		return err
	}
	e, known := s.endpoints[r.URL.Path]
	if !known {
		s.mux.ServeHTTP(w, r)
		return nil
	}
	if err := refuseCompressed(r); err != nil {
		return err
	}
	if e.time > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), e.time)
		defer cancel()
		r = r.WithContext(ctx)
	}
	if e.proof == noProof || e.proof == operatorProof {
		if err := s.openings.Allow(from, s.cfg.Now()); err != nil {
			return err
		}
	}
	return s.admit(w, r, e)
}

// refuseCompressed refuses bodies that could unpack to more than they are.
// What clients send is sealed and does not compress.
func refuseCompressed(r *http.Request) error {
	for _, name := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		if v := r.Header.Get(name); v != "" && v != "identity" {
			return fault.WithHint(fault.Errorf(fault.Invalid, "read request: compressed with %.32q", v), "send it as it is")
		}
	}
	return nil
}
