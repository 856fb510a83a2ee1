package enroll

import (
	"bytes"
	"crypto/ed25519"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/seal"
	"parsec/internal/format/canon"
	"parsec/internal/format/invitation"
	"parsec/internal/format/record"
	"parsec/internal/format/usermanifest"
)

// Claim is what the claimer tells the greeter: who it will be.
type Claim struct {
	_ struct{} `cbor:",toarray"`
	// Name is the person's, for type user; empty for a device.
	Name string
	// UserKey is the user's public key, for type user; empty for a device.
	UserKey record.PublicKey
	// Device are the device's id and public keys.
	Device record.DeviceKeys
}

func (c Claim) check(t invitation.Type) error {
	if c.Device.Device.IsZero() || len(c.Device.Verify) != ed25519.PublicKeySize {
		return fault.Errorf(fault.Invalid, "a device without an id or a verify key")
	}
	if err := seal.CheckPublicKey(c.Device.Encrypt); err != nil {
		return err
	}
	if t == invitation.ForDevice {
		if c.Name != "" || len(c.UserKey) != 0 {
			return fault.Errorf(fault.Invalid, "a device that brings a user")
		}
		return nil
	}
	if err := record.CheckText("the name", c.Name, record.MaxPersonName); err != nil {
		return err
	}
	return seal.CheckPublicKey(c.UserKey)
}

func decodeClaim(plain []byte, t invitation.Type) (Claim, error) {
	var c Claim
	if err := canon.Unmarshal(plain, &c); err != nil {
		return Claim{}, err
	}
	if err := c.check(t); err != nil {
		return Claim{}, err
	}
	return c, nil
}

// Welcome is what the greeter tells the claimer, once the claimer's record is
// in the organization's log: what to believe of whatever a server shows.
type Welcome struct {
	_            struct{} `cbor:",toarray"`
	Organization id.Fingerprint
	// Root is the organization's root public key.
	Root []byte
	// Head is the position of the organization's log after the claimer's record.
	Head record.Position
	User id.User
	// Opening is the user's own, so that the claimer can check who it is made.
	Opening record.Opening
	// What follows is for a further device of the user; empty for a person.

	// UserKeys are the private halves of the user's keys, the current one first.
	UserKeys []secret.Bytes
	// UserManifest is zero for a user who has none yet.
	UserManifest usermanifest.Pin
	// Workspaces are the verified heads of all workspaces, by ascending id.
	Workspaces []usermanifest.Workspace
}

// check refuses a welcome that does not fit the invitation.
func (w Welcome) check(s invitation.Statement) error {
	switch {
	case w.Organization != s.Organization:
		return fault.Errorf(fault.Invalid, "the fingerprint of another organization")
	case len(w.Root) != ed25519.PublicKeySize || w.Head.Index < 2:
		return fault.Errorf(fault.Invalid, "an organization without a root key, or without room for the claimer")
	case w.User.IsZero() || w.Opening.User != w.User:
		return fault.Errorf(fault.Invalid, "no user, or two")
	}
	if err := w.Opening.Check(); err != nil {
		return err
	}
	if s.Type == invitation.ForUser {
		return w.checkUser(s)
	}
	return w.checkDevice(s)
}

func (w Welcome) checkUser(s invitation.Statement) error {
	switch {
	case w.Opening.Email != s.Email:
		return fault.Errorf(fault.Invalid, "another e-mail address than the invitation's")
	case len(w.UserKeys) != 0 || w.UserManifest != usermanifest.Pin{} || len(w.Workspaces) != 0:
		return fault.Errorf(fault.Invalid, "the secrets of a user who is new")
	}
	return nil
}

func (w Welcome) checkDevice(s invitation.Statement) error {
	switch {
	case w.User != s.User:
		return fault.Errorf(fault.Invalid, "another user than the invitation's")
	case len(w.UserKeys) == 0:
		return fault.Errorf(fault.Invalid, "no key of the user")
	case (w.UserManifest.Version == 0) != (w.UserManifest.Digest == [32]byte{}):
		return fault.Errorf(fault.Invalid, "a user manifest without a digest")
	}
	for _, k := range w.UserKeys {
		if len(k) != seal.PrivateKeySize {
			return fault.Errorf(fault.Invalid, "a user's key of %d bytes", len(k))
		}
	}
	for i := 1; i < len(w.Workspaces); i++ {
		if bytes.Compare(w.Workspaces[i-1].Workspace[:], w.Workspaces[i].Workspace[:]) >= 0 {
			return fault.Errorf(fault.Invalid, "workspaces that are not by ascending id")
		}
	}
	return nil
}

func decodeWelcome(plain []byte, s invitation.Statement) (Welcome, error) {
	var w Welcome
	if err := canon.Unmarshal(plain, &w); err != nil {
		return Welcome{}, err
	}
	if err := w.check(s); err != nil {
		return Welcome{}, err
	}
	return w, nil
}
