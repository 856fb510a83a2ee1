package workspace

import (
	"context"
	"errors"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/client/session"
	"parsec/internal/client/store"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// PullLog verifies and remembers what came to the workspace's log. The
// organization's log is to be pulled before.
func (w *Workspace) PullLog(ctx context.Context) error {
	return w.session.Exclusive(ctx, w.pullLog)
}

func (w *Workspace) pullLog(ctx context.Context) error {
	if err := w.keepUp(ctx); err != nil {
		return err
	}
	asked := w.session.Organization().Position().Index
	var claimed *record.Position
	err := w.session.Server().PullWorkspace(ctx, w.id, w.log.Position().Index, func(b remote.Batch) error {
		if b.Position != nil && claimed == nil {
			if err := session.CheckExtends(w.what(), w.log.Position(), *b.Position); err != nil {
				return err
			}
			claimed = b.Position
		}
		return w.accept(ctx, b.Records)
	})
	if fault.Is(err, fault.Denied) {
		return w.notMember()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.what(), err)
	}
	if err := w.checkClaimed(claimed); err != nil {
		return err
	}
	if err := w.checkKnown(ctx); err != nil {
		return err
	}
	if err := w.checkInvited(); err != nil {
		return err
	}
	if w.asked < asked {
		if err := w.remember(ctx, w.log, nil, asked); err != nil {
			return err
		}
	}
	w.session.Verified(w.id, w.log.Position(), asked)
	return w.openName(ctx)
}

// checkClaimed checks that the server gave what it said that it has.
func (w *Workspace) checkClaimed(claimed *record.Position) error {
	at := w.log.Position()
	switch {
	case claimed == nil:
	case at.Index < claimed.Index:
		return fault.Broken(verify.RuleKnown.String(), "the server said that the log of %s stands at index %d, and gave it up to %d",
			w.what(), claimed.Index, at.Index)
	case at.Index == claimed.Index && at.Head != claimed.Head:
		return fault.Broken(session.PromiseOneHistory, "the server said that the log of %s has head %.16s at index %d, and gave one with head %.16s",
			w.what(), claimed.Head, at.Index, at.Head)
	}
	return nil
}

// accept verifies records and remembers them, in the state before the cache.
// What was asked for moves only with the whole answer: a record of its second
// half may be older than a revocation that its first half covers.
func (w *Workspace) accept(ctx context.Context, raw [][]byte) error {
	if len(raw) == 0 {
		return nil
	}
	next := w.log.Clone()
	h := newHistory(ctx, w)
	var records []store.Record
	for _, r := range raw {
		step, err := w.verify(ctx, next, h, r)
		if err != nil {
			return verify.Broken(err)
		}
		if err := w.checkPasses(step.Position); err != nil {
			return err
		}
		h.note(step)
		w.noteAuthor(step.Record)
		records = append(records, store.Record{Index: step.Position.Index, Head: step.Position.Head, Raw: r})
	}
	if err := w.remember(ctx, next, records, w.asked); err != nil {
		return err
	}
	return w.cacheVersions(ctx, h.versions, next.Position(), nil)
}

// noteAuthor notes when another user was heard last.
func (w *Workspace) noteAuthor(r *record.Record) {
	if d, _ := w.session.Organization().Device(r.Author); d.User != w.session.Device().User {
		w.set(func() { w.othersSeen = max(w.othersSeen, r.Time) })
	}
}

// remember writes a verified state, and the records that led to it.
func (w *Workspace) remember(ctx context.Context, next *verify.Workspace, records []store.Record, asked uint64) error {
	err := w.session.Local().State.Update(ctx, func(tx *store.StateTx) error {
		return w.write(tx, next, records, asked)
	})
	if err != nil {
		return err
	}
	w.set(func() { w.log, w.asked = next, asked })
	return nil
}

func (w *Workspace) write(tx *store.StateTx, next *verify.Workspace, records []store.Record, asked uint64) error {
	if err := tx.Append(w.id, records...); err != nil {
		return err
	}
	o := w.session.Organization()
	return tx.PutWorkspace(store.Workspace{
		Workspace: w.id, Position: next.Position(), Organization: asked, Snapshot: next.Snapshot(), Name: w.name, OthersSeen: w.othersSeen,
		Role: next.Role(o, w.session.Device().User, o.Position().Index),
	})
}

// verify verifies one record as the next of the log. Where it refers to more
// of the organization's log than is known, that is pulled first.
func (w *Workspace) verify(ctx context.Context, next *verify.Workspace, h verify.History, raw []byte) (*verify.Step, error) {
	step, err := w.append(next, h, raw)
	var v *verify.Violation
	if !errors.As(err, &v) || v.Rule != verify.RuleKnown {
		return step, err
	}
	if err := w.session.PullOrganization(ctx); err != nil {
		return nil, err
	}
	return w.append(next, h, raw)
}

func (w *Workspace) append(next *verify.Workspace, h verify.History, raw []byte) (*verify.Step, error) {
	o := w.session.Organization()
	signed, err := verify.Authenticate(o, raw)
	if err != nil {
		return nil, err
	}
	if err := next.CheckUnrevoked(o, signed, w.asked); err != nil {
		return nil, err
	}
	return next.Append(o, h, signed)
}

// checkPasses checks that a place of the log, before it is remembered, is none
// where other devices of the user, or the greeter of this one, have verified
// another head: a fork that stayed here would shut out an honest server.
func (w *Workspace) checkPasses(at record.Position) error {
	if known, ok := w.session.Known(w.id); ok && known.Head.Index == at.Index {
		return session.CheckExtends(w.what(), known.Head, at)
	}
	return nil
}

// checkKnown checks that the log, as it is remembered, passes through what
// other devices of the user, or the greeter of this one, have verified.
func (w *Workspace) checkKnown(ctx context.Context) error {
	known, ok := w.session.Known(w.id)
	if !ok || known.Head.Index == 0 {
		return nil
	}
	at := w.log.Position()
	if known.Head.Index >= at.Index {
		return session.CheckExtends(w.what(), known.Head, at)
	}
	head, err := w.session.Local().State.Head(ctx, w.id, known.Head.Index)
	if err != nil {
		return err
	}
	if head != known.Head.Head {
		return session.CheckExtends(w.what(), known.Head, record.Position{Index: known.Head.Index, Head: head})
	}
	return nil
}

// checkInvited accepts a workspace only through a record that names the own
// user a member: its author vouches for the past.
func (w *Workspace) checkInvited() error {
	for _, m := range w.log.Members() {
		if m.User == w.session.Device().User {
			return nil
		}
	}
	return w.notMember()
}

func (w *Workspace) notMember() error {
	return fault.WithHint(fault.Errorf(fault.Denied, "you are not a member of %s", w.what()),
		"ask one of its owners or managers to share it with you")
}

// history answers what the state of the log is too small to hold: from the
// local store, and from records that are being verified.
type history struct {
	ctx      context.Context
	w        *Workspace
	heads    map[uint64]record.Head
	newest   map[id.Entry]verify.Version
	versions []store.Version
	// fresh says that the local store is not to be asked: the log is read from
	// its beginning.
	fresh bool
}

var _ verify.History = (*history)(nil)

func newHistory(ctx context.Context, w *Workspace) *history {
	return &history{ctx: ctx, w: w, heads: map[uint64]record.Head{}, newest: map[id.Entry]verify.Version{}}
}

// note adds a record that was verified.
func (h *history) note(step *verify.Step) {
	h.heads[step.Position.Index] = step.Position.Head
	for _, v := range versionsOf(step) {
		h.versions = append(h.versions, v)
		h.newest[v.Entry] = verify.Version{Number: v.Number, Base: v.Base, Gone: v.Gone}
	}
}

// Head implements [verify.History].
func (h *history) Head(index uint64) (record.Head, error) {
	if head, ok := h.heads[index]; ok {
		return head, nil
	}
	if start := record.WorkspaceLog(h.w.session.Device().Organization, h.w.id).Start(); index == 0 {
		return start.Head, nil
	}
	if h.fresh {
		return record.Head{}, fault.Errorf(fault.NotFound, "no head at index %d", index)
	}
	return h.w.session.Local().State.Head(h.ctx, h.w.id, index)
}

// Versions implements [verify.History].
func (h *history) Versions(entries []id.Entry) ([]verify.Version, error) {
	out := make([]verify.Version, len(entries))
	var ask []id.Entry
	for i, e := range entries {
		v, ok := h.newest[e]
		if !ok {
			ask = append(ask, e)
		}
		out[i] = v
	}
	if len(ask) == 0 || h.fresh {
		return out, nil
	}
	kept, err := h.w.session.Local().Cache.Newest(h.ctx, h.w.id, ask)
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if _, ok := h.newest[e]; !ok {
			out[i] = verify.Version{Number: kept[0].Number, Base: kept[0].Base, Gone: kept[0].Gone}
			kept = kept[1:]
		}
	}
	return out, nil
}
