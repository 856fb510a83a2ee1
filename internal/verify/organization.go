package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"maps"
	"slices"
	"sort"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
)

// Since is a value that holds from an index of the organization log on.
type Since[T any] struct {
	_     struct{} `cbor:",toarray"`
	Index uint64
	Value T
}

// at returns the newest value at an index; ok is false before the first.
func at[T any](history []Since[T], index uint64) (v Since[T], ok bool) {
	for _, s := range slices.Backward(history) {
		if s.Index <= index {
			return s, true
		}
	}
	return v, false
}

// User is a person of the organization, with what changed and when.
type User struct {
	_        struct{} `cbor:",toarray"`
	ID       id.User
	Identity record.Digest
	// Added and Revoked are indexes of the organization log; Revoked is 0 for
	// an active user.
	Added, Revoked uint64
	// AddedBy is the device that signed the user in; zero for the first user.
	AddedBy  id.Device
	Profiles []Since[record.Profile]
	Keys     []Since[record.PublicKey]
	// Devices are all that the user ever had, in the order of adding.
	Devices []id.Device
}

// Profile returns the newest profile.
func (u User) Profile() record.Profile { return u.Profiles[len(u.Profiles)-1].Value }

// Key returns the newest public key.
func (u User) Key() record.PublicKey { return u.Keys[len(u.Keys)-1].Value }

// ActiveAt reports whether the user was in the organization at an index.
func (u User) ActiveAt(index uint64) bool { return active(u.Added, u.Revoked, index) }

func active(added, revoked, index uint64) bool {
	return added <= index && (revoked == 0 || revoked > index)
}

// Device is a workstation of a user.
type Device struct {
	_    struct{} `cbor:",toarray"`
	ID   id.Device
	User id.User
	// Added and Revoked are indexes of the organization log; Revoked is 0 for
	// an active device.
	Added, Revoked uint64
	Verify         []byte
	Encrypt        record.PublicKey
	// Seq is the sequence number of the device's newest record in this log.
	Seq uint64
	// Time is that of the record that added the device.
	Time int64
}

// ActiveAt reports whether the device itself was in use at an index; its user
// may have been revoked nevertheless.
func (d Device) ActiveAt(index uint64) bool { return active(d.Added, d.Revoked, index) }

// Service is a sequester service.
type Service struct {
	_              struct{} `cbor:",toarray"`
	ID             id.Service
	Added, Revoked uint64
	Key            record.PublicKey
}

type organizationState struct {
	_           struct{} `cbor:",toarray"`
	Fingerprint id.Fingerprint
	Root        []byte
	Name        string
	Sequester   []byte
	// SequesterSeq is the sequence number of the authority's newest record.
	SequesterSeq uint64
	Time         int64
	// Heads holds the head behind each record, from index 1.
	Heads    []record.Head
	Users    []User
	Devices  []Device
	Services []Service
	// Revocations names whose key somebody lost the right to, at each
	// revocation of a user or device, by ascending index.
	Revocations []Since[id.User]
}

// Organization is the state of an organization's log. It is not safe for
// concurrent change.
type Organization struct {
	s       organizationState
	users   map[id.User]int
	devices map[id.Device]int
}

// NewOrganization returns the empty log of the organization with this fingerprint.
func NewOrganization(f id.Fingerprint) *Organization {
	return &Organization{
		s:     organizationState{Fingerprint: f},
		users: map[id.User]int{}, devices: map[id.Device]int{},
	}
}

// Snapshot returns the state in a form that [RestoreOrganization] takes.
func (o *Organization) Snapshot() []byte { return canon.Marshal(o.s) }

// RestoreOrganization returns the state that [Organization.Snapshot] gave. The
// snapshot comes from one's own storage: it is not verified again.
func RestoreOrganization(snapshot []byte) (*Organization, error) {
	o := NewOrganization(id.Fingerprint{})
	if err := canon.Unmarshal(snapshot, &o.s); err != nil {
		return nil, fault.Errorf(fault.Failed, "restore organization: %w", err)
	}
	for i, u := range o.s.Users {
		o.users[u.ID] = i
	}
	for i, d := range o.s.Devices {
		o.devices[d.ID] = i
	}
	return o, nil
}

// Clone returns a copy that changes by itself.
func (o *Organization) Clone() *Organization {
	c := &Organization{s: o.s, users: maps.Clone(o.users), devices: maps.Clone(o.devices)}
	c.s.Heads, c.s.Users = slices.Clone(o.s.Heads), slices.Clone(o.s.Users)
	c.s.Devices, c.s.Services = slices.Clone(o.s.Devices), slices.Clone(o.s.Services)
	c.s.Revocations = slices.Clip(o.s.Revocations)
	for i, u := range c.s.Users { // what Append extends must not be shared
		c.s.Users[i].Profiles, c.s.Users[i].Keys = slices.Clip(u.Profiles), slices.Clip(u.Keys)
		c.s.Users[i].Devices = slices.Clip(u.Devices)
	}
	return c
}

// Fingerprint returns the organization's identity.
func (o *Organization) Fingerprint() id.Fingerprint { return o.s.Fingerprint }

// Name returns the organization's name.
func (o *Organization) Name() string { return o.s.Name }

// Root returns the root public key, which is the log's id; nil before genesis.
func (o *Organization) Root() ed25519.PublicKey { return o.s.Root }

// Time returns the newest record's time, in nanoseconds since the Unix epoch.
func (o *Organization) Time() int64 { return o.s.Time }

// Position returns the newest index and the head there.
func (o *Organization) Position() record.Position {
	if len(o.s.Heads) == 0 {
		return record.OrganizationLog(o.s.Root).Start()
	}
	return record.Position{Index: uint64(len(o.s.Heads)), Head: o.s.Heads[len(o.s.Heads)-1]}
}

// Contains reports whether a position lies in the log.
func (o *Organization) Contains(p record.Position) bool {
	if p.Index == 0 {
		return p == record.OrganizationLog(o.s.Root).Start()
	}
	return p.Index <= uint64(len(o.s.Heads)) && o.s.Heads[p.Index-1] == p.Head
}

// User returns the user with this id.
func (o *Organization) User(u id.User) (User, bool) {
	i, ok := o.users[u]
	if !ok {
		return User{}, false
	}
	return o.s.Users[i], true
}

// Device returns the device with this id.
func (o *Organization) Device(d id.Device) (Device, bool) {
	i, ok := o.devices[d]
	if !ok {
		return Device{}, false
	}
	return o.s.Devices[i], true
}

// Users returns all users, in the order of adding.
func (o *Organization) Users() []User { return slices.Clone(o.s.Users) }

// Devices returns all devices, in the order of adding.
func (o *Organization) Devices() []Device { return slices.Clone(o.s.Devices) }

// Sequence returns the sequence number of a device's newest record in this log.
func (o *Organization) Sequence(d id.Device) uint64 {
	device, _ := o.Device(d)
	return device.Seq
}

// Services returns the sequester services that were in use at an index.
func (o *Organization) Services(index uint64) []Service {
	var live []Service
	for _, s := range o.s.Services {
		if active(s.Added, s.Revoked, index) {
			live = append(live, s)
		}
	}
	return live
}

// ActiveAt reports whether a device and its user were both unrevoked at an index.
func (o *Organization) ActiveAt(d id.Device, index uint64) bool {
	device, ok := o.Device(d)
	if !ok || !device.ActiveAt(index) {
		return false
	}
	user, ok := o.User(device.User)
	return ok && user.ActiveAt(index)
}

// RevokedAt reports whether a device, or its user, was revoked at an index or before.
func (o *Organization) RevokedAt(d id.Device, index uint64) bool {
	revoked := func(at uint64) bool { return at != 0 && at <= index }
	device, _ := o.Device(d)
	user, _ := o.User(device.User)
	return revoked(device.Revoked) || revoked(user.Revoked)
}

// ProfileAt returns a user's profile at an index; 0 before the user was added.
func (o *Organization) ProfileAt(u id.User, index uint64) record.Profile {
	user, _ := o.User(u)
	p, _ := at(user.Profiles, index)
	return p.Value
}

// KeyAt returns the public key to which something may be sealed for a user at
// an index. There is none for somebody revoked, nor while a revoked device
// still holds the key.
func (o *Organization) KeyAt(u id.User, index uint64) (record.PublicKey, bool) {
	user, ok := o.User(u)
	if !ok || !user.ActiveAt(index) {
		return nil, false
	}
	key, ok := at(user.Keys, index)
	if !ok {
		return nil, false
	}
	for _, d := range user.Devices {
		device, _ := o.Device(d)
		if r := device.Revoked; r != 0 && r <= index && r > key.Index {
			return nil, false
		}
	}
	return key.Value, true
}

// revocations returns whom revocations concerned, of users or of their
// devices, behind one index and up to another.
func (o *Organization) revocations(after, upTo uint64) []Since[id.User] {
	behind := func(index uint64) int {
		return sort.Search(len(o.s.Revocations), func(i int) bool { return o.s.Revocations[i].Index > index })
	}
	return o.s.Revocations[behind(after):behind(max(after, upTo))]
}

// lastSequesterChange returns the newest index up to the given one at which
// the sequester services changed; 0 if there is none.
func (o *Organization) lastSequesterChange(index uint64) uint64 {
	var newest uint64
	for _, s := range o.s.Services {
		for _, i := range []uint64{s.Added, s.Revoked} {
			if i <= index {
				newest = max(newest, i)
			}
		}
	}
	return newest
}

// Append verifies the next record of the log and applies it.
func (o *Organization) Append(raw []byte) (*Step, error) {
	if len(o.s.Heads) == 0 {
		return o.appendGenesis(raw)
	}
	s, err := Authenticate(o, raw)
	if err != nil {
		return nil, err
	}
	r := s.Record
	switch {
	case !r.Kind.Organization() || r.Kind == record.KindGenesis || !bytes.Equal(r.Log, o.s.Root):
		return nil, violation(RuleForm, "%s record does not belong to this organization's log", r.Kind)
	case r.Seen.Organization != o.Position() || r.Seen.Workspace != (record.Position{}):
		return nil, violation(RulePlace, "%s record was signed for index %d, not for %d",
			r.Kind, r.Seen.Organization.Index+1, o.Position().Index+1)
	case r.Seq != o.sequence(s)+1:
		return nil, violation(RuleSequence, "%s record has sequence number %d, want %d", r.Kind, r.Seq, o.sequence(s)+1)
	case r.Time < o.s.Time:
		return nil, violation(RuleTime, "%s record is older than the one before", r.Kind)
	}
	apply, err := o.rule(s)
	if err != nil {
		return nil, err
	}
	step := o.step(r, s.Payload)
	if r.Author.IsZero() {
		o.s.SequesterSeq++
	} else {
		o.s.Devices[o.devices[r.Author]].Seq++
	}
	apply(step.Position.Index)
	return step, nil
}

func (o *Organization) sequence(s *Signed) uint64 {
	if s.Record.Author.IsZero() {
		return o.s.SequesterSeq
	}
	return o.Sequence(s.Record.Author)
}

func (o *Organization) step(r *record.Record, p record.Payload) *Step {
	next := o.Position().Next(r.Digest)
	o.s.Heads = append(o.s.Heads, next.Head)
	o.s.Time = r.Time
	return &Step{Position: next, Record: r, Payload: p}
}

func (o *Organization) appendGenesis(raw []byte) (*Step, error) {
	if sha256.Sum256(raw) != [32]byte(o.s.Fingerprint) {
		return nil, violation(RuleForm, "the genesis record is not that of organization %s", o.s.Fingerprint)
	}
	r, err := record.Parse(raw)
	if err != nil {
		return nil, malformed(err)
	}
	if r.Kind != record.KindGenesis {
		return nil, violation(RuleForm, "the log starts with a %s record", r.Kind)
	}
	// The payload names the keys that sign it, so here decoding has to come first.
	payload, err := r.Decode()
	if err != nil {
		return nil, malformed(err)
	}
	g := payload.(record.Genesis)
	if !r.SignedGenesis(g.Root, g.First.Device.Verify) {
		return nil, violation(RuleSignature, "genesis record is not signed by root key and first device")
	}
	start := record.Seen{Organization: record.OrganizationLog(g.Root).Start()}
	if !bytes.Equal(r.Log, g.Root) || r.Author != g.First.Device.Device || r.Seq != 1 || r.Seen != start {
		return nil, violation(RulePlace, "genesis record is not the first of its log")
	}
	o.s.Root, o.s.Name, o.s.Sequester = g.Root, g.Name, g.Sequester
	step := o.step(r, g)
	o.addUser(g.First, record.ProfileAdmin, id.Device{}, 1)
	o.s.Devices[0].Seq = 1
	return step, nil
}

func (o *Organization) addUser(n record.NewUser, p record.Profile, by id.Device, index uint64) {
	o.users[n.User] = len(o.s.Users)
	o.s.Users = append(o.s.Users, User{
		ID: n.User, Identity: n.Identity, Added: index, AddedBy: by,
		Profiles: []Since[record.Profile]{{Index: index, Value: p}},
		Keys:     []Since[record.PublicKey]{{Index: index, Value: n.Key}},
	})
	o.addDevice(n.User, n.Device, index)
}

func (o *Organization) addDevice(u id.User, k record.DeviceKeys, index uint64) {
	o.devices[k.Device] = len(o.s.Devices)
	o.s.Devices = append(o.s.Devices, Device{
		ID: k.Device, User: u, Added: index, Verify: k.Verify, Encrypt: k.Encrypt, Time: o.s.Time,
	})
	user := &o.s.Users[o.users[u]]
	user.Devices = append(user.Devices, k.Device)
}

// rule checks what a record's author may do at this place, and returns how to
// apply it at its index.
func (o *Organization) rule(s *Signed) (func(index uint64), error) {
	switch p := s.Payload.(type) {
	case record.SequesterAdded:
		return o.ruleSequesterAdded(s, p)
	case record.SequesterRevoked:
		return o.ruleSequesterRevoked(s, p)
	}
	here := o.Position().Index
	if s.Record.Author.IsZero() || !o.ActiveAt(s.Record.Author, here) {
		return nil, violation(RuleAuthority, "%s record by device %s, which was revoked", s.Record.Kind, s.Record.Author)
	}
	switch p := s.Payload.(type) {
	case record.UserAdded:
		return o.ruleUserAdded(s, p)
	case record.DeviceAdded:
		return o.ruleDeviceAdded(s, p)
	case record.ProfileChanged:
		return o.ruleProfileChanged(s, p)
	case record.UserRevoked:
		return o.ruleUserRevoked(s, p)
	case record.DeviceRevoked:
		return o.ruleDeviceRevoked(s, p)
	case record.UserKeyReplaced:
		return o.ruleUserKeyReplaced(s, p)
	}
	return nil, violation(RuleForm, "%s record in an organization's log", s.Record.Kind)
}

func (o *Organization) admin(s *Signed) error {
	if o.ProfileAt(s.User, o.Position().Index) != record.ProfileAdmin {
		return violation(RuleAuthority, "%s record by a user who is not an administrator", s.Record.Kind)
	}
	return nil
}

// other returns the unrevoked user that an administrator's record is about.
func (o *Organization) other(s *Signed, u id.User) (*User, error) {
	if err := o.admin(s); err != nil {
		return nil, err
	}
	i, ok := o.users[u]
	switch {
	case !ok || o.s.Users[i].Revoked != 0:
		return nil, violation(RuleAuthority, "%s record about user %s, who is not in the organization", s.Record.Kind, u)
	case u == s.User:
		return nil, violation(RuleAuthority, "%s record about its own author", s.Record.Kind)
	}
	return &o.s.Users[i], nil
}

func (o *Organization) unused(s *Signed, d id.Device) error {
	if _, taken := o.devices[d]; taken {
		return violation(RuleAuthority, "%s record for device %s, which exists", s.Record.Kind, d)
	}
	return nil
}

func (o *Organization) ruleUserAdded(s *Signed, p record.UserAdded) (func(uint64), error) {
	if err := o.admin(s); err != nil {
		return nil, err
	}
	if _, taken := o.users[p.New.User]; taken || o.service(id.Service(p.New.User)) != nil {
		return nil, violation(RuleAuthority, "%s record for user %s, who exists", s.Record.Kind, p.New.User)
	}
	if err := o.unused(s, p.New.Device.Device); err != nil {
		return nil, err
	}
	return func(index uint64) { o.addUser(p.New, p.Profile, s.Record.Author, index) }, nil
}

func (o *Organization) ruleDeviceAdded(s *Signed, p record.DeviceAdded) (func(uint64), error) {
	if err := o.unused(s, p.New.Device); err != nil {
		return nil, err
	}
	return func(index uint64) { o.addDevice(s.User, p.New, index) }, nil
}

func (o *Organization) ruleProfileChanged(s *Signed, p record.ProfileChanged) (func(uint64), error) {
	user, err := o.other(s, p.User)
	if err != nil {
		return nil, err
	}
	if user.Profile() == p.Profile {
		return nil, violation(RuleAuthority, "%s record that changes nothing", s.Record.Kind)
	}
	return func(index uint64) {
		user.Profiles = append(user.Profiles, Since[record.Profile]{Index: index, Value: p.Profile})
	}, nil
}

func (o *Organization) ruleUserRevoked(s *Signed, p record.UserRevoked) (func(uint64), error) {
	user, err := o.other(s, p.User)
	if err != nil {
		return nil, err
	}
	return func(index uint64) {
		user.Revoked = index
		o.s.Revocations = append(o.s.Revocations, Since[id.User]{Index: index, Value: p.User})
	}, nil
}

func (o *Organization) ruleDeviceRevoked(s *Signed, p record.DeviceRevoked) (func(uint64), error) {
	i, ok := o.devices[p.Device]
	if !ok || !o.ActiveAt(p.Device, o.Position().Index) {
		return nil, violation(RuleAuthority, "%s record about device %s, which is not in use", s.Record.Kind, p.Device)
	}
	device := &o.s.Devices[i]
	own := device.User == s.User
	switch {
	case p.Device == s.Record.Author:
		return nil, violation(RuleAuthority, "%s record about its own author", s.Record.Kind)
	case !own && len(p.Replacement) != 0:
		return nil, violation(RuleAuthority, "%s record that replaces another user's key", s.Record.Kind)
	case !own:
		if err := o.admin(s); err != nil {
			return nil, err
		}
	}
	for _, r := range p.Replacement {
		if err := o.replacement(s, r, p.Device); err != nil {
			return nil, err
		}
	}
	return func(index uint64) {
		device.Revoked = index
		o.s.Revocations = append(o.s.Revocations, Since[id.User]{Index: index, Value: device.User})
		for _, r := range p.Replacement {
			o.replaceKey(s.User, r.Key, index)
		}
	}, nil
}

func (o *Organization) ruleUserKeyReplaced(s *Signed, p record.UserKeyReplaced) (func(uint64), error) {
	if err := o.replacement(s, p.Replacement, id.Device{}); err != nil {
		return nil, err
	}
	return func(index uint64) { o.replaceKey(s.User, p.Replacement.Key, index) }, nil
}

func (o *Organization) replaceKey(u id.User, k record.PublicKey, index uint64) {
	user := &o.s.Users[o.users[u]]
	user.Keys = append(user.Keys, Since[record.PublicKey]{Index: index, Value: k})
}

// replacement checks that a new key is delivered to exactly the author's
// unrevoked devices, less one that the same record revokes.
func (o *Organization) replacement(s *Signed, r record.Replacement, less id.Device) error {
	user, _ := o.User(s.User)
	var want, got []id.Device
	for _, d := range user.Devices {
		if device, _ := o.Device(d); device.Revoked == 0 && d != less {
			want = append(want, d)
		}
	}
	slices.SortFunc(want, func(a, b id.Device) int { return bytes.Compare(a[:], b[:]) })
	for _, d := range r.Deliveries {
		got = append(got, d.Device)
	}
	if !slices.Equal(got, want) {
		return violation(RuleAuthority, "%s record delivers the key to %d devices, not to the user's %d", s.Record.Kind, len(got), len(want))
	}
	for _, old := range user.Keys {
		if bytes.Equal(old.Value, r.Key) {
			return violation(RuleAuthority, "%s record replaces a key by an old one", s.Record.Kind)
		}
	}
	return nil
}

func (o *Organization) service(s id.Service) *Service {
	for i := range o.s.Services {
		if o.s.Services[i].ID == s {
			return &o.s.Services[i]
		}
	}
	return nil
}

func (o *Organization) authority(s *Signed) error {
	if !s.Record.Author.IsZero() || len(o.s.Sequester) == 0 {
		return violation(RuleAuthority, "%s record that the sequester authority did not sign", s.Record.Kind)
	}
	return nil
}

func (o *Organization) ruleSequesterAdded(s *Signed, p record.SequesterAdded) (func(uint64), error) {
	if err := o.authority(s); err != nil {
		return nil, err
	}
	if _, taken := o.users[id.User(p.Service)]; taken || o.service(p.Service) != nil {
		return nil, violation(RuleAuthority, "%s record for service %s, which exists", s.Record.Kind, p.Service)
	}
	return func(index uint64) {
		o.s.Services = append(o.s.Services, Service{ID: p.Service, Added: index, Key: p.Key})
	}, nil
}

func (o *Organization) ruleSequesterRevoked(s *Signed, p record.SequesterRevoked) (func(uint64), error) {
	if err := o.authority(s); err != nil {
		return nil, err
	}
	service := o.service(p.Service)
	if service == nil || service.Revoked != 0 {
		return nil, violation(RuleAuthority, "%s record about service %s, which is not in use", s.Record.Kind, p.Service)
	}
	return func(index uint64) { service.Revoked = index }, nil
}
