package verifytest

import (
	"bytes"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify"
)

// Memory is a [verify.History] in memory.
type Memory struct {
	heads    []record.Head
	versions map[id.Entry]verify.Version
}

var _ verify.History = (*Memory)(nil)

// NewMemory returns the history of an empty workspace.
func NewMemory() *Memory { return &Memory{versions: map[id.Entry]verify.Version{}} }

// Head implements [verify.History].
func (m *Memory) Head(index uint64) (record.Head, error) {
	if index == 0 || index > uint64(len(m.heads)) {
		return record.Head{}, fault.Errorf(fault.Failed, "read head %d of %d", index, len(m.heads))
	}
	return m.heads[index-1], nil
}

// Versions implements [verify.History].
func (m *Memory) Versions(entries []id.Entry) ([]verify.Version, error) {
	all := make([]verify.Version, len(entries))
	for i, e := range entries {
		all[i] = m.versions[e]
	}
	return all, nil
}

// Apply takes in a record that passed all rules.
func (m *Memory) Apply(step *verify.Step) {
	m.heads = append(m.heads, step.Position.Head)
	if c, ok := step.Payload.(record.Commit); ok {
		for _, change := range c.Changes {
			m.versions[change.Entry] = verify.Version{Number: change.Version, Base: change.Base, Gone: change.Gone()}
		}
	}
}

// Workspace is a workspace with all that its tests need.
type Workspace struct {
	// ID is the workspace's.
	ID id.Workspace
	// State is the state behind all of Records.
	State *verify.Workspace
	// History belongs to State.
	History *Memory
	// Records is the workspace's log, from its creation on.
	Records [][]byte
	// Positions are those behind each of Records.
	Positions []record.Position

	kit *Kit
}

// NewWorkspace returns a workspace without any record.
func (k *Kit) NewWorkspace() *Workspace {
	w := id.Workspace(k.newID())
	return &Workspace{ID: w, State: verify.NewWorkspace(k.Fingerprint(), w), History: NewMemory(), kit: k}
}

// CreateWorkspace returns a workspace that a device's user owns.
func (k *Kit) CreateWorkspace(by *Device) *Workspace {
	k.t.Helper()
	w := k.NewWorkspace()
	w.Append(by, w.Created(by))
	return w
}

// Sign returns the next record of the workspace's log, without appending it.
// The edits change the body before it is signed.
func (w *Workspace) Sign(by *Device, p record.Payload, edits ...func(*record.Body)) []byte {
	k := w.kit
	b := record.Body{
		Log: record.WorkspaceLog(k.Fingerprint(), w.ID), Author: by.ID, Seq: w.State.Sequence(by.ID) + 1,
		Time: max(k.config.Now().UnixNano(), w.State.Time()),
		Seen: record.Seen{Organization: k.Org.Position(), Workspace: w.State.Position()},
		Kind: p.Kind(), Payload: record.Encode(p),
	}
	return sign(b, k.Fingerprint(), by, edits)
}

// SeenOrganization makes a record's author know the organization's log no
// further than a position.
func SeenOrganization(p record.Position) func(*record.Body) {
	return func(b *record.Body) { b.Seen.Organization = p }
}

// SeenWorkspace makes a record's author know its workspace's log no further
// than a position.
func SeenWorkspace(p record.Position) func(*record.Body) {
	return func(b *record.Body) { b.Seen.Workspace = p }
}

// Try appends a record to the workspace's log, or says why it may not stand
// there. It does what every client does; a server checks the present
// organization first ([verify.Workspace.CheckPresent]).
func (w *Workspace) Try(raw []byte) (*verify.Step, error) {
	s, err := verify.Authenticate(w.kit.Org, raw)
	if err != nil {
		return nil, err
	}
	step, err := w.State.Append(w.kit.Org, w.History, s)
	if err != nil {
		return nil, err
	}
	w.History.Apply(step)
	w.Records, w.Positions = append(w.Records, raw), append(w.Positions, step.Position)
	return step, nil
}

// Must appends a record to the workspace's log.
func (w *Workspace) Must(raw []byte) *verify.Step {
	w.kit.t.Helper()
	step, err := w.Try(raw)
	if err != nil {
		w.kit.t.Fatalf("append to a workspace's log: %v", err)
	}
	return step
}

// Append signs a record and appends it to the workspace's log.
func (w *Workspace) Append(by *Device, p record.Payload, edits ...func(*record.Body)) *verify.Step {
	w.kit.t.Helper()
	return w.Must(w.Sign(by, p, edits...))
}

// Created returns the payload that creates the workspace with the key's first
// generation.
func (w *Workspace) Created(by *Device) record.WorkspaceCreated {
	k := w.kit
	var to []verify.Recipient
	if key, ok := k.Org.KeyAt(by.User, k.Org.Position().Index); ok {
		to = append(to, verify.Recipient{ID: by.User, Key: key})
	}
	for _, s := range k.Org.Services(k.Org.Position().Index) {
		to = append(to, verify.Recipient{ID: s.ID, Key: s.Key})
	}
	return record.WorkspaceCreated{
		Rotation: record.Rotation{Generation: 1, Commitment: k.Seal(), Grants: k.grants(to)},
		Name:     k.random(64),
	}
}

// Rotation returns the next generation of the key, for all who are to have it
// but the named ones, whom the record removes.
func (w *Workspace) Rotation(less ...id.User) record.Rotation {
	var removed id.User
	for _, u := range less {
		removed = u
	}
	g := w.State.Generation()
	return record.Rotation{
		Generation: g + 1, Commitment: w.kit.Seal(), Links: g, Backlink: w.kit.random(record.BacklinkSize),
		Grants: w.kit.grants(w.State.Recipients(w.kit.Org, w.kit.Org.Position().Index, removed)),
	}
}

// Grant returns the present key sealed to a user.
func (w *Workspace) Grant(to *Device) record.Grant {
	u, _ := w.kit.Org.User(to.User)
	return w.kit.grant(verify.Recipient{ID: u.ID, Key: u.Key()})
}

func (k *Kit) grant(to verify.Recipient) record.Grant {
	return record.Grant{Recipient: to.ID, Key: to.Key.Digest(), Sealed: k.Seal()}
}

func (k *Kit) grants(to []verify.Recipient) []record.Grant {
	var all []record.Grant
	for _, r := range to {
		all = append(all, k.grant(r))
	}
	slices.SortFunc(all, func(a, b record.Grant) int { return bytes.Compare(a.Recipient[:], b.Recipient[:]) })
	return all
}

// RoleChanged returns the payload that gives a user a role or takes it away,
// with the grant or rotation that belongs to it.
func (w *Workspace) RoleChanged(of *Device, role record.Role) record.RoleChanged {
	p := record.RoleChanged{User: of.User, Role: role}
	_, member := w.member(of)
	switch {
	case role == record.RoleNone:
		p.Rotation = []record.Rotation{w.Rotation(of.User)}
	case !member:
		p.Grant = []record.Grant{w.Grant(of)}
	}
	return p
}

func (w *Workspace) member(of *Device) (verify.Member, bool) {
	for _, m := range w.State.Members() {
		if m.User == of.User {
			return m, true
		}
	}
	return verify.Member{}, false
}

// Share gives a user a role.
func (w *Workspace) Share(by, with *Device, role record.Role) {
	w.kit.t.Helper()
	w.Append(by, w.RoleChanged(with, role))
}

// Remove takes a user's role away, and rotates the key.
func (w *Workspace) Remove(by, of *Device) {
	w.kit.t.Helper()
	w.Append(by, w.RoleChanged(of, record.RoleNone))
}

// Rotate introduces the next generation of the key.
func (w *Workspace) Rotate(by *Device) {
	w.kit.t.Helper()
	w.Append(by, record.KeyRotated{Rotation: w.Rotation()})
}

// Rename gives the workspace another name.
func (w *Workspace) Rename(by *Device) {
	w.kit.t.Helper()
	w.Append(by, record.Renamed{Generation: w.State.Generation(), Name: w.kit.random(64)})
}

// Archive archives the workspace, or takes it back into use.
func (w *Workspace) Archive(by *Device, s record.Archiving) {
	w.kit.t.Helper()
	w.Append(by, record.ArchivingChanged{State: s})
}

// Heartbeat appends a heartbeat, a day later where none is due yet.
func (w *Workspace) Heartbeat(by *Device) {
	w.kit.t.Helper()
	w.Append(by, record.Heartbeat{}, func(b *record.Body) {
		if !w.State.HeartbeatDue(w.kit.Org, b.Seen.Organization.Index, b.Time) {
			Later(24 * time.Hour)(b)
		}
	})
}

// Later moves a record's time on.
func Later(d time.Duration) func(*record.Body) {
	return func(b *record.Body) { b.Time += d.Nanoseconds() }
}

// Changes returns the payload of a commit under the present key. It
// restructures when one of the changes is a gone.
func (w *Workspace) Changes(changes ...record.Change) record.Commit {
	return record.Commit{
		Generation: w.State.Generation(), Restructures: slices.ContainsFunc(changes, record.Change.Gone), Changes: changes,
	}
}

// Commit appends a commit of the changes.
func (w *Workspace) Commit(by *Device, changes ...record.Change) *verify.Step {
	w.kit.t.Helper()
	return w.Append(by, w.Changes(changes...))
}

// Put returns the next version of an entry, as a snapshot.
func (w *Workspace) Put(e id.Entry) record.Change {
	v := w.History.versions[e].Number + 1
	return record.Change{Entry: e, Version: v, Base: v, Manifest: w.manifest()}
}

// New returns the first version of a new entry.
func (w *Workspace) New() record.Change { return w.Put(id.Entry(w.kit.newID())) }

// Delta returns the next version of an entry, on its present base.
func (w *Workspace) Delta(e id.Entry) record.Change {
	v := w.History.versions[e]
	return record.Change{Entry: e, Version: v.Number + 1, Base: v.Base, Manifest: w.manifest()}
}

// Gone returns the removal of an entry.
func (w *Workspace) Gone(e id.Entry) record.Change {
	return record.Change{Entry: e, Version: w.History.versions[e].Number + 1}
}

func (w *Workspace) manifest() []byte {
	d := w.kit.Seal()
	return d[:]
}
