package workspace

import (
	"context"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/seal"
	"parsec/internal/client/session"
	"parsec/internal/client/store"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Create makes a workspace whose owner is the own user.
func Create(ctx context.Context, s *session.Session, name string) (*Workspace, error) {
	if err := seal.CheckWorkspaceName(name); err != nil {
		return nil, fault.Errorf(fault.Usage, "create workspace: %w", err)
	}
	if s.Profile() == record.ProfileOutsider {
		return nil, fault.WithHint(fault.Errorf(fault.Denied, "create workspace: outsiders cannot create workspaces"),
			"ask somebody in the organization to create it and share it with you")
	}
	w, err := open(ctx, s, id.New[id.Workspace]())
	if err != nil {
		return nil, err
	}
	err = w.retry(ctx, func() (record.Payload, *outgoing, error) {
		key := seal.NewWorkspaceKey(w.Place(), 1)
		sealed, err := key.SealName(name)
		if err != nil {
			return nil, nil, err
		}
		o := s.Organization()
		recipients := []verify.Recipient{}
		if k, ok := o.KeyAt(s.Device().User, o.Position().Index); ok {
			recipients = append(recipients, verify.Recipient{ID: s.Device().User, Key: k})
		}
		for _, service := range o.Services(o.Position().Index) {
			recipients = append(recipients, verify.Recipient{ID: service.ID, Key: service.Key})
		}
		rotation, out, err := newRotation(key, recipients)
		return record.WorkspaceCreated{Rotation: rotation, Name: sealed}, out, err
	})
	if err != nil {
		return nil, fmt.Errorf("create workspace: %w", err)
	}
	return w, nil
}

// outgoing is what is sent beside a record, and the key that it introduces.
type outgoing struct {
	grants []session.Sealed
	key    seal.WorkspaceKey
	fresh  bool
}

// newRotation seals a new key to its recipients, who are by ascending id.
func newRotation(key seal.WorkspaceKey, recipients []verify.Recipient) (record.Rotation, *outgoing, error) {
	r := record.Rotation{Generation: key.Generation, Commitment: key.Commitment()}
	out := &outgoing{key: key, fresh: true}
	for _, to := range recipients {
		grant, sealed, err := key.SealGrant(to.ID, to.Key)
		if err != nil {
			return r, nil, err
		}
		r.Grants = append(r.Grants, grant)
		out.grants = append(out.grants, session.Sealed{To: to.ID, Bytes: sealed})
	}
	return r, out, nil
}

// rotation returns the next generation of the key, sealed to all members less
// one.
func (w *Workspace) rotation(ctx context.Context, less id.User) (record.Rotation, *outgoing, error) {
	old, err := w.Newest(ctx)
	if err != nil {
		return record.Rotation{}, nil, err
	}
	key := seal.NewWorkspaceKey(w.Place(), old.Generation+1)
	o := w.session.Organization()
	r, out, err := newRotation(key, w.log.Recipients(o, o.Position().Index, less))
	r.Links, r.Backlink = old.Generation, key.SealBacklink(old)
	return r, out, err
}

// retry appends the record that draft makes, other than a commit. Where others
// were first it pulls and has another made.
func (w *Workspace) retry(ctx context.Context, draft func() (record.Payload, *outgoing, error)) error {
	return w.session.Exclusive(ctx, func(ctx context.Context) error { return w.appendDraft(ctx, draft) })
}

func (w *Workspace) appendDraft(ctx context.Context, draft func() (record.Payload, *outgoing, error)) error {
	for try := 0; ; try++ {
		p, out, err := draft()
		if err != nil || p == nil {
			return err
		}
		if err := w.session.Settle(ctx); err != nil {
			return err
		}
		refusal := w.appendRecord(ctx, p, out)
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

func (w *Workspace) appendRecord(ctx context.Context, p record.Payload, out *outgoing) error {
	raw := w.sign(p)
	next, err := w.rehearse(ctx, raw)
	if err != nil {
		return err
	}
	request := session.Request{Record: raw, Generation: next.Generation()}
	if out != nil {
		request.Grants = out.grants
	}
	if _, err := w.session.Send(ctx, w.id, request, nil); err != nil {
		return err
	}
	if out == nil || !out.fresh {
		return w.pullOwn(ctx, next)
	}
	key := out.key
	w.set(func() { w.keys[key.Generation] = key })
	if err := w.pullOwn(ctx, next); err != nil {
		w.set(func() { delete(w.keys, key.Generation) })
		return err
	}
	return w.session.Local().State.Update(ctx, func(tx *store.StateTx) error {
		return tx.PutKeys(w.id, store.Key{Generation: key.Generation, Key: key.Key})
	})
}

// pullOwn pulls the log, in which the record that next is behind has to be:
// the server said that it took it.
func (w *Workspace) pullOwn(ctx context.Context, next *verify.Workspace) error {
	if err := w.PullLog(ctx); err != nil {
		return err
	}
	if own := w.session.Device().Device; w.log.Sequence(own) < next.Sequence(own) {
		return fault.Broken(verify.RuleSequence.String(), "the server took a record into the log of %s, or said so, and gives the log without it", w.what())
	}
	return nil
}

// Member is a member with the present role.
type Member struct {
	session.Person
	Role record.Role
}

// Members returns the members, without those who were revoked.
func (w *Workspace) Members() []Member {
	o := w.session.Organization()
	log := w.Log()
	var all []Member
	for _, m := range log.Members() {
		if role := log.Role(o, m.User, o.Position().Index); role != record.RoleNone {
			p, _ := w.session.Person(m.User)
			all = append(all, Member{p, role})
		}
	}
	return all
}

// Share gives a user a role, and with it the workspace's key. It does nothing
// where the user has the role already.
func (w *Workspace) Share(ctx context.Context, p session.Person, role record.Role) error {
	if p.Profile() == record.ProfileOutsider && role > record.RoleContributor {
		return fault.WithHint(fault.Errorf(fault.Denied, "share %s: %s is an outsider, who can be no more than a contributor", w.what(), p.Email),
			"give another role, or an administrator changes the profile")
	}
	return w.setRole(ctx, p, role, func(o *verify.Organization) (record.Payload, *outgoing, error) {
		if w.stored(p.ID) != record.RoleNone {
			return record.RoleChanged{User: p.ID, Role: role}, nil, nil
		}
		to, ok := o.KeyAt(p.ID, o.Position().Index)
		if !ok {
			return nil, nil, fault.WithHint(fault.Errorf(fault.Denied, "share %s: a device of %s was revoked and the key is not replaced yet", w.what(), p.Email),
				"it is once a device of %s comes online", p.Email)
		}
		key, err := w.Newest(ctx)
		if err != nil {
			return nil, nil, err
		}
		grant, sealed, err := key.SealGrant(p.ID, to)
		out := &outgoing{grants: []session.Sealed{{To: p.ID, Bytes: sealed}}}
		return record.RoleChanged{User: p.ID, Role: role, Grant: []record.Grant{grant}}, out, err
	})
}

// Unshare removes a member and rotates the key, in one record.
func (w *Workspace) Unshare(ctx context.Context, p session.Person) error {
	if w.stored(p.ID) == record.RoleNone {
		return fault.Errorf(fault.NotFound, "unshare %s: %s is not a member", w.what(), p.Email)
	}
	return w.setRole(ctx, p, record.RoleNone, func(*verify.Organization) (record.Payload, *outgoing, error) {
		rotation, out, err := w.rotation(ctx, p.ID)
		return record.RoleChanged{User: p.ID, Rotation: []record.Rotation{rotation}}, out, err
	})
}

func (w *Workspace) setRole(ctx context.Context, p session.Person, role record.Role, draft func(*verify.Organization) (record.Payload, *outgoing, error)) error {
	if p.ID == w.session.Device().User {
		return fault.WithHint(fault.Errorf(fault.Denied, "change members of %s: nobody changes their own role", w.what()),
			"ask another owner or manager")
	}
	least := record.RoleManager
	if max(role, w.stored(p.ID)) > record.RoleContributor {
		least = record.RoleOwner
	}
	if err := w.need(least, "change that member"); err != nil {
		return err
	}
	return w.retry(ctx, func() (record.Payload, *outgoing, error) {
		if w.stored(p.ID) == role {
			return nil, nil, nil
		}
		return draft(w.session.Organization())
	})
}

// stored returns the role that the log gave a user.
func (w *Workspace) stored(u id.User) record.Role {
	for _, m := range w.Log().Members() {
		if m.User == u {
			return m.Role
		}
	}
	return record.RoleNone
}

// Rotate introduces another generation of the workspace's key.
func (w *Workspace) Rotate(ctx context.Context) error {
	if err := w.need(record.RoleManager, "rotate the key"); err != nil {
		return err
	}
	return w.retry(ctx, func() (record.Payload, *outgoing, error) { return w.keyRotated(ctx) })
}

func (w *Workspace) keyRotated(ctx context.Context) (record.Payload, *outgoing, error) {
	rotation, out, err := w.rotation(ctx, id.User{})
	return record.KeyRotated{Rotation: rotation}, out, err
}

// rotateIfDue rotates the key where somebody who held it was revoked and the
// own role allows it. Whoever comes first does it, unasked.
func (w *Workspace) rotateIfDue(ctx context.Context) error {
	return w.retry(ctx, func() (record.Payload, *outgoing, error) {
		o := w.session.Organization()
		if !w.log.Due(o, o.Position().Index) || w.Role() < record.RoleContributor {
			return nil, nil, nil
		}
		return w.keyRotated(ctx)
	})
}
