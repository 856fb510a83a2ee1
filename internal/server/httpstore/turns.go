package httpstore

import (
	"context"
	"sync"

	"parsec/internal/server/blob"
)

// Turns lets one caller at a time work on a key. The zero value is ready.
type Turns struct {
	mu    sync.Mutex // guards taken
	taken map[blob.Key]*turn
}

// turn is a key that is worked on.
type turn struct {
	free    chan struct{} // has one item while nobody works on the key
	callers int           // who work or wait
}

// Take waits for the key; done gives it back.
func (t *Turns) Take(ctx context.Context, key blob.Key) (done func(), err error) {
	mine := t.join(key)
	select {
	case <-mine.free:
		return func() { mine.free <- struct{}{}; t.leave(key) }, nil
	case <-ctx.Done():
		t.leave(key)
		return nil, ctx.Err()
	}
}

func (t *Turns) join(key blob.Key) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken = make(map[blob.Key]*turn)
	}
	mine := t.taken[key]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.taken[key] = mine
	}
	mine.callers++
	return mine
}

func (t *Turns) leave(key blob.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine := t.taken[key]; mine.callers > 1 {
		mine.callers--
		return
	}
	delete(t.taken, key)
}
