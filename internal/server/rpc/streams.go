package rpc

import (
	"context"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
)

// streams are the answers without an end of their own: event streams and
// waits for the other side of an enrollment. They end when the server stops,
// and a device may hold only so many.
type streams struct {
	most int

	mu sync.Mutex
	// open holds how to end each stream; guarded by mu.
	open map[*stream]context.CancelFunc
	// count holds the number of streams of each device; guarded by mu.
	count map[id.Device]int
	// closed says that the server stops; guarded by mu.
	closed bool
}

type stream struct{ device id.Device }

func newStreams(most int) *streams {
	return &streams{most: most, open: make(map[*stream]context.CancelFunc), count: make(map[id.Device]int)}
}

// start returns a context that ends with the server, and what to call in the
// end. The zero device stands for callers who have none; they are not counted.
func (s *streams) start(ctx context.Context, d id.Device) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errStopping()
	}
	if !d.IsZero() && s.count[d] >= s.most {
		return nil, nil, fault.WithHint(fault.Errorf(fault.Busy, "the device holds %d streams already", s.most), "end another one first")
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &stream{device: d}
	s.open[one] = cancel
	s.count[d]++
	return ctx, func() { s.end(one) }, nil
}

// stopping reports whether the server stops.
func (s *streams) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// number is how many are open.
func (s *streams) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *streams) end(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cancel, ok := s.open[one]
	if !ok {
		return
	}
	cancel()
	delete(s.open, one)
	if s.count[one.device]--; s.count[one.device] == 0 {
		delete(s.count, one.device)
	}
}

// close ends all streams and takes no more.
func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, cancel := range s.open {
		cancel()
	}
}

func errStopping() error {
	return fault.WithHint(fault.Errorf(fault.Unreachable, "the server is stopping"), "try again in a moment")
}
