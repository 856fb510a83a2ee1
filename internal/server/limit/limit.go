// Package limit bounds what callers may take of a server: its memory, by one
// budget for all of them, and its time, by a rate for each of them. It decides
// and waits; it does not know what for.
package limit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"parsec/internal/base/fault"
)

// Memory is a budget of bytes. Whoever wants more than is left waits in line,
// in a line of bounded length.
type Memory struct {
	size    int64
	left    *semaphore.Weighted
	waiting atomic.Int64
	most    int64
}

// NewMemory returns a budget of size bytes for which at most waiters wait.
func NewMemory(size int64, waiters int) *Memory {
	return &Memory{size: size, left: semaphore.NewWeighted(size), most: int64(waiters)}
}

// Take takes n bytes out of the budget, at most all of it, and returns what
// puts them back. It fails with [fault.Busy] where the line is full, and with
// the context's error where that ends first.
func (m *Memory) Take(ctx context.Context, n int64) (release func(), err error) {
	n = min(n, m.size)
	if !m.left.TryAcquire(n) {
		if err := m.wait(ctx, n); err != nil {
			return nil, err
		}
	}
	var once sync.Once
	return func() { once.Do(func() { m.left.Release(n) }) }, nil
}

// Waiting is how many wait.
func (m *Memory) Waiting() int64 { return m.waiting.Load() }

func (m *Memory) wait(ctx context.Context, n int64) error {
	defer m.waiting.Add(-1)
	if m.waiting.Add(1) > m.most {
		return fault.WithHint(fault.Errorf(fault.Busy, "take memory: too many requests wait for it"), "try again in a moment")
	}
	if err := m.left.Acquire(ctx, n); err != nil {
		return fault.Errorf(fault.KindOf(err), "wait for memory: %w", err)
	}
	return nil
}

// maxCallers bounds the callers that a [Rates] remembers: some 20 MiB.
const maxCallers = 100_000

// Rates grants each caller a rate with a burst. It is safe for concurrent use.
type Rates[K comparable] struct {
	limit rate.Limit
	burst int

	mu sync.Mutex
	// callers holds those whose burst is not known to be full; guarded by mu.
	callers map[K]*rate.Limiter
	// sweep is the number of callers at which the full ones are forgotten; guarded by mu.
	sweep int
}

// NewRates returns a grant of so many calls a second, and burst at once.
func NewRates[K comparable](perSecond float64, burst int) *Rates[K] {
	return &Rates[K]{limit: rate.Limit(perSecond), burst: burst, callers: make(map[K]*rate.Limiter), sweep: 1024}
}

// Allow fails with [fault.Busy] when the caller was too quick.
func (r *Rates[K]) Allow(caller K, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.callers[caller]
	if l == nil {
		if len(r.callers) >= r.sweep {
			r.forget(now)
		}
		l = rate.NewLimiter(r.limit, r.burst)
		r.callers[caller] = l
	}
	if !l.AllowN(now, 1) {
		return fault.WithHint(fault.Errorf(fault.Busy, "too many requests, at most %v a second are allowed", r.limit), "try again in a moment")
	}
	return nil
}

// forget drops those whose burst is full again, which loses nothing, and
// everybody where that is not enough.
func (r *Rates[K]) forget(now time.Time) {
	for k, l := range r.callers {
		if l.TokensAt(now) >= float64(r.burst) {
			delete(r.callers, k)
		}
	}
	if len(r.callers) >= maxCallers {
		clear(r.callers)
	}
	r.sweep = max(1024, min(2*len(r.callers), maxCallers))
}

// Callers returns the number of callers that are remembered.
func (r *Rates[K]) Callers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.callers)
}
