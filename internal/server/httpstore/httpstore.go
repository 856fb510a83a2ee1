// Package httpstore is what the blob stores behind HTTP have in common: how
// long they wait and how often they ask again, how a pack is streamed and
// read, how keys become names and how URLs become configurations. It knows no
// protocol of an object store.
//
// Nothing waits for ever: an attempt that makes no progress for a while is
// broken off, and there are only so many attempts. Nothing of a request's
// credentials, and no text of a server, gets into an error.
package httpstore

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
)

// Patience is how long a store waits and how often it asks. A zero field means
// the default beside it.
type Patience struct {
	// Silence is how long an attempt may go without any progress; default 30 s.
	Silence time.Duration
	// Attempts is how often something is asked for in all; default 4.
	Attempts int
	// Pause is before the second attempt, and doubles with each; default
	// 200 ms. Half of it is chance, so that many callers spread.
	Pause time.Duration
}

func (p Patience) withDefaults() Patience {
	if p.Silence == 0 {
		p.Silence = 30 * time.Second
	}
	if p.Attempts == 0 {
		p.Attempts = 4
	}
	if p.Pause == 0 {
		p.Pause = 200 * time.Millisecond
	}
	return p
}

// OpenTime bounds how long the start of a server waits for a store to answer.
const OpenTime = 15 * time.Second

// errSilent is why an attempt without progress ended.
var errSilent = errors.New("no progress")

// Do makes attempts until one succeeds, fails for good, or was the last.
// Those that fail with [fault.Unreachable] may succeed when made again. An
// attempt calls alive whenever it makes progress.
func (p Patience) Do(ctx context.Context, attempt func(ctx context.Context, alive func()) error) error {
	p = p.withDefaults()
	pause := p.Pause
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := p.once(ctx, attempt)
		if n == p.Attempts || !fault.Is(err, fault.Unreachable) || ctx.Err() != nil {
			return ended(ctx, err)
		}
		if wait(ctx, pause/2+rand.N(pause/2+1)) != nil {
			return ended(ctx, err)
		}
		pause *= 2
	}
}

func (p Patience) once(ctx context.Context, attempt func(ctx context.Context, alive func()) error) error {
	w := p.watch(ctx)
	defer w.stop()
	return w.explain(attempt(w.ctx, w.alive))
}

// ended says of an error that the end of the context is its reason, where it is.
func ended(ctx context.Context, err error) error {
	if cause := ctx.Err(); err != nil && cause != nil {
		return fault.Errorf(fault.KindOf(cause), "%w", cause)
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch ends a context when nobody says for a while that there is progress.
type watch struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	silence time.Duration
}

func (p Patience) watch(ctx context.Context) *watch {
	w := &watch{silence: p.Silence}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(w.silence, func() { w.cancel(errSilent) })
	return w
}

func (w *watch) alive() { w.timer.Reset(w.silence) }

func (w *watch) pause() { w.timer.Stop() }

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// explain gives the error of an attempt its reason, if that was silence.
func (w *watch) explain(err error) error {
	if err != nil && context.Cause(w.ctx) == errSilent {
		return fault.Errorf(fault.Unreachable, "no answer within %v", w.silence)
	}
	return err
}

// StatusKind returns the kind of an answer that refuses or fails.
func StatusKind(status int) fault.Kind {
	switch status {
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Denied
	case http.StatusPreconditionFailed, http.StatusConflict:
		return fault.Conflict
	case http.StatusRequestedRangeNotSatisfiable:
		return fault.Invalid
	case http.StatusInsufficientStorage, http.StatusRequestEntityTooLarge:
		// No pack is too large for a store, so it is a quota.
		return fault.Full
	case http.StatusRequestTimeout, http.StatusTooManyRequests, 498, 499:
		return fault.Unreachable
	case http.StatusNotImplemented:
		return fault.Failed
	}
	if status >= 500 {
		return fault.Unreachable
	}
	return fault.Failed
}

// Away returns the error of a request that got no answer. A service whose
// certificate is not trusted will not be by waiting.
func Away(err error) error {
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return fault.WithHint(fault.Errorf(fault.Failed, "%w", err), "if it is of an authority of your own, name its certificate with ca=FILE in the store's URL")
	}
	return fault.Errorf(fault.Unreachable, "%w", err)
}

// Wrap says what failed. Callers of a store are not those whom it denies
// something: that is the server's own failure, with a hint for its operator.
func Wrap(what string, err error) error {
	switch kind := fault.KindOf(err); {
	case err == nil:
		return nil
	case kind == fault.Denied:
		return fault.WithHint(fault.Errorf(fault.Failed, "%s: %w", what, err), "check the credentials of the server's object store")
	case kind == fault.Full:
		return fault.WithHint(fault.Errorf(kind, "%s: %w", what, err), "raise the quota of the server's object store, or free some space in it")
	default:
		return fault.Errorf(kind, "%s: %w", what, err)
	}
}

// Prefix returns how the names of a scope's objects begin.
func Prefix(s blob.Scope) string {
	return path.Join(s.Organization.String(), s.Workspace.String()) + "/"
}

// Name returns the name of an object: ORGANIZATION/WORKSPACE/PACK. Names are
// in the order of keys.
func Name(key blob.Key) string { return Prefix(key.Scope) + key.Pack.String() }

// ParseName returns the pack that a listed name of a scope stands for.
func ParseName(s blob.Scope, name string) (id.Pack, error) {
	rest, found := strings.CutPrefix(name, Prefix(s))
	pack, err := id.Parse[id.Pack](rest)
	if !found || err != nil {
		return pack, fault.Errorf(fault.Failed, "an object that is no pack: %q", name)
	}
	return pack, nil
}
