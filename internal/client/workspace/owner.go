package workspace

import (
	"context"

	"parsec/internal/base/fault"
	"parsec/internal/client/seal"
	"parsec/internal/format/record"
)

// Rename gives the workspace another name, for all its members.
func (w *Workspace) Rename(ctx context.Context, name string) error {
	if err := seal.CheckWorkspaceName(name); err != nil {
		return fault.Errorf(fault.Usage, "rename %s: %w", w.what(), err)
	}
	if err := w.need(record.RoleOwner, "rename the workspace"); err != nil {
		return err
	}
	return w.retry(ctx, func() (record.Payload, *outgoing, error) {
		if w.Name() == name {
			return nil, nil, nil
		}
		key, err := w.Newest(ctx)
		if err != nil {
			return nil, nil, err
		}
		sealed, err := key.SealName(name)
		return record.Renamed{Generation: key.Generation, Name: sealed}, nil, err
	})
}

// Archive ends or resumes the taking of commits. It does nothing where it is so
// already.
func (w *Workspace) Archive(ctx context.Context, archived bool) error {
	if err := w.need(record.RoleOwner, "archive the workspace or take it back into use"); err != nil {
		return err
	}
	state := record.ArchivingActive
	if archived {
		state = record.ArchivingArchived
	}
	return w.retry(ctx, func() (record.Payload, *outgoing, error) {
		if w.Log().Archived() == archived {
			return nil, nil, nil
		}
		return record.ArchivingChanged{State: state}, nil, nil
	})
}

// TakeOwnership makes the own user the owner of a workspace that has none left.
// Where two members try, the place in the log lets one succeed.
func (w *Workspace) TakeOwnership(ctx context.Context) error {
	return w.retry(ctx, func() (record.Payload, *outgoing, error) {
		if err := w.mayTakeOwnership(); err != nil {
			return nil, nil, err
		}
		return record.RoleChanged{User: w.session.Device().User, Role: record.RoleOwner}, nil, nil
	})
}

func (w *Workspace) mayTakeOwnership() error {
	own := w.Role()
	for _, m := range w.Members() {
		switch {
		case m.ID == w.session.Device().User && m.Role == record.RoleOwner:
			return fault.Errorf(fault.Conflict, "take ownership of %s: you are its owner", w.what())
		case m.Role == record.RoleOwner:
			return fault.WithHint(fault.Errorf(fault.Denied, "take ownership of %s: %s is its owner", w.what(), m.Email), "ask them for the role")
		case m.Role > own:
			return fault.WithHint(fault.Errorf(fault.Denied, "take ownership of %s: %s is %s there, and your role is %s", w.what(), m.Email, m.Role, own),
				"the highest role that is left takes ownership")
		}
	}
	if w.session.Profile() == record.ProfileOutsider {
		return fault.Errorf(fault.Denied, "take ownership of %s: outsiders own no workspace", w.what())
	}
	return nil
}
