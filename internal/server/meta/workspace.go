package meta

import (
	"parsec/internal/base/id"
	"parsec/internal/format/record"
)

// WorkspaceKey is how a store knows a workspace: its organization's key, and
// a number that is given at creation, is never 0, and means nothing outside
// the store.
type WorkspaceKey struct {
	Organization OrganizationKey
	Number       int64
}

// Workspace is a workspace's row.
type Workspace struct {
	// Key is given by [Workspaces.Create].
	Key WorkspaceKey
	// ID is unique in the organization.
	ID id.Workspace
	// Position is where the workspace's log stands.
	Position record.Position
	// State is a snapshot of the verification's state at Position; opaque here.
	State []byte
	// Updated is when Position last moved, in nanoseconds since the Unix epoch.
	Updated int64
}

// Membership is one user's place in one workspace.
type Membership struct {
	// ID is the workspace's.
	ID id.Workspace
	// Index is where the workspace's log stands.
	Index uint64
	Role  record.Role
}

// Workspaces are the workspaces' rows, and who is a member.
type Workspaces interface {
	// Create adds a workspace to Key.Organization, to Workspaces, locked as
	// by Lock, and returns its key. It fails with conflict where the id is taken.
	Create(w Workspace) (WorkspaceKey, error)
	// Get returns a workspace's row.
	Get(o OrganizationKey, w id.Workspace) (Workspace, error)
	// Lock locks a workspace's row exclusively and behind it that of its
	// organization, shared, until the end of the transaction, and returns both
	// as they are under the locks.
	//
	// A transaction locks at most one workspace, before any other lock of an
	// organization; one that locks an organization exclusively locks no
	// workspace. So no two wait for each other.
	Lock(o OrganizationKey, w id.Workspace) (Workspace, Organization, error)
	// Update replaces position, state and time of the workspace with w.Key,
	// which the caller has locked.
	Update(w Workspace) error
	// SetRole gives a user a role at a time, in nanoseconds since the Unix
	// epoch, or takes it away with [record.RoleNone].
	SetRole(w WorkspaceKey, user id.User, role record.Role, when int64) error
	// OfMember returns the workspaces of which a user is a member and whose
	// ids follow after, by ascending id, at most limit of them.
	OfMember(o OrganizationKey, user id.User, after id.Workspace, limit int) ([]Membership, error)
	// Joined returns to whom a role was given at a time or later, that they
	// still have, by ascending time, at most limit of them. It reads no more
	// rows than it returns.
	Joined(since int64, limit int) ([]Joining, error)
}

// Joining is that a user was given a role in a workspace.
type Joining struct {
	Organization id.Fingerprint
	User         id.User
	// Updated is when, in nanoseconds since the Unix epoch.
	Updated int64
}

// Log names a log: of a workspace, or with number 0 the organization's own.
type Log WorkspaceKey

// Log returns the organization's own log.
func (k OrganizationKey) Log() Log { return Log{Organization: k} }

// Log returns the workspace's log.
func (k WorkspaceKey) Log() Log { return Log(k) }

// Record is a record of a log.
type Record struct {
	// Position is the one behind the record.
	Position record.Position
	// Digest is the SHA-256 of Raw.
	Digest record.Digest
	// Raw is the record as transmitted; opaque here.
	Raw []byte
}

// Logs are the records of all logs. That an index follows the previous one is
// the caller's to see to, under the lock of the log's row.
type Logs interface {
	// Append adds records, to Records. It fails with conflict where an index
	// or a digest is taken in this log.
	Append(l Log, records []Record) error
	// Since returns the records behind an index by ascending index, at most
	// maxBytes of them.
	Since(l Log, index uint64, maxBytes int) ([]Record, error)
	// Find returns the position behind the record with this digest, and index
	// 0 where there is none.
	Find(l Log, digest record.Digest) (record.Position, error)
	// Head returns the head at an index from 1 on.
	Head(l Log, index uint64) (record.Head, error)
	// Moved returns the logs whose rows say that they moved at a time or
	// later, by ascending time, at most limit of them. It costs as much as
	// there are, whatever else the store has.
	Moved(since int64, limit int) ([]Movement, error)
}

// Movement is a log and where it stands.
type Movement struct {
	// Organization is zero for one that was not bootstrapped.
	Organization id.Fingerprint
	// Workspace is zero for the organization's own log.
	Workspace id.Workspace
	Index     uint64
	// Updated is when the log last moved, in nanoseconds since the Unix epoch;
	// for an organization's own also when the operator last changed what is
	// allowed.
	Updated int64
}

// Version is where an entry stands. The zero Version is that of an entry
// which never was.
type Version struct {
	// Number is the newest version.
	Number uint64
	// Base is the version of the snapshot on which it builds; 0 if gone.
	Base uint64
	// Index is that of the record which put it.
	Index uint64
}

// Gone reports whether the newest version removed the entry.
func (v Version) Gone() bool { return v.Number > 0 && v.Base == 0 }

// Change is a commit's change of one entry, to the version after its newest.
type Change struct {
	Entry id.Entry
	// Number is the version that the change makes.
	Number uint64
	// Base is the version of the snapshot on which it builds; 0 for gone.
	Base uint64
	// Sealed is the sealed manifest; not kept for gone.
	Sealed []byte
}

// Chain is an entry's live versions: from its base to its newest, by
// ascending version. The zero Chain is that of an entry which is gone or
// never was.
type Chain struct {
	Entry id.Entry
	// Index is that of the record which put the newest version.
	Index     uint64
	Manifests []Manifest
}

// Span is consecutive versions of one entry, from First to Last.
type Span struct {
	Entry       id.Entry
	First, Last uint64
}

// Manifest is one sealed version of an entry.
type Manifest struct {
	Number uint64
	Sealed []byte
}

// Cursor is a place in the order of entries by the index of their newest
// version, and among equals by id. The zero Cursor is before all.
type Cursor struct {
	Index uint64
	Entry id.Entry
}

// Entries are the entries of workspaces and their sealed manifests. Versions
// that were superseded stay.
type Entries interface {
	// Versions returns where entries stand.
	Versions(w WorkspaceKey, entries []id.Entry) ([]Version, error)
	// Put writes the changes of the record at an index, each of another
	// entry, under the workspace's lock. Each manifest adds to Manifests and
	// ManifestBytes. It fails with conflict where the version of an entry is
	// there already.
	Put(w WorkspaceKey, index uint64, changes []Change) error
	// Chains returns the chains of the first of the entries asked for: as
	// many as fit in maxBytes, and at least that of the first. The caller
	// asks for the rest, from entries[len(chains)] on.
	Chains(w WorkspaceKey, entries []id.Entry, maxBytes int) ([]Chain, error)
	// Spans returns the versions of the first of the spans asked for, whether
	// they are live or not, with the index 0: as many as fit in maxBytes, and at
	// least those of the first. Where a version of a span is not there, or made
	// the entry gone, the chain is the zero Chain. The caller asks for the rest,
	// from spans[len(chains)] on.
	Spans(w WorkspaceKey, spans []Span, maxBytes int) ([]Chain, error)
	// Changed returns chains of the entries that are not gone and whose
	// newest index is above since and whose place is behind after, in the
	// order of cursors, at most maxBytes of them. Of each chain it gives only
	// the versions whose index is above since. Nothing is returned at the end.
	Changed(w WorkspaceKey, since uint64, after Cursor, maxBytes int) ([]Chain, error)
}

// Block is one sealed piece of content and where it is stored.
type Block struct {
	ID id.Block
	// Pack is the object that holds it.
	Pack id.Pack
	// Offset is where in the pack it begins.
	Offset uint32
	// Length and Digest are those of the sealed block.
	Length uint32
	Digest [32]byte
	// Index is that of the commit which introduced the block; 0 while none has.
	Index uint64
}

// Pack is a stored object with the blocks of one upload.
type Pack struct {
	ID id.Pack
	// Size is the object's, in bytes.
	Size int64
	// Added is in nanoseconds since the Unix epoch; uploads that no commit
	// follows are collected by it.
	Added int64
}

// Blocks are the rows of blocks and packs. Rows are never overwritten.
//
// An upload first stores its object and then calls Add, so a row always
// points at an object that is there. A client that lost the answer sends the
// same blocks again; it is then answered from Locate with nothing stored, or,
// where both uploads ran at once, Add leaves the second pack with fewer live
// bytes than its size, or with none, and it can be collected; see [Leftovers].
type Blocks interface {
	// Add adds a pack, to Packs, and those of its blocks whose ids are not
	// taken in the workspace, to Blocks and BlockBytes. The pack's live bytes
	// are those of the blocks that were added. It returns the rows of the
	// others as they are there, in no particular order: the caller compares
	// length and digest, and tells a retry from a clash. It fails with
	// conflict where the pack's id is taken. The blocks' Pack and Index are
	// not read.
	Add(w WorkspaceKey, p Pack, blocks []Block) (taken []Block, err error)
	// Locate returns the rows of blocks.
	Locate(w WorkspaceKey, blocks []id.Block) ([]Block, error)
	// Mark notes that the commit at an index introduced blocks, and returns
	// those that are not there. A block that an earlier commit introduced
	// keeps that commit's index.
	Mark(w WorkspaceKey, index uint64, blocks []id.Block) (missing []id.Block, err error)
}

// Grant is a workspace key as sealed to one recipient.
type Grant struct {
	Generation uint64
	// Recipient is a user's or a sequester service's id.
	Recipient [id.Size]byte
	// Resealer is the member who sealed the key again, and zero for the grant
	// that a record commits to. So nobody's grant takes the place of another's.
	Resealer id.User
	Sealed   []byte
}

// Grants are the sealed workspace keys.
type Grants interface {
	// Put adds grants, or replaces those of the same generation, recipient
	// and resealer.
	Put(w WorkspaceKey, grants []Grant) error
	// Of returns the grants to a recipient, by descending generation, of one
	// generation that of the record first, at most limit of them, from
	// generations below before; before 0 begins with the newest.
	Of(w WorkspaceKey, recipient [id.Size]byte, before uint64, limit int) ([]Grant, error)
}
