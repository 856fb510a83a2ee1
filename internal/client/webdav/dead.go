package webdav

import (
	"cmp"
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"sync"

	"parsec/internal/client/filesystem"
)

// The limits of properties that are kept for clients, in bytes of XML.
const (
	maxOfOne = 256 << 10 // for one file or folder
	maxOfAll = 16 << 20
)

// properties are those that mean something to clients alone, "dead" ones in the
// words of RFC 4918. A workspace has no place for them, so they live as long as
// the process, and only here.
type properties struct {
	mu sync.Mutex
	// mu guards what follows; of has no empty maps.
	of   map[filesystem.Node]map[xml.Name]string
	size int
}

func newProperties() *properties {
	return &properties{of: map[filesystem.Node]map[xml.Name]string{}}
}

// get returns the properties of a node, by name, as XML.
func (d *properties) get(n filesystem.Node) map[xml.Name]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.of[n])
}

// sizeOf is what properties count as.
func sizeOf(all map[xml.Name]string) (n int) {
	for name, text := range all {
		n += len(name.Space) + len(name.Local) + len(text)
	}
	return n
}

// set gives a node properties in the place of those it has. It fails with 507
// where there is no room for them.
func (d *properties) set(n filesystem.Node, all map[xml.Name]string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := sizeOf(all)
	after := d.size - sizeOf(d.of[n]) + size
	if size > maxOfOne || size > 0 && after > maxOfAll {
		return refusef(http.StatusInsufficientStorage, "there is no room for more properties")
	}
	d.size = after
	if d.of[n] = all; len(all) == 0 {
		delete(d.of, n)
	}
	return nil
}

// drop forgets the properties of a node.
func (d *properties) drop(n filesystem.Node) { _ = d.set(n, nil) } // nothing is no problem of room

// copy gives a node the properties of another one. Where there is no room, it
// has none.
func (d *properties) copy(from, to filesystem.Node) {
	if err := d.set(to, d.get(from)); err != nil {
		d.drop(to)
	}
}

// move gives a node the properties of another one that is gone.
func (d *properties) move(from, to filesystem.Node) {
	if from != to {
		all := d.get(from)
		d.drop(from)
		_ = d.set(to, all) // there was room for them
	}
}

// names returns the names of properties, in order.
func names(all map[xml.Name]string) []xml.Name {
	return slices.SortedFunc(maps.Keys(all), func(a, b xml.Name) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Local, b.Local))
	})
}
