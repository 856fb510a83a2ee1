package workspace

import (
	"context"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/remote"
	"parsec/internal/client/session"
	"parsec/internal/client/store"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Audit is what a fresh reading of a workspace's log gave.
type Audit struct {
	// Records are those of the organization's log and of the workspace's.
	Records int
	// Newest is the newest version of every entry, those that are gone included.
	Newest map[id.Entry]store.Version
}

// Audit reads both logs from their beginnings, as the server gives them now,
// verifies every record again, and compares the ends with what this device
// remembers.
func (w *Workspace) Audit(ctx context.Context) (Audit, error) {
	a := Audit{Newest: map[id.Entry]store.Version{}}
	o, err := w.session.AuditOrganization(ctx)
	if err != nil {
		return a, err
	}
	a.Records = int(o.Position().Index)
	fresh := verify.NewWorkspace(o.Fingerprint(), w.id)
	h := newHistory(ctx, w)
	h.fresh = true
	err = w.session.Server().PullWorkspace(ctx, w.id, 0, func(b remote.Batch) error {
		for _, raw := range b.Records {
			step, err := auditRecord(o, fresh, h, raw)
			if err != nil {
				return verify.Broken(err)
			}
			h.note(step)
			for _, v := range h.versions {
				a.Newest[v.Entry] = v
			}
			h.versions = h.versions[:0]
			a.Records++
		}
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("verify %s: %w", w.what(), err)
	}
	return a, w.compare(fresh, h)
}

func auditRecord(o *verify.Organization, w *verify.Workspace, h *history, raw []byte) (*verify.Step, error) {
	signed, err := verify.Authenticate(o, raw)
	if err != nil {
		return nil, err
	}
	return w.Append(o, h, signed)
}

// compare checks that the log which was read again passes through what this
// device remembers.
func (w *Workspace) compare(fresh *verify.Workspace, h *history) error {
	mine := w.Log().Position()
	if fresh.Position().Index <= mine.Index {
		return session.CheckExtends(w.what(), mine, fresh.Position())
	}
	if h.heads[mine.Index] != mine.Head {
		return fault.Broken(session.PromiseOneHistory, "the log of %s does not pass through index %d as this device has verified it", w.what(), mine.Index)
	}
	return nil
}

// Event is one record of the log, for people.
type Event struct {
	Index  uint64
	Time   int64
	Author id.Device
	// User is the author's e-mail address, or the id where it is not known.
	User string
	Kind record.Kind
	// Versions are those that a commit made.
	Versions []store.Version
	// Says tells what another record did.
	Says string
}

// Events calls visit with the records of the log, in order.
func (w *Workspace) Events(ctx context.Context, visit func(Event) error) error {
	for kept, err := range w.session.Local().State.Records(ctx, w.id, 0) {
		if err != nil {
			return err
		}
		step, err := decode(kept)
		if err != nil {
			return err
		}
		r := step.Record
		e := Event{Index: kept.Index, Time: r.Time, Author: r.Author, User: r.Author.String(), Kind: r.Kind, Versions: versionsOf(step)}
		if d, ok := w.session.Organization().Device(r.Author); ok {
			e.User = w.session.EmailOf(d.User)
		}
		e.Says = w.says(step.Payload)
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

func (w *Workspace) says(p record.Payload) string {
	switch p := p.(type) {
	case record.RoleChanged:
		if p.Role == record.RoleNone {
			return fmt.Sprintf("%s removed, key generation %d", w.session.EmailOf(p.User), p.Rotation[0].Generation)
		}
		return fmt.Sprintf("%s is %s", w.session.EmailOf(p.User), p.Role)
	case record.WorkspaceCreated:
		return "key generation 1"
	case record.KeyRotated:
		return fmt.Sprintf("key generation %d", p.Rotation.Generation)
	case record.ArchivingChanged:
		if p.State == record.ArchivingArchived {
			return "archived"
		}
		return "in use again"
	}
	return ""
}
