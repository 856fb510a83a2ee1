package mirror

import (
	"context"
	"errors"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/client/store"
)

// What a very large workspace looks like until all of it is here. The log is
// verified as a whole, so the newest version of every entry is known, and whether
// it is gone. Manifests come when they are asked for, those of a folder's children
// together, and the rest by [Mirror.FetchMore] in between.
//
//   - A folder that was taken in is kept up with, like everything that was written
//     since the workspace was opened: so an entry that has a place here has it in
//     truth.
//   - An entry that has none here, and is not gone, is somewhere in the rest.

// Partial reports whether a rest of the tree is not here.
func (t *Mirror) Partial() bool { return t.ws.Mark().Rest.Until > 0 }

// postpone leaves the manifests up to an index for later, if they are very many and
// none is here yet.
func (t *Mirror) postpone(ctx context.Context, mark store.Mark, to uint64) (bool, error) {
	if mark.Manifests > 0 || len(mark.Cursor) > 0 {
		return false, nil
	}
	many, err := t.cache.More(ctx, t.ws.ID(), t.Eager)
	if err != nil || !many {
		return false, err
	}
	err = t.write(ctx, nil, func(m *store.Mark) { m.Manifests, m.Rest = to, store.Rest{Until: to} })
	return err == nil, err
}

// fill fetches the whole chains of folders of which an arrival had only the end:
// nobody had asked for them, and now they have to be kept up with. Without a rest,
// whoever asks for such a folder fetches it.
func (t *Mirror) fill(ctx context.Context, arrivals []arrival, known [][]store.Version) error {
	at, ask := map[id.Entry]int{}, []id.Entry(nil)
	for i, a := range arrivals {
		if a.gap && t.Partial() {
			at[a.entry] = i
			ask = append(ask, a.entry)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	return t.ws.Session().Server().EntryManifests(ctx, t.ws.ID(), ask, func(chains []remote.Chain) (err error) {
		for _, c := range chains {
			i := at[c.Entry]
			if arrivals[i], err = t.arrive(ctx, known[i], c, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// errEnough ends a stream of which enough was taken.
var errEnough = errors.New("that is enough")

// FetchMore fetches a part of the rest, of so many messages of the server, of which
// each has up to 1 MiB, and reports whether more is left. What was taken in stays
// so; where the process ends meanwhile, the next one goes on there. The session is
// free for others between two messages.
func (t *Mirror) FetchMore(ctx context.Context, messages int) (more bool, err error) {
	rest := t.ws.Mark().Rest
	if rest.Until == 0 {
		return false, nil
	}
	err = t.ws.Session().Server().Manifests(ctx, t.ws.ID(), rest.Since, rest.Cursor, func(chains []remote.Chain, cursor []byte) error {
		if err := t.takeRest(ctx, rest.Until, chains, cursor); err != nil {
			return err
		}
		if messages--; messages <= 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	return false, t.endRest(ctx, rest.Until)
}

// takeRest takes in a message of the rest up to an index. What is here already may
// be a folder that nobody has looked into.
func (t *Mirror) takeRest(ctx context.Context, until uint64, chains []remote.Chain, cursor []byte) error {
	return t.ws.Session().Exclusive(ctx, func(ctx context.Context) error {
		if t.ws.Mark().Rest.Until != until {
			return nil // somebody else was done before
		}
		arrivals, err := t.check(ctx, chains)
		if err != nil {
			return err
		}
		return t.write(ctx, arrivals, func(m *store.Mark) { m.Rest.Cursor = cursor })
	})
}

// endRest notes that the rest is here.
func (t *Mirror) endRest(ctx context.Context, until uint64) error {
	return t.ws.Session().Exclusive(ctx, func(ctx context.Context) error {
		if t.ws.Mark().Rest.Until != until {
			return nil
		}
		if err := t.settle(ctx); err != nil {
			return err
		}
		return t.write(ctx, nil, func(m *store.Mark) { m.Rest = store.Rest{} })
	})
}

// Finish fetches all of the rest.
func (t *Mirror) Finish(ctx context.Context) error {
	for {
		more, err := t.FetchMore(ctx, 64)
		if err != nil || !more {
			return err
		}
	}
}

// seek finds the places of an entry that has none here. One that is not gone is
// somewhere in the rest, and only all of it says where: who works with an entry
// has come to it through its folders, so this is seldom needed.
func (t *Mirror) seek(ctx context.Context, e id.Entry) ([]store.Child, error) {
	newest, err := t.cache.Newest(ctx, t.ws.ID(), []id.Entry{e})
	if err != nil || newest[0].Number == 0 || newest[0].Gone {
		return nil, err
	}
	if err := t.Finish(ctx); err != nil {
		return nil, fault.WithHint(err, "where it is says a part of the workspace that is not on this device yet")
	}
	return t.cache.Places(ctx, t.ws.ID(), e)
}
