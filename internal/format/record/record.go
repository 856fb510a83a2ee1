// Package record holds the signed records of the two logs: their bytes, their
// signatures, and the chain of heads that orders them. It knows how a record
// looks, not whether it may stand where it stands; that is package verify.
//
// A record is transmitted and kept as the bytes that its author signed. They
// are verified as received and never encoded again.
package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
)

// MaxSize is the largest record in bytes. The largest honest one is a
// rotation for some ten thousand members, at 86 bytes each.
const MaxSize = 1 << 20

// Head is the value of the hash chain at one index of a log.
type Head [sha256.Size]byte

// String returns the head as 64 lower-case hexadecimal digits.
func (h Head) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the form that [Head.String] returns.
func (h Head) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Position is an index of a log and the head there. Index 0 is the empty log.
type Position struct {
	_     struct{} `cbor:",toarray"`
	Index uint64
	Head  Head
}

// LogID identifies a log: the root public key for an organization, fingerprint
// and workspace id for a workspace.
type LogID []byte

// OrganizationLog returns the id of the log of the organization with this root key.
func OrganizationLog(root ed25519.PublicKey) LogID { return LogID(bytes.Clone(root)) }

// WorkspaceLog returns the id of a workspace's log.
func WorkspaceLog(f id.Fingerprint, w id.Workspace) LogID {
	return append(f[:], w[:]...)
}

// Start returns the position before the first record of a log.
func (l LogID) Start() Position {
	return Position{Head: sha256.Sum256(append([]byte(label.Log), l...))}
}

// Next returns the position behind p after a record with this digest.
func (p Position) Next(digest [sha256.Size]byte) Position {
	h := sha256.New()
	h.Write([]byte(label.Log))
	h.Write(p.Head[:])
	h.Write(label.Uint(p.Index + 1))
	h.Write(digest[:])
	return Position{Index: p.Index + 1, Head: Head(h.Sum(nil))}
}

// Seen is what the author's device had verified when it signed.
type Seen struct {
	_            struct{} `cbor:",toarray"`
	Organization Position
	// Workspace is the zero Position in an organization record.
	Workspace Position
}

// Body is the signed part of a record.
type Body struct {
	_   struct{} `cbor:",toarray"`
	Log LogID
	// Author is the device that signed, or zero for the sequester authority.
	Author id.Device
	// Seq is one more than that author's previous record in this log.
	Seq uint64
	// Time is the later of the author's clock and the newest record's time,
	// in nanoseconds since the Unix epoch.
	Time    int64
	Seen    Seen
	Kind    Kind
	Payload []byte
}

type envelope struct {
	_         struct{} `cbor:",toarray"`
	Body      []byte
	Signature []byte
}

// Record is a parsed record. Its signature is not checked yet.
type Record struct {
	Body
	// Raw is the record as transmitted and kept.
	Raw []byte
	// Digest is the SHA-256 of Raw.
	Digest    [sha256.Size]byte
	body      []byte
	signature []byte
}

// Parse splits a record into its parts. It fails with [fault.Upgrade] on an
// unknown kind or field and with [fault.Invalid] on anything malformed. It
// keeps raw.
func Parse(raw []byte) (*Record, error) {
	if len(raw) > MaxSize {
		return nil, fault.Errorf(fault.TooLarge, "parse record: %d bytes, at most %d are allowed", len(raw), MaxSize)
	}
	var e envelope
	if err := canon.Unmarshal(raw, &e); err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "parse record: %w", err)
	}
	r := &Record{Raw: raw, Digest: sha256.Sum256(raw), body: e.Body, signature: e.Signature}
	if err := canon.Unmarshal(e.Body, &r.Body); err != nil {
		return nil, fault.Errorf(fault.KindOf(err), "parse record: %w", err)
	}
	if !r.Kind.known() {
		return nil, fault.Errorf(fault.Upgrade, "parse record: kind %d is unknown to this version", r.Kind)
	}
	want := ed25519.SignatureSize
	if r.Kind == KindGenesis {
		want = 2 * ed25519.SignatureSize
	}
	if len(r.signature) != want {
		return nil, fault.Errorf(fault.Invalid, "parse record: a signature of %d bytes", len(r.signature))
	}
	return r, nil
}

// Signed reports whether key signed the record in the organization with this
// fingerprint.
func (r *Record) Signed(f id.Fingerprint, key ed25519.PublicKey) bool {
	return r.Kind != KindGenesis && len(key) == ed25519.PublicKeySize &&
		ed25519.Verify(key, label.Record.Join(f[:], r.body), r.signature)
}

// SignedGenesis reports whether both the root key and the first device's key
// signed the record. Its fingerprint does not exist before it does, so the
// root key stands in its place.
func (r *Record) SignedGenesis(root, device ed25519.PublicKey) bool {
	if r.Kind != KindGenesis || len(root) != ed25519.PublicKeySize || len(device) != ed25519.PublicKeySize {
		return false
	}
	n := ed25519.SignatureSize
	return ed25519.Verify(root, label.RootRecord.Join(root, r.body), r.signature[:n]) &&
		ed25519.Verify(device, label.Record.Join(root, r.body), r.signature[n:])
}

// Sign returns the record with this body, as transmitted.
func Sign(b Body, f id.Fingerprint, key ed25519.PrivateKey) []byte {
	body := canon.Marshal(b)
	return canon.Marshal(envelope{Body: body, Signature: ed25519.Sign(key, label.Record.Join(f[:], body))})
}

// SignGenesis returns the first record of an organization, signed by its root
// key and its first device.
func SignGenesis(b Body, root, device ed25519.PrivateKey) []byte {
	body := canon.Marshal(b)
	public := root.Public().(ed25519.PublicKey)
	signature := ed25519.Sign(root, label.RootRecord.Join(public, body))
	signature = append(signature, ed25519.Sign(device, label.Record.Join(public, body))...)
	return canon.Marshal(envelope{Body: body, Signature: signature})
}
