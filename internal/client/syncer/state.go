package syncer

import (
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/workspace"
	"parsec/internal/format/record"
)

// State is how a workspace stands, in a word.
type State string

// The states. All but Synced have a reason, and all end by themselves once the
// reason does.
const (
	// Synced: this device and the server have the same.
	Synced State = "synced"
	// Pending: there is something to send, or to look at first.
	Pending State = "pending"
	// Offline: the server cannot be reached.
	Offline State = "offline"
	// ReadOnly: there is work, and the own role is reader.
	ReadOnly State = "read-only"
	// Archived: there is work, and an owner has archived the workspace.
	Archived State = "archived"
	// Frozen: the operator of the server has suspended the user or the organization.
	Frozen State = "frozen"
	// Revoked: the device, or the user, is not in the organization or the
	// workspace any more. Work stays here, and can be copied out.
	Revoked State = "revoked"
	// WrongClock: the clocks of this device and of the server differ too much.
	WrongClock State = "clock"
	// Full: the server, or the own disk, has no room.
	Full State = "full"
	// Integrity: the server broke a promise. Nothing is shown or written of what
	// it sent.
	Integrity State = "integrity"
	// Failed: something else is wrong, as the reason says.
	Failed State = "failed"
)

// Status is how a workspace stands.
type Status struct {
	ID    id.Workspace
	Name  string
	State State
	// Reason says why, and Hint what to do about it; empty if synced.
	Reason, Hint string
	// Pending counts what is not committed, Conflicts the copies that were made
	// because others had changed the same since this device was started.
	Pending, Conflicts int
	Problems           []Problem
	// Since is when the state began.
	Since time.Time
	// Complete says that the whole tree is on this device.
	Complete bool
}

// Problem is an entry that does not go with the others.
type Problem struct {
	Path, Reason string
}

// stateOf says what an error of a cycle means.
func stateOf(w *workspace.Workspace, err error, pending int) State {
	switch fault.KindOf(err) {
	case fault.Unreachable, fault.Canceled:
		return Offline
	case fault.Integrity:
		return Integrity
	case fault.Frozen:
		return Frozen
	case fault.Clock:
		return WrongClock
	case fault.Full:
		return Full
	case fault.Unauthenticated:
		return Revoked
	case fault.Denied:
		return deniedState(w, pending)
	}
	return Failed
}

// deniedState says why something was denied that the log knows about.
func deniedState(w *workspace.Workspace, pending int) State {
	switch role := w.Role(); {
	case role == record.RoleNone:
		return Revoked
	case pending > 0 && w.Log().Archived():
		return Archived
	case pending > 0 && role == record.RoleReader:
		return ReadOnly
	}
	return Revoked
}
