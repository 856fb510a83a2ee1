// Package label names every purpose for which Parsec signs, seals, hashes or
// derives. No key and no signature serves two purposes, because the purpose
// is part of what goes in. All labels of the system stand in this file.
package label

import (
	"crypto/sha256"
	"encoding/binary"
)

// A Label is the name of one purpose.
type Label string

// Logs and signatures.
const (
	Log          Label = "parsec/v1/log"
	Record       Label = "parsec/v1/record"
	RootRecord   Label = "parsec/v1/record/root"
	Request      Label = "parsec/v1/request"
	Invitation   Label = "parsec/v1/invitation"
	UserManifest Label = "parsec/v1/user-manifest"
)

// Commitments and digests.
const (
	Identity     Label = "parsec/v1/identity"
	WorkspaceKey Label = "parsec/v1/workspace-key"
	KeyDigest    Label = "parsec/v1/key-digest"
)

// Derivation, sealing and associated data.
const (
	Manifest         Label = "parsec/v1/manifest"
	Block            Label = "parsec/v1/block"
	WorkspaceName    Label = "parsec/v1/workspace-name"
	Backlink         Label = "parsec/v1/backlink"
	Grant            Label = "parsec/v1/grant"
	UserKeyDelivery  Label = "parsec/v1/user-key-delivery"
	UserManifestSeal Label = "parsec/v1/user-manifest/seal"
	DeviceFile       Label = "parsec/v1/device-file"
	DeviceFileKey    Label = "parsec/v1/device-file/key"
	DeviceFileDigest Label = "parsec/v1/device-file/digest"
	Recovery         Label = "parsec/v1/recovery-passphrase"
	LocalValue       Label = "parsec/v1/local/value"
	LocalName        Label = "parsec/v1/local/name"
	LocalJournal     Label = "parsec/v1/local/journal"
)

// Enrollment.
const (
	EnrollmentSeal       Label = "parsec/v1/enrollment"
	EnrollmentTranscript Label = "parsec/v1/enrollment/transcript"
	EnrollmentCommitment Label = "parsec/v1/enrollment/commitment"
	EnrollmentCodes      Label = "parsec/v1/enrollment/codes"
	EnrollmentToGreeter  Label = "parsec/v1/enrollment/claimer-to-greeter"
	EnrollmentToClaimer  Label = "parsec/v1/enrollment/greeter-to-claimer"
)

// Join returns the label and the fields, each behind its length in eight
// bytes, so that no two lists of fields give the same bytes.
func (l Label) Join(fields ...[]byte) []byte {
	n := 8 + len(l)
	for _, f := range fields {
		n += 8 + len(f)
	}
	out := make([]byte, 0, n)
	out = binary.BigEndian.AppendUint64(out, uint64(len(l)))
	out = append(out, l...)
	for _, f := range fields {
		out = binary.BigEndian.AppendUint64(out, uint64(len(f)))
		out = append(out, f...)
	}
	return out
}

// Hash returns the SHA-256 of [Label.Join] of the fields.
func (l Label) Hash(fields ...[]byte) [sha256.Size]byte {
	return sha256.Sum256(l.Join(fields...))
}

// Uint returns v as a field: eight bytes, most significant first.
func Uint(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
