package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
	"parsec/internal/client/remote"
	"parsec/internal/client/syncer"
)

// The bounds of what is asked and said of workspaces.
const (
	// maxNames is how many workspaces may be named.
	maxNames = 1000
	// maxProblems is how many problems of one workspace are told.
	maxProblems = 1000
	// maxText is how long a reason or a hint is told, in bytes.
	maxText = 4 << 10
)

// API is what can be asked of the process that holds a device, be it this one or
// another.
type API interface {
	// Status says how the workspaces stand. A process that does not keep them in
	// sync asks the server before.
	Status(context.Context) (*agentv1.StatusResponse, error)
	// Sync pushes and pulls. Where not all of it went, there is an error beside the
	// answer.
	Sync(context.Context, *agentv1.SyncRequest) (*agentv1.SyncResponse, error)
	// Watch calls show with how all workspaces stand, and then with those that
	// stand otherwise than before. It returns nil when the agent ends, and fails
	// like [ErrNone] where the process is none.
	Watch(ctx context.Context, show func(*agentv1.WatchResponse) error) error
}

var (
	_ API = (*Agent)(nil)
	_ API = (*Client)(nil)
)

// ErrNone is a device that no agent holds, and of which nothing is kept in sync.
var ErrNone = fault.WithHint(fault.Errorf(fault.NotFound, "watch workspaces: no agent runs for this device"), "`parsec agent --background` starts one")

// Status implements [API].
func (a *Agent) Status(ctx context.Context) (*agentv1.StatusResponse, error) {
	d, err := a.Syncing(ctx)
	if err != nil {
		return nil, err
	}
	out := new(agentv1.StatusResponse)
	if !a.Stays() {
		// How it stands, the syncers say; why it cannot be found out, too.
		once := remote.Once(ctx)
		err := errors.Join(a.held.Sync(once), d.Discover(once))
		if fault.Is(err, fault.Integrity) || ctx.Err() != nil {
			return nil, err
		}
		out.Offline = fault.Is(err, fault.Unreachable)
		_ = syncer.Each(once, d.Workspaces(), func(ctx context.Context, s *syncer.Syncer) error { return s.Sync(ctx) })
	}
	out.Workspaces = standing(ctx, d.Workspaces())
	return out, nil
}

// Sync implements [API].
func (a *Agent) Sync(ctx context.Context, r *agentv1.SyncRequest) (*agentv1.SyncResponse, error) {
	if len(r.GetWorkspaces()) > maxNames {
		return nil, fault.Errorf(fault.Usage, "sync: more than %d workspaces are named", maxNames)
	}
	d, err := a.Syncing(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.held.Sync(ctx); err != nil {
		return nil, err
	}
	if err := d.Discover(ctx); err != nil {
		return nil, err
	}
	chosen, err := d.Choose(r.GetWorkspaces())
	if err != nil {
		return nil, err
	}
	err = syncer.Each(ctx, chosen, func(ctx context.Context, s *syncer.Syncer) error {
		if r.GetWait() {
			return s.Finish(ctx)
		}
		return s.Sync(ctx)
	})
	return &agentv1.SyncResponse{Workspaces: standing(ctx, chosen)}, err
}

// watchRest is how long a watcher is told nothing after it was told something.
const watchRest = 100 * time.Millisecond

// Watch implements [API].
func (a *Agent) Watch(ctx context.Context, show func(*agentv1.WatchResponse) error) error {
	if !a.cfg.Stays {
		return ErrNone
	}
	d, err := a.Syncing(ctx)
	if err != nil {
		return err
	}
	said := map[string]*agentv1.Workspace{}
	for first := true; ; first = false {
		stirred := d.Stirred()
		news := difference(said, standing(ctx, d.Workspaces()))
		told := first || len(news.GetWorkspaces())+len(news.GetGone()) > 0
		if told {
			if err := show(news); err != nil {
				return err
			}
			rest := time.NewTimer(watchRest)
			err := until(ctx, a, rest.C)
			rest.Stop()
			if err != nil {
				return ended(err)
			}
		}
		if err := until(ctx, a, stirred); err != nil {
			return ended(err)
		}
	}
}

// errEnding is that of waiting while the agent ends.
var errEnding = errors.New("the agent ends")

// ended returns why a watcher is told no more; that the agent ends is no error.
func ended(err error) error {
	if errors.Is(err, errEnding) {
		return nil
	}
	return err
}

// until waits for something, unless the agent or the context ends before.
func until[T any](ctx context.Context, a *Agent, something <-chan T) error {
	select {
	case <-something:
		return nil
	case <-a.ending:
		return errEnding
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// difference returns which workspaces stand otherwise than was said, and notes
// that it is said.
func difference(said map[string]*agentv1.Workspace, all []*agentv1.Workspace) *agentv1.WatchResponse {
	news, there := new(agentv1.WatchResponse), map[string]bool{}
	for _, w := range all {
		key := string(w.GetWorkspace())
		there[key] = true
		if !proto.Equal(said[key], w) {
			said[key] = w
			news.Workspaces = append(news.Workspaces, w)
		}
	}
	for key := range said {
		if !there[key] {
			delete(said, key)
			news.Gone = append(news.Gone, []byte(key))
		}
	}
	slices.SortFunc(news.Gone, slices.Compare[[]byte])
	return news
}

// standing returns how workspaces stand.
func standing(ctx context.Context, all []*syncer.Syncer) []*agentv1.Workspace {
	out := make([]*agentv1.Workspace, len(all))
	for i, s := range all {
		out[i] = workspaceOf(s.Status(ctx))
	}
	return out
}

func workspaceOf(s syncer.Status) *agentv1.Workspace {
	w := &agentv1.Workspace{
		Workspace: s.ID.Bytes(), Name: s.Name, State: string(s.State), Reason: cut(s.Reason), Hint: cut(s.Hint), Since: s.Since.UnixNano(),
		Pending: uint32(s.Pending), Conflicts: uint32(s.Conflicts), Complete: s.Complete,
	}
	told := s.Problems[:min(len(s.Problems), maxProblems)]
	for _, p := range told {
		w.Problems = append(w.Problems, &agentv1.Problem{Path: valid(p.Path), Reason: cut(p.Reason)})
	}
	w.MoreProblems = uint32(len(s.Problems) - len(told))
	return w
}
