package overlay

import (
	"encoding/binary"
	"maps"
	"slices"

	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
)

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
