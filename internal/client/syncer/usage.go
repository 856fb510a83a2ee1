package syncer

import (
	"context"
	"sync/atomic"
	"time"

	"parsec/internal/client/filesystem"
	"parsec/internal/client/remote"
)

const (
	// usageEvery is how often the server is asked how much is stored when
	// nobody wants to know, so that the first answer is not too old.
	usageEvery = 10 * time.Minute
	// usageRest is how long an answer serves who wants to know.
	usageRest = 10 * time.Second
)

// usage is how much the organization has stored, as the server said last. Who
// asks never waits for the server.
type usage struct {
	// own returns the room on the own disk, on which lies what is not sent
	// yet; nil where nobody knows.
	own    func(context.Context) (filesystem.Space, error)
	said   atomic.Pointer[remote.Usage]
	wanted chan struct{}
}

// space returns what the organization may store and what is left of it, or the
// room on the own disk where there is no limit, or none is known.
func (u *usage) space(ctx context.Context) (filesystem.Space, error) {
	select {
	case u.wanted <- struct{}{}:
	default:
	}
	if said := u.said.Load(); said != nil && said.Limit > 0 {
		return filesystem.Space{Total: said.Limit, Free: said.Limit - min(said.Used, said.Limit)}, nil
	}
	if u.own == nil {
		return filesystem.Space{}, nil
	}
	return u.own(ctx)
}

// follow asks the server until the context ends. Where it does not answer,
// what it said before stays.
func (u *usage) follow(ctx context.Context, ask func(context.Context) (remote.Usage, error)) error {
	often := time.NewTicker(usageEvery)
	defer often.Stop()
	for {
		if said, err := ask(ctx); err == nil {
			u.said.Store(&said)
		}
		rest := time.NewTimer(usageRest)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return context.Cause(ctx)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-often.C:
		case <-u.wanted:
		}
	}
}
