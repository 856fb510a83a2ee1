// Package id holds the identifiers of everything that Parsec names: random
// 128-bit values with one Go type for each kind of thing, so that a user's
// identifier cannot be passed where a device's is wanted. It knows nothing
// about what the identifiers stand for.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// Size is the length of an identifier in bytes.
const Size = 16

// ID is a random 128-bit identifier. The type parameter only tells kinds
// apart. The zero value stands for "none" and is never generated.
type ID[K any] [Size]byte

// The kinds of things that have identifiers.
type (
	userKind      struct{}
	deviceKind    struct{}
	workspaceKind struct{}
	entryKind     struct{}
	blockKind     struct{}
	packKind      struct{}
	serviceKind   struct{}
	tokenKind     struct{}
	adminKind     struct{}
	processKind   struct{}
	actKind       struct{}
)

type (
	// User identifies a person in an organization.
	User = ID[userKind]
	// Device identifies one workstation of a user.
	Device = ID[deviceKind]
	// Workspace identifies a shared tree.
	Workspace = ID[workspaceKind]
	// Entry identifies a file, folder or symlink; it survives renames and moves.
	Entry = ID[entryKind]
	// Block identifies one sealed piece of content.
	Block = ID[blockKind]
	// Pack identifies the stored object that holds the blocks of one upload.
	Pack = ID[packKind]
	// Service identifies a sequester service.
	Service = ID[serviceKind]
	// Token identifies an invitation or a bootstrap link, and is the secret that opens it.
	Token = ID[tokenKind]
	// AdminToken identifies a bearer token of the operator, and opens nothing.
	AdminToken = ID[adminKind]
	// Process identifies one run of a server process.
	Process = ID[processKind]
	// Act identifies one administrative act.
	Act = ID[actKind]
)

// New returns a random identifier. It panics only where the operating
// system has no randomness, as crypto/rand does.
func New[T ID[K], K any]() T {
	var v ID[K]
	for v.IsZero() {
		rand.Read(v[:])
	}
	return T(v)
}

// RootEntry returns the entry that is the root folder of a workspace. It has
// the workspace's own bits, so that nobody can claim another root.
func RootEntry(w Workspace) Entry { return Entry(w) }

// IsZero reports whether v is the zero value, which identifies nothing.
func (v ID[K]) IsZero() bool { return v == ID[K]{} }

// Bytes returns the 16 bytes of v in a slice of its own.
func (v ID[K]) Bytes() []byte { return v[:] }

// String returns v in the lower-case form of a UUID.
func (v ID[K]) String() string {
	var b [36]byte
	hex.Encode(b[0:8], v[0:4])
	hex.Encode(b[9:13], v[4:6])
	hex.Encode(b[14:18], v[6:8])
	hex.Encode(b[19:23], v[8:10])
	hex.Encode(b[24:36], v[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// MarshalText returns the form that [ID.String] returns.
func (v ID[K]) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText accepts exactly the form that [ID.String] returns.
func (v *ID[K]) UnmarshalText(text []byte) error {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return fmt.Errorf("parse identifier %q: want the form of a UUID", text)
	}
	var flat [32]byte
	n := copy(flat[:], text[0:8])
	n += copy(flat[n:], text[9:13])
	n += copy(flat[n:], text[14:18])
	n += copy(flat[n:], text[19:23])
	copy(flat[n:], text[24:36])
	var got ID[K]
	if _, err := hex.Decode(got[:], flat[:]); err != nil || got.String() != string(text) {
		return fmt.Errorf("parse identifier %q: want lower-case hexadecimal digits", text)
	}
	*v = got
	return nil
}

// Parse returns the identifier that text spells, in the form of [ID.String].
func Parse[T ID[K], K any](text string) (T, error) {
	var v ID[K]
	err := v.UnmarshalText([]byte(text))
	return T(v), err
}

// FromBytes returns the identifier with exactly these bytes.
func FromBytes[T ID[K], K any](b []byte) (T, error) {
	if len(b) != Size {
		return T{}, errors.New("identifier is not 16 bytes long")
	}
	return T(b), nil
}

// Fingerprint is the identity of an organization: the SHA-256 of its genesis
// record's bytes. Every device pins it.
type Fingerprint [32]byte

// String returns the fingerprint as 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// IsZero reports whether f is the zero value, which identifies nothing.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// MarshalText returns the form that [Fingerprint.String] returns.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText accepts exactly the form that [Fingerprint.String] returns.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	var got Fingerprint
	if len(text) != 2*len(got) {
		return errors.New("parse fingerprint: want 64 hexadecimal digits")
	}
	if _, err := hex.Decode(got[:], text); err != nil || got.String() != string(text) {
		return errors.New("parse fingerprint: want lower-case hexadecimal digits")
	}
	*f = got
	return nil
}
