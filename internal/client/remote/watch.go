package remote

import (
	"context"
	"io"
	"sync"
	"time"

	"parsec/internal/base/fault"
)

// slowest is the pace, in bytes a second, below which the other side loses
// the patience that it has: 256 kbit/s, a poor telephone line.
const slowest = 32 << 10

// watch guards one attempt at a request: how long the other side may be
// silent, how slow it may be, and how many bytes one message of its answer
// may have. Whoever breaks these bounds ends the attempt's context.
//
// Every byte that moves earns a little time, up to the whole patience. So a
// message is as long in coming as its size allows on a slow line, while a
// stalled peer, or one that sends a byte now and then, is left.
type watch struct {
	cancel   context.CancelCauseFunc
	server   string
	patience time.Duration

	mu       sync.Mutex // guards what follows
	timer    *time.Timer
	deadline time.Time // zero while nobody waits for the other side
	left     int64     // of the bytes that the message may still have
}

type watchKey struct{}

// newWatch returns a context that a watch ends, and the watch. Its close must be called.
func newWatch(ctx context.Context, server string, patience time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{cancel: cancel, server: server, patience: patience}
	w.timer = time.AfterFunc(patience, w.look)
	return context.WithValue(ctx, watchKey{}, w), w
}

// watchOf returns the watch over the attempt that a context belongs to.
func watchOf(ctx context.Context) *watch { return ctx.Value(watchKey{}).(*watch) }

// close ends the attempt.
func (w *watch) close() {
	w.rest()
	w.timer.Stop()
	w.cancel(nil)
}

// expect begins to wait for a message of at most limit bytes.
func (w *watch) expect(limit int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Now().Add(w.patience)
	w.left = limit
	w.timer.Reset(w.patience)
}

// rest ends the waiting: what follows is time of this side.
func (w *watch) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Time{}
}

// look runs when the timer rings. The deadline may have moved since it was set.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadline.IsZero() {
		return
	}
	if left := time.Until(w.deadline); left > 0 {
		w.timer.Reset(left)
		return
	}
	w.cancel(fault.WithHint(
		fault.Errorf(fault.Unreachable, "%s did not answer in time", w.server),
		"the server or the network is overloaded or down; try again later"))
}

// moved notes bytes that went either way.
func (w *watch) moved(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n == 0 || w.deadline.IsZero() {
		return
	}
	earned := w.deadline.Add(time.Duration(n) * time.Second / slowest)
	if most := time.Now().Add(w.patience); earned.After(most) {
		earned = most
	}
	w.deadline = earned
}

// room returns how many bytes the message may still have.
func (w *watch) room() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left
}

// spend takes received bytes from the room.
func (w *watch) spend(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left -= int64(n)
}

// sending is the body of a request under a watch.
type sending struct {
	io.ReadCloser
	watch *watch
}

// Read hands bytes to the connection.
func (s sending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.watch.moved(n)
	return n, err
}

// receiving is the body of an answer under a watch. All its errors but io.EOF
// are of package fault.
type receiving struct {
	io.ReadCloser
	watch *watch
}

// Read takes bytes from the connection, no more than the message may have.
func (r receiving) Read(p []byte) (int, error) {
	room := r.watch.room()
	if int64(len(p)) > room+1 {
		p = p[:room+1]
	}
	n, err := r.ReadCloser.Read(p)
	r.watch.moved(n)
	r.watch.spend(n)
	if int64(n) > room {
		return 0, malformed("a message is longer than it may be")
	}
	if err != nil && err != io.EOF {
		return n, cut(r.watch.server, err)
	}
	return n, err
}
