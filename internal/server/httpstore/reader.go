package httpstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"parsec/internal/base/fault"
)

// Opener asks for the bytes of an object from one place to another, as an
// answer's body that may end early. It checks that they are within the object.
type Opener func(ctx context.Context, from, to int64) (io.ReadCloser, error)

// Reader reads a range of an object. Where the connection breaks it asks for
// the rest, a few times; it holds the context of the call that made it, which
// by the contract covers the reading.
type Reader struct {
	ctx      context.Context
	patience Patience
	open     Opener

	at, end int64 // what is left to read
	again   int   // how often the rest may still be asked for
	body    io.ReadCloser
	watch   *watch
	err     error // what reading ended with
}

// NewReader returns a reader of a range, once it is open.
func NewReader(ctx context.Context, p Patience, offset, length int64, open Opener) (*Reader, error) {
	p = p.withDefaults()
	r := &Reader{ctx: ctx, patience: p, open: open, at: offset, end: offset + length, again: p.Attempts - 1}
	if err := r.ask(); err != nil {
		return nil, err
	}
	return r, nil
}

// ask opens the range from where the reader is.
func (r *Reader) ask() error {
	return r.patience.Do(r.ctx, func(context.Context, func()) error {
		w := r.patience.watch(r.ctx) // beyond the attempt, until the body is closed
		body, err := r.open(w.ctx, r.at, r.end)
		if err != nil {
			defer w.stop()
			return w.explain(err)
		}
		w.pause()
		r.body, r.watch = body, w
		return nil
	})
}

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) {
	if r.at == r.end {
		return 0, io.EOF
	}
	for {
		if r.err != nil {
			return 0, r.err
		}
		if err := r.ctx.Err(); err != nil {
			return 0, Wrap("read pack", err)
		}
		n, err := r.read(p)
		r.at += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		r.err = r.resume(err)
	}
}

// read reads some of the body. An end of it is one that comes too early.
func (r *Reader) read(p []byte) (int, error) {
	r.watch.alive()
	n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.at)])
	r.watch.pause()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, r.watch.explain(err)
}

// resume asks for the rest after an error, or says that it ends there.
func (r *Reader) resume(err error) error {
	if r.ctx.Err() != nil {
		return Wrap("read pack", r.ctx.Err())
	}
	if r.again == 0 {
		return fault.Errorf(fault.Unreachable, "read pack: the answer ended early: %w", err)
	}
	r.again--
	r.close()
	return Wrap("read pack", r.ask())
}

func (r *Reader) close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.watch.stop()
	r.body, r.watch = nil, nil
	return err
}

// Close implements [io.Closer].
func (r *Reader) Close() error {
	r.err = errors.New("read pack: the reader is closed")
	r.close() // what was read stands, whatever the rest of the answer is
	return nil
}

// CheckRange checks by an answer's Content-Range that it is to a range of
// bytes that is within the object, and to the one that was asked for.
func CheckRange(text string, from, to int64) error {
	var first, last, size int64
	if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return fault.Errorf(fault.Failed, "the answer is not a range of bytes: %q", text)
	}
	if to > size {
		return fault.Errorf(fault.Invalid, "bytes %d to %d of %d", from, to, size)
	}
	if first != from || last != to-1 {
		return fault.Errorf(fault.Failed, "the answer is another range of bytes: %q", text)
	}
	return nil
}
