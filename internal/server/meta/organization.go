package meta

import (
	"crypto/ed25519"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
)

// OrganizationKey is the number by which a store knows an organization. Every
// table leads with it. It is given at creation, is never 0, and means nothing
// outside the store.
type OrganizationKey int64

// Organization is an organization's row.
type Organization struct {
	// Key is given by [Organizations.Create].
	Key OrganizationKey
	// Name is unique in the store.
	Name string
	// Bootstrap is the SHA-256 of the bootstrap link's token.
	Bootstrap [32]byte
	// Fingerprint is unique in the store; zero until the organization is bootstrapped.
	Fingerprint id.Fingerprint
	// Root is the root public key; empty until the organization is bootstrapped.
	Root ed25519.PublicKey
	// Position is where the organization's log stands.
	Position record.Position
	// Created is in nanoseconds since the Unix epoch, and Updated is when
	// Position last moved, or the operator last changed what is allowed.
	Created, Updated int64
	// Expired says that the operator has suspended the organization.
	Expired bool
	// Deleting is since when the operator has it removed with all that it has,
	// in nanoseconds since the Unix epoch; 0 for one that stays. It is never
	// taken back.
	Deleting int64
	// Problem is what last kept it from being removed; "" for nothing.
	Problem string
	// Frozen is how many of its users are frozen. The store counts, and
	// neither Create nor Update changes it.
	Frozen uint64
	// Limits are what the operator allows.
	Limits Limits
}

// Limits are what an operator allows an organization.
type Limits struct {
	// ActiveUsers is the largest number of unrevoked users; 0 for any.
	ActiveUsers uint64
	// Storage is the most bytes of blocks and manifests; 0 for any.
	Storage uint64
	// Outsiders says whether users may have the outsider profile.
	Outsiders bool
}

// Stats counts what an organization has stored. The store counts: each method
// that adds a row says what it adds to.
type Stats struct {
	Users, ActiveUsers       uint64
	Workspaces               uint64
	Records                  uint64
	Manifests, ManifestBytes uint64
	Blocks, BlockBytes       uint64
	Packs                    uint64
}

// Lock is how a row is locked, until the end of the transaction.
type Lock uint8

// The ways to lock a row.
const (
	// Shared keeps others from an exclusive lock only.
	Shared Lock = iota
	// Exclusive keeps others from any lock.
	Exclusive
)

// Organizations are the organizations' rows.
type Organizations interface {
	// Create adds an organization and returns its key. It fails with conflict
	// where the name or the fingerprint is taken.
	Create(o Organization) (OrganizationKey, error)
	// ByName returns the organization with this name.
	ByName(name string) (Organization, error)
	// ByFingerprint returns the organization with this fingerprint.
	ByFingerprint(f id.Fingerprint) (Organization, error)
	// List returns the organizations whose names follow after, by ascending
	// name in the order of bytes, at most limit of them.
	List(after string, limit int) ([]Organization, error)
	// Lock locks an organization's row and returns it as it is under the lock.
	Lock(key OrganizationKey, how Lock) (Organization, error)
	// Update replaces the row with o.Key, which the caller has locked
	// exclusively. It fails with conflict where the name or the fingerprint
	// is taken.
	Update(o Organization) error
	// Freeze notes since when one of its users is frozen, in nanoseconds since
	// the Unix epoch, or with 0 that they are not any more. The caller has
	// locked the organization exclusively. A user who is frozen stays so from
	// when they were. It fails with not found where there is no such user.
	Freeze(key OrganizationKey, user id.User, since int64) error
	// Stats costs the same whatever the organization has stored. A store with
	// concurrent writers spreads its counters so that no write waits for
	// another on their account.
	Stats(key OrganizationKey) (Stats, error)
}

// User is what the store keeps of a user beside the log.
type User struct {
	ID id.User
	// Email is unique among the unrevoked users of an organization, compared
	// byte by byte.
	Email string
	// Opening is what the user's record commits to; opaque here.
	Opening []byte
	// Revoked is when, in nanoseconds since the Unix epoch; 0 while active.
	Revoked int64
	// Frozen is since when, in nanoseconds since the Unix epoch; 0 for a user
	// whom the operator has not suspended. Add leaves it 0.
	Frozen int64
}

// Delivery is the private half of a replaced user key, as sealed to one device.
type Delivery struct {
	Device id.Device
	// Key is the digest of the public half.
	Key    record.Digest
	Sealed []byte
}

// Users are an organization's users as far as its log does not tell.
type Users interface {
	// Add adds a user, to Users and ActiveUsers. It fails with conflict where
	// the id is taken, or the e-mail address is that of an unrevoked user.
	Add(o OrganizationKey, u User) error
	// Revoke marks a user revoked, which frees the e-mail address, and
	// subtracts from ActiveUsers. A user who is revoked stays as they are.
	Revoke(o OrganizationKey, user id.User, when int64) error
	// ByEmail returns the unrevoked user with this address.
	ByEmail(o OrganizationKey, email string) (User, error)
	// Get returns the users with these ids.
	Get(o OrganizationKey, users []id.User) ([]User, error)
	// Deliver adds deliveries. It fails with conflict where a device has one
	// of the same key.
	Deliver(o OrganizationKey, deliveries []Delivery) error
	// Delivery returns what was sealed to a device of this key.
	Delivery(o OrganizationKey, device id.Device, key record.Digest) (Delivery, error)
	// Manifest returns a user's manifest and its version.
	Manifest(o OrganizationKey, user id.User) (version uint64, manifest []byte, err error)
	// PutManifest replaces version-1 of a user's manifest, or adds version 1.
	// It fails with stale where another version is there.
	PutManifest(o OrganizationKey, user id.User, version uint64, manifest []byte) error
}

// InvitationState is what became of an invitation.
type InvitationState uint8

// The states of invitations.
const (
	InvitationPending   InvitationState = 1
	InvitationUsed      InvitationState = 2
	InvitationCancelled InvitationState = 3
)

// Token is the SHA-256 of an invitation's token: rows are looked up by it, so
// that the time of a lookup tells nothing about tokens.
type Token [32]byte

// Attempt identifies one run of the exchange between greeter and claimer.
type Attempt [16]byte

// Invitation is an invitation's row.
type Invitation struct {
	Token   Token
	Inviter id.User
	State   InvitationState
	// Created and Expires are in nanoseconds since the Unix epoch.
	Created, Expires int64
	// Statement is what the inviter signed; opaque here.
	Statement []byte
}

// AttemptState is an attempt, and whether a side ended it.
type AttemptState struct {
	Attempt Attempt
	Aborted bool
}

// Invitations are the invitations of an organization, each with the mailbox
// in which greeter and claimer leave messages.
type Invitations interface {
	// Create adds an invitation. It fails with conflict where the token is taken.
	Create(o OrganizationKey, i Invitation) error
	// Lock locks an invitation's row exclusively, until the end of the
	// transaction, and returns it as it is under the lock. In a Read it only
	// returns it.
	Lock(o OrganizationKey, t Token) (Invitation, error)
	// SetState changes the state of an invitation that the caller has locked.
	SetState(o OrganizationKey, t Token, state InvitationState) error
	// Pending returns the pending invitations of an inviter, expired or not,
	// by ascending creation time and token, at most limit of them. After the
	// zero Invitation it begins with the first, else behind the one given.
	Pending(o OrganizationKey, inviter id.User, after Invitation, limit int) ([]Invitation, error)
	// Attempts returns the attempts at an invitation in the order in which
	// they were opened.
	Attempts(o OrganizationKey, t Token) ([]AttemptState, error)
	// SetAttempt opens an attempt at an invitation that the caller has
	// locked, or changes one that is there.
	SetAttempt(o OrganizationKey, t Token, s AttemptState) error
	// Leave leaves the message of one step of an attempt. It fails with
	// conflict where the step has one, also the same.
	Leave(o OrganizationKey, t Token, a Attempt, step uint32, message []byte) error
	// Message returns the message of one step of an attempt.
	Message(o OrganizationKey, t Token, a Attempt, step uint32) ([]byte, error)
}
