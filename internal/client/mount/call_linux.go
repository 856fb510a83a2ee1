package mount

import (
	"context"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"parsec/internal/client/filesystem"
)

// call is the context of a request: it ends when the kernel says that nobody
// waits for the answer any more (FUSE_INTERRUPT).
type call <-chan struct{}

var _ context.Context = call(nil)

// Deadline implements [context.Context].
func (call) Deadline() (deadline time.Time, ok bool) { return deadline, false }

// Done implements [context.Context].
func (c call) Done() <-chan struct{} { return c }

// Err implements [context.Context].
func (c call) Err() error {
	select {
	case <-c:
		return context.Canceled
	default:
		return nil
	}
}

// Value implements [context.Context].
func (call) Value(any) any { return nil }

// status returns what the kernel is told of an error.
func status(err error) fuse.Status { return fuse.Status(filesystem.Errno(err)) }
