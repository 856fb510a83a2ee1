package sqlite

import (
	"context"
	"errors"
	"time"

	"parsec/internal/server/meta"
)

// gathering is how long a group takes in further writes before it commits:
// about as long as the fsync takes that they share, so that none waits much
// longer than it would by itself.
const gathering = 10 * time.Millisecond

// writer lends the one writing connection to one write after the other.
//
// While it commits a group, which waits for the disk, further writes queue up
// and become the next group. So groups grow by themselves as the load does,
// and a lone write waits for nobody.
type writer struct {
	conn  *conn
	queue chan *write // unbuffered: what waits is the callers themselves
	// commit makes a group durable.
	commit func() error
}

// write is a call of Write on its way through the writer.
type write struct {
	canceled <-chan struct{}
	// turn lends the connection to the caller, who answers over done with
	// what the function returned.
	turn chan struct{}
	done chan error
	// result is what the call returns.
	result chan error

	// The rest is the writer's, until it has sent the result.
	ran     bool  // the function ran at least once
	skipped bool  // the caller's context ended before it did
	gone    bool  // the caller panicked out of it
	err     error // what it returned last
}

// errPanicked stands for the panic of a function, which its caller sees.
var errPanicked = errors.New("the function did not return")

func newWriter(c *conn) *writer {
	return &writer{
		conn:   c,
		queue:  make(chan *write),
		commit: func() error { return c.run("COMMIT") },
	}
}

// write has fn run in its turn, on the caller's goroutine.
func (w *writer) write(ctx context.Context, fn func(meta.Tx) error) error {
	call := &write{
		canceled: ctx.Done(),
		turn:     make(chan struct{}),
		done:     make(chan error),
		result:   make(chan error, 1), // the caller may be gone
	}
	select {
	case w.queue <- call:
	case <-ctx.Done():
		return canceled("write", ctx)
	}
	for {
		select {
		case <-call.turn:
			w.lend(call, fn)
		case err := <-call.result:
			if call.skipped {
				return canceled("write", ctx)
			}
			return err
		}
	}
}

// lend runs fn on the connection and gives it back, however fn ends.
func (w *writer) lend(call *write, fn func(meta.Tx) error) {
	err := errPanicked
	defer func() { call.done <- err }()
	err = fn(tx{w.conn})
}

// run serves writes until the queue is closed.
func (w *writer) run() {
	for first := range w.queue {
		group, err := w.together(first, time.Now().Add(gathering))
		if err == nil || len(group) == 1 {
			answer(group, err)
			continue
		}
		// What made the group fail may be one write that is too large for the
		// disk: it shall not take the others along.
		for _, call := range group {
			answer(w.together(call, time.Time{}))
		}
	}
}

func (w *writer) stop() { close(w.queue) }

func answer(group []*write, err error) {
	for _, call := range group {
		if call.err == nil {
			call.err = err
		}
		call.result <- call.err
	}
}

// together runs the first write and those that come until then, and makes
// them durable at once. It returns them also where it fails, and then nothing
// was written, as far as SQLite can tell.
func (w *writer) together(first *write, until time.Time) (group []*write, err error) {
	defer func() {
		if err != nil {
			w.conn.run("ROLLBACK") // fails where SQLite has done so already
			err = wrap("write metadata", err)
		}
	}()
	if err := w.conn.run("BEGIN IMMEDIATE"); err != nil {
		return []*write{first}, err
	}
	for call := first; call != nil; call = w.next(until) {
		group = append(group, call)
		if err := w.serve(call); err != nil {
			return group, err
		}
	}
	return group, w.commit()
}

// next returns a write that is waiting, or nil.
func (w *writer) next(until time.Time) *write {
	if !time.Now().Before(until) {
		return nil
	}
	select {
	case call := <-w.queue:
		return call
	default:
		return nil
	}
}

// serve runs one write in a savepoint, so that its failure undoes nothing
// else. It fails where the whole transaction is lost.
func (w *writer) serve(call *write) error {
	if call.gone || call.skipped {
		return nil
	}
	if err := w.conn.run("SAVEPOINT one"); err != nil {
		return err
	}
	w.conn.lost = nil
	if !call.lent() {
		return w.conn.run("RELEASE one")
	}
	call.err = <-call.done
	call.gone = call.err == errPanicked
	if call.err == nil {
		call.err = w.conn.lost
	}
	if call.err == nil {
		return w.conn.run("RELEASE one")
	}
	// Where this fails, SQLite has rolled back everything by itself, as it
	// does when the disk is full; what the function returned says why.
	if w.conn.run("ROLLBACK TO one") != nil {
		return call.err
	}
	return w.conn.run("RELEASE one")
}

// lent gives the caller its turn, unless its context ended before the first.
func (call *write) lent() bool {
	end := call.canceled
	if call.ran {
		end = nil
	}
	select {
	case <-end:
		call.skipped = true
	case call.turn <- struct{}{}:
		call.ran = true
	}
	return call.ran
}
