package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/access"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
	"parsec/internal/verify"
)

// Append appends the caller's record, any kind but a commit, with the sealed
// keys to which it commits. For a record that the log holds already it returns
// the original position.
func (s *Service) Append(ctx context.Context, c call.Caller, w id.Workspace, raw []byte, grants []meta.Grant) (record.Position, error) {
	signed, err := s.authenticate(ctx, c, raw)
	if err != nil {
		return record.Position{}, err
	}
	if signed.Record.Kind == record.KindCommit {
		return record.Position{}, fault.Errorf(fault.Invalid, "a commit among the records that are none")
	}
	if err := checkGrants(signed.Payload, grants); err != nil {
		return record.Position{}, err
	}
	return s.write(ctx, c, w, signed, func(tx meta.Tx, ws access.Workspace, step *verify.Step) error {
		if p, ok := step.Payload.(record.RoleChanged); ok && len(p.Grant) > 0 && grants[0].Generation != ws.State.Generation() {
			return fault.Errorf(fault.Invalid, "a grant of generation %d, the newest is %d", grants[0].Generation, ws.State.Generation())
		}
		if err := setRoles(tx, ws.Row.Key, signed.User, step.Payload, s.now().UnixNano()); err != nil {
			return err
		}
		return tx.Grants().Put(ws.Row.Key, grants)
	})
}

// checkGrants fails unless the sealed keys are exactly those to which the
// record commits.
func checkGrants(p record.Payload, grants []meta.Grant) error {
	committed, generation := commitments(p)
	sealed := make(map[[id.Size]byte]record.Digest, len(grants))
	for _, g := range grants {
		if len(g.Sealed) > maxGrant || generation > 0 && g.Generation != generation {
			return fault.Errorf(fault.Invalid, "a sealed key of %d bytes, of generation %d", len(g.Sealed), g.Generation)
		}
		sealed[g.Recipient] = sha256.Sum256(g.Sealed)
	}
	if len(sealed) != len(grants) || len(committed) != len(grants) {
		return fault.Errorf(fault.Invalid, "%d sealed keys beside a record that commits to %d", len(grants), len(committed))
	}
	for _, g := range committed {
		if digest, ok := sealed[g.Recipient]; !ok || digest != g.Sealed {
			return fault.Errorf(fault.Invalid, "the sealed key for %s is not what the record commits to", id.User(g.Recipient))
		}
	}
	return nil
}

// commitments returns the grants to which a record commits, and of which
// generation they are; 0 stands for the newest one.
func commitments(p record.Payload) ([]record.Grant, uint64) {
	switch p := p.(type) {
	case record.WorkspaceCreated:
		return p.Rotation.Grants, p.Rotation.Generation
	case record.KeyRotated:
		return p.Rotation.Grants, p.Rotation.Generation
	case record.RoleChanged:
		for _, r := range p.Rotation {
			return r.Grants, r.Generation
		}
		return p.Grant, 0
	}
	return nil, 0
}

// setRoles keeps the table of memberships in step with the log.
func setRoles(tx meta.Tx, key meta.WorkspaceKey, author id.User, p record.Payload, now int64) error {
	switch p := p.(type) {
	case record.WorkspaceCreated:
		return tx.Workspaces().SetRole(key, author, record.RoleOwner, now)
	case record.RoleChanged:
		return tx.Workspaces().SetRole(key, p.User, p.Role, now)
	}
	return nil
}

// authenticate checks what needs no lock: the record's form, its signature,
// and that it is the caller's. Whoever let the caller in has just seen the
// organization, so that what is known of it will do: what depends on where its
// log stands is decided under the lock.
func (s *Service) authenticate(ctx context.Context, c call.Caller, raw []byte) (*verify.Signed, error) {
	known := s.keep.Known(c.Key)
	if known == nil {
		if err := s.store.Read(ctx, func(tx meta.Tx) error {
			o, err := s.keep.Caller(tx, c)
			known = o.State
			return err
		}); err != nil {
			return nil, err
		}
	}
	signed, err := verify.Authenticate(known, raw)
	if err != nil {
		return nil, err
	}
	if signed.Record.Author != c.Device {
		return nil, fault.Errorf(fault.Denied, "%s record of device %s, brought by %s", signed.Record.Kind, signed.Record.Author, c.Device)
	}
	return signed, nil
}

// appended is what a transaction hands out.
type appended struct {
	position record.Position
	key      meta.WorkspaceKey
	// state is that behind the record; nil for a record that was there already.
	state *verify.Workspace
}

// write appends a record in one transaction, in which beside writes what
// belongs to it. What beside is given holds the state behind the record.
func (s *Service) write(ctx context.Context, c call.Caller, w id.Workspace, signed *verify.Signed,
	beside func(meta.Tx, access.Workspace, *verify.Step) error,
) (record.Position, error) {
	var out appended
	err := s.store.Write(ctx, func(tx meta.Tx) error {
		out = appended{}
		return s.append(tx, c, w, signed, beside, &out)
	})
	if err != nil {
		return record.Position{}, s.refuse(ctx, c, w, signed.Record, err)
	}
	if out.state != nil {
		s.keep.WorkspaceMoved(out.key, out.state)
		s.publish(c, w, signed, out.position)
	}
	return out.position, nil
}

func (s *Service) publish(c call.Caller, w id.Workspace, signed *verify.Signed, p record.Position) {
	s.hub.Publish(events.Topic{Organization: c.Organization, Kind: events.Workspace, ID: w}, p.Index)
	switch payload := signed.Payload.(type) {
	case record.WorkspaceCreated:
		s.hub.Publish(events.Topic{Organization: c.Organization, Kind: events.Memberships, ID: signed.User}, 0)
	case record.RoleChanged:
		s.hub.Publish(events.Topic{Organization: c.Organization, Kind: events.Memberships, ID: payload.User}, 0)
	}
}

func (s *Service) append(tx meta.Tx, c call.Caller, w id.Workspace, signed *verify.Signed,
	beside func(meta.Tx, access.Workspace, *verify.Step) error, out *appended,
) error {
	ws, err := s.lock(tx, c, w, signed.Record.Kind)
	if err != nil {
		return err
	}
	r := signed.Record
	step, err := s.step(tx, &ws, signed)
	if err != nil {
		// A record that the log holds cannot be appended again, since its
		// sequence number was used. So it is looked for only here, and a new one
		// is not.
		found, looking := tx.Logs().Find(ws.Row.Key.Log(), r.Digest)
		if looking != nil {
			return looking
		}
		if found.Index > 0 {
			out.position = found
			return nil
		}
		return err
	}
	if err := beside(tx, ws, step); err != nil {
		return err
	}
	ws.Row.Position, ws.Row.State, ws.Row.Updated = step.Position, ws.State.Snapshot(), s.now().UnixNano()
	if err := tx.Workspaces().Update(ws.Row); err != nil {
		return err
	}
	out.position, out.key, out.state = step.Position, ws.Row.Key, ws.State
	return tx.Logs().Append(ws.Row.Key.Log(), []meta.Record{{Position: step.Position, Digest: r.Digest, Raw: r.Raw}})
}

// step is what the rules make of a record where the log stands now.
func (s *Service) step(tx meta.Tx, ws *access.Workspace, signed *verify.Signed) (*verify.Step, error) {
	if err := s.checkClock(signed.Record); err != nil {
		return nil, err
	}
	ws.State = ws.State.Clone()
	if err := ws.State.CheckPresent(ws.Organization.State, signed); err != nil {
		return nil, err
	}
	return ws.State.Append(ws.Organization.State, history{tx, ws.Row}, signed)
}

// lock locks the workspace of which the caller is a member, or makes the one
// that the record creates.
func (s *Service) lock(tx meta.Tx, c call.Caller, w id.Workspace, kind record.Kind) (access.Workspace, error) {
	if kind != record.KindWorkspaceCreated {
		return s.keep.LockMember(tx, c, w, record.RoleReader)
	}
	// The record again, or somebody else's workspace?
	if _, err := tx.Workspaces().Get(c.Key, w); !fault.Is(err, fault.NotFound) {
		if err != nil {
			return access.Workspace{}, err
		}
		return s.keep.LockMember(tx, c, w, record.RoleReader)
	}
	state := verify.NewWorkspace(c.Organization, w)
	row := meta.Workspace{
		Key: meta.WorkspaceKey{Organization: c.Key}, ID: w,
		Position: state.Position(), State: state.Snapshot(), Updated: s.now().UnixNano(),
	}
	var err error
	row.Key, err = tx.Workspaces().Create(row)
	if err != nil {
		return access.Workspace{}, err
	}
	o, err := s.keep.LockCaller(tx, c, meta.Shared)
	return access.Workspace{Organization: o, Row: row, State: state}, err
}

func (s *Service) checkClock(r *record.Record) error {
	if off := time.Unix(0, r.Time).Sub(s.now()); off > maxClockSkew || off < -maxClockSkew {
		return fault.WithHint(fault.Errorf(fault.Clock, "%s record: its time is %s off the server's clock", r.Kind, off.Round(time.Second)),
			"set the clock of this computer")
	}
	return nil
}

// history answers the rules from the store.
type history struct {
	tx  meta.Tx
	row meta.Workspace
}

// Head implements [verify.History].
func (h history) Head(index uint64) (record.Head, error) {
	if index == h.row.Position.Index {
		return h.row.Position.Head, nil
	}
	return h.tx.Logs().Head(h.row.Key.Log(), index)
}

// Versions implements [verify.History].
func (h history) Versions(entries []id.Entry) ([]verify.Version, error) {
	rows, err := h.tx.Entries().Versions(h.row.Key, entries)
	if err != nil {
		return nil, err
	}
	versions := make([]verify.Version, len(rows))
	for i, v := range rows {
		versions[i] = verify.Version{Number: v.Number, Base: v.Base, Gone: v.Gone()}
	}
	return versions, nil
}

// refuse completes the refusal of a stale record with what the author needs,
// as it stands now.
func (s *Service) refuse(ctx context.Context, c call.Caller, w id.Workspace, r *record.Record, cause error) error {
	var v *verify.Violation
	if !errors.As(cause, &v) || !fault.Is(cause, fault.Stale) {
		return cause
	}
	stale := &call.Stale{Err: cause}
	err := s.store.Read(ctx, func(tx meta.Tx) error {
		ws, err := s.keep.Member(tx, c, w, record.RoleReader)
		if err != nil {
			return err
		}
		stale.Position, stale.Organization = ws.Row.Position, ws.Organization.Row.Position
		records, err := tx.Logs().Since(ws.Row.Key.Log(), r.Seen.Workspace.Index, pageSize)
		if err != nil {
			return err
		}
		stale.Records = raws(records)
		chains, err := tx.Entries().Chains(ws.Row.Key, v.Entries, pageSize)
		stale.Chains = outgoing(chains)
		return err
	})
	if fault.Is(err, fault.Denied) { // a workspace that was not created, for instance
		return cause
	}
	if err != nil {
		return err
	}
	return stale
}
