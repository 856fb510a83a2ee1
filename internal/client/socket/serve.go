package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/secret"
)

// Handlers do what is asked for on a socket.
type Handlers struct {
	// Command runs a command and returns its exit status. The context ends when
	// whoever sent it is gone.
	Command func(context.Context, *Call) int
	// API answers the agent's API; nil for none.
	API http.Handler
}

// Server serves the socket of one folder.
type Server struct {
	folder   string
	name     name
	listener *net.UnixListener
	free     chan struct{} // one for each connection that may be open at once

	mu sync.Mutex // guards what follows
	// calls is how many calls are in flight.
	calls int
	// closed says that no call begins any more.
	closed bool
	// idle is closed when the last call ends.
	idle chan struct{}
}

// Listen makes the socket of a folder whose lock the caller holds, and removes
// what is left of an earlier one. Where the folder's path is too long for a
// socket, it is made in a new private folder below short.
func Listen(folder, short string) (*Server, error) {
	if err := clear(folder); err != nil {
		return nil, err
	}
	n, err := newName(folder, short)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: n.Address, Net: "unix"})
	if err == nil {
		if err = os.Chmod(n.Address, 0o600); err == nil {
			err = n.publish(folder)
		}
	}
	if err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		n.remove(folder)
		return nil, fmt.Errorf("make socket: %w", err)
	}
	return &Server{
		folder: folder, name: n, listener: l, free: make(chan struct{}, maxConnections), idle: make(chan struct{}),
	}, nil
}

// Begin counts a call in flight, and reports whether it may begin. Every call
// that began ends with [Server.End].
func (s *Server) Begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls++
	return true
}

// End ends a call that [Server.Begin] began.
func (s *Server) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls--; s.calls == 0 {
		close(s.idle)
		s.idle = make(chan struct{})
	}
}

// Calls returns how many calls are in flight.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Drain waits until no call is in flight, and takes the socket away in that
// moment. When the context ends it takes it away at once, and reports whether
// calls are left.
func (s *Server) Drain(ctx context.Context) (left bool) {
	for {
		s.mu.Lock()
		if s.calls == 0 || ctx.Err() != nil {
			left, s.closed = s.calls > 0, true
			s.mu.Unlock()
			break
		}
		idle := s.idle
		s.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
		}
	}
	// The name goes first: whoever comes now finds nobody.
	_ = os.Remove(s.folder + string(os.PathSeparator) + nameFile)
	_ = s.listener.Close()
	s.name.remove(s.folder)
	return left
}

// Serve answers until [Server.Drain] has taken the socket away, or the context
// ends, which also cancels the calls in flight; it returns when they have ended.
func (s *Server) Serve(ctx context.Context, h Handlers) error {
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	web := newWeb(s, h.API)
	connections.Go(web.serve)
	defer connections.Wait()
	defer web.close()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.listener.Close() })()
	for {
		s.free <- struct{}{}
		c, err := s.listener.AcceptUnix()
		if err != nil {
			<-s.free
			s.wait(ctx)
			return s.ended(err)
		}
		connections.Go(func() {
			defer func() { <-s.free }()
			s.connection(ctx, c, h, web)
		})
	}
}

// wait waits for the calls in flight, unless the context ends before.
func (s *Server) wait(ctx context.Context) {
	s.mu.Lock()
	calls, idle := s.calls, s.idle
	s.mu.Unlock()
	if calls == 0 {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (s *Server) ended(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve socket: %w", err)
}

// connection serves one connection to its end.
func (s *Server) connection(ctx context.Context, c *net.UnixConn, h Handlers, web *web) {
	// Who is slow to say what it wants does not hold up the end.
	hurry := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	purpose, err := s.greeted(c)
	hurry()
	if err != nil {
		// Whoever it is knows no secret; it is not told what was wrong.
		_ = c.Close()
		return
	}
	switch {
	case purpose == forAPI && h.API != nil:
		web.take(ctx, c)
	case purpose == forCommand:
		defer c.Close()
		if s.Begin() {
			defer s.End()
			s.command(ctx, c, h)
		}
	default:
		_ = c.Close()
	}
}

// greeted reads a connection's greeting and returns what it is for.
func (s *Server) greeted(c *net.UnixConn) (byte, error) {
	if err := checkPeer(c); err != nil {
		return 0, err
	}
	if err := c.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return 0, err
	}
	var hello [helloSize]byte
	if _, err := io.ReadFull(c, hello[:]); err != nil {
		return 0, err
	}
	if !knows(hello[:], secret.Bytes(s.name.Secret)) {
		return 0, fault.Errorf(fault.Unauthenticated, "the secret is wrong")
	}
	return hello[0], nil
}

// command takes a command from a connection and has it run.
func (s *Server) command(ctx context.Context, c *net.UnixConn, h Handlers) {
	if _, err := c.Write([]byte{accepted}); err != nil {
		return
	}
	call, err := takeCall(c)
	if err != nil {
		return
	}
	defer call.close()
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() { call.listen(cancel) })
	status := h.Command(ctx, call)
	call.done(status)
	_ = c.CloseRead()
	cancel()
	reading.Wait()
}

// web serves the agent's API on connections that were greeted.
type web struct {
	server      *http.Server
	connections chan net.Conn
	closed      chan struct{}
	closing     sync.Once
	own         *Server
}

var _ net.Listener = (*web)(nil)

func newWeb(own *Server, api http.Handler) *web {
	w := &web{connections: make(chan net.Conn), closed: make(chan struct{}), own: own}
	w.server = &http.Server{
		Handler: sameOrigin(api), ReadHeaderTimeout: helloTime, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	return w
}

// sameOrigin refuses what a browser sends on behalf of a page: no page has
// business here.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.ContainsFunc([]string{"Origin", "Referer", "Sec-Fetch-Mode"}, func(h string) bool { return r.Header.Get(h) != "" }) {
			http.Error(w, "no page may ask here", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve answers requests until close.
func (w *web) serve() { _ = w.server.Serve(w) } // ends with [http.ErrServerClosed] alone

// take hands over a connection.
func (w *web) take(ctx context.Context, c *net.UnixConn) {
	if !w.own.Begin() { // it is closing
		_ = c.Close()
		return
	}
	w.own.End()
	_, err := c.Write([]byte{accepted})
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err == nil {
		select {
		case w.connections <- c:
			return
		case <-w.closed:
		case <-ctx.Done():
		}
	}
	_ = c.Close()
}

// close ends the connections. An answer that is being written is written first:
// it may be that to the request which ends the process.
func (w *web) close() {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close()
	}
}

// answerTime is how long answers may take to be written when all else has ended.
const answerTime = time.Second

// Accept implements [net.Listener].
func (w *web) Accept() (net.Conn, error) {
	select {
	case c := <-w.connections:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (w *web) Close() error {
	w.closing.Do(func() { close(w.closed) })
	return nil
}

// Addr implements [net.Listener].
func (w *web) Addr() net.Addr { return w.own.listener.Addr() }
