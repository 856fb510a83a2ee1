package overlay

import (
	"context"
	"errors"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/work"
)

// PublishUnignored makes what stayed on this device a part of the workspace as
// far as neither its name nor a folder above it is ignored any more, to be pushed.
// What fails is left, and tried with the next call; the error is the last one.
func (o *Overlay) PublishUnignored(ctx context.Context) (failed error) {
	tried := map[id.Entry]bool{}
	for {
		all := o.unignored(tried)
		if len(all) == 0 {
			return failed
		}
		for e, at := range all { // what is below them is among the next
			tried[e] = true
			if err := o.publishOne(ctx, e, at); err != nil && !fault.Is(err, fault.NotFound) && !errors.Is(err, NotFolder) { // nobody sees what lies in a removed folder
				failed = err
			}
		}
	}
}

// unignored returns what is local without a reason, but for what is below such.
func (o *Overlay) unignored(tried map[id.Entry]bool) map[id.Entry]merge.Place {
	o.mu.RLock()
	defer o.mu.RUnlock()
	all := map[id.Entry]merge.Place{}
	for e, n := range o.work.Inodes {
		if !tried[e] && o.heldInVain(n) {
			all[e] = n.Place
		}
	}
	return all
}

// heldInVain reports whether an inode is local without a reason; mu is held.
func (o *Overlay) heldInVain(n *work.Inode) bool {
	if !n.Local || n.Orphan || o.work.Gone[n.Place.Folder] != nil || o.Ignore(n.Place.Name) {
		return false
	}
	above := o.work.Inodes[n.Place.Folder]
	return above == nil || !above.Local
}

func (o *Overlay) publishOne(ctx context.Context, e id.Entry, at merge.Place) error {
	return o.change(ctx, []id.Entry{at.Folder}, nil, func(ev *work.Event) error {
		n := o.work.Inodes[e]
		if n == nil || n.Place != at || !o.heldInVain(n) {
			return nil // it was moved or removed meanwhile
		}
		ev.Kind, ev.Entry = work.EvPublish, e
		if n.State.Content != nil {
			return o.closeContent(n.State.Content)
		}
		return nil
	})
}
