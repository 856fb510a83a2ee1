package syncer

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many workspaces are synced at the same time.
const atOnce = 4

// Each calls act for several workspaces at once, and returns the first of their
// errors in their order: one workspace keeps no other from going.
func Each(ctx context.Context, all []*Syncer, act func(context.Context, *Syncer) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	failed := make([]error, len(all))
	for i, s := range all {
		group.Go(func() error {
			failed[i] = act(ctx, s)
			return nil
		})
	}
	_ = group.Wait() // what failed stands in failed
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// pulse tells whoever waits that something may stand otherwise than before.
type pulse struct {
	mu   sync.Mutex
	next chan struct{} // guarded by mu; nil while nobody waits
}

// beat wakes all that wait.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		close(p.next)
		p.next = nil
	}
}

// wait returns what the next beat closes.
func (p *pulse) wait() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = make(chan struct{})
	}
	return p.next
}
