package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"path/filepath"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
)

// The kinds of values in the state.
const (
	tableHeads      table = "head"
	tableRecords    table = "record"
	tableSingles    table = "single"
	tableOpenings   table = "opening"
	tableWorkspaces table = "workspace"
	tableKeys       table = "workspace_key"
	tableOutbox     table = "outbox"
	tableProgress   table = "progress"
)

// Heads stand apart from their records, so that reading one does not read the
// other, which may be a quarter of a megabyte.
const stateSchema = `
CREATE TABLE header (salt BLOB NOT NULL, proof BLOB NOT NULL) STRICT;
CREATE TABLE single (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE head (log BLOB, number INTEGER, value BLOB NOT NULL, PRIMARY KEY (log, number)) STRICT, WITHOUT ROWID;
CREATE TABLE record (log BLOB, number INTEGER, value BLOB NOT NULL, PRIMARY KEY (log, number)) STRICT;
CREATE TABLE opening (user BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE workspace (workspace BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE workspace_key (workspace BLOB, generation INTEGER, value BLOB NOT NULL, PRIMARY KEY (workspace, generation)) STRICT;
CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, value BLOB NOT NULL DEFAULT x'') STRICT;
CREATE TABLE progress (name BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT`

func stateSettings(dir string) settings {
	return settings{
		path:   filepath.Join(dir, stateFile),
		schema: stateSchema,
		layout: 1,
		tables: []table{
			tableHeader, tableHeads, tableRecords, tableSingles, tableOpenings,
			tableWorkspaces, tableKeys, tableOutbox, tableProgress,
		},
		synchronous: "FULL",
		hint: "this device can no longer tell whether the server went back in time: " +
			"enroll it anew from another device with `parsec invite device`, and keep the damaged folder, " +
			"which may hold changes that were not sent yet",
	}
}

// State is what the device remembers and nobody can give back. An update is
// durable when it returns. Failures to open a value are integrity errors.
//
// Where a log is asked for, the zero workspace stands for the organization's.
type State struct {
	db *database
}

// Record is a verified record at its place in a log.
type Record struct {
	Index uint64
	// Head is the log's head behind the record.
	Head record.Head
	// Raw is the record as transmitted.
	Raw []byte
}

// Organization is what is remembered of the organization.
type Organization struct {
	_ struct{} `cbor:",toarray"`
	// Position is the newest verified position of its log.
	Position record.Position
	// Snapshot is the verified state there, as package verify wrote it.
	Snapshot []byte
}

// Workspace is what is remembered of one workspace.
type Workspace struct {
	_         struct{} `cbor:",toarray"`
	Workspace id.Workspace
	// Position is the newest verified position of its log.
	Position record.Position
	// Organization is the organization index that had been verified before
	// asking for Position.
	Organization uint64
	// Snapshot is the verified state there, as package verify wrote it.
	Snapshot []byte
	// Name is what the workspace is called, or empty while no key opens its name.
	Name string
	// Role is the user's own at Position: for display, not for decisions.
	Role record.Role
	// OthersSeen is the time of the newest record by another user, in
	// nanoseconds since the Unix epoch; 0 if there is none.
	OthersSeen int64
}

// Key is one generation of a workspace key.
type Key struct {
	_          struct{} `cbor:",toarray"`
	Generation uint64
	// Key is zero where no grant has opened yet.
	Key secret.Key
	// Grant is the grant to this user as sealed, where there was one.
	Grant []byte
}

// UserManifest is the newest user manifest that was accepted or written.
type UserManifest struct {
	_       struct{} `cbor:",toarray"`
	Version uint64
	// Digest is the SHA-256 of Raw.
	Digest [sha256.Size]byte
	// Raw is the user manifest as transmitted.
	Raw []byte
}

// The names of values of which there is one.
const (
	singleOrganization = "organization"
	singleUserManifest = "user manifest"
	singleIgnored      = "ignored names"
)

// StateTx is one update of the state. It reads nothing and serves one goroutine.
type StateTx struct {
	tx *tx
}

// Update applies all that apply does, durably, or nothing, where it returns an
// error. Updates wait for each other: apply must not call Update.
func (s *State) Update(ctx context.Context, apply func(*StateTx) error) error {
	return s.db.update(ctx, func(t *tx) error { return apply(&StateTx{t}) })
}

// Append remembers verified records, which follow each other and the newest
// one remembered of the log.
func (t *StateTx) Append(log id.Workspace, records ...Record) error {
	last, err := lastIndex(t.tx, log)
	if err != nil {
		return t.tx.db.fail("remember records", err)
	}
	for _, r := range records {
		if r.Index != last+1 {
			return fault.Errorf(fault.Failed, "remember records: record %d cannot follow %d", r.Index, last)
		}
		last = r.Index
		if err := t.tx.put(tableHeads, r.Head[:], log[:], r.Index); err != nil {
			return err
		}
		if err := t.tx.put(tableRecords, r.Raw, log[:], r.Index); err != nil {
			return err
		}
	}
	return nil
}

func lastIndex(q querier, log id.Workspace) (uint64, error) {
	return number(q, "SELECT coalesce(max(number), 0) FROM head WHERE log = ?", log[:])
}

// PutOrganization replaces what is remembered of the organization.
func (t *StateTx) PutOrganization(o Organization) error {
	return t.tx.put(tableSingles, canon.Marshal(o), singleOrganization)
}

// PutUserManifest replaces the remembered user manifest.
func (t *StateTx) PutUserManifest(m UserManifest) error {
	return t.tx.put(tableSingles, canon.Marshal(m), singleUserManifest)
}

// PutIgnored replaces the patterns of names that stay on this device.
func (t *StateTx) PutIgnored(patterns []string) error {
	return t.tx.put(tableSingles, canon.Marshal(patterns), singleIgnored)
}

// ForgetIgnored forgets these patterns, as before the first [StateTx.PutIgnored].
func (t *StateTx) ForgetIgnored() error {
	return t.tx.db.fail("forget", t.tx.exec("DELETE FROM single WHERE name = ?", singleIgnored))
}

// PutOpening remembers the opening of a user's identity.
func (t *StateTx) PutOpening(user id.User, opening []byte) error {
	return t.tx.put(tableOpenings, opening, user[:])
}

// PutWorkspace replaces what is remembered of a workspace, save its records and keys.
func (t *StateTx) PutWorkspace(w Workspace) error {
	return t.tx.put(tableWorkspaces, canon.Marshal(w), w.Workspace[:])
}

// PutKeys remembers generations of a workspace key, in place of the same ones.
func (t *StateTx) PutKeys(w id.Workspace, keys ...Key) error {
	for _, k := range keys {
		if err := t.tx.put(tableKeys, canon.Marshal(k), w[:], k.Generation); err != nil {
			return err
		}
	}
	return nil
}

// Organization returns what is remembered of the organization, if anything is.
func (s *State) Organization(ctx context.Context) (Organization, bool, error) {
	return first[Organization](ctx, s.db, tableSingles, "SELECT name, value FROM single WHERE name = ?", singleOrganization)
}

// UserManifest returns the remembered user manifest, if there is one.
func (s *State) UserManifest(ctx context.Context) (UserManifest, bool, error) {
	return first[UserManifest](ctx, s.db, tableSingles, "SELECT name, value FROM single WHERE name = ?", singleUserManifest)
}

// Ignored returns the patterns of names that stay on this device, if the user
// has ever changed them.
func (s *State) Ignored(ctx context.Context) ([]string, bool, error) {
	return first[[]string](ctx, s.db, tableSingles, "SELECT name, value FROM single WHERE name = ?", singleIgnored)
}

// Position returns the newest position that is remembered of a log, the zero
// Position before the first record.
func (s *State) Position(ctx context.Context, log id.Workspace) (record.Position, error) {
	last, err := lastIndex(s.db, log)
	if err != nil || last == 0 {
		return record.Position{}, s.db.fail("read position", err)
	}
	head, err := s.Head(ctx, log, last)
	return record.Position{Index: last, Head: head}, err
}

// Head returns the remembered head at an index of a log, which counts from 1.
// It fails with [fault.NotFound] beyond the newest.
func (s *State) Head(ctx context.Context, log id.Workspace, index uint64) (record.Head, error) {
	var head record.Head
	found := false
	err := s.db.values(ctx, tableHeads, func(_ []any, plain []byte) error {
		found = true
		copy(head[:], plain)
		return nil
	}, "SELECT log, number, value FROM head WHERE log = ? AND number = ?", log[:], index)
	if err == nil && !found {
		err = s.missing(log, index)
	}
	return head, err
}

// missing tells an index that was never remembered from one that was lost.
func (s *State) missing(log id.Workspace, index uint64) error {
	last, err := lastIndex(s.db, log)
	if err != nil {
		return s.db.fail("read head", err)
	}
	if index > 0 && index < last {
		return s.db.fail("read head", fmt.Errorf("head %d of %d: %w", index, last, errLost))
	}
	return fault.Errorf(fault.NotFound, "read head: index %d is not among the %d remembered", index, last)
}

// recordsAtOnce bounds how many records are in memory while they are read.
const recordsAtOnce = 16

// Records returns the remembered records of a log behind an index, in order,
// those included that are appended meanwhile.
func (s *State) Records(ctx context.Context, log id.Workspace, after uint64) iter.Seq2[Record, error] {
	return pages(func(last *Record) ([]Record, error) {
		if last == nil {
			return s.records(ctx, log, after)
		}
		return s.records(ctx, log, last.Index)
	})
}

func (s *State) records(ctx context.Context, log id.Workspace, after uint64) ([]Record, error) {
	var page []Record
	err := s.db.values(ctx, tableRecords, func(key []any, plain []byte) error {
		r := Record{Index: after + 1 + uint64(len(page)), Raw: plain}
		if found := uint64(key[1].(int64)); found != r.Index {
			return fmt.Errorf("record %d, before %d: %w", r.Index, found, errLost)
		}
		page = append(page, r)
		return nil
	}, "SELECT log, number, value FROM record WHERE log = ? AND number > ? ORDER BY number LIMIT ?", log[:], after, recordsAtOnce)
	for i := range page {
		if err == nil {
			page[i].Head, err = s.Head(ctx, log, page[i].Index)
		}
	}
	return page, err
}

// Openings returns the remembered openings of users' identities.
func (s *State) Openings(ctx context.Context) (map[id.User][]byte, error) {
	openings := make(map[id.User][]byte)
	err := s.db.values(ctx, tableOpenings, func(key []any, plain []byte) error {
		openings[id.User(key[0].([]byte))] = plain
		return nil
	}, "SELECT user, value FROM opening")
	return openings, err
}

// Workspaces returns what is remembered of every workspace, by ascending id.
func (s *State) Workspaces(ctx context.Context) ([]Workspace, error) {
	return all[Workspace](ctx, s.db, tableWorkspaces, "SELECT workspace, value FROM workspace ORDER BY workspace")
}

// Workspace returns what is remembered of one workspace, if anything is.
func (s *State) Workspace(ctx context.Context, w id.Workspace) (Workspace, bool, error) {
	return first[Workspace](ctx, s.db, tableWorkspaces, "SELECT workspace, value FROM workspace WHERE workspace = ?", w[:])
}

// Keys returns the remembered generations of a workspace key, in order.
func (s *State) Keys(ctx context.Context, w id.Workspace) ([]Key, error) {
	return all[Key](ctx, s.db, tableKeys,
		"SELECT workspace, generation, value FROM workspace_key WHERE workspace = ? ORDER BY generation", w[:])
}
