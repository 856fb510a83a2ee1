package record

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
)

// Kind says what a record does. Numbers are never used again for another meaning.
type Kind uint8

// The kinds of the organization log.
const (
	KindGenesis          Kind = 1
	KindUserAdded        Kind = 2
	KindDeviceAdded      Kind = 3
	KindProfileChanged   Kind = 4
	KindUserRevoked      Kind = 5
	KindDeviceRevoked    Kind = 6
	KindUserKeyReplaced  Kind = 7
	KindSequesterAdded   Kind = 8
	KindSequesterRevoked Kind = 9
)

// The kinds of a workspace log.
const (
	KindWorkspaceCreated Kind = 32
	KindRoleChanged      Kind = 33
	KindKeyRotated       Kind = 34
	KindRenamed          Kind = 35
	KindArchivingChanged Kind = 36
	KindHeartbeat        Kind = 37
	KindCommit           Kind = 38
)

var kindNames = map[Kind]string{
	KindGenesis:          "genesis",
	KindUserAdded:        "user added",
	KindDeviceAdded:      "device added",
	KindProfileChanged:   "profile changed",
	KindUserRevoked:      "user revoked",
	KindDeviceRevoked:    "device revoked",
	KindUserKeyReplaced:  "user key replaced",
	KindSequesterAdded:   "sequester service added",
	KindSequesterRevoked: "sequester service revoked",
	KindWorkspaceCreated: "workspace created",
	KindRoleChanged:      "role changed",
	KindKeyRotated:       "key rotated",
	KindRenamed:          "renamed",
	KindArchivingChanged: "archiving changed",
	KindHeartbeat:        "heartbeat",
	KindCommit:           "commit",
}

func (k Kind) known() bool { return kindNames[k] != "" }

// Organization reports whether records of this kind stand in an organization log.
func (k Kind) Organization() bool { return k.known() && k < KindWorkspaceCreated }

// Movable reports whether a record of this kind may land later than its
// author saw: commits and heartbeats.
func (k Kind) Movable() bool { return k == KindCommit || k == KindHeartbeat }

// String returns the kind's name.
func (k Kind) String() string {
	if name := kindNames[k]; name != "" {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Profile is what a user is in the organization.
type Profile uint8

// The profiles.
const (
	ProfileOutsider Profile = 1
	ProfileStandard Profile = 2
	ProfileAdmin    Profile = 3
)

// String returns the profile's name.
func (p Profile) String() string {
	switch p {
	case ProfileOutsider:
		return "outsider"
	case ProfileStandard:
		return "standard"
	case ProfileAdmin:
		return "admin"
	}
	return fmt.Sprintf("profile %d", uint8(p))
}

// ParseProfile returns the profile with this name.
func ParseProfile(name string) (Profile, error) {
	for p := ProfileOutsider; p <= ProfileAdmin; p++ {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, fault.Errorf(fault.Usage, "profile %q: want admin, standard or outsider", name)
}

// Role is what a member may do in a workspace. Higher may more.
type Role uint8

// The roles. RoleNone is that of somebody who is not a member.
const (
	RoleNone        Role = 0
	RoleReader      Role = 1
	RoleContributor Role = 2
	RoleManager     Role = 3
	RoleOwner       Role = 4
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case RoleNone:
		return "none"
	case RoleReader:
		return "reader"
	case RoleContributor:
		return "contributor"
	case RoleManager:
		return "manager"
	case RoleOwner:
		return "owner"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole returns the role of a member with this name.
func ParseRole(name string) (Role, error) {
	for r := RoleReader; r <= RoleOwner; r++ {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, fault.Errorf(fault.Usage, "role %q: want owner, manager, contributor or reader", name)
}

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// PublicKeySize is the length of an HPKE public key (ML-KEM-768 with X25519).
const PublicKeySize = 1216

// PublicKey is an HPKE public key.
type PublicKey []byte

// Digest identifies the key in records.
func (k PublicKey) Digest() Digest { return label.KeyDigest.Hash(k) }

func (k PublicKey) check(what string) error {
	if len(k) != PublicKeySize {
		return fault.Errorf(fault.Invalid, "%s of %d bytes", what, len(k))
	}
	return nil
}

// DeviceKeys are the public half of a device.
type DeviceKeys struct {
	_      struct{} `cbor:",toarray"`
	Device id.Device
	// Verify is the Ed25519 key that checks the device's signatures.
	Verify []byte
	// Encrypt receives what is sealed to this device alone.
	Encrypt PublicKey
}

func (d DeviceKeys) check() error {
	if d.Device.IsZero() {
		return fault.Errorf(fault.Invalid, "a device without an id")
	}
	if len(d.Verify) != ed25519.PublicKeySize {
		return fault.Errorf(fault.Invalid, "a device's verify key of %d bytes", len(d.Verify))
	}
	return d.Encrypt.check("a device's encryption key")
}

// NewUser is a user with the first device.
type NewUser struct {
	_    struct{} `cbor:",toarray"`
	User id.User
	// Identity commits to e-mail address and name; see [Opening].
	Identity Digest
	Key      PublicKey
	Device   DeviceKeys
}

func (u NewUser) check() error {
	if u.User.IsZero() {
		return fault.Errorf(fault.Invalid, "a user without an id")
	}
	if err := u.Key.check("a user's key"); err != nil {
		return err
	}
	return u.Device.check()
}

// Payload is what a record of one kind says.
type Payload interface {
	// Kind is the kind of the records that carry this payload.
	Kind() Kind
	// check refuses what can't be right whatever the log says.
	check() error
}

// Genesis creates an organization.
type Genesis struct {
	_     struct{} `cbor:",toarray"`
	Root  []byte   // Ed25519 public key; its private half is destroyed after signing
	Name  string   // of the organization
	First NewUser
	// Sequester is the Ed25519 key of the sequester authority; empty for none.
	Sequester []byte
}

// UserAdded adds a user and the first device; the user's own device claims it by enrollment.
type UserAdded struct {
	_       struct{} `cbor:",toarray"`
	New     NewUser
	Profile Profile
}

// DeviceAdded adds a device to the author's own user.
type DeviceAdded struct {
	_   struct{} `cbor:",toarray"`
	New DeviceKeys
}

// ProfileChanged gives a user another profile.
type ProfileChanged struct {
	_       struct{} `cbor:",toarray"`
	User    id.User
	Profile Profile
}

// UserRevoked ends a user and all devices.
type UserRevoked struct {
	_    struct{} `cbor:",toarray"`
	User id.User
}

// Delivery hands the private half of a replaced user key to one device.
type Delivery struct {
	_      struct{} `cbor:",toarray"`
	Device id.Device
	// Sealed is the SHA-256 of the private half sealed to the device's encryption key.
	Sealed Digest
}

// Replacement is a new user key and whom it was delivered to: exactly the
// user's unrevoked devices, by ascending id.
type Replacement struct {
	_          struct{} `cbor:",toarray"`
	Key        PublicKey
	Deliveries []Delivery
}

// DeviceRevoked ends one device.
type DeviceRevoked struct {
	_      struct{} `cbor:",toarray"`
	Device id.Device
	// Replacement holds the new user key where the author replaces it in the
	// same record, and is empty otherwise.
	Replacement []Replacement
}

// UserKeyReplaced gives the author's user a new key.
type UserKeyReplaced struct {
	_           struct{} `cbor:",toarray"`
	Replacement Replacement
}

// SequesterAdded adds a service that every workspace key is sealed to.
type SequesterAdded struct {
	_       struct{} `cbor:",toarray"`
	Service id.Service
	Key     PublicKey
}

// SequesterRevoked ends a sequester service.
type SequesterRevoked struct {
	_       struct{} `cbor:",toarray"`
	Service id.Service
}

// Grant is one sealing of a workspace key. The sealed bytes travel beside the record.
type Grant struct {
	_ struct{} `cbor:",toarray"`
	// Recipient is a user's or a sequester service's id.
	Recipient [id.Size]byte
	// Key is the digest of the recipient's public key.
	Key Digest
	// Sealed is the SHA-256 of the sealed key.
	Sealed Digest
}

// BacklinkSize is the length of a sealed workspace key: nonce, key, tag.
const BacklinkSize = 12 + 32 + 16

// Rotation introduces a generation of the workspace key.
type Rotation struct {
	_ struct{} `cbor:",toarray"`
	// Generation is the previous plus one; 1 in a workspace created.
	Generation uint64
	// Commitment is what [CommitToKey] returns for the new key.
	Commitment Digest
	// Links is the generation whose key the backlink holds: the previous one,
	// or the newest that opens; 0 in a workspace created.
	Links uint64
	// Backlink is that key sealed under the new one; empty in a workspace created.
	Backlink []byte
	// Grants are by ascending recipient.
	Grants []Grant
}

// WorkspaceCreated makes its author the owner and holds generation 1.
type WorkspaceCreated struct {
	_        struct{} `cbor:",toarray"`
	Rotation Rotation
	// Name is the workspace's name sealed under generation 1.
	Name []byte
}

// RoleChanged gives a user a role, or takes it away.
type RoleChanged struct {
	_    struct{} `cbor:",toarray"`
	User id.User
	Role Role
	// Grant is the current generation for somebody who was not a member, and empty otherwise.
	Grant []Grant
	// Rotation is there exactly when the record removes a member.
	Rotation []Rotation
}

// KeyRotated introduces a generation without changing a role.
type KeyRotated struct {
	_        struct{} `cbor:",toarray"`
	Rotation Rotation
}

// Renamed gives the workspace another name.
type Renamed struct {
	_ struct{} `cbor:",toarray"`
	// Generation is that under which Name is sealed.
	Generation uint64
	Name       []byte
}

// Archiving is whether a workspace takes commits.
type Archiving uint8

// The states of archiving.
const (
	ArchivingActive   Archiving = 0
	ArchivingArchived Archiving = 1
)

// ArchivingChanged archives a workspace, or takes it back into use.
type ArchivingChanged struct {
	_     struct{} `cbor:",toarray"`
	State Archiving
}

// Heartbeat only says what its author has seen.
type Heartbeat struct {
	_ struct{} `cbor:",toarray"`
}

// Change is one entry's part in a commit: a put with Base and Manifest, or a
// gone with both zero.
type Change struct {
	_       struct{} `cbor:",toarray"`
	Entry   id.Entry
	Version uint64
	// Base is the version of the snapshot on which a put builds, itself for a
	// snapshot; 0 in a gone.
	Base uint64
	// Manifest is the SHA-256 of the sealed manifest; empty in a gone.
	Manifest []byte
}

// Gone reports whether the change removes the entry.
func (c Change) Gone() bool { return c.Base == 0 }

// MaxChanges is the largest number of changes in a commit.
const MaxChanges = 4096

// MaxIntroduced is the largest number of blocks that come with a commit: those
// of a file of 255 GiB, whose pages are among them.
const MaxIntroduced = 1 << 19

// Commit writes data: its changes are applied whole or not at all.
type Commit struct {
	_          struct{} `cbor:",toarray"`
	Generation uint64
	// Restructures says that the commit removes or moves existing entries.
	Restructures bool
	Changes      []Change
}

// Kind implements [Payload].
func (Genesis) Kind() Kind          { return KindGenesis }
func (UserAdded) Kind() Kind        { return KindUserAdded }
func (DeviceAdded) Kind() Kind      { return KindDeviceAdded }
func (ProfileChanged) Kind() Kind   { return KindProfileChanged }
func (UserRevoked) Kind() Kind      { return KindUserRevoked }
func (DeviceRevoked) Kind() Kind    { return KindDeviceRevoked }
func (UserKeyReplaced) Kind() Kind  { return KindUserKeyReplaced }
func (SequesterAdded) Kind() Kind   { return KindSequesterAdded }
func (SequesterRevoked) Kind() Kind { return KindSequesterRevoked }
func (WorkspaceCreated) Kind() Kind { return KindWorkspaceCreated }
func (RoleChanged) Kind() Kind      { return KindRoleChanged }
func (KeyRotated) Kind() Kind       { return KindKeyRotated }
func (Renamed) Kind() Kind          { return KindRenamed }
func (ArchivingChanged) Kind() Kind { return KindArchivingChanged }
func (Heartbeat) Kind() Kind        { return KindHeartbeat }
func (Commit) Kind() Kind           { return KindCommit }

// Encode returns the bytes of a payload.
func Encode(p Payload) []byte { return canon.Marshal(p) }

// Decode returns the payload of a record whose signature was checked, as a
// value of the type that belongs to its kind.
func (r *Record) Decode() (Payload, error) {
	switch r.Kind {
	case KindGenesis:
		return decode[Genesis](r)
	case KindUserAdded:
		return decode[UserAdded](r)
	case KindDeviceAdded:
		return decode[DeviceAdded](r)
	case KindProfileChanged:
		return decode[ProfileChanged](r)
	case KindUserRevoked:
		return decode[UserRevoked](r)
	case KindDeviceRevoked:
		return decode[DeviceRevoked](r)
	case KindUserKeyReplaced:
		return decode[UserKeyReplaced](r)
	case KindSequesterAdded:
		return decode[SequesterAdded](r)
	case KindSequesterRevoked:
		return decode[SequesterRevoked](r)
	case KindWorkspaceCreated:
		return decode[WorkspaceCreated](r)
	case KindRoleChanged:
		return decode[RoleChanged](r)
	case KindKeyRotated:
		return decode[KeyRotated](r)
	case KindRenamed:
		return decode[Renamed](r)
	case KindArchivingChanged:
		return decode[ArchivingChanged](r)
	case KindHeartbeat:
		return decode[Heartbeat](r)
	case KindCommit:
		return decode[Commit](r)
	}
	return nil, fault.Errorf(fault.Upgrade, "decode record: kind %d is unknown to this version", r.Kind)
}

func decode[P Payload](r *Record) (Payload, error) {
	var p P
	err := canon.Unmarshal(r.Payload, &p)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "decode %s record: %w", r.Kind, err)
	}
	return p, nil
}

// CommitToKey returns the commitment to a generation of a workspace key.
func CommitToKey(f id.Fingerprint, w id.Workspace, generation uint64, key [32]byte) Digest {
	return label.WorkspaceKey.Hash(f[:], w[:], label.Uint(generation), key[:])
}

// Opening is the e-mail address and name to which a user's record commits. It
// is sent only to those who may see it.
type Opening struct {
	_     struct{} `cbor:",toarray"`
	User  id.User
	Salt  [32]byte
	Email string
	Name  string
}

// Commit returns the commitment that the user's record carries. Instead of the
// fingerprint, which does not exist yet, a genesis uses its root key.
func (o Opening) Commit(organization [32]byte) Digest {
	return label.Identity.Hash(organization[:], o.User[:], o.Salt[:], []byte(o.Email), []byte(o.Name))
}
