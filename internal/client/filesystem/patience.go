package filesystem

import (
	"context"
	"sync"
	"time"

	"parsec/internal/base/fault"
)

// patient is the context of a call that does not wait for ever. Most calls find
// what they need on this device and never wait, so the time begins with the first
// who asks when it ends, and costs nothing before.
type patient struct {
	parent context.Context
	limit  time.Duration

	mu sync.Mutex
	// mu guards what follows, which is nil until somebody waits.
	running context.Context
	cancel  context.CancelFunc
}

var _ context.Context = (*patient)(nil)

// bounded returns a context for a call that may have to wait for the server, and
// what gives it back.
func (v *View) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	p := &patient{parent: ctx, limit: v.device.cfg.Patience}
	return p, p.end
}

func (p *patient) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
}

func (p *patient) begun() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running, p.cancel = context.WithTimeoutCause(p.parent, p.limit,
			fault.Errorf(fault.Unreachable, "the server did not answer for %v", p.limit))
	}
	return p.running
}

// so returns the context as far as it has begun.
func (p *patient) so() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return p.parent
	}
	return p.running
}

// Deadline implements [context.Context].
func (p *patient) Deadline() (time.Time, bool) { return p.begun().Deadline() }

// Done implements [context.Context].
func (p *patient) Done() <-chan struct{} { return p.begun().Done() }

// Err implements [context.Context].
func (p *patient) Err() error { return p.so().Err() }

// Value implements [context.Context].
func (p *patient) Value(key any) any { return p.so().Value(key) }
