package workspace

import (
	"context"
	"slices"
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/session"
	"parsec/internal/format/record"
)

// List returns the own user's workspaces by name, their logs pulled. One that
// was shared with the user and is not any more is left out.
func List(ctx context.Context, s *session.Session) ([]*Workspace, error) {
	hints, err := s.Server().ListWorkspaces(ctx)
	if err != nil {
		return nil, err
	}
	var all []*Workspace
	for _, hint := range hints {
		w, err := open(ctx, s, hint.Workspace)
		if err != nil {
			return nil, err
		}
		err = w.follow(ctx, hint.Index)
		if err != nil && !fault.Is(err, fault.Denied) { // removed in this moment
			return nil, err
		}
		if err == nil && w.Role() != record.RoleNone {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b *Workspace) int {
		return strings.Compare(a.Name()+a.id.String(), b.Name()+b.id.String())
	})
	return all, nil
}

// follow pulls the log where the server says that it moved, or says less than
// it did.
func (w *Workspace) follow(ctx context.Context, index uint64) error {
	return w.session.Exclusive(ctx, func(ctx context.Context) error { return w.followTo(ctx, index) })
}

func (w *Workspace) followTo(ctx context.Context, index uint64) error {
	known, _ := w.session.Known(w.id)
	if at := w.log.Position().Index; at == index && index > 0 && known.Head.Index <= at {
		if w.name == "" { // what it takes to open was not to be had before
			return w.openName(ctx)
		}
		return nil
	}
	return w.PullLog(ctx)
}

// Find opens the workspace with a name or id and pulls its log. A name that
// two workspaces have means neither.
func Find(ctx context.Context, s *session.Session, name string) (*Workspace, error) {
	w, denied := remembered(ctx, s, name)
	if w != nil || denied != nil && !fault.Is(denied, fault.Denied) {
		return w, denied
	}
	all, err := List(ctx, s)
	if err != nil {
		return nil, err
	}
	var found []*Workspace
	for _, w := range all {
		if w.Name() == name || w.id.String() == name {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if denied != nil {
			return nil, denied
		}
		for _, w := range all {
			if why := w.namelessness(); why != nil {
				return nil, fault.Errorf(fault.NotFound, "no workspace %q, unless it is %s, which does not open: %w", name, w.id, why)
			}
		}
		return nil, fault.WithHint(fault.Errorf(fault.NotFound, "no workspace %q", name), "`parsec workspace list` shows those you are a member of")
	}
	return nil, fault.WithHint(fault.Errorf(fault.Conflict, "%d workspaces are called %q", len(found), name), "use the id that `parsec workspace list` shows")
}

// namelessness returns why the workspace has no name, nil if it has one.
func (w *Workspace) namelessness() error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.name != "" {
		return nil
	}
	return w.nameless
}

// Remembered returns the workspaces that this device knows of, as far as it has
// verified them, without asking the server. Some may not be shared with the
// user any more.
func Remembered(ctx context.Context, s *session.Session) ([]*Workspace, error) {
	kept, err := s.Local().State.Workspaces(ctx)
	if err != nil {
		return nil, err
	}
	var all []*Workspace
	for _, k := range kept {
		w, err := open(ctx, s, k.Workspace)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// Open returns the workspace with an id, of which nothing may be known yet.
func Open(ctx context.Context, s *session.Session, w id.Workspace) (*Workspace, error) {
	return open(ctx, s, w)
}

// remembered opens the one workspace that this device knows by a name or id,
// which saves asking for all of them. It fails with [fault.Denied] for one that
// is not shared with the user any more; another may have its name.
func remembered(ctx context.Context, s *session.Session, name string) (*Workspace, error) {
	kept, err := s.Local().State.Workspaces(ctx)
	if err != nil {
		return nil, err
	}
	var found []id.Workspace
	for _, k := range kept {
		if k.Name == name || k.Workspace.String() == name {
			found = append(found, k.Workspace)
		}
	}
	if len(found) != 1 {
		return nil, nil
	}
	w, err := open(ctx, s, found[0])
	if err != nil {
		return nil, err
	}
	if err := w.PullLog(ctx); err != nil {
		return nil, err
	}
	if w.Name() != name && w.id.String() != name {
		return nil, nil // it was renamed
	}
	return w, nil
}

// Maintain does what is due in the workspace and nobody asks for: a rotation
// after a revocation, where the own role allows it, and a heartbeat where the
// log has been silent for a day or does not tell of a revocation yet. Whose
// clock is wrong can sign nothing, but still read: writing tells.
func (w *Workspace) Maintain(ctx context.Context) error {
	err := w.rotateIfDue(ctx)
	if err == nil {
		err = w.retry(ctx, w.heartbeat)
	}
	if fault.Is(err, fault.Clock) {
		return nil
	}
	return err
}

// heartbeat returns a heartbeat if one is due.
func (w *Workspace) heartbeat() (record.Payload, *outgoing, error) {
	o := w.session.Organization()
	if !w.log.HeartbeatDue(o, o.Position().Index, w.session.Now().UnixNano()) {
		return nil, nil, nil
	}
	return record.Heartbeat{}, nil, nil
}
