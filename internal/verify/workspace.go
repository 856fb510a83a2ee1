package verify

import (
	"bytes"
	"slices"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// History answers what a workspace's state is too small to hold.
type History interface {
	// Head returns the head behind the record at an index, at most the present one.
	Head(index uint64) (record.Head, error)
	// Versions returns where each entry stands, in the given order; the zero
	// Version for one that was never written.
	Versions(entries []id.Entry) ([]Version, error)
}

// Version is where an entry stands.
type Version struct {
	Number uint64
	// Base is the version of the snapshot on which Number builds.
	Base uint64
	Gone bool
}

// day is the age of the newest record at which a heartbeat is due, in nanoseconds.
const day = uint64(24 * time.Hour)

// Member is somebody with a role.
type Member struct {
	_    struct{} `cbor:",toarray"`
	User id.User
	Role record.Role
	// Since is the organization index that was known when the user became a member.
	Since uint64
}

// Generation is what the log says of one workspace key.
type Generation struct {
	_          struct{} `cbor:",toarray"`
	Commitment record.Digest
	// Links is the generation whose key Backlink holds, sealed under this one.
	Links    uint64
	Backlink []byte
	// Index is that of the record that introduced it, and Author its author.
	Index  uint64
	Author id.Device
}

type author struct {
	_      struct{} `cbor:",toarray"`
	Device id.Device
	Seq    uint64
}

type workspaceState struct {
	_            struct{} `cbor:",toarray"`
	Organization id.Fingerprint
	Workspace    id.Workspace
	Position     record.Position
	Time         int64
	// Effective is the largest organization index in any record's `seen`.
	Effective uint64
	// Barrier is the index of the newest record that is no commit or heartbeat,
	// and BarrierTime the log's time there.
	Barrier     uint64
	BarrierTime int64
	// Restructured is the index of the newest restructuring commit.
	Restructured uint64
	// Covered is the organization index up to which no revocation calls for
	// another rotation: that of the newest rotation, or of the newest commit,
	// before which none was due.
	Covered     uint64
	Generations []Generation
	Archived    bool
	// Name is sealed under the generation beside it.
	Name           []byte
	NameGeneration uint64
	// Members and Authors are by ascending id.
	Members []Member
	Authors []author
}

// Workspace is the state of a workspace's log. It is not safe for concurrent change.
type Workspace struct{ s workspaceState }

// NewWorkspace returns the empty log of a workspace.
func NewWorkspace(f id.Fingerprint, w id.Workspace) *Workspace {
	return &Workspace{workspaceState{
		Organization: f, Workspace: w, Position: record.WorkspaceLog(f, w).Start(),
	}}
}

// Snapshot returns the state in a form that [RestoreWorkspace] takes.
func (w *Workspace) Snapshot() []byte { return canon.Marshal(w.s) }

// RestoreWorkspace returns the state that [Workspace.Snapshot] gave. The
// snapshot comes from one's own storage: it is not verified again.
func RestoreWorkspace(snapshot []byte) (*Workspace, error) {
	w := new(Workspace)
	if err := canon.Unmarshal(snapshot, &w.s); err != nil {
		return nil, fault.Errorf(fault.Failed, "restore workspace: %w", err)
	}
	return w, nil
}

// Clone returns a copy that changes by itself.
func (w *Workspace) Clone() *Workspace {
	c := &Workspace{w.s}
	c.s.Members, c.s.Authors = slices.Clone(w.s.Members), slices.Clone(w.s.Authors)
	c.s.Generations = slices.Clip(w.s.Generations)
	return c
}

// ID returns the workspace's id.
func (w *Workspace) ID() id.Workspace { return w.s.Workspace }

// Position returns the newest index and the head there.
func (w *Workspace) Position() record.Position { return w.s.Position }

// Time returns the latest time of any record, in nanoseconds since the Unix epoch.
func (w *Workspace) Time() int64 { return w.s.Time }

// Effective returns the largest organization index that any record has seen.
func (w *Workspace) Effective() uint64 { return w.s.Effective }

// Archived reports whether the workspace takes no commits.
func (w *Workspace) Archived() bool { return w.s.Archived }

// Name returns the sealed name and the generation under which it is sealed.
func (w *Workspace) Name() (sealed []byte, generation uint64) { return w.s.Name, w.s.NameGeneration }

// Generation returns the number of the newest generation of the workspace key.
func (w *Workspace) Generation() uint64 { return uint64(len(w.s.Generations)) }

// Generations returns what the log says of every generation, from the first.
func (w *Workspace) Generations() []Generation { return slices.Clone(w.s.Generations) }

// Members returns all that have a role, by ascending id; some may have been
// revoked in the organization since.
func (w *Workspace) Members() []Member { return slices.Clone(w.s.Members) }

// Sequence returns the sequence number of a device's newest record in this log.
func (w *Workspace) Sequence(d id.Device) uint64 {
	i, ok := w.author(d)
	if !ok {
		return 0
	}
	return w.s.Authors[i].Seq
}

func (w *Workspace) author(d id.Device) (int, bool) {
	return slices.BinarySearchFunc(w.s.Authors, d, func(a author, d id.Device) int { return bytes.Compare(a.Device[:], d[:]) })
}

func (w *Workspace) member(u id.User) (int, bool) {
	return slices.BinarySearchFunc(w.s.Members, u, func(m Member, u id.User) int { return bytes.Compare(m.User[:], u[:]) })
}

// stored returns the role that the log gave a user, whatever the organization says.
func (w *Workspace) stored(u id.User) record.Role {
	i, ok := w.member(u)
	if !ok {
		return record.RoleNone
	}
	return w.s.Members[i].Role
}

// Role returns what a user may do at an organization index: nothing once
// revoked, and no more than a contributor as an outsider.
func (w *Workspace) Role(o *Organization, u id.User, index uint64) record.Role {
	role := w.stored(u)
	user, ok := o.User(u)
	if role == record.RoleNone || !ok || !user.ActiveAt(index) {
		return record.RoleNone
	}
	if o.ProfileAt(u, index) == record.ProfileOutsider {
		role = min(role, record.RoleContributor)
	}
	return role
}

// Due reports whether, at an organization index, the workspace key has to be
// rotated before anything is written: somebody who held it was revoked, or
// lost a device, or the sequester services changed, and no rotation since
// covers that.
func (w *Workspace) Due(o *Organization, index uint64) bool {
	return w.revoked(o, w.s.Covered, index)
}

// revoked reports whether, behind one organization index and up to another, a
// member or a member's device was revoked, or the sequester services changed.
// Its cost is that of the revocations in between.
func (w *Workspace) revoked(o *Organization, after, upTo uint64) bool {
	if o.lastSequesterChange(upTo) > after {
		return true
	}
	return slices.ContainsFunc(o.revocations(after, upTo), func(r Since[id.User]) bool {
		i, member := w.member(r.Value)
		return member && r.Index > w.s.Members[i].Since
	})
}

// HeartbeatDue reports whether a heartbeat that has seen an organization index
// says something now, in nanoseconds since the Unix epoch: the newest record is a day old, or no record
// covers a revocation. Without that bound a reader could hold up everything
// that has to stand in an exact place.
func (w *Workspace) HeartbeatDue(o *Organization, index uint64, now int64) bool {
	aged := now >= w.s.Time && uint64(now)-uint64(w.s.Time) >= day
	return aged || w.revoked(o, w.s.Effective, index)
}

// Recipient is somebody to whom a workspace key is sealed.
type Recipient struct {
	// ID is a user's or a sequester service's.
	ID  [id.Size]byte
	Key record.PublicKey
}

// Recipients returns to whom a rotation at an organization index seals the new
// key, by ascending id: the unrevoked members, less one whom the same record
// removes, and the sequester services. Those whose key awaits replacement are
// left out.
func (w *Workspace) Recipients(o *Organization, index uint64, less id.User) []Recipient {
	var all []Recipient
	for _, m := range w.s.Members {
		if key, ok := o.KeyAt(m.User, index); ok && m.User != less {
			all = append(all, Recipient{m.User, key})
		}
	}
	for _, s := range o.Services(index) {
		all = append(all, Recipient{s.ID, s.Key})
	}
	slices.SortFunc(all, func(a, b Recipient) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all
}

// Append verifies the next record of the log against this state, the
// organization's log and the entries' versions, and applies it.
func (w *Workspace) Append(o *Organization, h History, s *Signed) (*Step, error) {
	if err := w.checkPlace(o, h, s.Record); err != nil {
		return nil, err
	}
	effective := s.Record.Seen.Organization.Index
	if err := checkAuthor(o, s, effective); err != nil {
		return nil, err
	}
	apply, err := w.rule(o, h, s, effective)
	if err != nil {
		return nil, err
	}
	next := w.s.Position.Next(s.Record.Digest)
	apply(next.Index)
	w.advance(s.Record, next)
	return &Step{Position: next, Record: s.Record, Payload: s.Payload}, nil
}

func (w *Workspace) advance(r *record.Record, next record.Position) {
	w.s.Position, w.s.Time, w.s.Effective = next, max(w.s.Time, r.Time), r.Seen.Organization.Index
	if !r.Kind.Movable() {
		w.s.Barrier, w.s.BarrierTime = next.Index, w.s.Time
	}
	i, known := w.author(r.Author)
	if !known {
		w.s.Authors = slices.Insert(w.s.Authors, i, author{Device: r.Author})
	}
	w.s.Authors[i].Seq = r.Seq
}

func (w *Workspace) checkPlace(o *Organization, h History, r *record.Record) error {
	seen := r.Seen
	switch {
	case r.Kind.Organization() || !bytes.Equal(r.Log, record.WorkspaceLog(w.s.Organization, w.s.Workspace)):
		return violation(RuleForm, "%s record does not belong to this workspace's log", r.Kind)
	case (r.Kind == record.KindWorkspaceCreated) != (w.s.Position.Index == 0):
		return violation(RulePlace, "%s record at index %d", r.Kind, w.s.Position.Index+1)
	case seen.Organization.Index > o.Position().Index:
		return violation(RuleKnown, "%s record has seen index %d of the organization's log, which ends at %d",
			r.Kind, seen.Organization.Index, o.Position().Index)
	case !o.Contains(seen.Organization):
		return violation(RulePlace, "%s record has seen another organization log at index %d", r.Kind, seen.Organization.Index)
	case seen.Organization.Index < w.s.Effective:
		return violation(RuleKnown, "%s record has seen index %d of the organization's log, others before it %d",
			r.Kind, seen.Organization.Index, w.s.Effective)
	case r.Time < w.oldest(r):
		return violation(RuleTime, "%s record is older than what it follows", r.Kind)
	}
	if err := w.checkSeen(h, r); err != nil {
		return err
	}
	if want := w.Sequence(r.Author) + 1; r.Seq != want {
		return violation(RuleSequence, "%s record has sequence number %d, want %d", r.Kind, r.Seq, want)
	}
	return nil
}

// oldest returns the earliest time that the next record may have: that of the
// newest record, or for one that may land later than it saw, of the newest
// that it must have seen. Two clocks that differ by a moment would otherwise
// keep concurrent commits from ever landing behind each other.
func (w *Workspace) oldest(r *record.Record) int64 {
	if r.Kind.Movable() {
		return w.s.BarrierTime
	}
	return w.s.Time
}

// checkSeen checks what the author saw of this log: all of it, but for a
// commit or heartbeat behind which only such came in between.
func (w *Workspace) checkSeen(h History, r *record.Record) error {
	seen := r.Seen.Workspace
	if seen == w.s.Position {
		return nil
	}
	if !r.Kind.Movable() || seen.Index < w.s.Barrier || seen.Index >= w.s.Position.Index {
		return violation(RulePlace, "%s record was signed behind index %d, not behind %d", r.Kind, seen.Index, w.s.Position.Index)
	}
	head, err := h.Head(seen.Index)
	if err != nil {
		return err
	}
	if head != seen.Head {
		return violation(RulePlace, "%s record has seen another history at index %d", r.Kind, seen.Index)
	}
	return nil
}

// checkAuthor checks that the author was in the organization at an index.
func checkAuthor(o *Organization, s *Signed, index uint64) error {
	switch {
	case o.RevokedAt(s.Record.Author, index):
		return revokedAuthor(s, index)
	case !o.ActiveAt(s.Record.Author, index):
		return violation(RuleAuthority, "%s record by device %s, which was not there yet at index %d of the organization's log",
			s.Record.Kind, s.Record.Author, index)
	}
	return nil
}

func revokedAuthor(s *Signed, index uint64) error {
	return violation(RuleAuthority, "%s record by device %s, which was revoked at index %d of the organization's log or before",
		s.Record.Kind, s.Record.Author, index)
}

// CheckUnrevoked is for a client that appends records behind a head that it
// keeps. With each head it also keeps the organization index that it had
// verified before it asked for the workspace's newest head and got this one: a
// server that honestly ordered a record behind that head knew of every
// revocation up to the index. The index may only move on with the newest head,
// not with part of an answer, nor with the organization's log alone: what lies
// behind the head kept may be older than a revocation learned since.
func (w *Workspace) CheckUnrevoked(o *Organization, s *Signed, index uint64) error {
	if o.RevokedAt(s.Record.Author, index) {
		return revokedAuthor(s, index)
	}
	return nil
}

// CheckPresent is for the server, before [Workspace.Append]: it holds a
// record to the present organization log, also where its author had not seen
// all of it.
func (w *Workspace) CheckPresent(o *Organization, s *Signed) error {
	present := o.Position().Index
	if s.Record.Seen.Organization.Index == present {
		return nil
	}
	if err := checkAuthor(o, s, present); err != nil {
		return err
	}
	if !s.Record.Kind.Movable() {
		return violation(RuleKnown, "%s record has seen index %d of the organization's log, which stands at %d",
			s.Record.Kind, s.Record.Seen.Organization.Index, present)
	}
	return w.checkMovable(o, s, present)
}

// rule checks what the author may do, and returns how to apply the record.
func (w *Workspace) rule(o *Organization, h History, s *Signed, effective uint64) (func(index uint64), error) {
	switch p := s.Payload.(type) {
	case record.WorkspaceCreated:
		return w.ruleCreated(o, s, p, effective)
	case record.RoleChanged:
		return w.ruleRoleChanged(o, s, p, effective)
	case record.KeyRotated:
		return w.ruleKeyRotated(o, s, p, effective)
	case record.Renamed:
		return w.ruleRenamed(o, s, p, effective)
	case record.ArchivingChanged:
		return w.ruleArchiving(o, s, p, effective)
	case record.Heartbeat:
		return w.ruleHeartbeat(o, s, effective)
	case record.Commit:
		return w.ruleCommit(o, h, s, p, effective)
	}
	return nil, violation(RuleForm, "%s record in a workspace's log", s.Record.Kind)
}

func (w *Workspace) need(o *Organization, s *Signed, least record.Role, effective uint64) error {
	if role := w.Role(o, s.User, effective); role < least {
		return violation(RuleAuthority, "%s record by a user with role %s, want %s", s.Record.Kind, role, least)
	}
	return nil
}

func (w *Workspace) ruleCreated(o *Organization, s *Signed, p record.WorkspaceCreated, effective uint64) (func(uint64), error) {
	if o.ProfileAt(s.User, effective) == record.ProfileOutsider {
		return nil, violation(RuleAuthority, "%s record by an outsider", s.Record.Kind)
	}
	founded := w.Clone()
	founded.s.Members = []Member{{User: s.User, Role: record.RoleOwner, Since: effective}}
	if err := founded.checkRotation(o, s, p.Rotation, effective, id.User{}); err != nil {
		return nil, err
	}
	return func(index uint64) {
		w.s.Members = founded.s.Members
		w.s.Name, w.s.NameGeneration = p.Name, 1
		w.rotate(s, p.Rotation, effective, index)
	}, nil
}

// checkRotation checks that a rotation follows the newest one and seals the
// key to exactly those who shall have it.
func (w *Workspace) checkRotation(o *Organization, s *Signed, r record.Rotation, effective uint64, less id.User) error {
	if want := w.Generation() + 1; r.Generation != want {
		return violation(RuleAuthority, "%s record with generation %d, want %d", s.Record.Kind, r.Generation, want)
	}
	recipients := w.Recipients(o, effective, less)
	if len(recipients) != len(r.Grants) {
		return violation(RuleAuthority, "%s record seals the key to %d recipients, want %d", s.Record.Kind, len(r.Grants), len(recipients))
	}
	for i, g := range r.Grants {
		if g.Recipient != recipients[i].ID || g.Key != recipients[i].Key.Digest() {
			return violation(RuleAuthority, "%s record seals the key to somebody else, or to another key", s.Record.Kind)
		}
	}
	return nil
}

func (w *Workspace) rotate(s *Signed, r record.Rotation, effective, index uint64) {
	w.s.Generations = append(w.s.Generations, Generation{
		Commitment: r.Commitment, Links: r.Links, Backlink: r.Backlink, Index: index, Author: s.Record.Author,
	})
	w.s.Covered = effective
}

func (w *Workspace) ruleKeyRotated(o *Organization, s *Signed, p record.KeyRotated, effective uint64) (func(uint64), error) {
	// A contributor keeps the chain of keys whole; to leave out a generation
	// that does not open is for those who could as well end the workspace.
	least := record.RoleManager
	if w.Due(o, effective) && p.Rotation.Links == w.Generation() {
		least = record.RoleContributor
	}
	if err := w.need(o, s, least, effective); err != nil {
		return nil, err
	}
	if err := w.checkRotation(o, s, p.Rotation, effective, id.User{}); err != nil {
		return nil, err
	}
	return func(index uint64) { w.rotate(s, p.Rotation, effective, index) }, nil
}

func (w *Workspace) ruleRoleChanged(o *Organization, s *Signed, p record.RoleChanged, effective uint64) (func(uint64), error) {
	if err := w.mayChange(o, s, p, effective); err != nil {
		return nil, err
	}
	before := w.stored(p.User)
	if before == p.Role {
		return nil, violation(RuleAuthority, "%s record that changes nothing", s.Record.Kind)
	}
	for _, r := range p.Rotation {
		if err := w.checkRotation(o, s, r, effective, p.User); err != nil {
			return nil, err
		}
	}
	if p.Role != record.RoleNone {
		if err := w.checkGrant(o, s, p, before == record.RoleNone, effective); err != nil {
			return nil, err
		}
	}
	return func(index uint64) {
		w.setRole(p.User, p.Role, effective)
		for _, r := range p.Rotation {
			w.rotate(s, r, effective, index)
		}
	}, nil
}

// mayChange checks the author's right to give a user a role.
func (w *Workspace) mayChange(o *Organization, s *Signed, p record.RoleChanged, effective uint64) error {
	role := w.Role(o, s.User, effective)
	lowly := max(p.Role, w.stored(p.User)) <= record.RoleContributor
	switch {
	case p.User == s.User:
		return w.mayTakeOwnership(o, s, p, effective)
	case role == record.RoleOwner, role == record.RoleManager && lowly:
		return nil
	}
	return violation(RuleAuthority, "%s record from %s to %s by a user with role %s", s.Record.Kind, w.stored(p.User), p.Role, role)
}

func (w *Workspace) mayTakeOwnership(o *Organization, s *Signed, p record.RoleChanged, effective uint64) error {
	var highest record.Role
	for _, m := range w.s.Members {
		highest = max(highest, w.Role(o, m.User, effective))
	}
	switch {
	case p.Role != record.RoleOwner:
		return violation(RuleAuthority, "%s record about its own author", s.Record.Kind)
	case highest == record.RoleOwner:
		return violation(RuleAuthority, "%s record takes ownership while there is an owner", s.Record.Kind)
	case o.ProfileAt(s.User, effective) == record.ProfileOutsider:
		return violation(RuleAuthority, "%s record by an outsider who takes ownership", s.Record.Kind)
	case highest == record.RoleNone || w.Role(o, s.User, effective) != highest:
		return violation(RuleAuthority, "%s record takes ownership past a member of a higher role", s.Record.Kind)
	}
	return nil
}

// checkGrant checks that a new member, and nobody else, gets the present key.
func (w *Workspace) checkGrant(o *Organization, s *Signed, p record.RoleChanged, joins bool, effective uint64) error {
	user, ok := o.User(p.User)
	if !ok || !user.ActiveAt(effective) {
		return violation(RuleAuthority, "%s record about user %s, who is not in the organization", s.Record.Kind, p.User)
	}
	if joins != (len(p.Grant) == 1) {
		return violation(RuleAuthority, "%s record with %d grants", s.Record.Kind, len(p.Grant))
	}
	if !joins {
		return nil
	}
	key, ok := o.KeyAt(p.User, effective)
	if !ok || p.Grant[0].Recipient != p.User || p.Grant[0].Key != key.Digest() {
		return violation(RuleAuthority, "%s record seals the key to somebody else, or to another key", s.Record.Kind)
	}
	return nil
}

func (w *Workspace) setRole(u id.User, role record.Role, effective uint64) {
	i, known := w.member(u)
	switch {
	case known && role == record.RoleNone:
		w.s.Members = slices.Delete(w.s.Members, i, i+1)
	case known:
		w.s.Members[i].Role = role
	default:
		w.s.Members = slices.Insert(w.s.Members, i, Member{User: u, Role: role, Since: effective})
	}
}

func (w *Workspace) ruleRenamed(o *Organization, s *Signed, p record.Renamed, effective uint64) (func(uint64), error) {
	if err := w.need(o, s, record.RoleOwner, effective); err != nil {
		return nil, err
	}
	if p.Generation != w.Generation() {
		return nil, violation(RuleRotation, "%s record under generation %d, not %d", s.Record.Kind, p.Generation, w.Generation())
	}
	if w.Due(o, effective) {
		return nil, violation(RuleRotation, "%s record before the rotation that is due", s.Record.Kind)
	}
	return func(uint64) { w.s.Name, w.s.NameGeneration = p.Name, p.Generation }, nil
}

func (w *Workspace) ruleArchiving(o *Organization, s *Signed, p record.ArchivingChanged, effective uint64) (func(uint64), error) {
	if err := w.need(o, s, record.RoleOwner, effective); err != nil {
		return nil, err
	}
	archived := p.State == record.ArchivingArchived
	if archived == w.s.Archived {
		return nil, violation(RuleAuthority, "%s record that changes nothing", s.Record.Kind)
	}
	return func(uint64) { w.s.Archived = archived }, nil
}

func (w *Workspace) ruleHeartbeat(o *Organization, s *Signed, effective uint64) (func(uint64), error) {
	if err := w.checkMovable(o, s, effective); err != nil {
		return nil, err
	}
	if !w.HeartbeatDue(o, effective, s.Record.Time) {
		return nil, violation(RulePlace, "%s record that says nothing new", s.Record.Kind)
	}
	return func(uint64) {}, nil
}

// checkMovable checks the author's right to a commit or heartbeat at an
// organization index, and for a commit that no rotation is due there.
func (w *Workspace) checkMovable(o *Organization, s *Signed, index uint64) error {
	p, ok := s.Payload.(record.Commit)
	if !ok {
		return w.need(o, s, record.RoleReader, index)
	}
	if err := w.need(o, s, record.RoleContributor, index); err != nil {
		return err
	}
	switch {
	case w.s.Archived:
		return violation(RuleAuthority, "%s record in an archived workspace", s.Record.Kind)
	case p.Generation != w.Generation():
		return violation(RuleRotation, "%s record under generation %d of the key, not %d", s.Record.Kind, p.Generation, w.Generation())
	case w.Due(o, index):
		return violation(RuleRotation, "%s record before the rotation that is due since a revocation", s.Record.Kind)
	}
	return nil
}

func (w *Workspace) ruleCommit(o *Organization, h History, s *Signed, p record.Commit, effective uint64) (func(uint64), error) {
	if err := w.checkMovable(o, s, effective); err != nil {
		return nil, err
	}
	seen := s.Record.Seen.Workspace.Index
	switch {
	case p.Restructures && seen != w.s.Position.Index:
		return nil, violation(RulePlace, "a commit that restructures was signed behind index %d, not behind %d", seen, w.s.Position.Index)
	case seen < w.s.Restructured:
		return nil, violation(RulePlace, "%s record has seen index %d, but entries were moved or removed at %d", s.Record.Kind, seen, w.s.Restructured)
	}
	root := id.RootEntry(w.s.Workspace)
	if slices.ContainsFunc(p.Changes, func(c record.Change) bool { return c.Gone() && c.Entry == root }) {
		return nil, violation(RuleForm, "%s record removes the root folder", s.Record.Kind)
	}
	if err := checkVersions(h, p.Changes); err != nil {
		return nil, err
	}
	return func(index uint64) {
		w.s.Covered = effective
		if p.Restructures {
			w.s.Restructured = index
		}
	}, nil
}

// checkVersions checks that each change is the next version of its entry, and
// that a put builds on a snapshot that is still there.
func checkVersions(h History, changes []record.Change) error {
	entries := make([]id.Entry, len(changes))
	for i, c := range changes {
		entries[i] = c.Entry
	}
	present, err := h.Versions(entries)
	if err != nil {
		return err
	}
	var stale []id.Entry
	for i, c := range changes {
		if !follows(c, present[i]) {
			stale = append(stale, c.Entry)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	slices.SortFunc(stale, func(a, b id.Entry) int { return bytes.Compare(a[:], b[:]) })
	err = violation(RuleVersion, "%d of %d changes do not follow the present version of their entry", len(stale), len(changes))
	err.(*Violation).Entries = stale
	return err
}

func follows(c record.Change, v Version) bool {
	if c.Version != v.Number+1 {
		return false
	}
	if c.Gone() {
		return !v.Gone
	}
	snapshot := c.Base == c.Version
	delta := c.Base == v.Base && !v.Gone && c.Version-c.Base <= manifest.MaxDeltas
	return snapshot || delta
}
