package workspace

import (
	"context"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/client/remote"
	"parsec/internal/client/seal"
	"parsec/internal/client/store"
	"parsec/internal/format/record"
)

// Key returns the key of a generation of the log, which counts from 1.
func (w *Workspace) Key(ctx context.Context, generation uint64) (seal.WorkspaceKey, error) {
	if k, ok := w.key(generation); ok {
		return k, nil
	}
	w.fetching.Lock()
	defer w.fetching.Unlock()
	generations := w.Log().Generations()
	newest := uint64(len(generations))
	if generation == 0 || generation > newest {
		return seal.WorkspaceKey{}, fault.Errorf(fault.Invalid, "%s has no generation %d of its key", w.what(), generation)
	}
	if _, ok := w.key(newest); !ok {
		if err := w.fetchKeys(ctx); err != nil {
			return seal.WorkspaceKey{}, err
		}
	}
	// From the newest key that opens, the backlinks lead to the whole past.
	for g := newest; g > generation; {
		k, ok := w.key(g)
		if !ok {
			g--
			continue
		}
		links := generations[g-1].Links
		if _, ok := w.key(links); !ok && links > 0 {
			earlier, err := k.OpenBacklink(links, generations[links-1].Commitment, generations[g-1].Backlink)
			if err != nil {
				return seal.WorkspaceKey{}, w.blame(generations[g-1].Author, err)
			}
			w.set(func() { w.keys[links] = earlier })
		}
		g--
	}
	k, ok := w.key(generation)
	if !ok {
		return k, fault.WithHint(fault.Errorf(fault.Denied, "no key of generation %d of %s is sealed to you", generation, w.what()),
			"ask one of its owners or managers to rotate its key")
	}
	return k, nil
}

// key returns a key that is here.
func (w *Workspace) key(generation uint64) (seal.WorkspaceKey, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	k, ok := w.keys[generation]
	return k, ok
}

// Newest returns the key under which things are sealed now.
func (w *Workspace) Newest(ctx context.Context) (seal.WorkspaceKey, error) {
	return w.Key(ctx, w.Log().Generation())
}

// blame adds who is responsible to an error about something validly signed.
func (w *Workspace) blame(author [16]byte, err error) error {
	device, ok := w.session.Organization().Device(author)
	if !ok || fault.Is(err, fault.Integrity) {
		return err
	}
	return fmt.Errorf("written by %s: %w", w.session.EmailOf(device.User), err)
}

// grantTo is what a record says of a grant to the own user.
type grantTo struct {
	grant  record.Grant
	author [16]byte
}

// fetchKeys asks for the grants to the own user, and opens and remembers
// those that the log names.
func (w *Workspace) fetchKeys(ctx context.Context) error {
	named, err := w.namedGrants(ctx)
	if err != nil {
		return err
	}
	grants, err := w.session.Server().Grants(ctx, w.id)
	if err != nil {
		return fmt.Errorf("%s: %w", w.what(), err)
	}
	var failed error
	present := w.Log().Generation()
	for _, g := range grants {
		if _, have := w.key(g.Generation); have || g.Generation == 0 || g.Generation > present {
			continue
		}
		k, err := w.openGrant(named, g)
		if err != nil {
			failed = err
			continue
		}
		w.set(func() { w.keys[g.Generation] = k })
		err = w.session.Local().State.Update(ctx, func(tx *store.StateTx) error {
			return tx.PutKeys(w.id, store.Key{Generation: g.Generation, Key: k.Key, Grant: g.Sealed})
		})
		if err != nil {
			return err
		}
	}
	newest := present
	if _, have := w.key(newest); have {
		return nil
	}
	if n, ok := named[newest]; ok && failed == nil && w.opens(n) {
		return fault.Broken(seal.PromiseKeys, "the log of %s names a grant of generation %d to you, and the server does not give it", w.what(), newest)
	}
	return failed
}

// opens reports whether this device has the key that a grant is sealed to.
func (w *Workspace) opens(n grantTo) bool {
	_, ok := w.session.Device().UserKey(n.grant.Key)
	return ok
}

func (w *Workspace) openGrant(named map[uint64]grantTo, g remote.Grant) (seal.WorkspaceKey, error) {
	n, ok := named[g.Generation]
	if !ok {
		return seal.WorkspaceKey{}, fault.Broken(seal.PromiseKeys, "the server gives a grant of generation %d of %s that no record names", g.Generation, w.what())
	}
	own, ok := w.session.Device().UserKey(n.grant.Key)
	if !ok {
		return seal.WorkspaceKey{}, fault.Errorf(fault.Denied, "generation %d of the key of %s is sealed to a key that this device does not have", g.Generation, w.what())
	}
	k, err := w.Place().OpenGrant(own, g.Generation, w.Log().Generations()[g.Generation-1].Commitment, n.grant, g.Sealed)
	if err != nil {
		return k, w.blame(n.author, err)
	}
	return k, nil
}

// namedGrants returns, by generation, the newest grant to the own user that
// the log names. It reads the part of the log since the newest generation
// that this device has a key of.
func (w *Workspace) namedGrants(ctx context.Context) (map[uint64]grantTo, error) {
	named := map[uint64]grantTo{}
	generation, from := uint64(0), uint64(0)
	for i, g := range w.Log().Generations() {
		if _, have := w.key(uint64(i + 1)); have {
			generation, from = uint64(i+1), g.Index
		}
	}
	own := w.session.Device().User
	note := func(author [16]byte, grants []record.Grant) {
		for _, g := range grants {
			if g.Recipient == own {
				named[generation] = grantTo{g, author}
			}
		}
	}
	for kept, err := range w.session.Local().State.Records(ctx, w.id, from) {
		if err != nil {
			return nil, err
		}
		step, err := decode(kept)
		if err != nil {
			return nil, err
		}
		rotation, grants := Grants(step.Payload)
		if rotation != nil {
			generation, grants = rotation.Generation, rotation.Grants
		}
		note(step.Record.Author, grants)
	}
	return named, nil
}

// Grants returns the rotation in a record, if there is one, and the grants of
// the present generation that it makes otherwise.
func Grants(p record.Payload) (*record.Rotation, []record.Grant) {
	switch p := p.(type) {
	case record.WorkspaceCreated:
		return &p.Rotation, nil
	case record.KeyRotated:
		return &p.Rotation, nil
	case record.RoleChanged:
		if len(p.Rotation) == 1 {
			return &p.Rotation[0], nil
		}
		return nil, p.Grant
	}
	return nil, nil
}

// openName opens the workspace's name, if a key for it is there. Where it does
// not open, that is some author's fault: the workspace is called by its id,
// and the others are none the worse for it.
func (w *Workspace) openName(ctx context.Context) error {
	sealed, generation := w.log.Name()
	k, err := w.Key(ctx, generation)
	var name string
	if err == nil {
		name, err = k.OpenName(sealed)
	}
	w.set(func() { w.nameless = err })
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Denied) {
		return nil
	}
	if err != nil || name == w.name {
		return err
	}
	w.set(func() { w.name = name })
	return w.remember(ctx, w.log, nil, w.asked)
}
