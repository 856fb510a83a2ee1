// Package device keeps the secrets of one device in one file, sealed under a
// password, the operating system's keyring, or a recovery passphrase. It does
// not talk to a server, and decides nothing about whom the device may trust.
//
// What the file shows. Its header is readable without unlocking: ids, server,
// organization, e-mail address and label of the device. Everything else a
// device writes is encrypted under its storage key, names included, but that
// key is in this file, and a person has to choose a device, by name, before
// its password can be asked for. So whoever reads the disk learns that this
// person has this device in that organization, much as from a mail client's
// account list; not one name of a workspace, a file or another member, and no
// key. Nothing vouches for the header of a file that is not unlocked: it is
// for choosing. Unlocking authenticates all of it, with the protection's
// parameters, as associated data.
//
// Invariants:
//   - A file is parsed, and its parameters compared with floors and ceilings,
//     before memory is taken for them.
//   - A file is private to its owner, or refused; it is replaced as a whole.
//   - A damaged file, a wrong password and a forged file are told apart: a
//     checksum finds the first, a value derived from the password the second,
//     and what then does not open is the third.
//   - Secrets never reach an error or a log.
package device

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net/url"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/seal"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

// Bounds.
const (
	// MaxLabel is the longest label of a device in bytes.
	MaxLabel = 128
	// maxServer is the longest address of a server in bytes.
	maxServer = 1024
	// maxUserKeys bounds the keys that a user had; each replacement adds one.
	maxUserKeys = 4096
)

// Header is the readable part of a device file.
type Header struct {
	_            struct{} `cbor:",toarray"`
	Device       id.Device
	User         id.User
	Organization id.Fingerprint
	// OrganizationName, Server, Email and Label are for people.
	OrganizationName string
	// Server is the server's base URL, without a trailing slash.
	Server string
	Email  string
	Label  string
}

func (h Header) check() error {
	if h.Device.IsZero() || h.User.IsZero() || h.Organization.IsZero() {
		return fault.Errorf(fault.Invalid, "an id is missing")
	}
	if err := record.CheckText("the organization's name", h.OrganizationName, record.MaxOrganizationName); err != nil {
		return err
	}
	if err := CheckLabel(h.Label); err != nil {
		return err
	}
	if err := record.CheckEmail(h.Email); err != nil {
		return err
	}
	if err := record.CheckText("the server's address", h.Server, maxServer); err != nil {
		return err
	}
	u, err := url.Parse(h.Server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fault.Errorf(fault.Invalid, "the server's address is not of the form https://host")
	}
	return nil
}

// CheckLabel refuses what cannot be the label of a device.
func CheckLabel(text string) error { return record.CheckText("the device's label", text, MaxLabel) }

// Enrolled is what the device was told when it was made, by somebody it
// authenticated: constraints on whatever a server shows it.
type Enrolled struct {
	_ struct{} `cbor:",toarray"`
	// Root is the organization's root public key.
	Root ed25519.PublicKey
	// Organization is a position through which the organization's log passes.
	Organization record.Position
	// UserManifest and Workspaces are zero and empty in a user's first device.
	UserManifest usermanifest.Pin
	// Workspaces are by ascending id.
	Workspaces []usermanifest.Workspace
}

func (e Enrolled) check() error {
	if len(e.Root) != ed25519.PublicKeySize || e.Organization.Index == 0 {
		return fault.Errorf(fault.Invalid, "it pins no organization")
	}
	for i := 1; i < len(e.Workspaces); i++ {
		if bytes.Compare(e.Workspaces[i-1].Workspace[:], e.Workspaces[i].Workspace[:]) >= 0 {
			return fault.Errorf(fault.Invalid, "its workspaces are not by ascending id")
		}
	}
	return nil
}

// Device is an unlocked device.
type Device struct {
	Header
	// Signing signs whatever the device sends.
	Signing ed25519.PrivateKey
	// Encryption receives what is sealed to this device alone.
	Encryption *seal.KeyPair
	// UserKeys are the user's keys, the current one first. The others open
	// old grants.
	UserKeys []*seal.KeyPair
	// Storage encrypts all local state.
	Storage  secret.Key
	Enrolled Enrolled

	// opened is how the file was sealed or opened last.
	opened *unlocked
}

// New makes a device with an id and keys of its own. What the user and the
// organization bring is up to the caller.
func New() *Device {
	d := &Device{Header: Header{Device: id.New[id.Device]()}, Encryption: seal.NewKeyPair()}
	rand.Read(d.Storage[:])
	_, signing, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic("device: " + err.Error()) // only without randomness, which panics before
	}
	d.Signing = signing
	return d
}

// Keys returns the public half of the device, as records name it.
func (d *Device) Keys() record.DeviceKeys {
	return record.DeviceKeys{
		Device:  d.Device,
		Verify:  bytes.Clone(d.Signing.Public().(ed25519.PublicKey)),
		Encrypt: d.Encryption.Public(),
	}
}

// UserKey returns the user's key with this digest, if the device has it.
func (d *Device) UserKey(digest record.Digest) (*seal.KeyPair, bool) {
	for _, k := range d.UserKeys {
		if k.Digest() == digest {
			return k, true
		}
	}
	return nil, false
}

const redacted = "[device]"

// String returns a mark instead of the secrets.
func (Device) String() string { return redacted }

// GoString returns a mark instead of the secrets.
func (Device) GoString() string { return redacted }

// MarshalText returns a mark instead of the secrets.
func (Device) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a mark instead of the secrets.
func (Device) LogValue() slog.Value { return slog.StringValue(redacted) }

// content is what the file seals.
type content struct {
	_ struct{} `cbor:",toarray"`
	// Signing is the seed of the Ed25519 key.
	Signing    []byte
	Encryption []byte
	UserKeys   [][]byte
	Storage    [32]byte
	Enrolled   Enrolled
}

// encode returns the plaintext of the sealed part. It refuses a device that
// could not be read back.
func (d *Device) encode() ([]byte, error) {
	if len(d.Signing) != ed25519.PrivateKeySize || d.Encryption == nil {
		return nil, fault.Errorf(fault.Invalid, "a key is missing")
	}
	c := content{
		Signing:    d.Signing.Seed(),
		Encryption: d.Encryption.Private(),
		Storage:    d.Storage,
		Enrolled:   d.Enrolled,
	}
	for _, k := range d.UserKeys {
		c.UserKeys = append(c.UserKeys, k.Private())
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return canon.Marshal(c), nil
}

func (c content) check() error {
	if len(c.Signing) != ed25519.SeedSize || secret.Key(c.Storage).IsZero() {
		return fault.Errorf(fault.Invalid, "a key is missing")
	}
	if n := len(c.UserKeys); n == 0 || n > maxUserKeys {
		return fault.Errorf(fault.Invalid, "it holds %d keys of its user", n)
	}
	return c.Enrolled.check()
}

// decode fills d with what the sealed part holds.
func (d *Device) decode(plain []byte) error {
	var c content
	if err := canon.Unmarshal(plain, &c); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	var err error
	if d.Encryption, err = seal.ParseKeyPair(c.Encryption); err != nil {
		return err
	}
	for _, private := range c.UserKeys {
		k, err := seal.ParseKeyPair(private)
		if err != nil {
			return err
		}
		d.UserKeys = append(d.UserKeys, k)
	}
	d.Signing = ed25519.NewKeyFromSeed(c.Signing)
	d.Storage, d.Enrolled = c.Storage, c.Enrolled
	return nil
}
