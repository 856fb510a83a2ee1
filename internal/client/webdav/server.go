package webdav

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"parsec/internal/base/fault"
)

// User is the name that clients log in with.
const User = "parsec"

// NewPassword returns a password of 130 random bits.
func NewPassword() string { return rand.Text() }

// Access says who is let in.
type Access struct {
	// Password goes with [User].
	Password string
	// Addresses says that every IP address is taken as the name of this machine,
	// not only those of the loopback. A name is not: a page of a stranger could
	// have its own name lead here.
	Addresses bool
}

// realm is what a client tells a person whose password it asks for.
const realm = `Basic realm="Parsec", charset="UTF-8"`

// Guard lets requests through that name this machine, come from no page of
// another site, and have the password. No other answer leaves it, so that a
// browser that knows the password gives nothing to other sites, and runs nothing
// that it is shown.
func Guard(next http.Handler, a Access) http.Handler {
	want := sha256.Sum256([]byte(User + ":" + a.Password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Disposition", "attachment")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		if !a.named(r.Host) {
			http.Error(w, "this is not the server of that name", http.StatusMisdirectedRequest)
			return
		}
		if foreign(r) {
			http.Error(w, "other sites may not use this one", http.StatusForbidden)
			return
		}
		user, password, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(user + ":" + password))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			h.Set("WWW-Authenticate", realm)
			http.Error(w, "the user is "+User+", and the password was printed when this was started", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// named reports whether a Host header names this machine.
func (a Access) named(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && (a.Addresses || ip.IsLoopback())
}

// foreign reports whether a page of another site has a browser send a request.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}

// Listen listens at an address. One that other machines can reach is refused
// unless open is set: password and files would cross the network in clear.
func Listen(ctx context.Context, address string, open bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "listen: %q is no HOST:PORT", address)
	}
	ip, err := netip.ParseAddr(host)
	if loopback := host == "localhost" || err == nil && ip.IsLoopback(); !loopback && !open {
		return nil, fault.WithHint(
			fault.Errorf(fault.Usage, "listen at %s: other machines could connect there, and password and files would cross the network in clear", address),
			"listen at 127.0.0.1, or have a program between that encrypts")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.Errorf(fault.Failed, "listen at %s: %w", address, err)
	}
	return l, nil
}

// The times and sizes of connections.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	// maxHeader is enough for a path as long as systems allow, escaped, twice.
	maxHeader = 64 << 10
	// endTime is how long requests may go on when the serving is to end.
	endTime = 5 * time.Second
)

// Server answers until it is closed.
type Server struct {
	listener net.Listener
	http     *http.Server
	serving  sync.WaitGroup
	done     chan struct{}
	failed   error // written before done is closed
	// busy is held, shared, by each request; ended says that there are no more.
	busy  sync.RWMutex
	ended bool
}

// Start has a handler answer on a listener, until [Server.Close].
func Start(l net.Listener, h http.Handler) *Server {
	s := &Server{listener: l, done: make(chan struct{})}
	s.http = &http.Server{
		Handler: s.counted(h), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a client that is gone is no event
	}
	s.serving.Go(func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed = fault.Errorf(fault.Failed, "serve WebDAV: %w", err)
		}
	})
	return s
}

// counted lets requests through until all have to end.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.RLock()
		defer s.busy.RUnlock()
		if !s.ended {
			next.ServeHTTP(w, r)
		}
	})
}

// URL returns where the root is.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/" }

// Done is closed when it answers no more.
func (s *Server) Done() <-chan struct{} { return s.done }

// Close lets requests end, breaks off those that go on for too long, and returns
// when nothing is changed any more.
func (s *Server) Close() error {
	end, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if s.http.Shutdown(end) != nil {
		_ = s.http.Close() // what goes on still is broken off
	}
	s.serving.Wait()
	s.busy.Lock() // the contexts of what was broken off have ended
	defer s.busy.Unlock()
	s.ended = true
	return s.failed
}
