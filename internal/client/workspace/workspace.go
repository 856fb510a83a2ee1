// Package workspace follows and extends the logs of workspaces: who may do
// what, under which key, and which version of which entry was written. It
// verifies every record before anything of it counts, holds the workspace's
// keys, rotates them when that is due, and commits changes. What the entries
// mean to each other, as files in folders, is the business of package files.
//
// A Workspace serves many goroutines: its session's lock sees to it that one at
// a time changes what is verified, and who only reads does not wait for that.
package workspace

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/seal"
	"parsec/internal/client/session"
	"parsec/internal/client/store"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Workspace is one workspace, as far as this device has verified it.
type Workspace struct {
	session *session.Session
	id      id.Workspace
	// fetching is held while keys are asked for.
	fetching sync.Mutex
	// mu guards what follows. Only who holds the session exclusively changes it,
	// but for keys, and reads it without mu.
	mu  sync.RWMutex
	log *verify.Workspace
	// asked is the organization index that was verified before asking for log.
	asked uint64
	// mark is what the cache reflects, and resets how often it was thrown away
	// before.
	mark   store.Mark
	resets uint64
	keys   map[uint64]seal.WorkspaceKey
	name   string
	// nameless says why the name does not open.
	nameless error
	// standing counts refusals in a row for what the server does not give.
	standing int
	// othersSeen is the time of the newest record by another user.
	othersSeen int64
}

// open returns the one workspace with this id in a session.
func open(ctx context.Context, s *session.Session, w id.Workspace) (*Workspace, error) {
	shared, err := s.Share(ctx, w, func(ctx context.Context) (any, error) { return restore(ctx, s, w) })
	if err != nil {
		return nil, err
	}
	return shared.(*Workspace), nil
}

// restore takes up what the device remembers of a workspace, which may be nothing.
func restore(ctx context.Context, s *session.Session, w id.Workspace) (*Workspace, error) {
	ws := &Workspace{session: s, id: w, keys: map[uint64]seal.WorkspaceKey{}}
	ws.log = verify.NewWorkspace(s.Device().Organization, w)
	kept, found, err := s.Local().State.Workspace(ctx, w)
	if err != nil {
		return nil, err
	}
	if found {
		if ws.log, err = verify.RestoreWorkspace(kept.Snapshot); err != nil {
			return nil, err
		}
		ws.asked, ws.name, ws.othersSeen = kept.Organization, kept.Name, kept.OthersSeen
	}
	keys, err := s.Local().State.Keys(ctx, w)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		ws.keys[k.Generation] = seal.WorkspaceKey{Place: ws.Place(), Generation: k.Generation, Key: k.Key}
	}
	return ws, ws.catchUp(ctx)
}

// keepUp catches up where the cache was thrown away meanwhile, or where who
// wrote the state was stopped before the cache followed: what comes next is
// judged by both.
func (w *Workspace) keepUp(ctx context.Context) error {
	if w.resets == w.session.Local().Cache.Resets() && w.mark.Position == w.log.Position() {
		return nil
	}
	return w.catchUp(ctx)
}

// ID returns the workspace's id.
func (w *Workspace) ID() id.Workspace { return w.id }

// Session returns the session that the workspace is opened in.
func (w *Workspace) Session() *session.Session { return w.session }

// Log returns the verified state of the workspace's log. It is shared and
// must not be changed.
func (w *Workspace) Log() *verify.Workspace {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.log
}

// Place returns what everything sealed for the workspace is bound to.
func (w *Workspace) Place() seal.Place {
	return seal.Place{Organization: w.session.Device().Organization, Workspace: w.id}
}

// Name returns the workspace's name, or its id while no key opens the name.
func (w *Workspace) Name() string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.name == "" {
		return w.id.String()
	}
	return w.name
}

// OthersSeen returns the time of the newest record by another user. A server
// that withholds everything new cannot be told from silence at once; a person
// who expected news can tell from this.
func (w *Workspace) OthersSeen() (time.Time, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return time.Unix(0, w.othersSeen), w.othersSeen != 0
}

// what is what messages call the workspace.
func (w *Workspace) what() string { return fmt.Sprintf("workspace %q", w.Name()) }

// Role returns the own user's role at what is verified of both logs.
func (w *Workspace) Role() record.Role {
	o := w.session.Organization()
	return w.Log().Role(o, w.session.Device().User, o.Position().Index)
}

// need fails unless the own role is at least the given one.
func (w *Workspace) need(least record.Role, to string) error {
	if role := w.Role(); role < least {
		return fault.WithHint(fault.Errorf(fault.Denied, "cannot %s: your role in %s is %s, and it takes %s", to, w.what(), role, least),
			"`parsec workspace members %s` shows who can", w.Name())
	}
	return nil
}

// catchUp brings the cache to where the state stands, after a cache was lost
// or a process was killed between the two.
func (w *Workspace) catchUp(ctx context.Context) error {
	resets := w.session.Local().Cache.Resets()
	mark, err := w.session.Local().Cache.Mark(ctx, w.id)
	if err != nil {
		return err
	}
	w.set(func() { w.mark, w.resets = mark, resets })
	const batch = 4096
	var versions []store.Version
	for kept, err := range w.session.Local().State.Records(ctx, w.id, w.mark.Position.Index) {
		if err != nil {
			return err
		}
		step, err := decode(kept)
		if err != nil {
			return err
		}
		versions = append(versions, versionsOf(step)...)
		if len(versions) >= batch || step.Position == w.log.Position() {
			if err := w.cacheVersions(ctx, versions, step.Position, nil); err != nil {
				return err
			}
			versions = versions[:0]
		}
	}
	return nil
}

// cacheVersions caches what verified records made, up to a position, and what
// derives from that.
func (w *Workspace) cacheVersions(ctx context.Context, versions []store.Version, at record.Position, derive func(*store.CacheTx) error) error {
	mark := w.mark
	if derive != nil && mark.Manifests == mark.Position.Index {
		mark.Manifests = at.Index // nothing but own manifests came, and they are here
	}
	mark.Position = at
	err := w.session.Local().Cache.Update(ctx, w.id, func(tx *store.CacheTx) error {
		if err := tx.PutVersions(versions...); err != nil {
			return err
		}
		if derive != nil {
			if err := derive(tx); err != nil {
				return err
			}
		}
		return tx.PutMark(mark)
	})
	if err == nil {
		w.set(func() { w.mark = mark })
	}
	return err
}

// decode returns a record that was verified before it was kept.
func decode(kept store.Record) (*verify.Step, error) {
	r, err := record.Parse(kept.Raw)
	if err != nil {
		return nil, err
	}
	payload, err := r.Decode()
	if err != nil {
		return nil, err
	}
	return &verify.Step{Position: record.Position{Index: kept.Index, Head: kept.Head}, Record: r, Payload: payload}, nil
}

// versionsOf returns the versions that a record makes, without manifests.
func versionsOf(step *verify.Step) []store.Version {
	commit, ok := step.Payload.(record.Commit)
	if !ok {
		return nil
	}
	versions := make([]store.Version, len(commit.Changes))
	for i, c := range commit.Changes {
		versions[i] = store.Version{
			Entry: c.Entry, Number: c.Version, Base: c.Base, Generation: commit.Generation,
			Index: step.Position.Index, Author: step.Record.Author, Gone: c.Gone(),
		}
		if c.Gone() {
			versions[i].Base = c.Version
		} else {
			versions[i].Digest = record.Digest(c.Manifest)
		}
	}
	return versions
}

// set changes what others read meanwhile.
func (w *Workspace) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// Changed returns the entries of which records behind an index of the verified
// log made versions, each once: those of the record with a digest alone are mine.
func (w *Workspace) Changed(ctx context.Context, since uint64, own record.Digest) (others, mine []id.Entry, err error) {
	byOthers, byMe := map[id.Entry]bool{}, map[id.Entry]bool{}
	for kept, err := range w.session.Local().State.Records(ctx, w.id, since) {
		if err != nil {
			return nil, nil, err
		}
		step, err := decode(kept)
		if err != nil {
			return nil, nil, err
		}
		by := byOthers
		if record.Digest(sha256.Sum256(kept.Raw)) == own {
			by = byMe
		}
		for _, v := range versionsOf(step) {
			by[v.Entry] = true
		}
	}
	maps.DeleteFunc(byMe, func(e id.Entry, _ bool) bool { return byOthers[e] })
	return slices.Collect(maps.Keys(byOthers)), slices.Collect(maps.Keys(byMe)), nil
}

// Behind reports whether the verified log names manifests that the cache may
// not hold.
func (w *Workspace) Behind() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.mark.Manifests < w.log.Position().Index
}

// Mark returns what the cache reflects of the workspace.
func (w *Workspace) Mark() store.Mark {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.mark
}

// Cache writes what follows from the verified log into the cache, and moves
// its mark where move is not nil.
func (w *Workspace) Cache(ctx context.Context, move func(*store.Mark), apply func(*store.CacheTx) error) error {
	return w.session.Exclusive(ctx, func(ctx context.Context) error { return w.cache(ctx, move, apply) })
}

func (w *Workspace) cache(ctx context.Context, move func(*store.Mark), apply func(*store.CacheTx) error) error {
	mark := w.mark
	if move != nil {
		move(&mark)
	}
	err := w.session.Local().Cache.Update(ctx, w.id, func(tx *store.CacheTx) error {
		if err := apply(tx); err != nil || move == nil {
			return err
		}
		return tx.PutMark(mark)
	})
	if err == nil {
		w.set(func() { w.mark = mark })
	}
	return err
}
