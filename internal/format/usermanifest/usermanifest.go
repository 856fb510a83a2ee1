// Package usermanifest holds what a user's devices tell each other through the
// server: the workspaces that are shared with the user, the devices' labels,
// and the newest verified head of every log. It is sealed to the user's own
// key and signed by the device that wrote it. Its heads are constraints to
// check while pulling, never adopted unverified.
package usermanifest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/canon"
	"parsec/internal/format/label"
	"parsec/internal/format/padding"
	"parsec/internal/format/record"
)

// MaxSize is the longest signed user manifest, in bytes.
const MaxSize = 4 << 20

// Content is what is sealed.
type Content struct {
	_ struct{} `cbor:",toarray"`
	// Workspaces are by ascending id.
	Workspaces []Workspace
	// Devices are by ascending id.
	Devices []Device
}

// Workspace is what the user's devices remember of one workspace.
type Workspace struct {
	_         struct{} `cbor:",toarray"`
	Workspace id.Workspace
	// Head is the newest verified position of its log.
	Head record.Position
	// Organization is the organization index that had been verified before
	// asking for Head.
	Organization uint64
}

// Device is how the user calls one of the own devices.
type Device struct {
	_      struct{} `cbor:",toarray"`
	Device id.Device
	Label  string
}

// Pin is a version of the user manifest behind which a device never goes; the
// zero Pin is that of a user who has none yet.
type Pin struct {
	_       struct{} `cbor:",toarray"`
	Version uint64
	// Digest is the SHA-256 of the user manifest as transmitted.
	Digest [32]byte
}

// Envelope is the signed, readable part.
type Envelope struct {
	_      struct{} `cbor:",toarray"`
	User   id.User
	Author id.Device
	// Version is the previous plus one; 1 for the first.
	Version uint64
	// Previous is the SHA-256 of the previous version as transmitted; zero in the first.
	Previous [32]byte
	// Organization is the verified position of the organization log.
	Organization record.Position
	// Key is the digest of the user key to which Sealed is sealed.
	Key record.Digest
	// Sealed is the HPKE encapsulation and ciphertext of the [Content].
	Sealed []byte
}

type signed struct {
	_         struct{} `cbor:",toarray"`
	Envelope  []byte
	Signature []byte
}

// Sign returns the user manifest as transmitted.
func Sign(e Envelope, f id.Fingerprint, key ed25519.PrivateKey) []byte {
	body := canon.Marshal(e)
	return canon.Marshal(signed{Envelope: body, Signature: ed25519.Sign(key, label.UserManifest.Join(f[:], body))})
}

// Signed is a parsed user manifest whose signature is not checked yet.
type Signed struct {
	Envelope
	// Digest is the SHA-256 of the bytes as transmitted.
	Digest    [32]byte
	body      []byte
	signature []byte
}

// Parse splits a transmitted user manifest.
func Parse(raw []byte) (Signed, error) {
	s := Signed{Digest: sha256.Sum256(raw)}
	if len(raw) > MaxSize {
		return s, fault.Errorf(fault.TooLarge, "parse user manifest: %d bytes", len(raw))
	}
	var e signed
	if err := canon.Unmarshal(raw, &e); err != nil {
		return s, fault.Errorf(fault.KindOf(err), "parse user manifest: %w", err)
	}
	if err := canon.Unmarshal(e.Envelope, &s.Envelope); err != nil {
		return s, fault.Errorf(fault.KindOf(err), "parse user manifest: %w", err)
	}
	if s.Version == 0 || (s.Version == 1) != (s.Previous == [32]byte{}) {
		return s, fault.Errorf(fault.Invalid, "parse user manifest: version %d does not fit its predecessor", s.Version)
	}
	s.body, s.signature = e.Envelope, e.Signature
	return s, nil
}

// Check reports whether key signed the user manifest in this organization.
func (s Signed) Check(f id.Fingerprint, key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && len(s.signature) == ed25519.SignatureSize &&
		ed25519.Verify(key, label.UserManifest.Join(f[:], s.body), s.signature)
}

// SealingInfo binds the sealed content to its place, as HPKE's info.
func (e Envelope) SealingInfo(f id.Fingerprint) []byte {
	return label.UserManifestSeal.Join(f[:], e.User[:], label.Uint(e.Version), e.Previous[:], e.Key[:])
}

// Encode returns the padded plaintext of the content.
func Encode(c Content) []byte { return padding.Frame(canon.Marshal(c)) }

// Decode returns the content with this padded plaintext.
func Decode(plain []byte) (Content, error) {
	var c Content
	framed, err := padding.Unframe(plain)
	if err != nil {
		return c, fault.Errorf(fault.Invalid, "decode user manifest: %w", err)
	}
	if err := canon.Unmarshal(framed, &c); err != nil {
		return c, fault.Errorf(fault.KindOf(err), "decode user manifest: %w", err)
	}
	for i := 1; i < len(c.Workspaces); i++ {
		if bytes.Compare(c.Workspaces[i-1].Workspace[:], c.Workspaces[i].Workspace[:]) >= 0 {
			return c, fault.Errorf(fault.Invalid, "decode user manifest: workspaces are not by ascending id")
		}
	}
	for i := 1; i < len(c.Devices); i++ {
		if bytes.Compare(c.Devices[i-1].Device[:], c.Devices[i].Device[:]) >= 0 {
			return c, fault.Errorf(fault.Invalid, "decode user manifest: devices are not by ascending id")
		}
	}
	return c, nil
}
