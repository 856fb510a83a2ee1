package rpc

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"parsec/internal/base/fault"
)

// Readiness is what the server stands on.
type Readiness interface {
	// Ready fails unless all of it answers.
	Ready(ctx context.Context) error
}

const (
	// readyAge is how long an answer holds, so that asking costs nothing.
	readyAge = time.Second
	// readyTime is how long the stores may take for it.
	readyTime = 5 * time.Second
)

// readiness asks at most once in [readyAge], whoever wants to know.
type readiness struct {
	of  Readiness
	now func() time.Time

	mu sync.Mutex
	// asked is when err was the answer; both guarded by mu.
	asked time.Time
	err   error
}

func (r *readiness) ask(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		return nil
	}
	if age := r.now().Sub(r.asked); !r.asked.IsZero() && age >= 0 && age < readyAge {
		return r.err
	}
	// The answer is for others too, who should not get that this one left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTime)
	defer cancel()
	r.err = r.of.Ready(ctx)
	r.asked = r.now()
	return r.err
}

// answerReady says whether requests are worth sending here. Why not is for the
// log: the answer is for anybody.
func (s *Server) answerReady(w http.ResponseWriter, r *http.Request) {
	err := s.ready.ask(r.Context())
	if s.streams.stopping() {
		err = errStopping()
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err == nil {
		_, _ = io.WriteString(w, "ok\n") // a client that left needs no answer
		return
	}
	noteOf(r.Context()).err = fault.Errorf(fault.KindOf(err), "not ready: %w", err)
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, "not ready\n")
}
