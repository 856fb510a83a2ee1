// Package basecache remembers what the verified tree of a workspace says, since
// to ask it costs a look into a database, and programs ask for the same again and
// again. It decides nothing: what was told to be forgotten is asked anew.
//
// Invariants:
//   - What was asked before something was forgotten is not remembered after it.
//   - It never remembers more than its limits, whatever the size of the tree.
package basecache

import (
	"context"
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

// Base is the verified tree. It changes with every pull, and its methods may
// be called from many goroutines.
type Base interface {
	merge.View
	// Entries returns the newest versions of many entries, in their order.
	Entries(ctx context.Context, entries []id.Entry) ([]merge.State, error)
}

// Cache is a base, of which much is remembered. It is emptied, in part or whole,
// when the base has changed. Its methods may be called from many goroutines.
type Cache struct {
	base Base

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

// New returns a cache of a base, which remembers nothing yet.
func New(b Base) *Cache {
	return &Cache{base: b, states: map[id.Entry]merge.State{}, folders: map[id.Entry][]manifest.Child{}}
}

// Forget forgets entries, or everything where none is named.
func (c *Cache) Forget(entries ...id.Entry) {
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

func (c *Cache) drop(folder id.Entry) {
	c.held -= len(c.folders[folder])
	delete(c.folders, folder)
}

// Entry returns the newest version of an entry.
func (c *Cache) Entry(ctx context.Context, e id.Entry) (merge.State, error) {
	c.mu.RLock()
	s, ok := c.states[e]
	epoch := c.epoch
	c.mu.RUnlock()
	if ok {
		return s, nil
	}
	s, err := c.base.Entry(ctx, e)
	if err == nil {
		c.keep(epoch, []id.Entry{e}, []merge.State{s})
	}
	return s, err
}

// keep remembers what was asked, unless something was forgotten since the epoch.
func (c *Cache) keep(epoch uint64, entries []id.Entry, states []merge.State) {
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

// Ahead makes sure that entries are remembered, in one look.
func (c *Cache) Ahead(ctx context.Context, entries []id.Entry) error {
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
	states, err := c.base.Entries(ctx, ask)
	if err == nil {
		c.keep(epoch, ask, states)
	}
	return err
}

// Child returns what a folder names so, and false if it names nothing so.
func (c *Cache) Child(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	c.mu.RLock()
	all, ok := c.folders[folder]
	c.mu.RUnlock()
	if !ok {
		return c.base.Child(ctx, folder, name)
	}
	i, found := slices.BinarySearchFunc(all, name, func(c manifest.Child, name string) int { return strings.Compare(c.Name, name) })
	if !found {
		return manifest.Child{}, false, nil
	}
	return all[i], true, nil
}

// Children returns what a folder names, by ascending name. The caller does not
// alter it.
func (c *Cache) Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error) {
	c.mu.RLock()
	all, ok := c.folders[folder]
	epoch := c.epoch
	c.mu.RUnlock()
	if ok {
		return all, nil
	}
	all, err := c.base.Children(ctx, folder)
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

// Parent returns the place of an entry, and false if it has none. It is asked for
// seldom, and not remembered.
func (c *Cache) Parent(ctx context.Context, e id.Entry) (merge.Place, bool, error) {
	return c.base.Parent(ctx, e)
}

// Look returns what there is to see of an entry.
func (c *Cache) Look(ctx context.Context, e id.Entry) (merge.Seen, error) {
	s, err := c.Entry(ctx, e)
	if err != nil {
		return merge.Seen{}, err
	}
	place, _, err := c.base.Parent(ctx, e)
	return merge.Seen{Version: s.Version, Place: place, Node: s.Node}, err
}

// Epoch returns a number that grows whenever something is forgotten.
func (c *Cache) Epoch() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}
