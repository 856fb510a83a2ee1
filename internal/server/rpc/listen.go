package rpc

import (
	"net"
	"sync"
)

// bounded is a listener that takes only so many connections at once; more wait
// in the operating system's queue, which is bounded too.
type bounded struct {
	net.Listener
	free   chan struct{}
	closed chan struct{}
	close  func()
}

func newBounded(l net.Listener, most int) *bounded {
	b := &bounded{Listener: l, free: make(chan struct{}, most), closed: make(chan struct{})}
	b.close = sync.OnceFunc(func() { close(b.closed) })
	return b
}

// Accept waits for a connection, and before that for room.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	return &counted{Conn: c, leave: sync.OnceFunc(func() { <-b.free })}, nil
}

// Close ends waiting too.
func (b *bounded) Close() error {
	b.close()
	return b.Listener.Close()
}

// counted is a connection that makes room when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
