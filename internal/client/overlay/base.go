package overlay

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// What is remembered of the base at most: about 40 MiB. What goes is whatever
// a map gives first.
const (
	maxStates   = 100_000
	maxChildren = 200_000
)

// baseCache remembers what the base said, since to ask it costs a look into a
// database. It is emptied, in part or whole, when the base has changed.
type baseCache struct {
	Base
	mu sync.RWMutex
	// The rest is guarded by mu.
	//
	// epoch grows when something is forgotten, so that what was asked before is
	// not remembered after.
	epoch   uint64
	states  map[id.Entry]merge.State
	folders map[id.Entry][]manifest.Child
	held    int
}

func newBaseCache(b Base) *baseCache {
	return &baseCache{Base: b, states: map[id.Entry]merge.State{}, folders: map[id.Entry][]manifest.Child{}}
}

// forget forgets entries, or everything.
func (c *baseCache) forget(entries ...id.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	if len(entries) == 0 {
		clear(c.states)
		clear(c.folders)
		c.held = 0
	}
	for _, e := range entries {
		delete(c.states, e)
		c.drop(e)
	}
}

func (c *baseCache) drop(folder id.Entry) {
	c.held -= len(c.folders[folder])
	delete(c.folders, folder)
}

func (c *baseCache) entry(ctx context.Context, e id.Entry) (merge.State, error) {
	c.mu.RLock()
	s, ok := c.states[e]
	epoch := c.epoch
	c.mu.RUnlock()
	if ok {
		return s, nil
	}
	s, err := c.Entry(ctx, e)
	if err == nil {
		c.keep(epoch, []id.Entry{e}, []merge.State{s})
	}
	return s, err
}

func (c *baseCache) keep(epoch uint64, entries []id.Entry, states []merge.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch {
		return
	}
	for i, e := range entries {
		c.states[e] = states[i]
	}
	for e := range c.states {
		if len(c.states) <= maxStates {
			break
		}
		delete(c.states, e)
	}
}

// ahead makes sure that entries are remembered, in one look.
func (c *baseCache) ahead(ctx context.Context, entries []id.Entry) error {
	c.mu.RLock()
	epoch := c.epoch
	var ask []id.Entry
	for _, e := range entries {
		if _, ok := c.states[e]; !ok {
			ask = append(ask, e)
		}
	}
	c.mu.RUnlock()
	if len(ask) == 0 {
		return nil
	}
	states, err := c.Entries(ctx, ask)
	if err == nil {
		c.keep(epoch, ask, states)
	}
	return err
}

func (c *baseCache) child(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	c.mu.RLock()
	all, ok := c.folders[folder]
	c.mu.RUnlock()
	if !ok {
		return c.Child(ctx, folder, name)
	}
	i, found := slices.BinarySearchFunc(all, name, func(c manifest.Child, name string) int { return strings.Compare(c.Name, name) })
	if !found {
		return manifest.Child{}, false, nil
	}
	return all[i], true, nil
}

// children returns what a folder of the base names; the caller does not alter it.
func (c *baseCache) children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	c.mu.RLock()
	all, ok := c.folders[folder]
	epoch := c.epoch
	c.mu.RUnlock()
	if ok {
		return all, nil
	}
	all, err := c.Children(ctx, folder)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		c.drop(folder)
		c.folders[folder] = all
		c.held += len(all)
		for f := range c.folders {
			if c.held <= maxChildren || f == folder {
				continue
			}
			c.drop(f)
		}
	}
	return all, nil
}

func (c *baseCache) parent(ctx context.Context, e id.Entry) (merge.Place, bool, error) {
	return c.Parent(ctx, e)
}

// look returns what there is to see of an entry of the base.
func (c *baseCache) look(ctx context.Context, e id.Entry) (merge.Seen, error) {
	s, err := c.entry(ctx, e)
	if err != nil {
		return merge.Seen{}, err
	}
	place, _, err := c.Parent(ctx, e)
	return merge.Seen{Version: s.Version, Place: place, Node: s.Node}, err
}

// merged puts how a folder differs over what the base names; the caller holds
// the overlay's mu.
func (o *Overlay) merged(folder id.Entry, before []manifest.Child) []manifest.Child {
	delta := o.kids[folder]
	names := slices.Sorted(maps.Keys(delta))
	out := make([]manifest.Child, 0, len(before)+len(names))
	for _, c := range before {
		for len(names) > 0 && names[0] < c.Name {
			if k := delta[names[0]]; !k.child.Removed() {
				out = append(out, k.child)
			}
			names = names[1:]
		}
		if len(names) > 0 && names[0] == c.Name {
			continue
		}
		if o.stands(folder, c) {
			out = append(out, c)
		}
	}
	for _, name := range names {
		if k := delta[name]; !k.child.Removed() {
			out = append(out, k.child)
		}
	}
	return out
}

// number returns the inode number of an entry; the caller holds mu.
func (o *Overlay) number(e id.Entry) uint64 {
	if n, ok := o.numbers[e]; ok {
		return n
	}
	if e == o.Root {
		return 1
	}
	// Ids are random. Small numbers are for roots.
	return binary.BigEndian.Uint64(e[:8])>>1 | 1<<32
}

func (c *baseCache) now() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}
