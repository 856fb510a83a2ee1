package remote

import (
	"net"
	"sync/atomic"
)

// Meter counts what went over the wire. Several clients may share one, and it
// may be read at any time.
type Meter struct {
	requests, sent, received atomic.Uint64
}

// Requests returns how many requests were made, repeated ones included.
func (m *Meter) Requests() uint64 { return m.requests.Load() }

// Sent returns the bytes that were written to connections, headers included.
func (m *Meter) Sent() uint64 { return m.sent.Load() }

// Received returns the bytes that were read from connections, headers included.
func (m *Meter) Received() uint64 { return m.received.Load() }

// metered is a connection whose bytes are counted.
type metered struct {
	net.Conn
	meter *Meter
}

// Read reads and counts.
func (c metered) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.meter.received.Add(uint64(n))
	return n, err
}

// Write writes and counts.
func (c metered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.meter.sent.Add(uint64(n))
	return n, err
}
