package convergence_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// network is one within this process: who waits for it waits for another
// goroutine, so that virtual time knows of it.
type network struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]*host
	// far, if it is not nil, is how the two ends of a connection are joined.
	far *distance
}

// host is where the connections to one name arrive.
type host struct {
	name   string
	calls  chan net.Conn
	closed chan struct{}
	close  func()
}

func newNetwork() *network { return &network{hosts: map[string]*host{}} }

// listen takes the connections to a name.
func (n *network) listen(name string) net.Listener {
	h := &host{name: name, calls: make(chan net.Conn), closed: make(chan struct{})}
	h.close = sync.OnceFunc(func() { close(h.closed) })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name+":80"] = h
	return h
}

// dial connects to a name.
func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	h := n.hosts[address]
	n.mu.Unlock()
	if h == nil {
		return nil, &net.AddrError{Err: "no such host", Addr: address}
	}
	here, there := net.Pipe()
	if n.far != nil {
		here, there = n.far.pipe()
	}
	select {
	case h.calls <- there:
		return here, nil
	case <-h.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements [net.Listener].
func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.calls:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *host) Close() error { h.close(); return nil }

// Addr implements [net.Listener].
func (h *host) Addr() net.Addr { return h }

// Network implements [net.Addr].
func (h *host) Network() string { return "memory" }

// String implements [net.Addr].
func (h *host) String() string { return h.name }

// line is the way from one device to the server.
type line struct {
	server http.Handler
	// left is how many requests go through before none does; negative for all.
	left atomic.Int64
	// handled says that the server handles the first of those, and its answer is lost.
	handled atomic.Bool
	// twice says that every request arrives twice.
	twice atomic.Bool
	// sent counts the bytes of all requests.
	sent atomic.Int64
	mu   sync.Mutex // guards broken and meanwhile
	// broken, if it is not nil, is called when the line breaks.
	broken func()
	// meanwhile, if it is not nil, is called before a request is passed on.
	meanwhile func()
}

// open serves a line until the test ends.
func (l *line) open(t testing.TB, at net.Listener) {
	web := &http.Server{Handler: l}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(at) }) // ends with the test
	t.Cleanup(func() {
		if err := web.Close(); err != nil {
			t.Errorf("close a line: %v", err)
		}
		serving.Wait()
	})
}

// whole lets everything through.
func (l *line) whole() {
	l.left.Store(-1)
	l.twice.Store(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.meanwhile = nil, nil
}

// interrupt has something happen before the n-th request from now on arrives.
// What it returns tells whether it has, and with which error.
func (l *line) interrupt(n int64, by func() error) (happened func() (bool, error)) {
	var left atomic.Int64
	var err error
	left.Store(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meanwhile = func() {
		if left.Add(-1) == 0 {
			err = by()
		}
	}
	return func() (bool, error) { return left.Load() <= 0, err }
}

// breaks lets n requests through and then none, the first of those handled or not.
func (l *line) breaks(n int, handled bool) {
	l.handled.Store(handled)
	l.left.Store(int64(n))
}

// passes says whether a request reaches the server, and whether its answer comes back.
func (l *line) passes() (there, back bool) {
	if l.left.Load() < 0 {
		return true, true
	}
	n := l.left.Add(-1)
	if n >= 0 {
		return true, true
	}
	l.left.Store(0)
	return n == -1 && l.handled.Swap(false), false
}

// ServeHTTP passes a request on, as the line is.
func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	if l.meanwhile != nil {
		l.meanwhile()
	}
	l.mu.Unlock()
	l.sent.Add(max(0, r.ContentLength))
	there, back := l.passes()
	if there && back && !l.twice.Load() {
		l.server.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if there {
		r.Body = io.NopCloser(bytes.NewReader(body))
		l.server.ServeHTTP(unheard{w, http.Header{}}, r)
	}
	if !back {
		l.mu.Lock()
		if l.broken != nil {
			l.broken()
		}
		l.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	l.server.ServeHTTP(w, r)
}

// unheard is an answer that nobody gets.
type unheard struct {
	http.ResponseWriter
	header http.Header
}

// Header implements [http.ResponseWriter].
func (u unheard) Header() http.Header { return u.header }

// Write implements [http.ResponseWriter].
func (u unheard) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (unheard) WriteHeader(int) {}

// Flush implements [http.Flusher].
func (unheard) Flush() {}

// Unwrap gives a handler the deadlines of the connection.
func (u unheard) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// until is a context that ends at the n-th look at it: between any two steps of
// whoever works with it.
type until struct {
	context.Context
	end  context.CancelFunc
	left atomic.Int64
}

// endingAt returns a context that ends at the n-th look.
func endingAt(ctx context.Context, n int) *until {
	inner, end := context.WithCancel(ctx)
	u := &until{Context: inner, end: end}
	u.left.Store(int64(n))
	return u
}

func (u *until) look() {
	if u.left.Add(-1) == 0 {
		u.end()
	}
}

// Done implements [context.Context].
func (u *until) Done() <-chan struct{} { u.look(); return u.Context.Done() }

// Err implements [context.Context].
func (u *until) Err() error { u.look(); return u.Context.Err() }
