package meta

import "parsec/internal/base/id"

// Turn is one process's turn at a job that all processes of a server could do.
type Turn struct {
	// Job is the name of the job.
	Job string
	// Holder is the process that has the turn.
	Holder id.Process
	// Until is when another may take the turn, in nanoseconds since the Unix
	// epoch, if the holder has not given it back until then.
	Until int64
}

// Turns say which process does which job. They are leases: a process that is
// killed keeps its turn only until that ends. Times are those of the processes,
// so where their clocks differ by more than a turn takes, two may have it at
// once; a job has to bear that.
type Turns interface {
	// Take gives a turn to its holder, or prolongs the one that it has. It
	// does so, and returns true, unless another process has a turn that does
	// not end until now, or the job was last done after due.
	Take(t Turn, now, due int64) (bool, error)
	// Done ends the turn that a holder has at a job, and notes when the job
	// was done, or with 0 that it was not. It fails with not found where
	// another process has taken the turn.
	Done(job string, holder id.Process, when int64) error
}

// Leftover is a pack of which no block has a row any more.
type Leftover struct {
	Workspace WorkspaceKey
	// Key names the pack's object.
	Key PackKey
	// Emptied is since when, in nanoseconds since the Unix epoch.
	Emptied int64
}

// Leftovers are rows and objects that nobody needs.
type Leftovers interface {
	// Settle looks at packs that were added at a time or earlier, and that it
	// has not looked at before, the oldest first and at most limit of them. It
	// removes the rows of those of their blocks that no commit has introduced,
	// from Blocks and BlockBytes, takes them out of the packs' live bytes, and
	// notes that a pack of which no block is left is empty from now on. It
	// returns how many packs it looked at.
	Settle(added, now int64, limit int) (int, error)
	// Emptied returns packs that are empty since a time or longer and that are
	// behind after, by ascending time and key of the workspace and pack, at
	// most limit of them. It begins with the zero Leftover.
	Emptied(since int64, after Leftover, limit int) ([]Leftover, error)
	// Remove removes the rows of packs that are empty, from Packs, but not
	// their objects.
	Remove(packs []Leftover) error
	// RemoveInvitations removes invitations that expired at a time or earlier,
	// with the attempts at them and their messages, at most limit of them. It
	// returns how many.
	RemoveInvitations(expired int64, limit int) (int, error)
}
