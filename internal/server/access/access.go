// Package access knows where the logs stand and what a caller may do there
// now. It keeps the verified states of organizations and workspaces in memory,
// so that a request does not read a log again.
//
// Several processes may share one database, so what is kept is never trusted
// by itself: every question is answered inside a transaction, and a state
// counts only where its position is that of the row in the same transaction.
// States that it returns are shared and must not be changed; who appends to
// one appends to a clone, and hands that in with [Keeper.Moved] once the
// transaction is durable.
package access

import (
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/call"
	"parsec/internal/server/meta"
	"parsec/internal/verify"
)

// The bounds of what is kept. An organization of a thousand users takes some
// 4 MiB, most workspaces a few KiB.
const (
	maxOrganizations = 1000
	maxWorkspaces    = 10_000
	// pageSize is how much of a log is read at once.
	pageSize = 4 << 20
)

// Keeper keeps states. It is safe for concurrent use.
type Keeper struct {
	mu sync.Mutex
	// organizations and workspaces hold the newest states known; guarded by mu.
	organizations map[meta.OrganizationKey]*kept
	workspaces    map[meta.WorkspaceKey]*verify.Workspace
}

// kept is one organization's state. Its lock is held while the log is read, so
// that a crowd of devices after a restart has it read once.
type kept struct {
	mu sync.Mutex
	// state is never changed, only replaced; nil at first; guarded by mu.
	state *verify.Organization
}

// New returns a keeper that knows nothing yet.
func New() *Keeper {
	return &Keeper{
		organizations: make(map[meta.OrganizationKey]*kept),
		workspaces:    make(map[meta.WorkspaceKey]*verify.Workspace),
	}
}

func (k *Keeper) kept(key meta.OrganizationKey) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.organizations[key]
	if o == nil {
		if len(k.organizations) >= maxOrganizations {
			clear(k.organizations)
		}
		o = new(kept)
		k.organizations[key] = o
	}
	return o
}

// Organization returns the state of an organization where its row, read in
// this transaction, says that it stands, or behind that.
func (k *Keeper) Organization(tx meta.Tx, row meta.Organization) (*verify.Organization, error) {
	o := k.kept(row.Key)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != nil && o.state.Contains(row.Position) {
		return o.state, nil
	}
	state := verify.NewOrganization(row.Fingerprint)
	if o.state != nil && o.state.Position().Index < row.Position.Index {
		state = o.state.Clone()
	}
	if err := extend(tx, row, state); err != nil {
		return nil, err
	}
	o.state = state
	return state, nil
}

// extend reads the log up to the row's position.
func extend(tx meta.Tx, row meta.Organization, state *verify.Organization) error {
	for state.Position().Index < row.Position.Index || state.Root() == nil {
		records, err := tx.Logs().Since(row.Key.Log(), state.Position().Index, pageSize)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if _, err := state.Append(r.Raw); err != nil {
				return fault.Errorf(fault.Failed, "read log of organization %s: record %d: %w", row.Fingerprint, r.Position.Index, err)
			}
		}
	}
	if !state.Contains(row.Position) {
		return fault.Errorf(fault.Failed, "read log of organization %s: it does not end where its row says", row.Fingerprint)
	}
	return nil
}

// Known returns the newest state of an organization that this process knows,
// without looking it up; nil where it knows none. It is good for what does not
// depend on where the log stands, such as whose a signature is, and for nothing
// that is not decided again inside a transaction.
func (k *Keeper) Known(key meta.OrganizationKey) *verify.Organization {
	o := k.kept(key)
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// OrganizationMoved hands in the state behind a record that is durable.
func (k *Keeper) OrganizationMoved(key meta.OrganizationKey, state *verify.Organization) {
	o := k.kept(key)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == nil || o.state.Position().Index < state.Position().Index {
		o.state = state
	}
}

// Workspace returns the state of a workspace where its row says that it stands.
func (k *Keeper) Workspace(row meta.Workspace) (*verify.Workspace, error) {
	k.mu.Lock()
	state := k.workspaces[row.Key]
	k.mu.Unlock()
	if state != nil && state.Position() == row.Position {
		return state, nil
	}
	state, err := verify.RestoreWorkspace(row.State)
	if err != nil {
		return nil, err
	}
	k.WorkspaceMoved(row.Key, state)
	return state, nil
}

// WorkspaceMoved hands in the state behind a record that is durable.
func (k *Keeper) WorkspaceMoved(key meta.WorkspaceKey, state *verify.Workspace) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.workspaces) >= maxWorkspaces {
		clear(k.workspaces)
	}
	k.workspaces[key] = state
}

// Organization is an organization in one transaction.
type Organization struct {
	Row   meta.Organization
	State *verify.Organization
}

// Open returns the organization with this fingerprint, unless the operator
// has suspended it.
func (k *Keeper) Open(tx meta.Tx, f id.Fingerprint) (Organization, error) {
	row, err := tx.Organizations().ByFingerprint(f)
	if fault.Is(err, fault.NotFound) {
		return Organization{}, fault.WithHint(fault.Errorf(fault.NotFound, "organization %s is not on this server", f), "check the server's address")
	}
	if err != nil {
		return Organization{}, err
	}
	return k.opened(tx, row)
}

// Lock is like [Keeper.Open], with the row locked.
func (k *Keeper) Lock(tx meta.Tx, key meta.OrganizationKey, how meta.Lock) (Organization, error) {
	row, err := tx.Organizations().Lock(key, how)
	if err != nil {
		return Organization{}, err
	}
	return k.opened(tx, row)
}

func (k *Keeper) opened(tx meta.Tx, row meta.Organization) (Organization, error) {
	if row.Deleting > 0 {
		return Organization{}, Deleted(row)
	}
	if row.Expired {
		return Organization{}, fault.WithHint(fault.Errorf(fault.Frozen, "organization %s is suspended", row.Fingerprint), "ask the operator of the server")
	}
	state, err := k.Organization(tx, row)
	return Organization{Row: row, State: state}, err
}

// Deleted refuses members of an organization that the operator has deleted,
// while what it had is being removed. Behind that it is not found.
func Deleted(row meta.Organization) error {
	return fault.WithHint(fault.Errorf(fault.NotFound, "organization %s was deleted from this server", row.Fingerprint),
		"ask the operator of the server why; what this device holds stays on it")
}

// Caller returns the caller's organization, if the caller is still in it.
func (k *Keeper) Caller(tx meta.Tx, c call.Caller) (Organization, error) {
	o, err := k.Open(tx, c.Organization)
	if err != nil {
		return Organization{}, err
	}
	return o, o.admit(tx, c)
}

// LockCaller is like [Keeper.Caller], with the organization's row locked.
func (k *Keeper) LockCaller(tx meta.Tx, c call.Caller, how meta.Lock) (Organization, error) {
	o, err := k.Lock(tx, c.Key, how)
	if err != nil {
		return Organization{}, err
	}
	return o, o.admit(tx, c)
}

// Present returns the index at which the organization's log stands.
func (o Organization) Present() uint64 { return o.State.Position().Index }

// admit fails for a caller who was revoked, or whom the operator has suspended.
func (o Organization) admit(tx meta.Tx, c call.Caller) error {
	if err := o.Check(c); err != nil {
		return err
	}
	return o.CheckUser(tx, c.User)
}

// CheckUser fails for a user whom the operator has suspended.
func (o Organization) CheckUser(tx meta.Tx, user id.User) error {
	if o.Row.Frozen == 0 { // as nearly always: nothing more is read
		return nil
	}
	rows, err := tx.Users().Get(o.Row.Key, []id.User{user})
	if err != nil || rows[0].Frozen == 0 {
		return err
	}
	return fault.WithHint(fault.Errorf(fault.Frozen, "user %s is suspended in the organization", user),
		"ask the administrator of the server; nothing is lost, and all goes on where it stood")
}

// Check fails for a caller who was revoked.
func (o Organization) Check(c call.Caller) error {
	if !o.State.ActiveAt(c.Device, o.Present()) {
		return fault.WithHint(fault.Errorf(fault.Unauthenticated, "device %s is not in use in the organization", c.Device), "it was revoked, or the server was put back to a time before it joined; ask an administrator")
	}
	return nil
}

// Profile returns the caller's profile.
func (o Organization) Profile(c call.Caller) record.Profile {
	return o.State.ProfileAt(c.User, o.Present())
}

// Workspace is a workspace in one transaction.
type Workspace struct {
	Organization Organization
	Row          meta.Workspace
	State        *verify.Workspace
	// Role is the caller's.
	Role record.Role
}

// Member returns a workspace of which the caller is a member now, in at least
// this role. Whether there is such a workspace is told to members only.
func (k *Keeper) Member(tx meta.Tx, c call.Caller, w id.Workspace, least record.Role) (Workspace, error) {
	o, err := k.Caller(tx, c)
	if err != nil {
		return Workspace{}, err
	}
	row, err := tx.Workspaces().Get(c.Key, w)
	if fault.Is(err, fault.NotFound) {
		return Workspace{}, NotMember(w)
	}
	if err != nil {
		return Workspace{}, err
	}
	return k.member(o, row, c, least)
}

// LockMember is like [Keeper.Member], with the rows of workspace and, shared,
// organization locked.
func (k *Keeper) LockMember(tx meta.Tx, c call.Caller, w id.Workspace, least record.Role) (Workspace, error) {
	row, organization, err := tx.Workspaces().Lock(c.Key, w)
	if fault.Is(err, fault.NotFound) {
		return Workspace{}, NotMember(w)
	}
	if err != nil {
		return Workspace{}, err
	}
	o, err := k.opened(tx, organization)
	if err != nil {
		return Workspace{}, err
	}
	if err := o.admit(tx, c); err != nil {
		return Workspace{}, err
	}
	return k.member(o, row, c, least)
}

func (k *Keeper) member(o Organization, row meta.Workspace, c call.Caller, least record.Role) (Workspace, error) {
	state, err := k.Workspace(row)
	if err != nil {
		return Workspace{}, err
	}
	w := Workspace{Organization: o, Row: row, State: state, Role: state.Role(o.State, c.User, o.Present())}
	switch {
	case w.Role == record.RoleNone:
		return Workspace{}, NotMember(row.ID)
	case w.Role < least:
		return Workspace{}, fault.WithHint(fault.Errorf(fault.Denied, "a %s of workspace %s may not do this, only a %s", w.Role, row.ID, least),
			"ask an owner for another role")
	}
	return w, nil
}

// NotMember refuses a caller who is not a member, or names no workspace.
func NotMember(w id.Workspace) error {
	return fault.WithHint(fault.Errorf(fault.Denied, "not a member of workspace %s", w), "ask an owner to share it with you")
}
