package history

import (
	"context"
	"fmt"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/mirror"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
	"parsec/internal/client/workspace"
)

// past is where the log names the version that an entry had, of an entry that
// was changed since. It is small, since there may be many.
type past struct {
	// number is the version; 0 for an entry that was not there yet.
	number uint64
	// base is the version of the snapshot on which it builds, 0 while it is not
	// known.
	base uint64
	// index is that of the record which made the version, and before those of the
	// versions down to the base, the newest first.
	index  uint64
	before []uint64
}

// done reports whether all of the chain is found.
func (p *past) done() bool {
	return p.number == 0 || p.base > 0 && uint64(len(p.before)) == p.number-p.base
}

// take takes in a version of the entry, on the way back through the log, and
// reports whether all of the chain is found with it.
func (p *past) take(v store.Version) bool {
	switch {
	case v.Number == p.number:
		p.base, p.index = v.Base, v.Index
	case p.base > 0 && v.Number >= p.base && v.Number < p.number && v.Number == p.number-uint64(len(p.before))-1:
		p.before = append(p.before, v.Index)
	}
	return p.done()
}

// note notes the first versions of entries behind a record, on the way back to it.
func note(m workspace.Made, first map[id.Entry]uint64) {
	for _, v := range m.Versions {
		first[v.Entry] = v.Number
	}
}

// log finds in the verified log which versions entries had at an index of it. It
// reads the log backwards and no further than it must; what it has read it does
// not read again, unless entries change meanwhile.
type log struct {
	ws *workspace.Workspace
	at uint64

	// read is up to where the log was looked through for changes since.
	read uint64
	// changed are the entries that were changed since.
	changed map[id.Entry]*past
	// next is the record before at from which on the log was not read for these.
	next uint64
}

func newLog(ws *workspace.Workspace, at uint64) *log {
	return &log{ws: ws, at: at, read: at, next: at, changed: map[id.Entry]*past{}}
}

// catchUp takes in what was changed since.
func (l *log) catchUp(ctx context.Context) error {
	end := l.ws.Log().Position().Index
	first := map[id.Entry]uint64{}
	err := l.ws.Backwards(ctx, end, func(m workspace.Made) bool {
		if m.Index <= l.read {
			return false
		}
		note(m, first)
		return true
	})
	if err != nil {
		return err
	}
	l.add(first)
	l.read = end
	return nil
}

// add takes in entries that were changed since, by the first version of each.
func (l *log) add(first map[id.Entry]uint64) {
	for e, number := range first {
		if l.changed[e] != nil {
			continue
		}
		p := &past{number: number - 1}
		l.changed[e] = p
		if !p.done() {
			l.next = l.at
		}
	}
}

// find makes sure that the chains of entries which were changed since are found.
// It reports those of which the verified log does not say that they were.
func (l *log) find(ctx context.Context, entries []id.Entry) (unchanged []id.Entry, err error) {
	left := 0
	for _, e := range entries {
		switch p := l.changed[e]; {
		case p == nil:
			unchanged = append(unchanged, e)
		case !p.done():
			left++
		}
	}
	if left == 0 {
		return unchanged, nil
	}
	wanted := make(map[id.Entry]bool, len(entries))
	for _, e := range entries {
		wanted[e] = true
	}
	err = l.ws.Backwards(ctx, l.next, func(m workspace.Made) bool {
		if left == 0 {
			return false
		}
		l.next = m.Index - 1
		for _, v := range m.Versions {
			if p := l.changed[v.Entry]; p != nil && !p.done() && p.take(v) && wanted[v.Entry] {
				left--
			}
		}
		return true
	})
	if err == nil && left > 0 {
		err = fault.Errorf(fault.Failed, "read the log of workspace %q: it does not name what came before a version", l.ws.Name())
	}
	return unchanged, err
}

// versions returns the chains of entries that were changed since, without
// manifests. That of an entry which was not there is empty.
func (l *log) versions(ctx context.Context, entries []id.Entry) (map[id.Entry][]store.Version, error) {
	at := map[uint64]map[id.Entry]bool{}
	for _, e := range entries {
		p := l.changed[e]
		if p.number == 0 {
			continue
		}
		for _, index := range append([]uint64{p.index}, p.before...) {
			if at[index] == nil {
				at[index] = map[id.Entry]bool{}
			}
			at[index][e] = true
		}
	}
	out := make(map[id.Entry][]store.Version, len(entries))
	for index, here := range at {
		made, err := l.ws.Made(ctx, index)
		if err != nil {
			return nil, err
		}
		for _, v := range made.Versions {
			if here[v.Entry] {
				out[v.Entry] = append(out[v.Entry], v)
			}
		}
	}
	for _, chain := range out {
		slices.SortFunc(chain, func(a, b store.Version) int { return int(a.Number) - int(b.Number) })
	}
	return out, nil
}

// chains returns the chains that entries had, with their manifests. That of an
// entry which was not there is empty, and the last version of one that was gone
// says so. Those of entries that were changed since are returned once more.
func (t *Tree) chains(ctx context.Context, entries []id.Entry) (all, earlier map[id.Entry][]store.Version, err error) {
	same, changed, err := t.split(ctx, entries)
	if err != nil {
		return nil, nil, err
	}
	present, err := t.mirror.Chains(ctx, same)
	if err != nil {
		return nil, nil, err
	}
	all = make(map[id.Entry][]store.Version, len(entries))
	for i, e := range same {
		if n := len(present[i]); n > 0 && present[i][n-1].Index > t.at {
			changed = append(changed, e) // just now
			continue
		}
		all[e] = present[i]
	}
	earlier, err = t.earlier(ctx, changed)
	for e, chain := range earlier {
		all[e] = chain
	}
	return all, earlier, err
}

// split tells entries that are still as they were from those that were changed
// since.
func (t *Tree) split(ctx context.Context, entries []id.Entry) (same, changed []id.Entry, err error) {
	newest, err := t.ws.Session().Local().Cache.Newest(ctx, t.ws.ID(), entries)
	if err != nil {
		return nil, nil, err
	}
	for i, e := range entries {
		if newest[i].Index > t.at {
			changed = append(changed, e)
		} else {
			same = append(same, e)
		}
	}
	return same, changed, nil
}

// earlier returns the chains of entries that were changed since, with manifests
// that it fetches.
func (t *Tree) earlier(ctx context.Context, entries []id.Entry) (map[id.Entry][]store.Version, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	chains, err := t.named(ctx, entries)
	if err != nil {
		return nil, err
	}
	var spans []remote.Span
	for e, chain := range chains {
		if n := len(chain); n > 0 && !chain[n-1].Gone {
			spans = append(spans, remote.Span{Entry: e, First: chain[0].Number, Last: chain[n-1].Number})
		}
	}
	err = t.ws.Session().Server().EntryVersions(ctx, t.ws.ID(), spans, func(all []remote.Chain) error {
		for _, c := range all {
			for i, m := range c.Manifests {
				chains[c.Entry][i].Manifest = m.Sealed
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("fetch earlier manifests: %w", err)
	}
	for _, s := range spans {
		if chains[s.Entry][0].Manifest == nil {
			return nil, fault.Broken(mirror.PromiseComplete, "the log of workspace %q names version %d of entry %s, and the server does not give it",
				t.ws.Name(), s.Last, s.Entry)
		}
	}
	return chains, nil
}

// named returns the chains of entries that were changed since, as the log names
// them.
func (t *Tree) named(ctx context.Context, entries []id.Entry) (map[id.Entry][]store.Version, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	unchanged, err := t.log.find(ctx, entries)
	if err == nil && len(unchanged) > 0 {
		if err = t.log.catchUp(ctx); err == nil {
			unchanged, err = t.log.find(ctx, entries)
		}
	}
	if err == nil && len(unchanged) > 0 {
		err = fault.Errorf(fault.Failed, "read the log of workspace %q: it does not name the version that is here of entry %s", t.ws.Name(), unchanged[0])
	}
	if err != nil {
		return nil, err
	}
	return t.log.versions(ctx, entries)
}
