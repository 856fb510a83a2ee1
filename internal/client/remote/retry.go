package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"parsec/internal/base/fault"
)

// Retry says how long to go on when the server cannot be reached, or asks for
// less at once. A zero field means the default beside it.
type Retry struct {
	// Attempts is how often a request is made at most; default 6, and 1 for never again.
	Attempts int
	// First is the pause after the first attempt, which doubles with each; default 100 ms.
	First time.Duration
	// Most is the longest pause; default 5 s.
	Most time.Duration
	// Within is the time from the first failure in which an attempt may begin; default 30 s.
	Within time.Duration
}

func (r Retry) withDefaults() Retry {
	if r.Attempts == 0 {
		r.Attempts = 6
	}
	if r.First == 0 {
		r.First = 100 * time.Millisecond
	}
	if r.Most == 0 {
		r.Most = 5 * time.Second
	}
	if r.Within == 0 {
		r.Within = 30 * time.Second
	}
	return r
}

// pause returns how long to wait after an attempt: between half of the pause
// and all of it, so that clients who failed together do not return together.
func (r Retry) pause(attempt int) time.Duration {
	p := r.Most
	if doublings := attempt - 1; doublings < 32 && r.First<<doublings < r.Most {
		p = r.First << doublings
	}
	return p/2 + rand.N(p/2+1)
}

// onceKey marks the context of calls that are attempted once.
type onceKey struct{}

// Once returns a context whose calls are attempted once, whatever [Retry] says:
// for who can do without an answer, and has somebody waiting.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// attempts returns how often a call is made at most.
func (w *wire) attempts(ctx context.Context) int {
	if ctx.Value(onceKey{}) != nil {
		return 1
	}
	return w.retry.Attempts
}

// do makes attempts at something until one succeeds or fails for good. Each
// gets a context of its own, and a watch over how long it may take.
func (w *wire) do(ctx context.Context, what string, patience time.Duration, try func(context.Context, *watch) error) error {
	var failed time.Time
	corrected := false
	for attempt := 1; ; attempt++ {
		err := w.attempt(ctx, patience, try)
		if err == nil {
			return nil
		}
		if fault.Is(err, fault.Clock) && w.door.who != nil && !corrected && w.correct(ctx) == nil {
			corrected = true
			continue
		}
		if failed.IsZero() {
			failed = time.Now()
		}
		pause := w.retry.pause(attempt)
		if !passing(err) || attempt >= w.attempts(ctx) || time.Since(failed)+pause > w.retry.Within {
			return fmt.Errorf("%s: %w", what, err)
		}
		if sleep(ctx, pause) == context.Canceled {
			err = context.Canceled
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err) // with why it took so long, if time ran out
		}
	}
}

func (w *wire) attempt(ctx context.Context, patience time.Duration, try func(context.Context, *watch) error) error {
	inner, watch := newWatch(ctx, w.server, patience)
	defer watch.close()
	if err := try(inner, watch); err != nil {
		return w.judge(ctx, inner, err)
	}
	return nil
}

// passing reports whether another attempt may succeed where this one failed.
func passing(err error) bool {
	if _, ok := errors.AsType[settled](err); ok {
		return false
	}
	var e *fault.Error // a caller's own passed deadline is not one
	return errors.As(err, &e) && (e.Kind == fault.Unreachable || e.Kind == fault.Busy)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// unary makes a call with one answer, and reads the result from it.
func unary[Q, A, T any](ctx context.Context, w *wire, what string, patience time.Duration,
	call func(context.Context, *Q) (*A, error), q *Q, read func(*A) (T, error),
) (T, error) {
	var result T
	err := w.do(ctx, what, patience, func(ctx context.Context, watch *watch) error {
		watch.expect(maxAnswer)
		answer, err := call(ctx, q)
		if err != nil {
			return err
		}
		result, err = read(answer)
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return result, nil
}

// nothing reads an answer that says only that it was done.
func nothing[A any](*A) (struct{}, error) { return struct{}{}, nil }

// incoming is a stream of answers, as the generated code has them.
type incoming[M any] interface {
	Receive() (*M, error)
	Close() error
}

// stream makes a call with a stream of answers and passes them on. When it
// breaks it is opened again, so what open asks for follows what each took. An
// error of each ends the call for good.
func stream[M any, S incoming[M]](ctx context.Context, w *wire, what string, patience time.Duration,
	open func(context.Context) (S, error), each func(*M) error,
) error {
	return w.do(ctx, what, patience, func(ctx context.Context, watch *watch) (err error) {
		watch.expect(maxMessage)
		s, err := open(ctx)
		if err != nil {
			return err
		}
		defer s.Close() // what it could say was said before
		for {
			watch.expect(maxMessage + 5)
			m, err := s.Receive()
			watch.rest()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := each(m); err != nil {
				return settled{err}
			}
		}
	})
}

const (
	// slow is how much more patience than usual there is with what the server
	// has to make durable, or to wait for its turn with.
	slow = 3
	// poll is how long the server may keep a call open, by agreement, before
	// it answers: the longest turn of an enrollment, the beat of events.
	poll = 30 * time.Second
)
