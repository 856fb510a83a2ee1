package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/client/session"
	"parsec/internal/client/store"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Change is what a commit does to one entry.
type Change struct {
	// Manifest is the entry's next version. Its version and author are set by
	// the commit; of one that is gone, only the entry counts.
	Manifest manifest.Manifest
	// Body is nil for an entry that is gone.
	Body manifest.Body
}

// Proposal is a commit to be made.
type Proposal struct {
	// Changes are at most [record.MaxChanges], each of another entry. None
	// means that nothing is left to be done.
	Changes []Change
	// Blocks are all that the changes introduce. They are stored already.
	Blocks []id.Block
	// Restructures says that existing entries are moved or removed.
	Restructures bool
	// Intend, if it is not nil, is told the digest of the signed record before
	// it is sent. Where it fails, nothing is.
	Intend func(record.Digest) error
	// Derive writes what follows from the changes into the cache, in the
	// update that takes them up.
	Derive func(*store.CacheTx) error
}

// maxTries bounds how often a commit is proposed anew because others were first.
const maxTries = 50

// MayWrite fails unless a commit of the own user would be accepted, as far as
// is known. Whoever is about to upload asks first.
func (w *Workspace) MayWrite() error {
	if err := w.need(record.RoleContributor, "write"); err != nil {
		return err
	}
	if w.Log().Archived() {
		return fault.WithHint(fault.Errorf(fault.Denied, "cannot write: %s is archived", w.what()), "an owner can take it back into use")
	}
	return nil
}

// Commit commits what propose returns. Where others were first, it pulls and
// has a new proposal made of what there is then. A rotation that is due comes
// before it.
func (w *Workspace) Commit(ctx context.Context, propose func(context.Context) (*Proposal, error)) error {
	return w.session.Exclusive(ctx, func(ctx context.Context) error { return w.commitWhat(ctx, propose) })
}

func (w *Workspace) commitWhat(ctx context.Context, propose func(context.Context) (*Proposal, error)) error {
	if err := w.MayWrite(); err != nil {
		return err
	}
	if err := w.session.Settle(ctx); err != nil {
		return err
	}
	for try := 0; ; try++ {
		if err := w.rotateIfDue(ctx); err != nil {
			return err
		}
		if err := w.keepUp(ctx); err != nil {
			return err
		}
		p, err := propose(ctx)
		if err != nil || len(p.Changes) == 0 {
			return err
		}
		refusal := w.commit(ctx, p)
		if !fault.Is(refusal, fault.Stale) || try == maxTries {
			return refusal
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
		if err := w.refresh(ctx, refusal); err != nil {
			return err
		}
	}
}

// refresh pulls both logs after a refusal as stale, as far as there is one of
// the workspace yet. A server that refuses for what it has, and does not give
// it, withholds it.
func (w *Workspace) refresh(ctx context.Context, refusal error) error {
	organization, log := w.session.Organization().Position(), w.log.Position()
	err := w.session.PullOrganization(ctx)
	if err == nil && log.Index > 0 {
		err = w.PullLog(ctx)
	}
	if err != nil {
		return err
	}
	_, refused := errors.AsType[*remote.Stale](refusal)
	if !refused || organization != w.session.Organization().Position() || log != w.log.Position() {
		w.standing = 0
		return nil
	}
	if w.standing++; w.standing < maxStanding {
		return nil
	}
	return fault.Broken(verify.RuleKnown.String(), "the server refuses a record for what others have written, and gives the log of %s up to index %d only",
		w.what(), log.Index)
}

// maxStanding is how often in a row a refusal may refer to what is not given.
const maxStanding = 3

// pause waits a random time that grows with the tries, so that devices which
// collide once do not collide for ever.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	t := time.NewTimer(time.Duration(rand.Int64N(int64(min(try, 20)) * int64(10*time.Millisecond))))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *Workspace) commit(ctx context.Context, p *Proposal) error {
	commit, versions, request, err := w.seal(ctx, p)
	if err != nil {
		return err
	}
	request.Record = w.sign(commit)
	next, err := w.rehearse(ctx, request.Record)
	if err != nil {
		return err
	}
	if p.Intend != nil {
		if err := p.Intend(record.Digest(sha256.Sum256(request.Record))); err != nil {
			return err
		}
	}
	at, err := w.session.Send(ctx, w.id, request, func(tx *store.StateTx, at record.Position) error {
		if at != next.Position() {
			return nil
		}
		return w.write(tx, next, []store.Record{{Index: at.Index, Head: at.Head, Raw: request.Record}}, w.asked)
	})
	if fault.Is(err, fault.Missing) {
		return fault.Broken(transfer.PromiseStored, "%s: the server took blocks, or said so, and does not have them: %w", w.what(), err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.what(), err)
	}
	if at != next.Position() {
		return w.pullOwn(ctx, next) // others' commits came in between; ours is behind them
	}
	w.set(func() { w.log = next })
	for i := range versions {
		versions[i].Index = at.Index
	}
	w.session.Verified(w.id, at, w.asked)
	return w.cacheVersions(ctx, versions, at, p.Derive)
}

// Holds reports whether the verified log holds a record with this digest.
func (w *Workspace) Holds(ctx context.Context, digest record.Digest) (bool, error) {
	for r, err := range w.session.Local().State.Records(ctx, w.id, 0) {
		if err != nil {
			return false, err
		}
		if record.Digest(sha256.Sum256(r.Raw)) == digest {
			return true, nil
		}
	}
	return false, nil
}

// seal seals the manifests of a proposal under the newest key.
func (w *Workspace) seal(ctx context.Context, p *Proposal) (record.Commit, []store.Version, session.Request, error) {
	commit := record.Commit{Generation: w.log.Generation(), Restructures: p.Restructures}
	request := session.Request{Commit: true, Blocks: p.Blocks}
	key, err := w.Newest(ctx)
	if err != nil {
		return commit, nil, request, err
	}
	entries := make([]id.Entry, len(p.Changes))
	for i, c := range p.Changes {
		entries[i] = c.Manifest.Entry
	}
	present, err := w.session.Local().Cache.Newest(ctx, w.id, entries)
	if err != nil {
		return commit, nil, request, err
	}
	versions := make([]store.Version, len(p.Changes))
	for i, c := range p.Changes {
		m, v := c.Manifest, present[i]
		m.Version, m.Author = v.Number+1, w.session.Device().Device
		change := record.Change{Entry: m.Entry, Version: m.Version}
		versions[i] = store.Version{Entry: m.Entry, Number: m.Version, Base: m.Version, Generation: key.Generation, Author: m.Author, Gone: true}
		if c.Body != nil {
			change.Base = m.Version
			if folder, ok := c.Body.(manifest.FolderBody); ok && folder.Delta {
				change.Base = v.Base
			}
			sealed, digest := key.SealManifest(m, c.Body)
			change.Manifest = digest[:]
			request.Manifests = append(request.Manifests, sealed)
			versions[i].Base, versions[i].Digest, versions[i].Manifest, versions[i].Gone = change.Base, digest, sealed, false
		}
		commit.Changes = append(commit.Changes, change)
	}
	return commit, versions, request, nil
}

// sign signs a record for the next place of the log.
func (w *Workspace) sign(p record.Payload) []byte {
	d := w.session.Device()
	return w.session.Sign(record.WorkspaceLog(d.Organization, w.id),
		record.Seen{Organization: w.session.Organization().Position(), Workspace: w.log.Position()},
		w.log.Sequence(d.Device)+1, w.log.Time(), p)
}

// rehearse returns the state behind a record of one's own, or refuses it as
// everyone else would.
func (w *Workspace) rehearse(ctx context.Context, raw []byte) (*verify.Workspace, error) {
	next := w.log.Clone()
	_, err := w.append(next, newHistory(ctx, w), raw)
	return next, err
}
